"""The store for somebody who looks into a fault from afar: its schema and sizes, and not one value of a row."""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pam_arena.errors import StoreError

from .owner import as_owner
from .store.audits import read_anchor, read_head
from .store.engine import explain, open_store, read_only, schema_version, store_path
from .store.schema import meta, metadata

_PRAGMAS = ("journal_mode", "page_size", "page_count", "freelist_count", "user_version", "application_id")


def summarise(url: str) -> str:
    """One JSON document. Raises StoreError if the store cannot be opened."""
    path = store_path(url)
    return as_owner(path.parent, lambda: json.dumps(_summary(url), indent=1))


def _summary(url: str) -> dict[str, Any]:
    path = store_path(url)
    try:
        with read_only(open_store(url)) as connection:
            run = connection.exec_driver_sql
            schema = run("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").scalars().all()
            counts = {
                table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
                for table in metadata.tables.values()
            }
            return {
                "schema_version": schema_version(run),
                "check": run("PRAGMA quick_check(5)").scalars().all(),
                "pragmas": {name: run(f"PRAGMA {name}").scalar() for name in _PRAGMAS},
                "bytes": {suffix or "db": _size(path, suffix) for suffix in ("", "-wal", "-shm")},
                "rows": counts,
                "meta": connection.execute(sa.select(meta.c.name).order_by(meta.c.name)).scalars().all(),
                "audit": {"newest": read_head(connection).id, "dropped": read_anchor(connection).id},
                "schema": schema,
            }
    except SQLAlchemyError as error:
        raise StoreError(f"the store cannot be read: {explain(error)}") from None


def _size(path: Any, suffix: str) -> int | None:
    file = path.with_name(path.name + suffix)
    return file.stat().st_size if file.exists() else None
