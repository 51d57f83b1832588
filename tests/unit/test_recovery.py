"""Recovery codes: how one is made, and that shape alone tells one from a passcode."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pam_arena.pin import Passcode, Policy
from pam_arena.recovery import ALPHABET, find, make, well_formed
from pam_arena.secret import Secret

POLICY = Policy()
WORDS = Policy(shortest=8, longest=20, digits_only=False)
CODE = "ABCDE-FGHJK"


def found(first: str | None, second: str, policy: Policy = POLICY) -> tuple[str, str, bool] | None:
    typed = find(None if first is None else Secret(first.encode()), Secret(second.encode()), policy)
    return None if typed is None else (typed.pin, typed.code, typed.consistent)


def fits(first: str | None, second: str, policy: Policy = POLICY) -> bool:
    return well_formed(None if first is None else Secret(first.encode()), Secret(second.encode()), policy)


def test_a_code_holds_fifty_bits_in_letters_that_nobody_confuses() -> None:
    assert len(set(ALPHABET)) == 32
    assert not set(ALPHABET) & set("ILOU")
    codes = {make() for _ in range(200)}
    assert len(codes) == 200
    assert all(re.fullmatch(f"[{ALPHABET}]{{5}}-[{ALPHABET}]{{5}}", code) for code in codes)
    assert set("".join(codes)) == {*ALPHABET, "-"}


@given(st.integers(), st.text("0123456789", max_size=6), st.booleans())
def test_what_was_made_is_found_however_it_is_typed(seed: int, pin: str, small: bool) -> None:
    code = make(Random(seed).choice)
    typed = code.lower() if small else code
    for first, second in ((None, pin + typed), (pin, typed), (pin, pin + typed), (pin + typed, ""), ("", pin + typed)):
        assert found(first, second) == (pin, code, True)
        assert fits(first, second)


@pytest.mark.parametrize("typed", ["abcde-fghjk", "AbCdE-fGhJk", "ABCDE-FGHJK ", "ABCDE-FGHJK\u00a0", "  ABCDE-FGHJK"])
def test_case_and_blanks_around_do_not_matter(typed: str) -> None:
    assert found(None, typed) == ("", CODE, True)


@pytest.mark.parametrize("typed", ["8361 ABCDE-FGHJK", "8361+ABCDE-FGHJK", "8 3 6 1 + ABCDE-FGHJK", '_"-&ABCDE-FGHJK'])
def test_the_pin_before_it_reads_as_before_a_tokencode(typed: str) -> None:
    assert found(None, typed) == ("8361", CODE, True)


def test_letters_that_look_like_digits_are_read_as_them() -> None:
    assert found(None, "8361ilIL0-oO012") == ("8361", "11110-00012", True)


def test_a_pin_of_letters_is_taken_as_typed() -> None:
    assert found(None, "correct-horseABCDE-FGHJK", WORDS) == ("correct-horse", CODE, True)
    assert found("correct-horse", "abcde-fghjk", WORDS) == ("correct-horse", CODE, True)
    assert found("8361 ", "abcde-fghjk", WORDS) == ("8361 ", CODE, True)


def test_a_pin_typed_twice_must_be_the_same() -> None:
    assert found("8361", "8361ABCDE-FGHJK") == ("8361", CODE, True)
    assert found("8362", "8361ABCDE-FGHJK") == ("8361", CODE, False)


def test_control_characters_before_a_code_hide_nothing() -> None:
    assert found(None, "83\n61\x00ABCDE-FGHJK") == ("83\n61\x00", CODE, True)


def test_bytes_that_are_no_text_before_a_code_are_kept_apart() -> None:
    one, other = (find(None, Secret(byte + CODE.encode()), POLICY) for byte in (b"\xff", b"\xfe"))
    assert one is not None and other is not None
    assert one.pin != other.pin


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ABCDE",
        "ABCDEFGHJK",
        "ABCDE-FGHJ",
        "BCDE-FGHJK",
        "ABCDU-FGHJK",
        "ABCDE-FGHJu",
        "ABCDE_FGHJK",
        "ABCDE–FGHJK",
        "ABCDE-FGHJK1",
        "ABCDE-FGHJK\n",
        "ABCDÉ-FGHJK",
        "ABC E-FGHJK",
        "ABCDE6FGHJK",
        "８３６１２-FGHJK",
        "\u212aBCDE-FGHJK",
        "ABCDE-FGHJK*",
    ],
)
def test_another_shape_is_no_recovery_code(typed: str) -> None:
    assert found(None, typed) is None
    assert found("", typed) is None


@given(st.text(max_size=12), st.text("0123456789", min_size=6, max_size=6))
def test_no_passcode_is_taken_for_a_recovery_code(pin: str, code: str) -> None:
    for first, second in ((None, pin + code), (pin, code), (pin, pin + code)):
        assert found(first, second) is None


@given(st.text("&é\"'(-è_çà", max_size=12))
def test_no_digit_row_of_an_azerty_keyboard_is_taken_for_a_recovery_code(typed: str) -> None:
    assert found(None, typed) is None


def test_a_recovery_code_after_what_can_be_no_pin_is_found_and_not_well_formed() -> None:
    assert found(None, "hunter2ABCDE-FGHJK") == ("hunter2", CODE, True)
    assert not fits(None, "hunter2ABCDE-FGHJK")
    assert fits(None, "hunter2ABCDE-FGHJK", WORDS)


@pytest.mark.parametrize(
    ("first", "second"), [(None, "274955"), ("8361", "274955"), ("8361", "8361274955"), (None, "é\"'(27 4955")]
)
def test_a_tokencode_is_well_formed_too(first: str | None, second: str) -> None:
    assert fits(first, second)


@pytest.mark.parametrize(
    ("first", "second"), [(None, ""), ("", ""), (None, "hunter2"), ("8361", "ABCDE"), (None, "ABCDE-FGHJ")]
)
def test_a_password_is_not_well_formed(first: str | None, second: str) -> None:
    assert not fits(first, second)


def test_what_is_found_does_not_print() -> None:
    typed = find(None, Secret(b"8361ABCDE-FGHJK"), POLICY)
    assert isinstance(typed, Passcode)
    assert "8361" not in repr(typed)
    assert "ABCDE" not in repr(typed)
