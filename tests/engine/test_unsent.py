import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.outcomes import REASONS, Outcome, Reason
from penstock.engine.unsent import (
    MAX_UNSENT_FRAMES,
    UNSENT_WORDS,
    Unsent,
    UnsentFault,
    UnsentField,
    parse_unsent,
)

counts = st.integers(1, MAX_UNSENT_FRAMES)


def test_every_reason_of_the_outcome_can_be_told() -> None:
    """The header's words are the unsent reasons, without their prefix."""
    reasons = [reason.value for reason in Reason if reason.outcome is Outcome.UNSENT]
    assert [f"unsent_{word}" for word in UNSENT_WORDS] == reasons


@given(
    st.dictionaries(st.sampled_from(UNSENT_WORDS), counts, min_size=1), st.sampled_from(["", " "])
)
def test_what_is_told_is_read(told: dict[str, int], space: str) -> None:
    """A list of numbers with their reasons is read in its order."""
    value = f"{space},{space}".join(f"{n};{space}reason={word}" for word, n in told.items())
    assert parse_unsent(value) == tuple(
        Unsent(n, REASONS[f"unsent_{word}"]) for word, n in told.items()
    )


@pytest.mark.parametrize(
    ("value", "field", "seen"),
    [
        ("", UnsentField.VALUE, ""),
        ("30", UnsentField.VALUE, "30"),
        ("30;reason=", UnsentField.VALUE, "30;reason="),
        ("-1;reason=cpu", UnsentField.VALUE, "-1;reason=cpu"),
        ("1.5;reason=cpu", UnsentField.VALUE, "1.5;reason=cpu"),
        ("٣;reason=cpu", UnsentField.VALUE, "٣;reason=cpu"),
        ("1;reason=cpu,", UnsentField.VALUE, ""),
        ("0;reason=cpu", UnsentField.FRAMES, "0"),
        ("1000001;reason=cpu", UnsentField.FRAMES, "1000001"),
        ("1;reason=boredom", UnsentField.REASON, "boredom"),
        ("1;reason=cpu,2;reason=cpu", UnsentField.REASON, "cpu"),
        ("1;reason=cpu" + " " * 300, UnsentField.VALUE, "312 characters"),
    ],
)
def test_what_is_wrong_is_named(value: str, field: UnsentField, seen: str) -> None:
    """A value that is not sound is a fault that names the part and what stood there."""
    fault = parse_unsent(value)
    assert isinstance(fault, UnsentFault)
    assert (fault.field, fault.seen) == (field, seen)


@given(st.text(max_size=300) | st.text("0123456789;=, reasoncpunetwork", max_size=60))
def test_any_text_is_read_or_refused(value: str) -> None:
    """Nothing raises, and nothing that is read is out of bounds."""
    read = parse_unsent(value)
    if not isinstance(read, UnsentFault):
        assert read
        assert all(1 <= item.frames <= MAX_UNSENT_FRAMES for item in read)
