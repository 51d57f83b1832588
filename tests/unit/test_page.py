"""The page of recovery codes: all that a holder needs, in both languages, narrow enough for paper."""

import pytest

from pam_arena.cli.page import write_page

CODES = [f"ABCD{n}-FGHJ{n}" for n in range(10)]
GIVEN = {
    "holder": "alice",
    "kind": "emergency",
    "created_at": 1764000000,
    "valid_until": None,
    "has_pin": True,
    "language": "en",
    "help": "",
    "host": "web1",
    "codes": CODES,
}


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("count", [1, 2, 5, 10])
@pytest.mark.parametrize("kind", ["emergency", "temporary"])
def test_a_page_has_every_code_once_and_fits(language: str, count: int, kind: str) -> None:
    page = write_page({**GIVEN, "language": language, "codes": CODES[:count], "kind": kind})
    assert [page.count(code) for code in CODES] == [1] * count + [0] * (10 - count)
    assert max(map(len, page.splitlines())) <= 80
    assert "alice" in page
    assert "web1" in page
    assert "2025" in page
    assert "PIN + code" in page


def test_english_and_french_say_who_until_when_and_where_to_ask() -> None:
    dated = {**GIVEN, "kind": "temporary", "valid_until": 1764259200, "help": "7890"}
    english, french = write_page(dated), write_page({**dated, "language": "fr"})
    assert "TEMPORARY CODES" in english
    assert "Valid until  2025-11-27" in english
    assert "say so at once: 7890" in english
    assert "CODES TEMPORAIRES" in french
    assert "jusqu’au 27/11/2025" in french
    assert "signalez-le aussitôt\u00a0: 7890" in french
    assert "the first time leave it empty" not in english


def test_who_has_no_pin_yet_reads_how_to_begin() -> None:
    assert "the first time leave it empty" in write_page({**GIVEN, "has_pin": False})
    assert "la première fois, laissez-le vide" in write_page({**GIVEN, "has_pin": False, "language": "fr"})
