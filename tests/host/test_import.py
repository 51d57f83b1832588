"""Keys that come in files, on a real host: people of pam_oath and google-authenticator, and a box of fobs by PSKC."""

import base64
import io
import json

import pytest
from holders import AGAIN, ASK_CODE, ASK_PIN, CHOOSE, NEW, PIN, SHELL, Step, password, play
from hosts import SUCCESS, ButtonFob, Fob, Host
from pskc import PSKC

KEY = bytes(range(16))
CREATE: list[Step] = [(CHOOSE, PIN, "a PIN"), (AGAIN, PIN, "the same PIN")]


@pytest.fixture(scope="module")
def desk(host: Host) -> Host:
    host.password_first()
    return host


def put(host: Host, name: str, text: str | bytes) -> str:
    """A file that only root reads; returns its path inside the host."""
    path = host.root / "root" / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return f"/root/{name}"


def enter(host: Host, name: str, steps: list[Step]) -> None:
    assert SHELL in play(host.ssh(name, f"echo {SHELL}"), [password(), *steps], SHELL)


def test_people_of_pam_oath_go_on_with_the_codes_they_have(desk: Host) -> None:
    clock, button = Fob("", period=30), ButtonFob("")
    for name in ("omar", "petra"):
        desk.add_user(name)
    used = [button.fresh() for _ in range(3)]
    lines = [
        f"HOTP/T30 omar {PIN} {clock.seed.hex()}\n",
        f"HOTP petra - {button.seed.hex()} 2 {used[2]} 2026-01-05T08:00:00L\n",
    ]
    told = json.loads(
        desk.arenactl("token", "import", "--assign", put(desk, "users.oath", "".join(lines)), "-o", "json").stdout
    )
    assert (told["assigned"], told["people"], told["pins"]) == (2, 2, 1)
    enter(desk, "omar", [(ASK_PIN, PIN, "PIN"), (ASK_CODE, clock.fresh, "code")])
    code, _, _ = desk.authenticate("petra", "", used[2])
    assert code != SUCCESS
    enter(
        desk, "petra", [(ASK_PIN, "", ""), (ASK_CODE, button.fresh, "code"), *CREATE, (NEW, lambda: PIN + button.fresh(), "")]
    )


def test_a_google_authenticator_file_brings_its_scratch_codes(desk: Host) -> None:
    desk.add_user("quinn")
    button = ButtonFob("")
    text = f'{base64.b32encode(button.seed).decode()}\n" HOTP_COUNTER 1\n12345678\n'
    (desk.root / "home/quinn/.google_authenticator").write_text(text)
    desk.run("chown", "quinn:", "/home/quinn/.google_authenticator")
    button.fresh()  # its first code was used: the file has the next counter
    told = json.loads(desk.arenactl("token", "import", "--assign", "/home/quinn/.google_authenticator", "-o", "json").stdout)
    assert (told["assigned"], told["scratch_codes"]) == (1, 1)
    enter(
        desk, "quinn", [(ASK_PIN, "", ""), (ASK_CODE, button.fresh, "code"), *CREATE, (NEW, lambda: PIN + button.fresh(), "")]
    )
    enter(desk, "quinn", [(ASK_PIN, PIN, "PIN"), (ASK_CODE, "12345678", "scratch code")])


def test_a_box_of_fobs_is_imported_by_its_key_and_handed_out(desk: Host) -> None:
    fobs = {name: Fob(f"F-{name}", period=5) for name in ("rosa", "sam")}
    container = PSKC()
    container.encryption.setup_preshared_key(key=KEY, algorithm="aes128-cbc")
    for name, fob in fobs.items():
        desk.add_user(name)
        about = {"algorithm": "urn:ietf:params:xml:ns:keyprov:pskc:totp", "response_length": 6, "time_interval": 5}
        container.add_key(serial=fob.serial, secret=fob.seed, **about)
    written = io.BytesIO()
    container.write(written)
    box, key = put(desk, "fobs.xml", written.getvalue()), put(desk, "fobs.key", KEY.hex() + "\n")
    refused = desk.arenactl("token", "import", "--key-file", put(desk, "wrong.key", bytes(16)), box, check=False)
    assert (refused.returncode, "key 1, serial F-rosa: it does not open" in refused.stderr) == (1, True)
    assert "keys           2" in desk.arenactl("token", "import", "--key-file", key, box).stdout
    people = put(desk, "people.csv", "".join(f"{fob.serial},{name}\n" for name, fob in fobs.items()))
    assert json.loads(desk.arenactl("token", "assign", "--from", people, "-o", "json").stdout)["assigned"] == 2
    code, _, said = desk.authenticate("sam", "", fobs["sam"].fresh(), PIN, PIN, PIN + fobs["sam"].ahead())
    assert code == SUCCESS, said
