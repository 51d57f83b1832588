"""A secret never prints, never travels by pickle, and goes to zero."""

import copy
import logging
import pickle
import traceback

import pytest

from pam_arena.secret import Secret
from pam_arena.wire import Answer, Done

VALUE = b"8361274955"


def test_no_way_of_writing_it_shows_it() -> None:
    secret = Secret(VALUE)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>30}", f"{secret!r}", f"{secret!a}", "%s %r" % (secret, secret)]  # noqa: UP031
    shown += [repr([secret]), repr({"pin": secret}), repr(Answer(secret)), repr(Done(0, secret))]
    record = logging.LogRecord("x", logging.INFO, "x", 1, "typed: %s", (secret,), None)
    shown.append(record.getMessage())
    assert not any("8361" in one or "274955" in one for one in shown)


def test_an_exception_that_holds_it_does_not_show_it() -> None:
    try:
        raise ValueError(Secret(VALUE))
    except ValueError as error:
        assert "8361" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret(VALUE), protocol)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Answer(Secret(VALUE)), protocol)


def test_it_cannot_be_copied_by_the_way() -> None:
    with pytest.raises(TypeError):
        copy.copy(Secret(VALUE))
    with pytest.raises(TypeError):
        copy.deepcopy({"pin": Secret(VALUE)})


def test_it_has_no_dictionary_to_dump() -> None:
    with pytest.raises(TypeError):
        vars(Secret(VALUE))


def test_wiping_forgets_value_and_length() -> None:
    secret = Secret(VALUE)
    secret.wipe()
    assert (secret.reveal(), len(secret)) == (b"", 0)
    secret.wipe()


def test_wiping_overwrites_before_it_frees() -> None:
    secret = Secret(VALUE)
    # A view pins the memory, so that freeing it fails, and what was there can be read.
    with memoryview(secret._buffer) as view:
        with pytest.raises(BufferError):
            secret.wipe()
        assert bytes(view) == bytes(len(VALUE))


def test_the_end_of_a_block_wipes_even_when_it_fails() -> None:
    with pytest.raises(RuntimeError), Secret(VALUE) as secret:
        assert secret.reveal() == VALUE
        raise RuntimeError
    assert secret.reveal() == b""


def test_it_keeps_its_own_copy() -> None:
    source = bytearray(VALUE)
    secret = Secret(source)
    source[:] = bytes(len(source))
    assert secret.reveal() == VALUE
    assert Secret(memoryview(VALUE)).reveal() == VALUE


def test_equal_means_of_equal_value_and_kind() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE[:-1])
    assert Secret(VALUE) != VALUE
    assert Secret() == Secret(b"")


def test_it_is_no_key_of_a_dictionary() -> None:
    with pytest.raises(TypeError):
        hash(Secret(VALUE))
