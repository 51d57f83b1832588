"""What the desk says over HTTP of its configuration and its store's schema."""

from arena import Service
from arenad.store.engine import SCHEMA_VERSION
from desk_service import DeskService


def test_the_configuration_in_force_is_shown_also_while_the_files_are_not_good(service: Service, desk: DeskService) -> None:
    assert desk.get("/config")["help"] == ""
    good = service.config.read_text()
    service.config.write_text('help = "4242"\n' + good)
    assert desk.get("/config")["help"] == "4242"
    service.config.write_text("nonsense = 1\n" + good)
    shown = desk.get("/config")
    assert (shown["help"], shown["store"]["url"], shown["service"]["default"]["mode"]) == ("4242", service.url, "enforce")


def test_a_configuration_is_checked_as_it_is_or_as_it_is_to_be(service: Service, desk: DeskService) -> None:
    good = desk.do("/config/check")
    assert (good["verdict"], good["stolen_key"], good["problem"]) == ("good", 0.001, "")
    before = service.config.read_bytes()
    for text, told in (
        ("[code]\nwindow = 9\n", f"{service.config}: code.window: allowed: "),
        ("no toml", "is not TOML"),
        ('[desk]\nadmin_groups = ["no-such-group"]\n', "there is no group no-such-group"),
        ("[lock]\nwrong_pin_disables = 500\n", "guesses its PIN with a chance of 0.05"),
    ):
        found = desk.do("/config/check", {"text": text})
        assert (found["verdict"], told in found["problem"], found["stolen_key"]) == ("bad", True, None), found
    drop_ins = service.config.with_name("arena.toml.d")
    drop_ins.mkdir()
    (drop_ins / "later.toml").write_text("[lock]\nwrong_pin_disables = 20\n")
    assert desk.do("/config/check", {"text": "[lock]\nwrong_pin_disables = 500\n"})["stolen_key"] == 0.002
    assert (service.config.read_bytes(), desk.get("/config")["lock"]["wrong_pin_disables"]) == (before, 20)


def test_the_schema_is_told_with_whether_it_is_this_releases(service: Service, desk: DeskService) -> None:
    path = str(service.folder / "arena.db")
    told = desk.get("/schema")
    assert told == {"store": path, "schema": SCHEMA_VERSION, "release": SCHEMA_VERSION, "current": True, "remedy": ""}
