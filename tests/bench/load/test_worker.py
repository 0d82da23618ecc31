import pickle
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from penstock.bench.latencies import Latencies
from penstock.bench.load import hostile, schedule, worker
from penstock.bench.load.plan import HOSTILE, Assignment, Kind, numbers_used, org_of
from penstock.bench.load.schedule import Schedule
from penstock.bench.report.models import LoadPlan

Serve = Callable[..., Any]
Load = Callable[..., Any]
MakePlan = Callable[..., LoadPlan]


def _due(plan: LoadPlan, kind: Kind) -> int:
    planned = Schedule(plan, frozenset({Kind.MEDIA, Kind.END}))
    return sum(
        due.kind is kind for session in range(plan.sessions) for due in planned.moments(session)
    )


def _conserved(account: worker.WorkerAccount) -> bool:
    refused = sum(account.frames_refused.values())
    taken = account.frames_accepted + account.frames_thinned
    return account.frames_sent == taken + refused + account.frames_unanswered


def _told(seen: Any) -> Counter[str]:
    """Add up what the server was told of frames that were never sent."""
    told: Counter[str] = Counter()
    for text in seen.told:
        for item in text.split(", "):
            frames, _, reason = item.partition(";reason=")
            told[reason] += int(frames)
    return told


def _told_by(account: worker.WorkerAccount) -> Counter[str]:
    return Counter(account.frames_told) + Counter(account.frames_told_perhaps)


def test_a_sound_server_gets_all_that_was_planned(serve: Serve, load: Load, plan: MakePlan) -> None:
    """Against a server without a fault, every planned batch is sent once, and accepted."""
    seen = serve()
    account = load(seen.address).account
    planned = _due(plan(), Kind.POSE)
    assert account.outcomes == {Kind.POSE: {"202": planned}}
    assert account.frames_sent == account.frames_accepted == 10 * planned
    assert sum(seen.batches.values()) == planned
    assert (account.mismatches, account.batches_unanswered) == (0, 0)
    assert (account.sessions_started, len(seen.batches)) == (20, 20)


@pytest.mark.parametrize("connections", [3, None])
def test_connections_are_as_many_as_planned(
    serve: Serve, load: Load, connections: int | None
) -> None:
    """Pooled connections never exceed their number; without a pool each session has its own."""
    seen = serve()
    outcome = load(seen.address, connections=connections)
    most = connections or 20
    assert seen.most_at_once <= most
    assert connections or seen.connections == 20
    assert max(tick.open_connections for tick in outcome.ticks) <= most


def test_a_stall_is_in_the_latencies_of_all_who_waited(serve: Serve, load: Load) -> None:
    """A server that stalls on two connections delays every request due meanwhile, in the count."""
    seen = serve(stall_at=20, stall_seconds=0.6)
    outcome = load(seen.address, connections=2, seconds=0.9)
    latencies = Latencies.decode(outcome.account.latencies[Kind.POSE])
    # 120 of some 190 come due in the stall; a closed loop would have seen two slow requests.
    assert latencies.as_latency().max_ms >= 590
    assert latencies.quantile_us(0.75) >= 250_000
    assert outcome.account.outcomes[Kind.POSE].keys() == {"202"}


def test_a_backlog_is_told_while_it_lasts(serve: Serve, load: Load) -> None:
    """Requests due without a free connection are the second's backlog, and none is left behind."""
    seen = serve(stall_at=100, stall_seconds=0.9)
    ticks = load(seen.address, connections=2, seconds=1.4).ticks
    assert max(tick.backlog for tick in ticks) > 20
    assert ticks[-1].backlog == 0


def test_the_workers_own_lateness_is_told(serve: Serve, load: Load) -> None:
    """A worker that was kept from its work says by how much, and every second has its tick."""

    def hold(tick: worker.Tick) -> None:
        if tick.at == 0:
            time.sleep(1.2)

    outcome = load(serve().address, seconds=2.2, emit=hold)
    assert [tick.at for tick in outcome.ticks] == list(range(len(outcome.ticks)))
    assert outcome.ticks[1].lag_us >= 1_000_000
    # The late seconds still tell what was planned in them, not when it was begun.
    assert sum(tick.planned for tick in outcome.ticks[1:2]) == pytest.approx(200, abs=20)


def test_ticks_add_up_to_the_whole(serve: Serve, load: Load) -> None:
    """Each second has one tick, and together they hold what the account holds."""
    seen = serve(refuse_every=5)
    outcome = load(seen.address, seconds=1.1, media=True, ends=True, hostile_share=0.2)
    ticks, account = outcome.ticks, outcome.account
    assert [tick.at for tick in ticks] == list(range(len(ticks)))
    assert len(ticks) >= 2
    honest: Counter[str] = Counter()
    for kind in (Kind.POSE, Kind.MEDIA, Kind.END):
        honest.update(account.outcomes.get(kind, {}))
    told: Counter[str] = Counter()
    for tick in ticks:
        told.update(tick.outcomes)
    total = sum(honest.values())
    assert told == honest
    assert sum(tick.planned for tick in ticks) == sum(tick.sent for tick in ticks) == total
    assert sum(tick.answered for tick in ticks) == total
    poses = sum(len(tick.latencies_us) for tick in ticks)
    assert poses == len(Latencies.decode(account.latencies[Kind.POSE]))


def test_a_batch_dropped_in_silence_is_found(serve: Serve, load: Load) -> None:
    """A 202 whose position did not move is a mismatch: each once, and in words."""
    seen = serve(drop_every=40)
    account = load(seen.address, seconds=0.8).account
    # The server's drops are as many as the session's next answers that tell of them.
    assert seen.dropped >= 3
    assert account.mismatches == seen.dropped
    assert all("position" in example for example in account.mismatch_examples)


def test_an_answer_for_another_session_is_found(serve: Serve, load: Load) -> None:
    """A 202 that names another session than the batch's is a mismatch."""
    account = load(serve(misnames_every=20).address, seconds=0.2).account
    assert account.mismatches == account.frames_sent // 200 > 0
    assert all("another" in example for example in account.mismatch_examples)


def test_refusals_are_counted_by_their_code(serve: Serve, load: Load, plan: MakePlan) -> None:
    """A 429 is an answer: counted by code, its frames refused, and the batch never sent again."""
    seen = serve(refuse_every=4)
    account = load(seen.address).account
    planned = _due(plan(), Kind.POSE)
    assert account.outcomes[Kind.POSE]["429 rate_session"] == planned // 4
    assert account.frames_refused == {"rate_session": planned // 4 * 10}
    assert _conserved(account)
    assert account.mismatches == 0


def test_answers_may_come_byte_by_byte(serve: Serve, load: Load, plan: MakePlan) -> None:
    """An answer that is split at every byte is read as one."""
    seen = serve(byte_by_byte=True)
    account = load(seen.address, seconds=0.2).account
    assert account.outcomes[Kind.POSE] == {"202": _due(plan(seconds=0.2), Kind.POSE)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("connections", [3, None])
def test_every_frame_is_in_one_bucket(
    serve: Serve, load: Load, plan: MakePlan, seed: int, connections: int | None
) -> None:
    """Whatever the server does, sent = accepted + refused + unanswered, and it is in no doubt."""
    seen = serve(
        seed=seed, close_before=0.05, close_after=0.05, garbage=0.05, error_after=0.05,
        refuse_every=9,
    )  # fmt: skip
    account = load(seen.address, connections=connections, seed=seed).account
    assert sum(account.outcomes[Kind.POSE].values()) == _due(plan(seed=seed), Kind.POSE)
    assert _conserved(account)
    assert account.outcomes[Kind.POSE].keys() >= {"202", "closed", "unreadable"}
    assert account.mismatches == 0
    # What the server took lies between what it said it took and that with all that is in doubt.
    taken = sum(seen.batches.values()) * 10
    doubt = account.frames_unanswered + account.frames_refused.get("internal_error", 0)
    assert account.frames_accepted <= taken <= account.frames_accepted + doubt


def test_what_is_never_answered_is_told(
    serve: Serve, load: Load, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests without an answer, and those behind them, have their outcome when the run ends."""
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.2)
    seen = serve(silent=1.0)
    outcome = load(seen.address, seconds=0.2)
    account = outcome.account
    outcomes = account.outcomes[Kind.POSE]
    assert outcome.ticks[-1].backlog == 0
    assert outcomes == {"unanswered": 4, "unsent": _due(plan(seconds=0.2), Kind.POSE) - 4}
    assert account.frames_unanswered == account.frames_sent == 40
    assert account.batches_unanswered == 4


def test_nobody_there_is_no_exception(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is counted and tried again; what was due is unsent in the end."""
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    account = load(address, seconds=0.2).account
    assert account.outcomes[Kind.POSE].keys() == {"unsent"}
    assert account.frames_sent == 0
    # One try at a time, with each time a longer pause.
    assert 2 <= account.connects_refused <= 5


def test_a_server_that_comes_late_is_found(serve: Serve, load: Load, plan: MakePlan) -> None:
    """Requests that were due before the server listened are sent once it does, and are late."""
    seen = serve(listens_after=0.35)
    account = load(seen.address).account
    assert account.outcomes[Kind.POSE] == {"202": _due(plan(), Kind.POSE)}
    assert account.connects_refused > 0
    assert Latencies.decode(account.latencies[Kind.POSE]).quantile_us(1) >= 100_000


def test_a_stop_ends_the_run(serve: Serve, load: Load) -> None:
    """After a stop nothing more is sent, and the account holds what was."""
    seen = serve()
    begun = time.monotonic()
    outcome = load(seen.address, seconds=30, stopped=lambda: time.monotonic() - begun > 0.4)
    assert outcome.seconds < 3
    assert _conserved(outcome.account)
    assert outcome.account.frames_accepted == sum(seen.batches.values()) * 10 > 0


def test_a_session_that_was_offline_comes_back(serve: Serve, load: Load, plan: MakePlan) -> None:
    """A session's own connection is closed while it is offline; then all its batches come."""
    seen = serve()
    account = load(
        seen.address, connections=None, reconnect_share=1.0, offline_seconds=0.2, seconds=0.6
    ).account
    assert seen.connections == 40
    assert account.outcomes[Kind.POSE] == {"202": _due(plan(seconds=0.6), Kind.POSE)}
    assert account.mismatches == 0


def test_a_session_ends_after_its_last_batch(serve: Serve, load: Load) -> None:
    """Each session ends once, after its last batch, with the number of frames it attempted."""
    seen = serve()
    account = load(seen.address, ends=True, first_batch=5).account
    assert account.outcomes[Kind.END] == {"200": 20}
    assert seen.late_batches == 0
    for session, end in seen.ends:
        assert end["client_status"] == "completed"
        assert end["total_frames_attempted"] == 10 * (5 + seen.batches[session])


def test_an_end_waits_for_a_late_batch(serve: Serve, load: Load) -> None:
    """A batch that the server keeps waiting is never overtaken by its session's end."""
    seen = serve(stall_at=70, stall_seconds=0.4)
    account = load(seen.address, ends=True, connections=20).account
    assert account.outcomes[Kind.END] == {"200": 20}
    assert seen.late_batches == 0


def test_a_session_plays_its_video(
    serve: Serve, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session's events begin with its start and end with its end, each at a time of its own."""
    monkeypatch.setattr(schedule, "MEDIA_PERIOD_SECONDS", 0.06)
    seen = serve()
    account = load(seen.address, media=True, sessions=8).account
    assert account.outcomes[Kind.MEDIA] == {"202": len(seen.events)}
    played: dict[str, list[dict[str, Any]]] = {}
    for event in seen.events:
        played.setdefault(event["session_id"], []).append(event)
    assert len(played) == 8
    for events in played.values():
        events.sort(key=lambda event: event["timestamp"])
        names = [event["event"] for event in events]
        assert names[:2] == ["session_start", "play"]
        assert names.index("session_end") == len(names) - 1
        assert events[0]["data"]["total_duration_seconds"] > 0
        assert len({event["timestamp"] for event in events}) == len(events)


def test_routes_that_are_not_served_are_not_asked(serve: Serve, load: Load) -> None:
    """Media events and ends go only to servers that serve them."""
    account = load(serve().address, media=True, ends=True, routes=frozenset()).account
    assert account.outcomes.keys() == {Kind.POSE}


def test_sessions_that_go_on_have_their_base_from_the_first_answer(
    serve: Serve, load: Load
) -> None:
    """A second run with old sessions takes the position as it finds it, and checks from there."""
    seen = serve(drop_every=150)
    first = load(seen.address, seconds=0.3)
    assert first.account.mismatches == 0
    again = load(seen.address, seconds=0.8, first_batch=10)
    assert again.account.mismatches == seen.dropped >= 1


def test_workers_share_the_sessions(serve: Serve, load: Load, plan: MakePlan) -> None:
    """The parts of a plan are disjoint, and together they are the plan."""
    seen = serve()
    accounts = [load(seen.address, processes=2, worker=number).account for number in (0, 1)]
    assert [account.sessions_started for account in accounts] == [10, 10]
    assert len(seen.batches) == 20
    assert sum(account.frames_sent for account in accounts) == 10 * _due(plan(), Kind.POSE)


def test_hostile_clients_get_what_they_deserve(
    serve: Serve, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Malformed, oversized, slow and expired requests are answered rightly, and none is wrong."""
    monkeypatch.setattr(hostile, "DRIP_SECONDS", 0.05)
    seen = serve()
    account = load(seen.address, hostile_share=0.6, seconds=2.2).account
    assert account.wrong_hostile == {}
    assert account.outcomes.keys() == {Kind.POSE, *HOSTILE}
    assert all(key.startswith("400 ") for key in account.outcomes[Kind.HOSTILE_MALFORMED])
    assert account.outcomes[Kind.HOSTILE_OVERSIZED].keys() == {"413 body_too_large"}
    assert account.outcomes[Kind.HOSTILE_EXPIRED].keys() == {"401 token_expired"}
    assert account.outcomes[Kind.HOSTILE_SLOW].keys() <= {"408 request_timeout", "unfinished"}
    assert account.outcomes[Kind.HOSTILE_SLOW]["408 request_timeout"] > 0
    assert account.outcomes[Kind.POSE].keys() == {"202"}
    assert account.mismatches == 0


def test_a_server_that_forgives_is_told(
    serve: Serve, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes malformed batches, or lets slow clients be, is counted as wrong."""
    monkeypatch.setattr(hostile, "DRIP_SECONDS", 0.05)
    monkeypatch.setattr(hostile, "SLOW_SECONDS", 0.3)
    seen = serve(forgives_malformed=True, slow_after=60.0)
    account = load(seen.address, hostile_share=0.4, seconds=0.9).account
    wrong = account.wrong_hostile
    assert wrong["hostile_malformed: 202"] == account.outcomes[Kind.HOSTILE_MALFORMED]["202"] > 0
    assert wrong["hostile_slow: held"] > 0
    # What their batches claimed is told by outcome; most of the variants claim ten frames.
    assert account.hostile_frames["202"] > 0


def test_the_parts_travel_between_processes(serve: Serve, load: Load, plan: MakePlan) -> None:
    """Assignment, tick and account can be pickled, for whoever runs several workers."""
    task = Assignment(plan(), 0, ("127.0.0.1", 1), b"s", 0.0, 0, 0, frozenset({Kind.END}))
    outcome = load(serve().address, seconds=0.1)
    for part in (task, outcome.account, outcome.ticks):
        assert pickle.loads(pickle.dumps(part)) == part  # noqa: S301  our own bytes


def test_a_thinned_batch_is_no_contradiction(serve: Serve, load: Load, plan: MakePlan) -> None:
    """Frames that a 202 says it did not keep are thinned: counted, and not held against it."""
    seen = serve(thin_every=3)
    account = load(seen.address).account
    planned = _due(plan(), Kind.POSE)
    assert account.outcomes == {Kind.POSE: {"202": planned}}
    assert account.frames_thinned == 5 * (planned // 3)
    assert account.frames_accepted == 10 * planned - account.frames_thinned
    assert (account.mismatches, account.frames_refused) == (0, {})
    assert _conserved(account)
    assert sum(account.losses.due) - sum(account.losses.kept) == account.frames_thinned


def test_who_is_told_to_wait_sends_nothing_and_says_so(
    serve: Serve, load: Load, plan: MakePlan
) -> None:
    """After a refusal a patient is silent for the time told, and then tells what it left out."""
    seen = serve(refuse_every=4, retry_after=1)
    changes = {"sessions": 4, "seconds": 2.4, "honour_retry_after": True, "ends": True}
    account = load(seen.address, **changes).account
    poses, due = account.outcomes[Kind.POSE], _due(plan(**changes), Kind.POSE)
    assert sum(poses.values()) == due
    assert account.frames_withheld == 10 * poses["withheld"] > 10 * due // 4
    assert account.retry_after == {"1": poses["429 rate_session"]}
    assert account.frames_sent == 10 * (due - poses["withheld"])
    assert _conserved(account)
    # Each frame is told of once: what no batch told of, the end does.
    assert _told(seen) == {"refused": account.frames_withheld}
    assert _told_by(account) == {"refused": account.frames_withheld}
    assert account.frames_told["refused"] > 0
    # No end waited for the time told.
    assert account.outcomes[Kind.END] == {"200": 4}
    assert sum(account.losses.due) == 10 * due
    assert sum(account.losses.kept) == account.frames_accepted


def test_a_live_client_keeps_no_more_than_two(serve: Serve, load: Load, plan: MakePlan) -> None:
    """What does not fit behind the batch under way is given up, told of, and lost."""
    seen = serve(stall_at=30, stall_seconds=0.7)
    changes = {"seconds": 1.4, "connections": None, "live_clients": True, "ends": True}
    account = load(seen.address, **changes).account
    poses, due = account.outcomes[Kind.POSE], _due(plan(**changes), Kind.POSE)
    assert poses.keys() == {"202", "given up"}
    assert sum(poses.values()) == due
    # Seven come due in the stall; of them two wait, and one may be under way.
    assert 3 * 20 <= poses["given up"] <= 6 * 20
    assert account.frames_given_up == 10 * poses["given up"]
    assert _told(seen) == account.frames_told == {"network": account.frames_given_up}
    assert account.frames_sent == account.frames_accepted == 10 * poses["202"]
    assert sum(account.losses.due) == 10 * due
    assert sum(account.losses.kept) == account.frames_accepted
    assert account.mismatches == 0


def test_a_refused_client_withholds_only_what_comes_due(
    serve: Serve, load: Load, plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited behind a batch when it was refused was due before, and is not withheld."""
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.5)
    seen = serve(stall_at=4, stall_seconds=0.6, refuse_every=1, retry_after=9)
    changes: dict[str, Any] = {
        "sessions": 4, "seconds": 1.4, "connections": None, "honour_retry_after": True,
        "live_clients": True, "ends": True,
    }  # fmt: skip
    account = load(seen.address, **changes).account
    poses, due = account.outcomes[Kind.POSE], _due(plan(**changes), Kind.POSE)
    assert poses.keys() == {"429 rate_session", "withheld", "given up"}
    assert sum(poses.values()) == due
    assert poses["429 rate_session"] == 4
    assert poses["given up"] >= 2
    assert _told(seen) == {
        "refused": 10 * poses["withheld"], "network": 10 * poses["given up"]
    }  # fmt: skip


def test_a_live_clients_end_waits_for_nothing(serve: Serve, load: Load) -> None:
    """A batch without an answer does not keep its session's end, which has its own connection."""
    seen = serve(silent=1.0)
    changes = {"seconds": 0.6, "connections": None, "live_clients": True, "ends": True}
    account = load(seen.address, **changes, ends_per_second=10.0, stopped=_after(2.5)).account
    assert account.outcomes[Kind.END] == {"200": 6}
    assert account.outcomes[Kind.CLOSING] == {"200": 20}
    poses = account.outcomes[Kind.POSE]
    assert poses.keys() == {"unanswered", "given up"}
    assert poses["unanswered"] == 26 == account.batches_unanswered
    assert seen.connections == 52
    assert _told(seen) == {"network": account.frames_given_up}
    assert account.losses.longest_run == account.losses.due
    assert _conserved(account)


def _after(seconds: float) -> Callable[[], bool]:
    begun = time.monotonic()
    return lambda: time.monotonic() - begun > seconds


def test_who_does_not_listen_sends_all(serve: Serve, load: Load, plan: MakePlan) -> None:
    """Without the option the whole load is offered, whatever the refusals say."""
    seen = serve(refuse_every=4, retry_after=1)
    account = load(seen.address).account
    assert account.frames_sent == 10 * _due(plan(), Kind.POSE)
    assert (account.frames_withheld, seen.told) == (0, [])
    assert account.retry_after == {"1": account.outcomes[Kind.POSE]["429 rate_session"]}


@pytest.mark.parametrize("connections", [3, None])
def test_ended_sessions_are_replaced(
    serve: Serve, load: Load, plan: MakePlan, connections: int | None
) -> None:
    """Sessions end all along, each once and after its last batch, and new ones go on for them."""
    seen = serve()
    changes = {"seconds": 1.0, "ends": True, "ends_per_second": 20.0, "connections": connections}
    account = load(seen.address, **changes).account
    made = plan(**changes)
    assert account.outcomes[Kind.POSE] == {"202": _due(made, Kind.POSE)}
    ended = [session for session, _ in seen.ends]
    assert len(ended) == len(set(ended)) == _due(made, Kind.END) == 40
    assert set(ended) == set(seen.batches)
    assert seen.late_batches == 0
    assert account.outcomes[Kind.END] == {"200": 40}
    assert account.mismatches == 0
    assert len(account.losses.due) == account.sessions_started == 40 <= numbers_used(made)
    assert sum(account.losses.due) == account.frames_sent


def test_a_noisy_neighbour_has_its_own_connections(
    serve: Serve, load: Load, plan: MakePlan
) -> None:
    """The sessions that an organisation has too many take none of the others' connections."""
    seen = serve(stall_at=40, stall_seconds=0.4)
    changes: dict[str, Any] = {"orgs": 3, "noisy_sessions": 10, "connections": 3}
    account = load(seen.address, **changes).account
    made = plan(**changes)
    orgs = Counter(org_of(made, session) for session in range(made.sessions))
    assert Counter(account.losses.org) == orgs == {0: 14, 1: 3, 2: 3}
    # All of both are in use while the server stands still.
    assert seen.most_at_once == 6
    of_others = Latencies.decode(account.latencies["pose of the others"])
    assert len(of_others) == _due(made, Kind.POSE) * 6 // 20
