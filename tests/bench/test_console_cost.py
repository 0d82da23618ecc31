import pytest

from penstock.bench import console_cost
from penstock.bench.console_cost import ConsoleCostPlan, measure_console_cost


def test_the_cost_of_open_consoles_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real service is asked with pages that listen and without, and both figures are told."""
    monkeypatch.setattr(console_cost, "_WARM_UP_SECONDS", 0.1)
    said: list[str] = []
    plan = ConsoleCostPlan(consoles=2, rounds=1, seconds=0.3, connections=4, sessions=20)
    found = measure_console_cost(plan, said.append)
    assert said[-1] == "round 1 of 1"
    for row in (found.per_second, found.per_cpu_second):
        assert row.without > 0
        assert row.ratio == pytest.approx(row.with_open / row.without)
        assert row.ratio_low <= row.ratio <= row.ratio_high
    # Nothing but what the machine's haste may cause speaks against so short a run.
    assert all(fault.startswith("a page heard") for fault in found.faults)
