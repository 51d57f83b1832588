"""Which PINs may be chosen, how what was typed falls apart, and that a hash knows its PIN alone."""

import unicodedata
from random import Random

import argon2.low_level
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pam_arena.pin import (
    Flaw,
    Hasher,
    Passcode,
    Policy,
    find_flaw,
    forwarded_well_formed,
    generate,
    normalise,
    split,
    split_forwarded,
    verify,
    well_formed,
)
from pam_arena.secret import Secret

POLICY = Policy()
WORDS = Policy(shortest=8, longest=20, digits_only=False)
CHEAP = Hasher(time_cost=1, memory_kib=8)
SALT = bytes(range(16))


def typed(text: str, policy: Policy = POLICY) -> str:
    return normalise(Secret(text.encode()), policy)


@pytest.mark.parametrize("pin", ["2749", "83610", "902715", "1357", "1122", "2468", "1212", "1289"])
def test_a_pin_that_is_hard_to_guess_may_be_chosen(pin: str) -> None:
    assert find_flaw(pin, POLICY, "90-114-662", "338314") is None


@pytest.mark.parametrize("pin", ["", "274", "2749518", "27a9", "27 9", "-274", "２７４９", "٢٧٤٩", "27\udcff9"])
def test_a_pin_is_four_to_six_digits(pin: str) -> None:
    assert find_flaw(pin, POLICY) is Flaw.LENGTH


def test_the_length_is_the_policys() -> None:
    assert find_flaw("27495183", Policy(8, 8)) is None
    assert find_flaw("2749518", Policy(8, 8)) is Flaw.LENGTH
    assert find_flaw("correct-horse", WORDS) is None
    assert find_flaw("horse", WORDS) is Flaw.LENGTH


@pytest.mark.parametrize("pin", ["0000", "1111", "99999", "555555"])
def test_one_digit_repeated_is_too_easy(pin: str) -> None:
    assert find_flaw(pin, POLICY) is Flaw.EASY


@pytest.mark.parametrize("pin", ["1234", "4321", "0123", "123456", "987654", "6789", "7890", "0987", "567890", "8901", "2109"])
def test_a_run_is_too_easy_up_or_down_and_round(pin: str) -> None:
    assert find_flaw(pin, POLICY) is Flaw.EASY


@pytest.mark.parametrize("pin", ["2580", "0852", "147147", "258258", "369369", "1471", "7417", "9639", "85285", "2580258"[:6]])
def test_a_column_of_the_keypad_is_too_easy(pin: str) -> None:
    assert find_flaw(pin, POLICY) is Flaw.EASY


@pytest.mark.parametrize(
    "pin", ["00000000", "12345678", "76543210", "89012345", "12121212", "717171717", "25802580", "14714714"]
)
def test_longer_pins_are_no_way_round(pin: str) -> None:
    assert find_flaw(pin, Policy(8, 10)) is Flaw.EASY
    assert find_flaw("27495183", Policy(8, 10)) is None


@pytest.mark.parametrize("pin", ["aaaaaaaa", "abcdefgh", "hgfedcba", "abababab", "é-é-é-é-"])
def test_letters_in_a_row_are_too_easy(pin: str) -> None:
    assert find_flaw(pin, WORDS) is Flaw.EASY


@pytest.mark.parametrize("pin", ["correct-horse", "correct horse", "Ça va très bien", "пароль-пароль", "horse\u00a0horse"])
def test_a_pin_may_be_words_where_the_policy_says_so(pin: str) -> None:
    assert find_flaw(pin, WORDS) is None


@pytest.mark.parametrize(
    "pin",
    [" correct-horse", "correct-horse ", "correct-horse\u00a0", "correct\thorse", "correct\x7fhorse", "\udcffcorrect-horse"],
)
def test_a_pin_that_would_not_read_the_same_again_is_no_pin(pin: str) -> None:
    assert find_flaw(pin, WORDS) is Flaw.LENGTH


@pytest.mark.parametrize("pin", ["147", "258", "369", "741", "852", "963"])
def test_a_short_policy_does_not_allow_the_columns_themselves(pin: str) -> None:
    assert find_flaw(pin, Policy(shortest=3)) is Flaw.EASY


@pytest.mark.parametrize("pin", ["1466", "4662", "90114", "901146"])
def test_digits_of_the_serial_are_too_easy(pin: str) -> None:
    assert find_flaw(pin, POLICY, serial="90-114-662") is Flaw.EASY
    assert find_flaw(pin, POLICY, serial="55-555-555") is None


@pytest.mark.parametrize("pin", ["3383", "8314", "338314"])
def test_digits_of_the_code_just_typed_are_too_easy(pin: str) -> None:
    assert find_flaw(pin, POLICY, code="338314") is Flaw.EASY
    assert find_flaw(pin, POLICY, code="755224") is None


@pytest.mark.parametrize("pin", ["33831492", "92338314", "27338395", "90114275", "correct-338314-horse"])
def test_a_longer_pin_with_such_digits_in_it_is_too_easy(pin: str) -> None:
    policy = Policy(8, 24, digits_only=False)
    assert find_flaw(pin, policy, serial="90-114-662", code="338314") is Flaw.EASY
    assert find_flaw(pin, policy, serial="55-555-555", code="755224") is None


def test_a_pin_of_three_digits_is_compared_whole() -> None:
    assert find_flaw("383", Policy(3, 3), code="338314") is Flaw.EASY
    assert find_flaw("384", Policy(3, 3), code="338314") is None


@given(st.integers(4, 12), st.integers(0, 99999999), st.integers(0, 999999), st.integers())
def test_a_made_pin_keeps_the_policy(shortest: int, serial: int, code: int, seed: int) -> None:
    policy, digits = Policy(shortest, shortest + 2), f"{code:06}"
    made = generate(policy, str(serial), digits, Random(seed).choice).reveal().decode()
    assert len(made) == shortest
    assert find_flaw(made, policy, str(serial), digits) is None


def test_a_made_pin_is_drawn_again_while_it_has_a_flaw() -> None:
    drawn = iter("00001466755283619999")
    assert generate(POLICY, "90-114-662", "755224", lambda _: next(drawn)) == Secret(b"8361")
    assert "".join(drawn) == "9999"


def test_a_made_pin_comes_from_the_systems_randomness() -> None:
    assert len({generate(POLICY, "", "").reveal() for _ in range(100)}) > 80


def test_a_pin_is_digits_even_where_more_is_allowed_if_it_is_made() -> None:
    assert generate(WORDS, "", "").reveal().isdigit()


@pytest.mark.parametrize(
    ("first", "second", "digits", "pin", "code"),
    [
        ("", "274955", 6, "", "274955"),
        ("", "8361274955", 6, "8361", "274955"),
        ("8361", "274955", 6, "8361", "274955"),
        ("8361", "8361274955", 6, "8361", "274955"),
        ("8361274955", "", 6, "8361", "274955"),
        ("", "836127495518", 8, "8361", "27495518"),
        ("8361", "27495518", 8, "8361", "27495518"),
        ("", "", 6, "", ""),
        ("", "2749", 6, "", "2749"),
    ],
)
def test_the_last_digits_are_the_code_and_the_rest_is_the_pin(
    first: str, second: str, digits: int, pin: str, code: str
) -> None:
    apart = split(first, second, digits)
    assert (apart.pin, apart.code, apart.consistent) == (pin, code, True)


def test_a_pin_typed_twice_must_be_the_same() -> None:
    assert split("8361", "8361274955", 6).consistent
    assert not split("8362", "8361274955", 6).consistent
    assert not split("8361", "27495518", 6).consistent


@given(
    st.text("0123456789", max_size=8), st.sampled_from([6, 8]).flatmap(lambda n: st.text("0123456789", min_size=n, max_size=n))
)
def test_one_field_and_two_mean_the_same(pin: str, code: str) -> None:
    apart = Passcode(pin, code, True)
    for first, second in (("", pin + code), (pin, code), (pin, pin + code)):
        again = split(first, second, len(code))
        assert (again.pin, again.code, again.consistent) == (apart.pin, apart.code, apart.consistent)


def test_azertys_unshifted_row_reads_as_digits() -> None:
    assert typed("&é\"'(-è_çà") == "1234567890"
    assert typed("èéàç + 274 955") == "7209274955"


def test_an_accent_typed_apart_reads_the_same() -> None:
    assert typed(unicodedata.normalize("NFD", "éèçà")) == "2790"


@pytest.mark.parametrize("text", ["8361+274955", "8361 274955", "8361 + 274 955", " 8361274955 ", "8361\u00a0274955"])
def test_spaces_and_plus_are_dropped(text: str) -> None:
    assert typed(text) == "8361274955"


def test_a_pin_that_need_not_be_digits_is_taken_as_typed() -> None:
    assert typed("é + & 1", WORDS) == "é + & 1"


def test_bytes_of_no_text_are_kept_apart() -> None:
    assert normalise(Secret(b"\xff274955"), POLICY) != normalise(Secret(b"\xfe274955"), POLICY)


@pytest.mark.parametrize(
    ("first", "second"), [("", "274955"), ("", "27495518"), ("", "8361274955"), ("8361", "274955"), ("1", "1274955")]
)
def test_a_code_after_a_pin_or_none_can_be_a_passcode(first: str, second: str) -> None:
    assert well_formed(first, second, POLICY)


@pytest.mark.parametrize(
    ("first", "second"), [("", ""), ("", "27495"), ("", "hunter2"), ("", "hunter2274955"), ("", "２７４９５５"), ("12", "34")]
)
def test_a_password_can_be_no_passcode(first: str, second: str) -> None:
    assert not well_formed(first, second, POLICY)


def test_a_pin_of_letters_can_stand_before_a_code_where_the_policy_says_so() -> None:
    assert well_formed("", "correct-horse274955", WORDS)
    assert not well_formed("", "correct-horse", WORDS)


@pytest.mark.parametrize(
    ("text", "pin_length", "digits", "password", "pin", "code"),
    [
        ("correct horse8361274955", 4, 6, "correct horse", "8361", "274955"),
        ("correct horse 8361274955", 4, 6, "correct horse ", "8361", "274955"),
        ('é + &_"-&éèàç((', 4, 6, "é + &", "8361", "270955"),
        ("horse836127495518", 4, 8, "horse", "8361", "27495518"),
        ("horse274955", 0, 6, "horse", "", "274955"),
        ("8361274955", 4, 6, "", "8361", "274955"),
        ("61274955", 4, 6, "", "61", "274955"),
        ("4955", 4, 6, "", "", "4955"),
        ("", 4, 6, "", "", ""),
        ("horse8361 74955", 4, 6, "horse", "8361", " 74955"),
    ],
)
def test_a_password_ends_where_pin_and_code_begin(
    text: str, pin_length: int, digits: int, password: str, pin: str, code: str
) -> None:
    before, apart = split_forwarded(Secret(text.encode()), pin_length, digits, POLICY)
    assert before == Secret(password.encode())
    assert (apart.pin, apart.code, apart.consistent) == (pin, code, True)


@given(st.binary(max_size=20), st.text("0123456789", max_size=8), st.text("0123456789", min_size=6, max_size=6))
def test_a_password_before_a_passcode_keeps_its_bytes(password: bytes, pin: str, code: str) -> None:
    before, apart = split_forwarded(Secret(password + pin.encode() + code.encode()), len(pin), 6, POLICY)
    assert before.reveal() == password
    assert (apart.pin, apart.code) == (pin, code)


def test_a_pin_of_letters_after_a_password_reads_as_it_is_stored() -> None:
    before, apart = split_forwarded(Secret("pass&côté-ouest274955".encode()), 10, 6, WORDS)
    assert (before.reveal(), apart.pin) == (b"pass&", "côté-ouest")


@pytest.mark.parametrize("text", ["274955", "horse274955", "horse8361274955", "horseé'_-((", "\u00e9\u00e9 274955"])
def test_a_password_with_a_code_at_its_end_can_be_a_passcode(text: str) -> None:
    assert forwarded_well_formed(Secret(text.encode()))


@pytest.mark.parametrize("text", ["", "27495", "horse", "horse27 955", "horse 27495", "274955x", "２７４９５５"])
def test_a_password_alone_can_be_no_passcode(text: str) -> None:
    assert not forwarded_well_formed(Secret(text.encode()))


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=20), st.text("0123456789", max_size=6))
def test_a_hash_knows_its_own_pin_alone(pin: str, other: str) -> None:
    hashed = CHEAP.hash(pin, SALT)
    assert verify(hashed, pin)
    assert verify(hashed, other) is (other == pin)


def test_the_salt_tells_equal_pins_apart() -> None:
    assert CHEAP.hash("2749", SALT) == CHEAP.hash("2749", SALT)
    assert CHEAP.hash("2749", SALT) != CHEAP.hash("2749", SALT[::-1])


def test_bytes_of_no_text_hash_too() -> None:
    hashed = CHEAP.hash("\udcff2749", SALT)
    assert verify(hashed, "\udcff2749")
    assert not verify(hashed, "\udcfe2749")


def test_the_cost_is_what_owasp_asks_of_argon2id() -> None:
    assert Hasher().hash("2749", SALT).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("hashed", ["", "2749", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$AAAA", "$6$salt$hash", "é"])
def test_what_is_no_hash_is_an_error_and_no_denial(hashed: str) -> None:
    with pytest.raises(ValueError, match="no argon2id hash"):
        verify(hashed, "2749")


def test_a_hash_of_another_argon2_is_an_error() -> None:
    other = argon2.low_level.hash_secret(b"2749", SALT, 1, 8, 1, 32, argon2.low_level.Type.I).decode()
    with pytest.raises(ValueError, match="no argon2id hash"):
        verify(other, "2749")


def test_a_passcode_taken_apart_does_not_print() -> None:
    shown = repr(split("8361", "274955", 6))
    assert "8361" not in shown
    assert "274955" not in shown
