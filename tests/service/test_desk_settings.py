"""The desk's service follows its configuration without being told; a bad one changes nothing but the journal."""

import os
from pathlib import Path

from arena import Service
from desk_service import DeskService
from dialogues import Holder


def told(desk: DeskService) -> str:
    return str(desk.do("/holders/root/codes/temporary", {})["help"])


def test_a_changed_configuration_counts_from_the_next_request_on(service: Service, desk: DeskService) -> None:
    Holder(service, "root")
    drop_ins: Path = service.folder / "arena.toml.d"
    drop_ins.mkdir()
    assert told(desk) == ""
    ours = drop_ins / "school.toml"
    ours.write_text('help = "4242"\n')
    assert told(desk) == "4242"
    kept = os.stat(ours)
    ours.write_text('help = "4343"\n')
    os.utime(ours, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    assert told(desk) == "4343"
    ours.write_text("help = 5\n")
    assert [told(desk), told(desk)] == ["4343"] * 2
    assert desk.journal.read_text().count("configuration not reloaded, the previous one stays in force") == 1
    ours.unlink()
    assert told(desk) == ""
