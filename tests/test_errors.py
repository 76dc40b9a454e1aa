import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.errors import (
    DataError,
    Interrupted,
    PatchsegError,
    SomeFailed,
    UsageError,
    did_you_mean,
    listing,
)

CODES = {PatchsegError: 1, UsageError: 2, DataError: 3, SomeFailed: 4, Interrupted: 130}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_each_kind_of_error_has_the_exit_code_of_the_command_line(kind, code):
    assert kind("x").exit_code == code


def test_every_error_is_caught_as_a_patchseg_error():
    assert set(PatchsegError.__subclasses__()) | {PatchsegError} == set(CODES)


def test_a_slip_of_the_finger_is_met_with_the_nearest_known_word():
    assert did_you_mean("epoch", ["batch", "epochs", "rate"]) == '; did you mean "epochs"?'


def test_nothing_is_suggested_where_nothing_is_near():
    assert did_you_mean("zebra", ["batch", "epochs"]) == ""
    assert did_you_mean("zebra", []) == ""


@given(st.lists(st.text("abc", min_size=1, max_size=3), max_size=40), st.integers(1, 30))
def test_a_listing_shows_the_first_findings_and_counts_every_other(findings, most):
    lines = listing(findings, most=most).splitlines()
    assert lines[:most] == findings[:most]
    rest = len(findings) - most
    assert lines[most:] == ([f"... and {rest} more"] if rest > 0 else [])
