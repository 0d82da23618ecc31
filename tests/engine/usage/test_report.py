"""What a usage report may hold, and what is said of one that holds something else."""

from typing import Any

import pytest

from penstock.engine.usage.report import (
    DAY_MS,
    MOST_COUNT,
    UsageCounters,
    UsageFault,
    UsageFaultError,
    read_report,
)

NOW = 20_613 * DAY_MS + 1234


def refused(body: dict[str, Any]) -> UsageFaultError:
    with pytest.raises(UsageFaultError) as caught:
        read_report(body, NOW)
    return caught.value


def test_every_field_may_be_left_out_and_null_is_left_out() -> None:
    """An empty report is one of today."""
    for body in ({}, {"memory_count": None, "window_start": None}):
        read = read_report(body, NOW)
        assert read.window_unix_ms == 20_613 * DAY_MS
        assert read.counters == UsageCounters()
    full = {"memory_count": 0, "device_count": 2, "bytes_stored": MOST_COUNT, "sync_ops": 4}
    assert read_report(full, NOW).counters == UsageCounters(0, 2, MOST_COUNT, 4)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-06-09T00:00:00.000Z", 20_613),
        ("2026-06-09T23:59:59.999Z", 20_613),
        ("2026-06-09", 20_613),
        ("2026-06-09T23:30:00-01:00", 20_614),
        ("2026-06-09T00:30:00+01:00", 20_612),
        ("2026-06-09T12:00:00", 20_613),
        ("1969-12-31T23:00:00Z", -1),
    ],
)
def test_a_window_begins_with_its_utc_day(text: str, day: int) -> None:
    """Whatever its zone and time, an instant counts for the UTC day that it lies in."""
    assert read_report({"window_start": text}, NOW).window_unix_ms == day * DAY_MS


@pytest.mark.parametrize("name", ["memory_count", "device_count", "bytes_stored", "sync_ops"])
@pytest.mark.parametrize("value", [True, 1.0, -1, "1", [], {}, MOST_COUNT + 1, 1e30])
def test_a_count_is_a_whole_number(name: str, value: object) -> None:
    """A truth value or a float is none, and the refusal names the field and not the value."""
    fault = refused({name: value})
    assert fault.fault is UsageFault.INVALID
    assert fault.message == f"{name}: must be a whole number from 0 to {MOST_COUNT}"


@pytest.mark.parametrize(
    "value", [5, True, "", "soon", "2026-13-01", "0001-01-01T00:00:00+05:00", "9" * 5000]
)
def test_a_window_is_a_timestamp(value: object) -> None:
    """What is no instant is refused, also at the calendar's end."""
    fault = refused({"window_start": value})
    assert (fault.fault, fault.message[:12]) == (UsageFault.INVALID, "window_start")


def test_foreign_fields_come_before_wrong_types_and_are_named() -> None:
    """The whitelist is looked at first; long and many names are cut short."""
    fault = refused({"memory_contents": "x", "memory_count": "y", "metadata": None})
    assert fault.fault is UsageFault.NON_AGGREGATE
    assert "not: memory_contents, metadata" in fault.message
    many = refused({f"{number:060}": 1 for number in range(300)})
    assert len(many.message) < 600
    assert many.message.endswith("and 290 more")


@pytest.mark.parametrize(
    "name",
    [
        "Memory_Count",
        "memory_count ",
        "memory\u200b_count",
        "memory_\u0441ount",  # a Cyrillic letter
        "\uff4demory_count",  # one of full width, which normalising would make the same
        "memory_count\0",
        "memory-count",
        "__proto__",
        "",
    ],
    ids=ascii,
)
def test_a_name_is_on_the_list_or_it_is_not(name: str) -> None:
    """Neither case, nor space, nor a letter that looks the same; null is no excuse."""
    assert refused({name: None}).fault is UsageFault.NON_AGGREGATE


@pytest.mark.parametrize("value", [{"x": "planted"}, ["planted"], "planted", 2.0**70, "5"], ids=str)
def test_a_listed_name_carries_nothing_but_its_count(value: object) -> None:
    """Nothing nested, no text, and the refusal repeats none of it."""
    fault = refused({"memory_count": value})
    assert fault.fault is UsageFault.INVALID
    assert "planted" not in fault.message
