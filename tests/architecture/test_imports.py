"""Who may know whom: imports run one way, and the login process stays small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY, DAEMON = ROOT / "pam_arena", ROOT / "daemon"

# Layers of the library; a module imports from lower layers alone, and a module that is not listed fails the test.
LAYERS = [
    {"errors", "secret", "protocol"},
    {"wire", "otp", "pin"},
    {"texts", "recovery"},  # the conversation's sentences, which name a PIN's flaws
    {"key_texts"},  # arena-key's sentences
    {"conversation"},
    {"holder_talk"},
    {"client"},
    {"importers"},
    {"cli"},
]
# C sources' folders of built objects, and the package itself, hold nothing to import.
BESIDE = {"__init__", "security", "locale"}


def module_name(path: Path, root: Path, package: str) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imports(path: Path, root: Path, package: str) -> Iterator[str]:
    """Every module that a file imports, wherever in it, by its full name; `from a import b` gives a.b, and a with it."""
    own = module_name(path, root, package).split(".")
    folder = own if path.name == "__init__.py" else own[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{name.name}" for name in node.names)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.py") if "__pycache__" not in path.parts)


def layer_of(name: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


def part(path: Path, root: Path) -> str:
    """The module or folder right under the root that a file belongs to."""
    first = path.relative_to(root).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", files(LIBRARY), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_imports_downwards_alone(path: Path) -> None:
    own = part(path, LIBRARY)
    names = set(imports(path, LIBRARY, "pam_arena"))
    ours = {name.split(".")[1] for name in names if name.startswith("pam_arena.")} - {"__version__"}
    if own in BESIDE:
        assert not ours
        return
    upwards = {name for name in ours if name != own and layer_of(name) >= layer_of(own)}
    assert not upwards, f"{own} imports {upwards}"


@pytest.mark.parametrize("path", files(LIBRARY), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_knows_no_daemon(path: Path) -> None:
    assert not {name for name in imports(path, LIBRARY, "pam_arena") if name.split(".")[0] in ("arenad", "daemon")}


def test_only_tests_use_the_c_extension() -> None:
    for root, package in ((LIBRARY, "pam_arena"), (DAEMON, "arenad")):
        for path in files(root):
            assert not [name for name in imports(path, root, package) if name.startswith("pam_arena._shim")]


SIDES = {"login", "desk", "mail"}


@pytest.mark.parametrize(
    "path",
    [path for path in files(DAEMON) if part(path, DAEMON) in SIDES | {"store"}],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_login_desk_and_mail_never_know_each_other(path: Path) -> None:
    own = part(path, DAEMON)
    names = [name.split(".") for name in imports(path, DAEMON, "arenad")]
    known = {name[1] for name in names if name[0] == "arenad" and len(name) > 1}
    assert not known & (SIDES - {own})


@pytest.mark.parametrize("path", files(DAEMON), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_daemon_is_known_by_its_installed_name(path: Path) -> None:
    assert not {name for name in imports(path, DAEMON, "arenad") if name.split(".")[0] == "daemon"}


HEAVY = ("aiohttp", "httpx", "rich", "click", "alembic", "prometheus_client")


def loaded_by(module: str) -> set[str]:
    code = f"import {module}, sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_the_login_process_loads_nothing_heavy() -> None:
    loaded = loaded_by("arenad.login.service")
    assert "arenad.login.verifier" in loaded
    assert not loaded & set(HEAVY)
    assert not {name for name in loaded if name.startswith(("arenad.desk", "arenad.mail"))}


def reachable(start: str) -> dict[str, set[str]]:
    """Every module of ours that `start` can come to import, be it inside a function, and what each imports."""
    where = {
        module_name(path, root, package): (path, root, package)
        for root, package in ((LIBRARY, "pam_arena"), (DAEMON, "arenad"))
        for path in files(root)
    }
    found: dict[str, set[str]] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in found or name not in where:
            continue
        found[name] = set(imports(*where[name]))
        for one in found[name]:
            waiting += [one, one.rpartition(".")[0]]
    return found


def test_no_module_that_the_login_process_can_reach_imports_anything_heavy() -> None:
    found = reachable("arenad.login.service")
    assert {"arenad.login.verifier", "arenad.store.engine", "pam_arena.otp"} <= set(found)
    for name, imported in found.items():
        heavy = {one for one in imported if one.split(".")[0] in HEAVY}
        assert not heavy, f"{name} imports {heavy}"
