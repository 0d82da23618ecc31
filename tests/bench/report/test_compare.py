from collections.abc import Callable

import numpy as np
import pytest

from penstock.bench.errors import BenchError
from penstock.bench.report.compare import Comparison, compare
from penstock.bench.report.compare_text import render_comparison
from penstock.bench.report.models import Report
from penstock.bench.report.noise import Verdict
from penstock.bench.report.text import WIDTH

Make = Callable[..., Report]


def _verdicts(comparison: Comparison) -> dict[str, Verdict]:
    return {one.name: one.verdict for one in comparison.figures}


def _load_without_histograms(make_load: Make, seed: int, **changes: float) -> Report:
    """Make a report whose histograms, which take long to fill, are those of any other."""
    return make_load(seed, count=50, **changes)


def test_a_tenth_slower_is_found(make_load: Make) -> None:
    """A server that takes 10 % more for everything is called worse, by about 10 %."""
    found = 0
    for seed in range(20):
        a = _load_without_histograms(make_load, 2 * seed)
        b = _load_without_histograms(make_load, 2 * seed + 1, slower=1.1)
        figures = {one.name: one for one in compare(a, b).figures}
        cost = figures["CPU an answer"]
        assert cost.ratio == pytest.approx(1.1, abs=0.05)
        assert cost.ratio_low is not None
        assert cost.ratio_high is not None
        assert cost.ratio_low < 1.1 * 1.03
        assert cost.ratio_high > 1.1 / 1.03
        found += cost.verdict is Verdict.WORSE
        assert figures["p99 of a second, median"].verdict is not Verdict.BETTER
        assert figures["answered"].verdict is Verdict.NOISE
    assert found >= 19


def test_equal_servers_are_not_called_different(make_load: Make) -> None:
    """Of pairs of equal runs, few more than one in twenty are called different."""
    alarms = dict.fromkeys(("CPU an answer", "p99 of a second, median"), 0)
    pairs = 60
    for seed in range(pairs):
        a = _load_without_histograms(make_load, 1000 + 2 * seed)
        b = _load_without_histograms(make_load, 1001 + 2 * seed)
        verdicts = _verdicts(compare(a, b))
        for name in alarms:
            alarms[name] += verdicts[name] in {Verdict.BETTER, Verdict.WORSE}
    # Eight or more of sixty have a chance below 1 % where one in twenty is right.
    assert all(count < 8 for count in alarms.values()), alarms


def test_the_same_reports_give_the_same_words(make_load: Make) -> None:
    """A comparison can be repeated; chance plays no part in its verdicts."""
    a, b = make_load(1), make_load(2)
    assert compare(a, b) == compare(a, b)


def test_a_report_compared_with_itself_is_the_same(make: Make) -> None:
    """Nothing differs between a report and itself."""
    report = make()
    comparison = compare(report, report)
    assert comparison.differences == ()
    assert comparison.figures
    assert {one.verdict for one in comparison.figures} <= {Verdict.NOISE, Verdict.UNJUDGED}
    assert all(one.ratio in {1.0, None} for one in comparison.figures)


def test_turned_around_worse_is_better(make: Make) -> None:
    """Comparing B with A says the opposite of comparing A with B."""
    opposite = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    a, b = make(1), make(2)
    there, back = _verdicts(compare(a, b)), _verdicts(compare(b, a))
    assert back == {name: opposite.get(verdict, verdict) for name, verdict in there.items()}


def test_the_ramp_does_not_count(make_load: Make) -> None:
    """What happened before all sessions were on changes no verdict."""
    a = make_load(1)
    assert a.load is not None
    early = [
        one.model_copy(update={"p99_ms": 9e9, "answered": 0}) if one.at < 10 else one
        for one in a.load.seconds
    ]
    b = a.model_copy(update={"load": a.load.model_copy(update={"seconds": early})})
    assert {one.verdict for one in compare(a, b).figures} <= {Verdict.NOISE, Verdict.UNJUDGED}


def test_a_short_run_is_not_judged(make_load: Make) -> None:
    """Too few seconds to know the noise give figures and no verdict."""
    verdicts = _verdicts(compare(make_load(1, seconds=20), make_load(2, seconds=20, slower=2.0)))
    assert set(verdicts.values()) == {Verdict.UNJUDGED}


def test_new_refusals_are_found(make_load: Make) -> None:
    """Refusals where there were none have no ratio, and are worse all the same."""
    b = make_load(1)
    assert b.load is not None
    clean = [one.model_copy(update={"outcomes": {"202": one.answered}}) for one in b.load.seconds]
    a = b.model_copy(update={"load": b.load.model_copy(update={"seconds": clean})})
    refused = next(one for one in compare(a, b).figures if one.name.startswith("no 2xx"))
    assert (refused.a, refused.ratio, refused.verdict) == (0.0, None, Verdict.WORSE)


def test_peers_are_judged_by_their_rounds(make_peers: Make) -> None:
    """A peer that became 15 % faster is found, by its rate and by its ratio, and the others not."""
    verdicts = _verdicts(compare(make_peers(1), make_peers(2, faster=1.15)))
    assert verdicts["penstock, full: rate"] is Verdict.BETTER
    assert verdicts["penstock, full: ratio to plain"] is Verdict.BETTER
    assert verdicts["penstock, full: CPU a request"] is Verdict.BETTER
    assert verdicts["go, full: rate"] is Verdict.NOISE
    assert "plain, full: ratio to plain" not in verdicts


def test_one_round_is_not_judged(make_peers: Make) -> None:
    """A single round tells nothing of the noise."""
    comparison = compare(make_peers(1, rounds=1), make_peers(2, rounds=1, faster=2.0))
    assert set(_verdicts(comparison).values()) == {Verdict.UNJUDGED}


def test_a_faster_machine_is_no_better_ratio(make_peers: Make) -> None:
    """A machine on which everything is twice as fast changes rates, and no ratio."""
    a = make_peers(1)
    assert a.peers is not None
    peers = [
        one.model_copy(
            update={
                "rounds": [turn.model_copy(update={"rate": 2 * turn.rate}) for turn in one.rounds]
            }
        )
        for one in a.peers.peers
    ]
    b = a.model_copy(update={"peers": a.peers.model_copy(update={"peers": peers})})
    verdicts = _verdicts(compare(a, b))
    assert verdicts["penstock, full: rate"] is Verdict.BETTER
    assert verdicts["penstock, full: ratio to plain"] is Verdict.NOISE


@pytest.mark.parametrize(
    ("rate", "verdict"),
    [(10_000.0, Verdict.BETTER), (9100.0, Verdict.NOISE), (8000.0, Verdict.WORSE)],
)
def test_capacities_are_judged_by_their_intervals(
    make_capacity: Make, rate: float, verdict: Verdict
) -> None:
    """A capacity has changed only when the two intervals cannot be of one rate."""
    comparison = compare(make_capacity(), make_capacity(rate=rate))
    assert _verdicts(comparison)["held in half of all runs"] is verdict


def test_slopes_are_judged_by_their_points(make_scale: Make) -> None:
    """A session that takes a quarter more memory is found; what is not straight has no slope."""
    verdicts = _verdicts(compare(make_scale(1), make_scale(2, slope=23.0)))
    assert verdicts["Memory by sessions: slope"] is Verdict.WORSE
    assert verdicts["End by length: slope"] is Verdict.UNJUDGED
    equal = [
        _verdicts(compare(make_scale(2 * seed), make_scale(2 * seed + 1))) for seed in range(40)
    ]
    assert sum(one["Memory by sessions: slope"] is not Verdict.NOISE for one in equal) < 6


def test_what_was_not_the_same_comes_first(make_load: Make) -> None:
    """Differences of plan, settings and machine, and faults, are told before any figure."""
    a = make_load(1, server={"rate": "1", "gone": "x"}, machine={"cpu": "old", "load average": "1"})
    b = make_load(
        2,
        server={"rate": "2", "new": "y"},
        machine={"cpu": "new", "load average": "2"},
        faults=["the harness was late"],
    )
    comparison = compare(a, b)
    told = {(one.where, one.name, one.a, one.b) for one in comparison.differences}
    assert told == {
        ("plan", "seed", "1", "2"),
        ("server", "rate", "1", "2"),
        ("server", "gone", "x", "-"),
        ("server", "new", "-", "y"),
        ("machine", "cpu", "old", "new"),
    }
    text = render_comparison(comparison)
    first_figure = text.index("answered, /s")
    assert text.index("B should not be used: the harness was late") < first_figure
    assert text.index("not the same: server, rate: 1 -> 2") < first_figure


def test_a_peer_of_one_report_only_is_told(make_peers: Make) -> None:
    """A server that was not in both reports is no figure, but a difference."""
    a, b = make_peers(1), make_peers(2)
    assert b.peers is not None
    fewer = b.peers.model_copy(update={"peers": [one for one in b.peers.peers if one.name != "go"]})
    comparison = compare(a, b.model_copy(update={"peers": fewer}))
    assert ("plan", "go, full", "5 rounds", "-") in {
        (one.where, one.name, one.a, one.b) for one in comparison.differences
    }
    assert not [one for one in comparison.figures if one.name.startswith("go")]


def test_kinds_do_not_mix(make_load: Make, make_scale: Make) -> None:
    """Reports of different kinds have nothing to compare."""
    with pytest.raises(BenchError, match="'load' cannot be compared with one of 'scale'"):
        compare(make_load(), make_scale())


def test_every_figure_is_in_the_text(make: Make) -> None:
    """The table has a line for each figure with its verdict, and fits into the terminal."""
    comparison = compare(make(1), make(2))
    lines = render_comparison(comparison).splitlines()
    for one in comparison.figures:
        assert [line for line in lines if one.name in line and line.endswith(one.verdict.value)]
    assert max(map(len, lines)) <= WIDTH


def test_noise_of_one_run_only_judges_nothing(make_load: Make) -> None:
    """Where one of the two runs is too short, there is no verdict either."""
    verdicts = _verdicts(compare(make_load(1), make_load(2, seconds=15)))
    assert verdicts["CPU an answer"] is Verdict.UNJUDGED


def test_zero_figures_do_not_break_it(make_peers: Make) -> None:
    """Rounds without a rate (a server that answered nothing) are compared without a ratio."""
    a = make_peers(1)
    assert a.peers is not None
    peers = [
        one.model_copy(
            update={"rounds": [turn.model_copy(update={"rate": 0.0}) for turn in one.rounds]}
        )
        for one in a.peers.peers
    ]
    b = a.model_copy(update={"peers": a.peers.model_copy(update={"peers": peers})})
    for pair in ((a, b), (b, a), (b, b)):
        assert np.isfinite([one.b for one in compare(*pair).figures]).all()
