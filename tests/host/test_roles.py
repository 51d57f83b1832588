"""The whole table of roles against the real desk, by real people: root, members of the groups, one of none, and nobody."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import DRIVER, Host
from people import operations

SERVICE_TESTS = Path(__file__).parents[1] / "service"
SOCKET = "/run/arena/desk.sock"
GROUPS = {"admin": "arena-admin", "desk": "arena-desk", "both": "arena-admin,arena-desk", "others": ""}
UNKNOWN = 54321


@pytest.fixture(scope="module")
def people(host: Host) -> Iterator[dict[str, int]]:
    """The uids of people by what they are; root and a uid that NSS does not know too."""
    host.run("groupadd", "arena-admin")
    uids = {"root": 0, "unknown": UNKNOWN}
    for name, groups in GROUPS.items():
        host.add_user(f"role-{name}", groups=groups)
        uids[name] = int(host.run("id", "-u", f"role-{name}").stdout)
    host.copy(SERVICE_TESTS / "people.py", to=DRIVER)
    yield uids
    host.run("groupdel", "arena-admin")


def ask(host: Host, people: dict[str, int]) -> dict[str, dict[str, int]]:
    """Each one's answer to each verb: HTTP's status, or 0 for no connection."""
    asked = list(operations())
    wanted = {"path": SOCKET, "uids": list(people.values()), "asked": asked}
    told = json.loads(host.run("python3", f"{DRIVER}/people.py", input=json.dumps(wanted)).stdout)
    verbs = [verb for verb, _, _ in asked]
    return {
        name: dict(zip(verbs, [status for status, _ in said], strict=True)) for name, said in zip(people, told, strict=True)
    }


def table() -> dict[str, dict[str, bool]]:
    """golden/roles.txt: for each verb, who may."""
    head, *rows = [line.split("  ") for line in (SERVICE_TESTS / "golden/roles.txt").read_text().splitlines()]
    names = [name.strip() for name in head if name][1:]
    found = {}
    for row in rows:
        verb, *cells = [cell.strip() for cell in row if cell]
        found[verb] = {name: cell == "may" for name, cell in zip(names, cells, strict=True)}
    return found


def test_every_cell_of_the_table(host: Host, people: dict[str, int]) -> None:
    host.run("chmod", "666", SOCKET)  # so that it is the table alone that refuses
    try:
        answers = ask(host, people)
    finally:
        host.run("chmod", "660", SOCKET)
    rows = table()
    for name, answered in answers.items():
        assert set(answered) == set(rows)
        for verb, status in answered.items():
            row = rows[verb]
            may = row["admin"] or row["desk"] if name == "both" else row["others" if name == "unknown" else name]
            assert (status == 403) == (not may), (name, verb, status)
            assert 0 < status < 500, (name, verb)


def test_the_socket_itself_lets_root_and_the_desks_group_in_alone(host: Host, people: dict[str, int]) -> None:
    answers = ask(host, people)
    assert {name for name, answered in answers.items() if set(answered.values()) != {0}} == {"root", "desk", "both"}
