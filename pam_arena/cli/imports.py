"""arenactl token import, and token assign --from: boxes of keys.

Files are read here, so that keys and passphrases of files stay with whoever types them; the desk gets records.
"""

import csv
import getpass
import io
import os
import pwd
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

import click
from attrs import evolve
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pam_arena.errors import BadImport
from pam_arena.importers.once import Once
from pam_arena.importers.recognise import HEAD, Format, Surroundings, read, recognise
from pam_arena.importers.record import Given, Lock, Record, lines_of
from pam_arena.otp import Algorithm, Kind, Mechanism
from pam_arena.secret import Secret

from .desk_client import DeskClient, Failure
from .output import Output, format_option

_ROWS = 1000  # a request
_PIN_WEIGHT = 20  # rows: each PIN costs the desk an argon2id
_TIMEOUT = 300.0  # seconds: a directory of users may be slow, and an earlier import may have to be undone first
_SHOWN = 10  # problems and notes
_KEY_LONGEST = 4096  # bytes
_UNCHANGED = "nothing was changed"


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format", "layout", type=click.Choice([one.value for one in Format]), help="What the files are; found out if left out."
)
@click.option("--key-file", metavar="FILE|-", help="Has the key or the passphrase of an encrypted file.")
@click.option("--assign", is_flag=True, help="Give each key to the user whom the file names.")
@click.option("--user", metavar="USER", default="", help="Whose key it is, where the file names nobody.")
@click.option("--type", "kind", type=click.Choice([one.value for one in Kind]), help="Of keys whose file does not say it.")
@click.option("--digits", type=click.Choice(["6", "8"]), help="Of keys whose file does not say it.")
@click.option("--period", type=click.IntRange(1, 86400), metavar="SECONDS", help="Of keys whose file does not say it.")
@click.option("--algorithm", type=click.Choice([one.value for one in Algorithm]), help="Of keys whose file does not say it.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@format_option
def import_tokens(files: tuple[str, ...], output: Output, **options: Any) -> None:
    """Import files of keys: PSKC, CSV, users.oath, google-authenticator or otpauth; all of it, or nothing."""
    given = Given(
        Kind(options["kind"]) if options["kind"] else None,
        int(options["digits"]) if options["digits"] else None,
        options["period"],
        Algorithm(options["algorithm"]) if options["algorithm"] else None,
        options["user"],
    )
    form = Format(options["layout"]) if options["layout"] else None
    if [options["key_file"], *files].count("-") > 1:
        raise click.UsageError("- stands for the standard input, which can be read once")
    box = _Box(files, form, options["key_file"], given)
    try:
        with DeskClient(timeout=_TIMEOUT) as desk:
            result = _send(desk, box, assign=options["assign"], dry=options["dry_run"])
    finally:
        box.bar.stop()
    kinds = [f"{number} {_in_words(mechanism)}" for mechanism, number in box.kinds.most_common(_SHOWN)]
    record = {**result, "kinds": kinds, "notes": box.notes_for(options["assign"])}
    problems = record.pop("problems", [])
    output.record({"dry_run": options["dry_run"], **record})
    if problems:
        raise Failure("\n".join(["would be refused:", *problems, _UNCHANGED]), 1)


def _in_words(how: Mechanism) -> str:
    moves = f"every {how.period} s" if how.kind is Kind.TOTP else "at each press"
    return f"{how.kind} {how.algorithm}, {how.digits} digits {moves}"


class _Bar:
    """A bar on stderr, for people alone: it shows bytes, because nobody knows how many keys a file has."""

    def __init__(self, size: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        on_stderr = Console(stderr=True)
        self._shown = on_stderr.is_terminal
        self._progress = Progress(*columns, console=on_stderr, transient=True)
        self._task = self._progress.add_task("Importing", total=size or None)
        self._before = 0
        self._source: BinaryIO | None = None

    def follow(self, source: BinaryIO | None) -> None:
        """Follow the reading of a file; None: it is read."""
        if source is None:
            self._before += self._place()
        self._source = source

    def show(self) -> None:
        """Bring the bar up to date."""
        if self._shown:
            self._progress.start()
            self._progress.update(self._task, completed=self._before + self._place())

    def stop(self) -> None:
        """Take the bar away: a question is to be asked, or all is said."""
        if self._shown:
            self._progress.stop()

    def _place(self) -> int:
        try:
            return self._source.tell() if self._source is not None else 0
        except (OSError, ValueError):  # a pipe has none, nor has a closed file
            return 0


class _Box:
    """The files of an import, read one record after the other, and what is to be said of them."""

    def __init__(self, files: tuple[str, ...], form: Format | None, key_file: str | None, given: Given) -> None:
        self.files, self._form, self._key_file, self._given = files, form, key_file, given
        self.kinds: Counter[Mechanism] = Counter()
        self.bar = _Bar(sum(os.path.getsize(file) for file in files if os.path.isfile(file)))
        self._notes: list[str] = []
        self._with_user = 0
        self._keys: dict[Lock, Secret] = {}

    def records(self) -> Iterator[Record]:
        """Every key of every file. Raises Failure, with the file's name."""
        once = Once()
        for file in self.files:
            try:
                with io.BufferedReader(io.FileIO(0 if file == "-" else file, closefd=file != "-"), HEAD) as source:
                    self.bar.follow(source)
                    form = self._form or recognise(source.peek(HEAD)[:HEAD])
                    about = Surroundings(partial(self._ask, file), time.time(), self._given, _owner(source))
                    for record in once.check(self._placed(file, read(form, source, about))):
                        yield self._noted(record)
                    self.bar.follow(None)
            except BadImport as error:
                raise Failure(f"{file}: {error}", 1) from None
            except OSError as error:
                raise Failure(f"{file}: {error.strerror}", 1) from None

    def _placed(self, file: str, records: Iterator[Record]) -> Iterator[Record]:
        """The records, with their file's name in their place where there are several."""
        if len(self.files) == 1:
            return records
        name = "".join(one if one.isprintable() else "?" for one in os.path.basename(file))[:100]
        return (evolve(record, at=f"{name} {record.at}") for record in records)

    def _noted(self, record: Record) -> Record:
        self.kinds[record.mechanism] += 1
        self._with_user += bool(record.user)
        if record.notes and len(self._notes) < _SHOWN:
            self._notes += [f"{record.serial}: {note}" for note in record.notes]
        return record

    def notes_for(self, assign: bool) -> list[str]:
        """What is to be told of these files."""
        ignored = f"users of {self._with_user} keys, their PINs and scratch codes were not looked at: see --assign"
        return [*([ignored] if self._with_user and not assign else []), *self._notes]

    def _ask(self, file: str, lock: Lock) -> Secret:
        """What opens a file, asked for once for all."""
        if lock not in self._keys:
            self.bar.stop()
            self._keys[lock] = self._read_key(lock) if self._key_file is not None else _type_key(lock, file)
        return self._keys[lock]

    def _read_key(self, lock: Lock) -> Secret:
        try:
            with open(0 if self._key_file == "-" else str(self._key_file), "rb", closefd=self._key_file != "-") as source:
                typed = source.read(_KEY_LONGEST)
        except OSError as error:
            raise Failure(f"{self._key_file}: {error.strerror}", 1) from None
        # A raw key may end in what looks like the end of a line.
        return Secret(typed.rstrip(b"\r\n") if lock is Lock.PASSPHRASE else typed)


def _type_key(lock: Lock, file: str) -> Secret:
    if not sys.stdin.isatty():
        raise Failure(f"{file}: is encrypted: give its {lock.value} by --key-file FILE; {_UNCHANGED}", 1)
    asked = f"Passphrase of {file}: " if lock is Lock.PASSPHRASE else f"Key of {file}, as hex or base64: "
    return Secret(getpass.getpass(asked).encode())


def _owner(source: BinaryIO) -> str:
    """The user whose file it is: google-authenticator's is each one's own, and root's are nobody's."""
    try:
        uid = os.fstat(source.fileno()).st_uid
        return pwd.getpwuid(uid).pw_name if uid else ""
    except (KeyError, OSError):
        return ""


def _send(desk: DeskClient, box: _Box, *, assign: bool, dry: bool) -> dict[str, Any]:
    """Stream the records to the desk: while it stages some, the next are read."""
    names = ", ".join(os.path.basename(file) for file in box.files)
    name = desk.post("/imports", body={"source": names[:200], "assign": assign, "dry_run": dry})["id"]
    problems: list[str] = []
    under_way: Future[Any] | None = None
    with ThreadPoolExecutor(1) as sender:
        try:
            for rows in _chunks(box.records(), assign):
                if under_way is not None:
                    problems += under_way.result().get("problems", [])
                under_way = sender.submit(desk.post, "/imports/", name, "/rows", body={"rows": rows})
                box.bar.show()
            if under_way is not None:
                problems += under_way.result().get("problems", [])
            result = desk.post("/imports/", name, "/finish")
        except BaseException as error:
            if under_way is not None:
                with suppress(Failure):
                    under_way.result()
            with suppress(Failure):  # the desk may have ended it itself
                desk.post("/imports/", name, "/abort")
            if isinstance(error, Failure):
                raise Failure(f"{error.message}\n{_UNCHANGED}", error.exit_code) from None
            raise
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return {**result, "problems": [*problems[:_SHOWN], *more]} if dry else dict(result)


def _chunks(records: Iterator[Record], assign: bool) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    weight = 0
    for record in records:
        rows.append(_row(record, assign))
        weight += _PIN_WEIGHT if assign and record.pin is not None else 1
        if weight >= _ROWS:
            yield rows
            rows, weight = [], 0
    if rows:
        yield rows


def _row(record: Record, assign: bool) -> dict[str, Any]:
    """A record as the desk takes it; what is as usual is left out."""
    how = record.mechanism
    row: dict[str, Any] = {
        "at": record.at,
        "serial": record.serial,
        "seed": record.seed.reveal().hex(),
        "type": how.kind,
        "algorithm": how.algorithm,
        "digits": how.digits,
        "period": how.period,
    }
    if record.last_step >= 0:
        row["last_step"] = record.last_step
    if record.drift:
        row["drift"] = record.drift
    if record.valid_until is not None:
        row["valid_until"] = record.valid_until
    if assign and record.user:
        row["user"] = record.user
        if record.pin is not None:
            row["pin"] = record.pin.reveal().decode()
        if record.scratch:
            row["scratch"] = [one.reveal().decode() for one in record.scratch]
    return row


def assign_from(file: str, dry: bool, output: Output) -> None:
    """Hand out the keys of a CSV file of serial,user: all, or none."""
    try:
        with open(0 if file == "-" else file, "rb", closefd=file != "-") as source:
            rows = list(_assignments(lines_of(source)))
    except BadImport as error:
        raise Failure(f"{file}: {error}; {_UNCHANGED}", 1) from None
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", 1) from None
    if len(rows) > _ROWS or not rows:
        raise Failure(f"{file}: has {len(rows)} rows; 1 to {_ROWS} can be assigned at once; {_UNCHANGED}", 1)
    try:
        output.record(DeskClient(timeout=_TIMEOUT).post("/assignments", body={"rows": rows, "dry_run": dry}))
    except Failure as failure:
        raise Failure(f"{failure.message}\n{_UNCHANGED}", failure.exit_code) from None


def _assignments(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    first, rest = next(lines, ""), lines

    def again() -> Iterator[str]:
        yield first
        yield from rest

    reader = csv.reader(again(), delimiter=max(",;\t", key=first.count), skipinitialspace=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells) or cells[0].startswith("#") or [cell.lower() for cell in cells[:2]] == ["serial", "user"]:
                continue
            if len(cells) < 2 or not all(cells[:2]):
                raise BadImport(f"line {reader.line_num}: serial,user is expected")
            yield {"at": f"line {reader.line_num}", "serial": cells[0], "user": cells[1]}
    except csv.Error:
        raise BadImport(f"line {reader.line_num}: is no CSV: a quote is not closed, or a field is too long") from None
