from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.policy import (
    DEFAULT_POLICY,
    KNOBS,
    InboxMode,
    Knob,
    Policy,
    PolicyFaultsError,
    check_knobs,
)

PAIRS = [
    ("thin_until", "thin_at"),
    ("refuse_until", "refuse_at"),
    ("refuse_bulk_until", "refuse_bulk_at"),
    ("thin_at", "refuse_at"),
    ("refuse_at", "refuse_bulk_at"),
    ("inbox_soft_batches", "inbox_batches"),
    ("inbox_soft_bytes", "inbox_bytes"),
]


def _allowed(knob: Knob) -> st.SearchStrategy[object]:
    if knob.words:
        return st.sampled_from(knob.words)
    if knob.whole:
        return st.integers(int(knob.low), int(knob.high))
    return st.floats(knob.low, knob.high)


def test_every_field_of_a_policy_is_a_knob_and_its_default_is_allowed() -> None:
    """No knob is missing from the table, none is in it that a policy has not."""
    assert [field.name for field in fields(Policy)] == list(KNOBS)
    assert check_knobs(DEFAULT_POLICY.plain()) == (DEFAULT_POLICY.plain(), ())
    assert DEFAULT_POLICY.faults() == ()


@given(st.fixed_dictionaries({name: _allowed(knob) for name, knob in KNOBS.items()}))
def test_knobs_within_their_bounds_make_a_policy_unless_two_contradict(
    values: dict[str, object],
) -> None:
    """The only faults of values that are right one by one are contradictions, by both names."""
    wrong = {(low, up) for low, up in PAIRS if values[low] > values[up]}  # type: ignore[operator]
    if not wrong:
        assert DEFAULT_POLICY.changed(values).plain() == values
        return
    with pytest.raises(PolicyFaultsError) as caught:
        DEFAULT_POLICY.changed(values)
    assert {(fault.knob, fault.other) for fault in caught.value.faults} == wrong


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("thin_at", -1, 0),
        ("thin_at", 101, 100),
        ("thin_at", True, None),
        ("thin_at", "50", None),
        ("thin_at", float("nan"), 100),
        ("keep_every", 2.5, None),
        ("keep_every", 1, 2),
        ("inbox_mode", "refuse_all", None),
        ("inbox_mode", 3, None),
        ("no_such_knob", 1, None),
    ],
)
def test_a_value_out_of_bounds_is_named_with_what_was_seen(
    name: str, value: object, limit: float | None
) -> None:
    """Each wrong value is a fault that says the knob, the value and, for a number, the limit."""
    checked, (fault,) = check_knobs({name: value})
    assert checked == {}
    assert (fault.knob, fault.limit) == (name, limit)
    assert fault.seen is value


def test_values_get_their_knobs_types() -> None:
    """A whole float is a number of frames, an int is a stress, a word is a mode."""
    checked, faults = check_knobs({"keep_every": 3.0, "thin_at": 40, "inbox_mode": "drop_oldest"})
    assert faults == ()
    assert [type(value) for value in checked.values()] == [int, float, InboxMode]
