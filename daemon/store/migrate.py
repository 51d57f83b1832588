"""Bringing the store's schema to this release's, in one explicit transaction: killed half-way, nothing has happened.

Alembic is imported here and nowhere else: the login process does without its 35 MiB.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import SQLAlchemyError

from pam_arena.errors import StoreError

from .engine import SCHEMA_VERSION, explain, make_engine, opens_from, peek, schema_version, store_path


def migrate(url: str) -> str:
    """Create or upgrade the store; returns in words what was done. Raises StoreError and leaves the store as it was."""
    path = store_path(url)
    if not path.parent.is_dir():
        raise StoreError(f"there is no folder {path.parent} for the store")
    # Refuses what is not ours before anything is changed; and takes a later store as it is where open_store would.
    newer = peek(path) if path.exists() else None
    if newer is not None and newer > SCHEMA_VERSION >= opens_from(path):
        return f"{path}: schema {newer} is of a later release, and this one may use it"
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            found = schema_version(connection.exec_driver_sql)
            if found == SCHEMA_VERSION:
                return f"{path}: schema {found} is up to date"
            if found is not None and found > SCHEMA_VERSION:
                raise StoreError(f"{path}: schema {found} is newer than this release's {SCHEMA_VERSION}: upgrade arenad")
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise StoreError(f"{path}: cannot be migrated: {explain(error)}") from None
    return f"{path}: schema {found or 'none'} → {SCHEMA_VERSION}"
