"""An ordinary user and somebody else's account: one answer for every name, no row that changes, and no lie believed."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path

import pytest
import sqlalchemy as sa
from arena import Service
from arenad.store.engine import make_engine
from arenad.store.schema import audit, origin, session_grant
from arenad.store.schema import token as token_table
from crowd import HOTP, PIN, Person, enrol
from hostile import FIRST_UID, WRONG, OneHash, hostile_service, write_users
from single import as_uid, connect, hear, say, start

from pam_arena.errors import LocalProtocolError
from pam_arena.protocol import Operation
from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done, Prompt, decode, encode

VERA, NOEL, RITA, MALLORY = ("vera", 61_902), ("noel", 61_903), ("rita", 61_904), ("mallory", 61_901)
ALIAS = ("vera2", VERA[1])
# A uid begins no more than so many conversations in a while: many ask at once what one could ask in turn.
CROWD = [(f"m{number}", FIRST_UID + number) for number in range(400)]
PEOPLE = [VERA, NOEL, RITA, MALLORY, ALIAS, *CROWD]
PERM_DENIED, SUCCESS = 6, 0
OWN = (Operation.REQUEST, Operation.STATUS, Operation.LOST, Operation.CODES)
NAMES = [
    *("vera", "vera2", "noel", "rita", "mallory", "root", "daemon", "no-such-user", ""),  # with a key, without, or nobody's
    *("Vera", "VERA", "vera ", " vera", "vera\n", "vera\r", "vera\t", "vera:x", "vera,vera", "vera\\n"),
    *("vera@school.example", "school\\vera", "vera+x", "../vera", "/vera", "%s%n", "v" * 512, "\udcff", "vera\udcff"),
    *("61902", "#61902", "0", "61000", "-1", "4294967296", "0x0", "m0 ", "M0", "m0\n"),  # a uid is no name
    *("v\u0435ra", "ve\u0301ra", "\uff56\uff45\uff52\uff41", "vera\u200b", "\u202evera", "ver\u0430"),  # look-alikes
]
LIES: list[dict[str, object]] = [
    {},
    {"uid": 0, "ruser": "root", "tty": "/dev/tty1"},
    {"uid": VERA[1], "ruser": "vera", "rhost": "192.0.2.7", "tty": "ssh", "auth_info": "publickey ssh-ed25519 AAAA\n"},
    {"passcode": Secret(b"2846000000")},
]
KEY = "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVyYQ==\n"


@pytest.fixture
def vera() -> Person:
    return Person("vera", HOTP, b"v" * 20)


@pytest.fixture
def house(open_folder: Path, vera: Person) -> Iterator[Service]:
    """Vera, Rita and Mallory have keys, Noel has none; sshd leaves session grants."""
    extra = '[login]\ndeny_after = "0"\n[service.sshd]\ngrant = "8h"\n[service.su]\nask = "caller"\n'
    service = hostile_service(open_folder, PEOPLE, extra)
    others = [Person(name, HOTP, name[0].encode() * 20) for name in ("rita", "mallory")]
    enrol(service, [vera, *others], OneHash())
    service.start()
    yield service
    service.close()


def rows_of(service: Service) -> list[str]:
    """The whole store, row by row."""
    with sqlite3.connect(f"file:{service.folder / 'arena.db'}?mode=ro", uri=True) as connection:
        return list(connection.iterdump())


def everything(lies: Sequence[dict[str, object]]) -> Iterator[tuple[str, bytes]]:
    """Each operation for each name, in each way of lying: what it is, and its START."""
    for name in NAMES:
        for operation in Operation:
            own = operation in OWN
            serial = {"serial": "K-vera"} if operation in (Operation.REQUEST, Operation.LOST) else {}
            for number, lie in enumerate(lies):
                if own and number > 1:
                    continue
                more = {key: value for key, value in lie.items() if not own or key not in ("passcode", "auth_info")}
                try:
                    yield f"{name!r} {operation.name} {number}", start(name, operation, "sshd", **serial, **more)
                except LocalProtocolError:  # a lie that the wire has no place for, or a name of no length that it takes
                    continue


def answers(service: Service, lies: Sequence[dict[str, object]]) -> dict[tuple[bytes, ...], list[str]]:
    """What arenad says to an ordinary user, and to which STARTs."""
    said: dict[tuple[bytes, ...], list[str]] = {}
    for (_, uid), (what, datagram) in zip(cycle(CROWD), everything(lies)):
        with connect(service.socket_path, uid) as line:
            said.setdefault(tuple(say(line, datagram, WRONG, WRONG)), []).append(what)
    return said


REFUSED = {(encode(Done(PERM_DENIED)),)}
SETTINGS: dict[str, Callable[[sa.engine.Connection], object]] = {
    "as they are": lambda connection: None,
    "vera waits": lambda connection: connection.execute(
        sa.insert(origin).values(
            holder_id=1, kind="console", key="", failures=9, wait_until=int(time.time()) + 900, closed=False, granted_at=0
        )
    ),
    "vera is closed": lambda connection: connection.execute(sa.update(origin).values(closed=True)),
    "vera's key is disabled": lambda connection: connection.execute(
        sa.update(token_table).where(token_table.c.serial == "K-vera").values(state="disabled")
    ),
}


def test_every_name_but_ones_own_gets_one_answer_and_no_row_changes(house: Service, count: Callable[[str], None]) -> None:
    asked = 0
    for setting, change in SETTINGS.items():
        with make_engine(house.url).begin() as connection:
            change(connection)
        before, begun = rows_of(house), time.monotonic()
        said = answers(house, LIES[:1] if asked else LIES)
        assert set(said) == REFUSED, {key: what[:3] for key, what in said.items() if key not in REFUSED}
        assert rows_of(house) == before, setting
        asked += sum(map(len, said.values()))
        time.sleep(max(0.0, begun + 1.2 - time.monotonic()))  # the crowd's places are free again
    count(f"{asked} STARTs of ordinary users for {len(NAMES)} others, {len(Operation)} operations: one answer, no row changed")


def test_the_same_start_by_its_own_user_is_answered_otherwise_and_leaves_rows(house: Service) -> None:
    """What the test before rests on: names and operations that mean something to whom they belong."""
    before = rows_of(house)
    for operation in Operation:
        with connect(house.socket_path, VERA[1]) as line:
            said = say(line, start("vera", operation, "sshd"), WRONG, WRONG)
        assert tuple(said) not in REFUSED, operation
        time.sleep(0.3)
    assert rows_of(house) != before


def test_a_uid_may_speak_for_each_of_its_names_and_a_renamed_user_for_the_new_one_alone(house: Service) -> None:
    def asked(uid: int, *names: str) -> list[bool]:
        lines = [connect(house.socket_path, uid) for _ in names]
        said = []
        for line, name in zip(lines, names, strict=True):
            line.send(start(name))
            said.append(isinstance(decode(hear(line)), Prompt))
            line.close()
        return said

    assert asked(VERA[1], "vera", "vera2", "rita") == [True, True, False]
    # Rita is called margarita from now on, and somebody else is rita.
    renamed = [one for one in PEOPLE if one != RITA] + [("margarita", RITA[1]), ("rita", 61_990)]
    write_users(house.folder / "passwd", renamed)
    assert asked(RITA[1], "rita", "margarita") == [False, True]
    assert asked(61_990, "rita", "margarita") == [True, False]


def test_who_connected_is_who_asks_whoever_holds_the_socket_later(house: Service) -> None:
    """SO_PEERCRED is of the moment of connect(2): neither a fork, nor a change of uid, nor passing it on makes another."""
    with connect(house.socket_path, MALLORY[1]) as line:  # root speaks, over a socket that mallory connected
        assert say(line, start("vera", uid=0)) == [encode(Done(PERM_DENIED))]
    with connect(house.socket_path, MALLORY[1]) as line:  # vera does, who got it from mallory
        assert as_uid(house, VERA[1], lambda: say(line, start("vera"))) == repr([encode(Done(PERM_DENIED))])
    with connect(house.socket_path, MALLORY[1]) as line:  # a child of mallory's speaks for him, when he is gone
        assert "PIN" in as_uid(house, MALLORY[1], lambda: decode(say(line, start("mallory"))[0]))


def test_what_a_liar_says_of_himself_is_not_believed(house: Service, vera: Person) -> None:
    """He has a known address and a session grant: he himself, over the socket, has neither, and spoils neither."""
    mallory = Person("mallory", HOTP, b"m" * 20)
    lie = {"rhost": "192.0.2.7", "ruser": "root", "tty": "/dev/tty1", "uid": 0, "auth_info": KEY}

    def as_sshd(code: str) -> list[bytes]:
        with connect(house.socket_path) as line:
            opening = start("mallory", service="sshd", rhost="192.0.2.7", auth_info=KEY)
            return say(line, opening, encode(Answer(Secret(PIN.encode()))), encode(Answer(Secret(code.encode()))))

    assert as_sshd(mallory.code(0))[-1] == encode(Done(SUCCESS))
    assert as_sshd("")[0] == encode(Done(SUCCESS))  # the grant covers sshd's next
    known = [row for row in house.rows(origin) if row["kind"] == "remote"]
    granted = house.rows(session_grant)
    for _ in range(4):
        with connect(house.socket_path, MALLORY[1]) as line:
            said = say(line, start("mallory", service="sshd", **lie), WRONG, WRONG)
        assert isinstance(decode(said[0]), Prompt)  # asked, whatever grant there is
        row = house.rows(audit)[-1]
        assert (row["actor"], row["address"], row["outcome"]) == (f"uid:{MALLORY[1]}", "", "denied")
        time.sleep(0.3)
    # His failures stand with his own uid, not with the address, the console or root.
    mine = [(row["kind"], row["key"], row["failures"]) for row in house.rows(origin) if row["failures"]]
    assert mine == [("local", str(MALLORY[1]), 4)]
    assert ([row for row in house.rows(origin) if row["kind"] == "remote"], house.rows(session_grant)) == (known, granted)
    with connect(house.socket_path, MALLORY[1]) as line:  # su asks for the caller's own key, and he is no root
        line.send(start("vera", service="su", uid=VERA[1], ruser="vera"))
        assert isinstance(decode(hear(line)), Prompt)
        answered = say(line, WRONG, WRONG)
    assert answered
    assert house.rows(audit)[-1]["holder"] == "mallory"
