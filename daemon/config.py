"""The configuration: arena.toml, then arena.toml.d/*.toml in order; a later file wins, key by key.

A file that cannot be read, an unknown section or key, or a bad value is refused with its file, its key and what is
allowed. Keys whose capability this release does not have accept their default alone, and say so.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, fields, frozen

from pam_arena.conversation import PromptStyle
from pam_arena.errors import ConfigError
from pam_arena.pin import Policy
from pam_arena.texts import LANGUAGES

from .spool import is_address

DEFAULT_PATH = Path("/etc/arena/arena.toml")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31557600}


@frozen
class Store:
    """[store]"""

    url: str = "sqlite:////var/lib/arena/arena.db"


@frozen
class Login:
    """[login]: times in seconds."""

    prompt: PromptStyle = PromptStyle.SPLIT
    answer_timeout: float = 180
    deny_after: float = 1


@frozen
class Code:
    """[code]: all in steps, next_code_after in failures."""

    window: int = 1
    drift_per_login: int = 1
    next_code_after: int = 3
    next_code_reach: int = 10


@frozen
class Lock:
    """[lock]: waits in seconds."""

    after: int = 5
    wait: float = 60
    wait_max: float = 900
    close_after: int = 50
    wrong_pin_disables: int = 10
    guess_bound: float = 0.01


@frozen
class Pin:
    """[pin]: new_pin_lapses in seconds."""

    length: tuple[int, int] = (4, 6)
    digits_only: bool = True
    choice: str = "holder"
    history: int = 0
    expires: str = ""
    new_pin_lapses: float = 14 * 86400

    @property
    def policy(self) -> Policy:
        """What a holder may choose."""
        return Policy(self.length[0], self.length[1], self.digits_only)


@frozen
class Service:
    """[service.NAME]: one PAM service; what it leaves out comes from [service.default]."""

    mode: Literal["off", "enforce"] = "enforce"
    include_groups: tuple[str, ...] = ()
    exempt_groups: tuple[str, ...] = ("arena-exempt",)
    without_token: Literal["deny", "ignore"] = "deny"
    ask: Literal["target", "caller"] = "target"
    prompt: PromptStyle | None = None
    mail_codes: bool = False
    grant: str = "0"


@frozen
class Desk:
    """[desk]"""

    admin_groups: tuple[str, ...] = ("arena-admin",)


@frozen
class Mail:
    """[mail]"""

    smtp: str = "localhost:25"
    sender: str = ""


@frozen
class Audit:
    """[audit]"""

    keep: str = "3y"
    max_size: str = "1GiB"


@frozen
class Config:
    """The whole configuration."""

    language: str = "en"
    help: str = ""
    store: Store = Store()
    login: Login = Login()
    code: Code = Code()
    lock: Lock = Lock()
    pin: Pin = Pin()
    services: Mapping[str, Service] = {"default": Service()}
    desk: Desk = Desk()
    mail: Mail = Mail()
    audit: Audit = Audit()

    def service(self, name: str) -> Service:
        """The policy of a PAM service."""
        return self.services.get(name, self.services["default"])


class _Bad(Exception):
    """A value is not allowed; the text says what is."""


Reader = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise _Bad("a line of text in quotes")
    return value


def _one_of(*allowed: str) -> Reader:
    def read(value: Any) -> str:
        if value not in allowed or not isinstance(value, str):
            raise _Bad(" or ".join(f'"{name}"' for name in allowed))
        return value

    return read


def _prompt(value: Any) -> PromptStyle:
    return PromptStyle(_one_of(*PromptStyle)(value))


def _whole(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _Bad(f"a whole number from {low} to {high}")
        return value

    return read


def _share(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise _Bad("a number above 0, up to 1")
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Bad("true or false")
    return value


def seconds(text: str) -> float:
    """A time span as systemd.time(7) writes it ("1min 30s"), in seconds. Raises ValueError."""
    parts = re.findall(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)", text)
    if not parts or re.sub(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)", "", text).strip():
        raise ValueError(text)
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    except KeyError:
        raise ValueError(text) from None


def _span(low: float, high: float) -> Reader:
    def read(value: Any) -> float:
        try:
            span = seconds(value) if isinstance(value, str) else -1
        except ValueError:
            span = -1
        if not low <= span <= high:
            raise _Bad(f'a time such as "90s" or "15min", from {low:g} s to {high:g} s')
        return span

    return read


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise _Bad('a list of names, such as ["staff"]')
    return tuple(value)


def _server(value: Any) -> str:
    found = re.fullmatch(r"(?:[\w.-]+|\[[\da-fA-F:.]+\]):(\d{1,5})", value, re.ASCII) if isinstance(value, str) else None
    if found is None or not 0 < int(found[1]) < 65536:
        raise _Bad('a host and a port, such as "localhost:25"')
    return str(value)


def _address(value: Any) -> str:
    if not isinstance(value, str) or not (value == "" or is_address(value)):
        raise _Bad('a mail address, or "" for no mail')
    return value


def _pin_length(value: Any) -> tuple[int, int]:
    low, high = value if isinstance(value, list) and len(value) == 2 else (0, 0)
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in (low, high)) or not 4 <= low <= high <= 64:
        raise _Bad("[shortest, longest] with 4 <= shortest <= longest <= 64")
    return (low, high)


def _only(default: Any) -> Reader:
    """The reader of a key whose capability this release does not have."""

    def read(value: Any) -> Any:
        if value != default or type(value) is not type(default):
            raise _Bad(f"{_toml(default)} alone: this release does not have more")
        return value

    return read


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


_TOP: dict[str, Reader] = {"language": _one_of(*LANGUAGES), "help": _text}
_SECTIONS: dict[str, tuple[type, dict[str, Reader]]] = {
    "store": (Store, {"url": _text}),
    "login": (Login, {"prompt": _prompt, "answer_timeout": _span(10, 3600), "deny_after": _span(0, 8)}),
    "code": (
        Code,
        {
            "window": _whole(0, 5),
            "drift_per_login": _whole(0, 1),
            "next_code_after": _only(3),
            "next_code_reach": _only(10),
        },
    ),
    "lock": (
        Lock,
        {
            "after": _whole(1, 100),
            "wait": _span(1, 86400),
            "wait_max": _span(1, 7 * 86400),
            "close_after": _whole(2, 10000),
            "wrong_pin_disables": _whole(1, 10000),
            "guess_bound": _share,
        },
    ),
    "pin": (
        Pin,
        {
            "length": _pin_length,
            "digits_only": _truth,
            "choice": _only("holder"),
            "history": _only(0),
            "expires": _only(""),
            "new_pin_lapses": _span(60, 366 * 86400),
        },
    ),
    "desk": (Desk, {"admin_groups": _names}),
    "mail": (Mail, {"smtp": _server, "from": _address}),
    "audit": (Audit, {"keep": _only("3y"), "max_size": _only("1GiB")}),
}
_SERVICE: dict[str, Reader] = {
    "mode": _one_of("off", "enforce"),
    "include_groups": _names,
    "exempt_groups": _names,
    "without_token": _one_of("deny", "ignore"),
    "ask": _one_of("target", "caller"),
    "prompt": _prompt,
    "mail_codes": _only(False),
    "grant": _only("0"),
}
_ATTRIBUTE = {"from": "sender"}


def load(path: Path = DEFAULT_PATH) -> Config:
    """Read and check the configuration. Raises ConfigError naming file, key and what is allowed."""
    merged: dict[str, Any] = {}
    services: dict[str, dict[str, Any]] = {"default": {}}
    for file in [path, *sorted(path.with_name(path.name + ".d").glob("*.toml"))]:
        _merge(file, _parse(file), merged, services)
    sections = {name: kind(**merged.pop(name, {})) for name, (kind, _) in _SECTIONS.items()}
    default = evolve(Service(), **services.pop("default"))
    config = Config(
        **merged, **sections, services={"default": default, **{n: evolve(default, **s) for n, s in services.items()}}
    )
    _check_together(config)
    return config


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from None


def _merge(file: Path, content: dict[str, Any], merged: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    for name, value in content.items():
        if name in _TOP:
            merged[name] = _read(file, name, _TOP[name], value)
        elif name in _SECTIONS:
            readers = _SECTIONS[name][1]
            section = merged.setdefault(name, {})
            for key, one in _table(file, name, value).items():
                section[_ATTRIBUTE.get(key, key)] = _read(file, f"{name}.{key}", _known(file, f"{name}.", key, readers), one)
        elif name == "service":
            for service, table in _table(file, name, value).items():
                target = services.setdefault(service, {})
                for key, one in _table(file, f"service.{service}", table).items():
                    reader = _known(file, f"service.{service}.", key, _SERVICE)
                    target[key] = _read(file, f"service.{service}.{key}", reader, one)
        else:
            raise ConfigError(f"{file}: unknown key {name!r}; allowed: {', '.join([*_TOP, *_SECTIONS, 'service'])}")


def _table(file: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: {name}: allowed: a section, [{name}]")
    return value


def _known(file: Path, prefix: str, key: str, readers: dict[str, Reader]) -> Reader:
    if key not in readers:
        raise ConfigError(f"{file}: unknown key {prefix + key!r}; allowed: {', '.join(readers)}")
    return readers[key]


def _read(file: Path, key: str, reader: Reader, value: Any) -> Any:
    try:
        return reader(value)
    except _Bad as allowed:
        raise ConfigError(f"{file}: {key}: allowed: {allowed}") from None


def _check_together(config: Config) -> None:
    lock = config.lock
    if lock.wait > lock.wait_max:
        raise ConfigError("lock.wait: allowed: at most lock.wait_max")
    if lock.after >= lock.close_after:
        raise ConfigError("lock.after: allowed: less than lock.close_after")
    stolen_key, _ = guess_bounds(config)
    if stolen_key > lock.guess_bound:
        raise ConfigError(
            f"lock.wrong_pin_disables, pin.length: whoever holds a stolen key guesses its PIN with a chance of {stolen_key:g};"
            f" allowed: at most lock.guess_bound = {lock.guess_bound:g}"
        )


def guess_bounds(config: Config) -> tuple[float, float]:
    """The chance that a guesser gets in: (with a stolen key, before it is disabled; with a known PIN, a code a try)."""
    steps = 2 * config.code.window + 1
    return config.lock.wrong_pin_disables / 10 ** config.pin.length[0], steps / 10**6


def show(config: Config) -> dict[str, Any]:
    """The configuration in force, as plain values under the names of arena.toml."""

    def plain(section: Any) -> dict[str, Any]:
        renamed = {attribute: key for key, attribute in _ATTRIBUTE.items()}
        return {renamed.get(f.name, f.name): _plain(getattr(section, f.name)) for f in fields(type(section))}

    return {
        "language": config.language,
        "help": config.help,
        **{name: plain(getattr(config, name)) for name in _SECTIONS},
        "service": {name: plain(service) for name, service in config.services.items()},
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
