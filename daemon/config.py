"""The configuration: arena.toml, then arena.toml.d/*.toml in order; a later file wins, key by key.

A file that cannot be read, an unknown section or key, a bad value, or keys that contradict each other are refused with
the file, the key and what is allowed.
"""

import grp
import math
import pwd
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import Attribute, evolve, field, fields, frozen

from pam_arena.conversation import PromptStyle
from pam_arena.errors import ConfigError
from pam_arena.pin import PinChoice, Policy
from pam_arena.texts import LANGUAGES

from . import config_values as values
from .config_values import BadValue, Reader

DEFAULT_PATH = Path("/etc/arena/arena.toml")
SPOOL = Path("/var/spool/arena/out")  # mails on their way: no key of the file, because units name it
RUNTIME = Path("/run/arena/login")  # systemd's, for the login daemon: gone when it ends
COUNTS = "counts.json"  # there: what it counted, for the desk's service
JOURNAL = Path("/run/systemd/journal/socket")
YEARLY_FAILURES = 200  # of 365 days over all origins; past them the next code is always wanted
_SHIPPED_GROUPS = {"arena-exempt", "arena-admin"}  # the defaults name them, and no package makes them
_STEP = 30  # seconds; the shortest that a token has, so that slow typing is never reckoned too low


def _key(default: Any, reader: Reader, name: str = "") -> Any:
    """A key of the file: its default, what reads its value, and its name there if Python cannot have that one."""
    return field(default=default, metadata={"reader": reader, "name": name})


@frozen
class Store:
    """[store]: ballast in logins that its disk keeps room for."""

    url: str = _key("sqlite:////var/lib/arena/arena.db", values.store_url)
    ballast: int = _key(10_000, values.whole(0, 1_000_000))


@frozen
class Login:
    """[login]: times in seconds."""

    prompt: PromptStyle = _key(PromptStyle.SPLIT, values.prompt)
    answer_timeout: float = _key(180, values.span(10, 3600))
    deny_after: float = _key(1, values.span(0, 8))


@frozen
class Code:
    """[code]: window, drift_per_login and next_code_reach in steps, next_code_after in failures, slow_typing in seconds."""

    window: int = _key(1, values.whole(0, 5))
    drift_per_login: int = _key(1, values.whole(0, 1))
    next_code_after: int = _key(3, values.whole(1, 1000))
    next_code_reach: int = _key(10, values.whole(0, 10))
    slow_typing: float = _key(60, values.span(0, 300))


@frozen
class Lock:
    """[lock]: waits in seconds."""

    after: int = _key(5, values.whole(1, 100))
    wait: float = _key(60, values.span(1, 86400))
    wait_max: float = _key(900, values.span(1, 7 * 86400))
    close_after: int = _key(50, values.whole(2, 10000))
    wrong_pin_disables: int = _key(10, values.whole(1, 10000))
    guess_bound: float = _key(0.01, values.share)


@frozen
class Pin:
    """[pin]: times in seconds; expires 0 is never."""

    length: tuple[int, int] = _key((4, 6), values.pin_length)
    digits_only: bool = _key(True, values.truth)
    choice: PinChoice = _key(PinChoice.HOLDER, values.pin_choice)
    history: int = _key(0, values.whole(0, 24))
    expires: float = _key(0, values.span(86400, 3660 * 86400, none=""))
    new_pin_lapses: float = _key(14 * 86400, values.span(60, 366 * 86400))

    @property
    def policy(self) -> Policy:
        """What a holder may choose."""
        return Policy(self.length[0], self.length[1], self.digits_only)


@frozen
class Service:
    """[service.NAME]: one PAM service; what it leaves out comes from [service.default].

    Times in seconds. None: as [login] or `language` say. deadline: how long the caller waits for a whole login; 0, for ever.
    texts: the service's own words, by the names of Texts.
    """

    mode: Literal["off", "observe", "enforce"] = _key("enforce", values.one_of("off", "observe", "enforce"))
    include_groups: tuple[str, ...] = _key((), values.names)
    exempt_groups: tuple[str, ...] = _key(("arena-exempt",), values.names)
    without_token: Literal["deny", "ignore"] = _key("deny", values.one_of("deny", "ignore"))
    ask: Literal["target", "caller"] = _key("target", values.one_of("target", "caller"))
    prompt: PromptStyle | None = _key(None, values.prompt)
    mail_codes: bool = _key(False, values.truth)
    grant: float = _key(0, values.span(60, 7 * 86400, none="0"))
    language: str | None = _key(None, values.one_of(*LANGUAGES))
    answer_timeout: float | None = _key(None, values.span(10, 3600))
    deadline: float = _key(240, values.span(30, 86400, none="0"))
    texts: Mapping[str, str] = {}


@frozen
class Peer:
    """[[peer]]: a user (name or uid) whose processes may converse for anyone at these services, and are believed."""

    user: str | int = field(metadata={"reader": values.peer_user})
    services: tuple[str, ...] = field(metadata={"reader": values.service_names})


@frozen
class Desk:
    """[desk]"""

    admin_groups: tuple[str, ...] = _key(("arena-admin",), values.names)


@frozen
class Mail:
    """[mail]: domain completes the address of a holder who has none."""

    smtp: str = _key("localhost:25", values.server)
    sender: str = _key("", values.mailbox, "from")
    domain: str = _key("", values.domain)


@frozen
class Audit:
    """[audit]: keep in seconds, max_size in bytes; 0 is without an end."""

    keep: float = _key(3 * values.UNITS["y"], values.span(86400, 36600 * 86400, none=""))
    max_size: int = _key(2**30, values.size(2**20, 2**40))


@frozen
class Config:
    """The whole configuration."""

    language: str = _key("en", values.one_of(*LANGUAGES))
    help: str = _key("", values.text)
    store: Store = Store()
    login: Login = Login()
    code: Code = Code()
    lock: Lock = Lock()
    pin: Pin = Pin()
    services: Mapping[str, Service] = {"default": Service()}
    peers: tuple[Peer, ...] = ()
    desk: Desk = Desk()
    mail: Mail = Mail()
    audit: Audit = Audit()

    def service(self, name: str) -> Service:
        """The policy of a PAM service."""
        return self.services.get(name, self.services["default"])


def _readers(kind: type) -> dict[str, Reader]:
    """The keys of a section, as the file has them."""
    return {_name(f): f.metadata["reader"] for f in fields(kind) if "reader" in f.metadata}


def _name(attribute: "Attribute[Any]") -> str:
    return str(attribute.metadata.get("name") or attribute.name)


_TOP: dict[str, Reader] = _readers(Config)
_SECTIONS = {"store": Store, "login": Login, "code": Code, "lock": Lock, "pin": Pin, "desk": Desk, "mail": Mail, "audit": Audit}
_ATTRIBUTE = {"from": "sender"}


class _Files:
    """What the files say, merged, and which of them said each key last."""

    def __init__(self, path: Path, text: str | None) -> None:
        self.path = path
        self.top: dict[str, Any] = {}
        self.sections: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
        self.services: dict[str, dict[str, Any]] = {"default": {}}
        self.peers: dict[str | int, Peer] = {}
        self._said: dict[str, Path] = {}
        for file in [path, *sorted(path.with_name(path.name + ".d").glob("*.toml"))]:
            self._merge(file, _parse(file, text if file == path else None))

    def refuse(self, keys: list[str], allowed: str) -> ConfigError:
        """The error of keys that contradict each other: it names the last file that said one of them."""
        inherited = {f"service.default.{key.rpartition('.')[2]}" for key in keys if key.startswith("service.")}
        files = [file for key, file in self._said.items() if key in keys or key in inherited]
        return ConfigError(f"{files[-1] if files else self.path}: {', '.join(keys)}: allowed: {allowed}")

    def _merge(self, file: Path, content: dict[str, Any]) -> None:
        for name, one in content.items():
            if name in _TOP:
                self.top[name] = self._read(file, name, _TOP[name], one)
            elif name in _SECTIONS:
                self._merge_table(file, name, _readers(_SECTIONS[name]), one, self.sections[name])
            elif name == "service":
                for service, table in _table(file, name, one).items():
                    self._read(file, f"service.{service!r}", values.service_name, service)
                    self._merge_service(file, f"service.{service}", table, self.services.setdefault(service, {}))
            elif name == "peer":
                self._merge_peers(file, one)
            else:
                allowed = ", ".join([*_TOP, *_SECTIONS, "service", "peer"])
                raise ConfigError(f"{file}: unknown key {name!r}; allowed: {allowed}")

    def _merge_table(self, file: Path, name: str, readers: dict[str, Reader], table: Any, into: dict[str, Any]) -> None:
        for key, one in _table(file, name, table).items():
            if key not in readers:
                raise ConfigError(f"{file}: unknown key {f'{name}.{key}'!r}; allowed: {', '.join(readers)}")
            into[_ATTRIBUTE.get(key, key)] = self._read(file, f"{name}.{key}", readers[key], one)

    def _merge_service(self, file: Path, name: str, table: Any, into: dict[str, Any]) -> None:
        table = dict(_table(file, name, table))
        if "texts" in table:
            self._merge_table(file, f"{name}.texts", values.OWN_TEXTS, table.pop("texts"), into.setdefault("texts", {}))
        self._merge_table(file, name, _readers(Service), table, into)

    def _merge_peers(self, file: Path, tables: Any) -> None:
        if not isinstance(tables, list):
            raise ConfigError(f"{file}: peer: allowed: sections, [[peer]]")
        for number, table in enumerate(tables, 1):
            read: dict[str, Any] = {}
            self._merge_table(file, f"peer {number}", _readers(Peer), table, read)
            if missing := [key for key in _readers(Peer) if key not in read]:
                raise ConfigError(f"{file}: peer {number}: {missing[0]} is missing; needed: {', '.join(_readers(Peer))}")
            self.peers[read["user"]] = Peer(**read)

    def _read(self, file: Path, key: str, reader: Reader, one: Any) -> Any:
        try:
            read = reader(one)
        except BadValue as allowed:
            raise ConfigError(f"{file}: {key}: allowed: {allowed}") from None
        self._said.pop(key, None)  # to its end: the order is the files'
        self._said[key] = file
        return read


def load(path: Path = DEFAULT_PATH, text: str | None = None) -> Config:
    """Read and check the configuration; `text`, if any, in the place of what the file `path` has, with its drop-ins.

    Raises ConfigError naming file, key and what is allowed.
    """
    files = _Files(path, text)
    default = evolve(Service(), **files.services.pop("default"))
    config = Config(
        **files.top,
        **{name: kind(**files.sections[name]) for name, kind in _SECTIONS.items()},
        services={"default": default, **{name: _service(default, own) for name, own in files.services.items()}},
        peers=tuple(files.peers.values()),
    )
    for keys, allowed in _contradictions(config):
        raise files.refuse(keys, allowed)
    return config


def _service(default: Service, own: dict[str, Any]) -> Service:
    """A service's section over the default's; a grant that is only inherited gives way to a key that excludes one."""
    service = evolve(default, **{**own, "texts": {**default.texts, **own.get("texts", {})}})
    return evolve(service, grant=0.0) if "grant" not in own and _excludes_grant(service) else service


def _parse(file: Path, text: str | None) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8") if text is None else text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits is no TOMLDecodeError
        raise ConfigError(f"{file}: is not TOML: {error}") from None


def _table(file: Path, name: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {name}: allowed: a section, [{name}]")
    return table


def _contradictions(config: Config) -> Iterator[tuple[list[str], str]]:
    """Keys that cannot be together, and what is allowed."""
    code, lock = config.code, config.lock
    if lock.wait > lock.wait_max:
        yield ["lock.wait", "lock.wait_max"], "a wait of at most wait_max"
    if lock.after >= lock.close_after:
        yield ["lock.after", "lock.close_after"], "after less than close_after"
    if code.next_code_reach < code.window:
        yield ["code.next_code_reach", "code.window"], "a reach of at least window"
    stolen_key, known_pin = guess_bounds(config)
    bound = f"at most lock.guess_bound = {lock.guess_bound:g}"
    if stolen_key > lock.guess_bound:
        keys = ["lock.wrong_pin_disables", "pin.length", "lock.guess_bound"]
        yield keys, f"{bound}; whoever holds a stolen key guesses its PIN with a chance of {stolen_key:g}"
    if known_pin > lock.guess_bound:
        keys = ["code.window", "code.slow_typing", "lock.guess_bound"]
        yield keys, f"{bound}; whoever knows a PIN guesses a code with a chance of {known_pin:g} a year"
    for name, service in config.services.items():
        for key, allowed in _service_contradictions(config, service):
            yield [f"service.{name}.{part}" if "." not in part else part for part in key.split()], allowed


def _service_contradictions(config: Config, service: Service) -> Iterator[tuple[str, str]]:
    if both := sorted(set(service.include_groups) & set(service.exempt_groups)):
        yield "include_groups exempt_groups", f"a group in one of them; {both[0]} is in both"
    if service.mail_codes and not config.mail.sender:
        yield "mail_codes mail.from", "mail codes with an address in mail.from"
    if service.grant and service.mode != "enforce":
        yield "grant mode", f'a grant with mode = "enforce" alone, not with "{service.mode}"'
    if service.grant and service.ask == "caller":
        yield "grant ask", 'a grant with ask = "target" alone'


def _excludes_grant(service: Service) -> bool:
    return service.mode != "enforce" or service.ask == "caller"


def guess_bounds(config: Config) -> tuple[float, float]:
    """The chance that a guesser gets in: (with a stolen key, until it is disabled; in a year, with a known PIN)."""
    steps = 2 * config.code.window + 1 + math.ceil(config.code.slow_typing / _STEP)
    return config.lock.wrong_pin_disables / 10 ** config.pin.length[0], YEARLY_FAILURES * steps / 10**6


def check_groups(config: Config) -> list[str]:
    """What the configuration names and NSS does not know: a sentence for each group, and for each peer's user.

    The groups that only the shipped defaults name may be missing: then nobody is in them.
    """
    named = dict.fromkeys(config.desk.admin_groups, "desk.admin_groups")
    for name, service in config.services.items():
        for key in ("include_groups", "exempt_groups"):
            for group in getattr(service, key):
                named.setdefault(group, f"service.{name}.{key}")
    unknown = [f"{key}: there is no group {group}" for group, key in named.items() if not _known(grp.getgrnam, group)]
    for user in (peer.user for peer in config.peers):
        if isinstance(user, str) and not _known(pwd.getpwnam, user):
            unknown.append(f"peer.user: there is no user {user}")
    return unknown


def _known(look_up: Callable[[str], Any], name: str) -> bool:
    try:
        look_up(name)
    except (KeyError, OSError, ValueError):
        return name in _SHIPPED_GROUPS
    return True


def show(config: Config) -> dict[str, Any]:
    """The configuration in force, as plain values under the names of arena.toml."""

    def plain(section: Any) -> dict[str, Any]:
        return {_name(f): _plain(getattr(section, f.name)) for f in fields(type(section))}

    return {
        "language": config.language,
        "help": config.help,
        **{name: plain(getattr(config, name)) for name in _SECTIONS},
        "service": {name: plain(service) for name, service in config.services.items()},
        "peer": [plain(peer) for peer in config.peers],
    }


def _plain(one: Any) -> Any:
    return list(one) if isinstance(one, tuple) else one
