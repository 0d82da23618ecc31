from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.decisions import Admit, Decision, Offer, Refuse, Thin
from penstock.engine.loss import LossAccount
from penstock.engine.sluice import Place, Sluice
from sluice_rig import Book, Found, Rig, batch

sessions = st.sampled_from("abc")
overlays = st.fixed_dictionaries(
    {},
    optional={
        # Each of these goes with each other, and with the defaults.
        "thin_at": st.sampled_from([40.0, 50.0, 60.0]),
        "thin_until": st.sampled_from([20.0, 35.0, 40.0]),
        "refuse_at": st.sampled_from([60.0, 70.0]),
        "refuse_until": st.sampled_from([20.0, 50.0, 60.0]),
        "dwell_seconds": st.sampled_from([0.1, 1.0, 3.0]),
        "keep_every": st.integers(2, 5),
        "loss_percent": st.sampled_from([0.0, 5.0, 50.0, 100.0]),
        "gap_seconds": st.sampled_from([0.0, 1.0, 10.0]),
        "inbox_mode": st.sampled_from(["refuse", "drop_oldest"]),
        "inbox_soft_batches": st.integers(1, 16),
        "inbox_batches": st.integers(32, 64),
        "retry_after_max_seconds": st.sampled_from([1.0, 5.0]),
    },
)
levels = st.sampled_from([0.0, 30.0, 55.0, 75.0, 100.0])
events = st.lists(
    st.one_of(
        st.tuples(st.just("press"), levels, st.integers(1, 40)),
        st.tuples(st.just("offer"), sessions, st.integers(1, 20), st.integers(0, 66)),
        st.tuples(st.just("offer"), sessions, st.integers(1, 20), st.just(0)),
        st.tuples(st.just("round"), st.integers(1, 8), st.sampled_from([60.0, 80.0, 100.0])),
        st.tuples(st.just("lose"), sessions),
        st.tuples(st.just("unsent"), sessions, st.integers(1, 10)),
        st.tuples(st.just("edit"), st.sampled_from(["global", "org:o", "session:a"]), overlays),
        st.tuples(st.just("clear"), st.sampled_from(["org:o", "session:a"])),
        st.tuples(st.just("rejoin"), sessions),
    ),
    max_size=40,
)


def _kept(decision: Decision, frames: int) -> int:
    match decision:
        case Refuse():
            return 0
        case Thin(kept=kept):
            return kept
        case Admit():
            return frames


class Trace:
    """Plays the same events on a sluice."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.numbers = dict.fromkeys("abc", 0)
        # Of each session's newest batch: what of it may still be lost.
        self.taken: dict[str, tuple[Offer, int]] = {}
        self.places = {name: self._join(name, LossAccount(500, 5)) for name in "abc"}

    def _join(self, name: str, loss: LossAccount) -> Place:
        return self.rig.sluice.join(name, "p" if name == "c" else "o", loss)

    def offer(self, name: str, frames: int = 10, inbox: int = 0) -> None:
        self.numbers[name] += 1
        offer = batch(self.numbers[name], frames=frames, inbox=inbox)
        self.taken[name] = offer, _kept(self.rig.sluice.decide(self.places[name], offer), frames)

    def may_lose(self, name: str) -> bool:
        return name in self.taken and self.taken[name][1] > 0

    def lose(self, name: str) -> None:
        if not self.may_lose(name):
            return
        offer, frames = self.taken.pop(name)
        self.rig.sluice.lose(self.places[name], frames, offer.first_ms, offer.last_ms)

    def play(self, event: tuple[Any, ...]) -> None:
        if event[0] in ("edit", "clear"):
            self.edit(event)
            return
        if event[0] == "lose":
            self.lose(event[1])
            return
        sluice = self.rig.sluice
        match event:
            case ("press", level, tenths):
                self.rig.press(level, tenths / 10)
            case ("offer", name, frames, inbox):
                self.offer(name, frames, inbox)
            case ("round", seconds, level):
                for _ in range(seconds):
                    for name in "abc":
                        self.offer(name)
                    self.rig.press(level, 1.0)
            case ("unsent", name, frames):
                sluice.leave_unsent(self.places[name], frames)
            case ("rejoin", name):
                self.taken.pop(name, None)
                sluice.leave(self.places[name])
                self.places[name] = self._join(name, LossAccount(300, 3))

    def edit(self, event: tuple[Any, ...]) -> None:
        match event:
            case ("edit", scope, knobs):
                self.rig.book.overlays[scope] = knobs
            case ("clear", scope):
                self.rig.book.overlays.pop(scope, None)
        self.rig.sluice.adopt()


def _accounts(losses: list[LossAccount | None]) -> list[tuple[int, int, int]]:
    return [(loss.due, loss.lost, loss.stretch_ms) for loss in losses if loss is not None]


class EnforcedBook(Book):
    """A book whose candidate was adopted as the global policy, on top of what is global."""

    def __init__(self, overlay: dict[str, Any]) -> None:
        super().__init__()
        self.overlay = overlay

    def in_force(self, org_id: str, session_id: str, *candidate: dict[str, Any]) -> Found:
        return super().in_force(org_id, session_id, self.overlay, *candidate)


@settings(max_examples=150, deadline=None)
@given(events, st.lists(overlays, min_size=1, max_size=3))
def test_a_candidate_counts_what_it_would_have_decided_in_force(
    series: list[tuple[Any, ...]], proposals: list[dict[str, Any]]
) -> None:
    """On the same offers, readings and edits: the same counts, lines and accounts.

    So also with other losses, of batches that all took: each loses what it took of them.
    """
    shadowed = Rig()
    for number, overlay in enumerate(proposals):
        shadowed.book.candidates[f"x{number}"] = overlay
    shadowed.sluice.adopt()
    trace = Trace(shadowed)
    enforced = []
    for overlay in proposals:
        rig = Rig()
        rig.book = EnforcedBook(overlay)
        rig.sluice = Sluice(rig.book, rig.clock)
        enforced.append(Trace(rig))
    traces = (trace, *enforced)
    for event in series:
        if event[0] != "lose" or all(one.may_lose(event[1]) for one in traces):
            for one in traces:
                one.play(event)
    for number, alone in enumerate(enforced):
        name = f"x{number}"
        assert shadowed.sluice.candidates()[name] == alone.rig.sluice.statistics()
        assert _accounts(
            [shadowed.sluice.candidate_loss(name, place) for place in trace.places.values()]
        ) == _accounts([place.loss for place in alone.places.values()])


@settings(max_examples=50, deadline=None)
@given(events, overlays)
def test_a_candidate_changes_nothing(
    series: list[tuple[Any, ...]], overlay: dict[str, Any]
) -> None:
    """What is decided in force is the same with a candidate beside it."""
    plain, shadowed = Rig(), Rig()
    shadowed.book.candidates["x"] = overlay
    shadowed.sluice.adopt()
    traces = Trace(plain), Trace(shadowed)
    for event in series:
        for trace in traces:
            trace.play(event)
    assert plain.sluice.statistics() == shadowed.sluice.statistics()


def test_a_candidate_begins_where_the_service_stands() -> None:
    """Proposed under stress, it starts on the rung and with the losses and promises of now."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(10**6, 0))
    rig.press(80, 3)
    assert isinstance(rig.sluice.decide(place, batch()), Refuse)
    rig.book.candidates["same"] = {}
    rig.sluice.adopt()
    rig.sluice.decide(place, batch(1))
    (mine,) = rig.sluice.in_force()
    (its,) = rig.sluice.candidates()["same"].works
    assert its == mine
    loss = rig.sluice.candidate_loss("same", place)
    assert loss is not None
    assert (loss.due, loss.lost) == (place.loss.due, place.loss.lost)


def test_a_candidate_that_is_proposed_anew_counts_from_nothing() -> None:
    """Another proposal under the same name has its own counts; edits beside it do not end it."""
    rig = Rig()
    rig.book.candidates["x"] = {"keep_every": 3}
    rig.sluice.adopt()
    place = rig.sluice.join("s", "o", LossAccount(0, 0))
    rig.sluice.decide(place, batch())
    rig.edit(thin_at=45)
    rig.sluice.decide(place, batch(1))
    assert rig.sluice.candidates()["x"].batches == 2
    rig.book.candidates["x"] = {"keep_every": 4}
    rig.sluice.adopt()
    rig.sluice.decide(place, batch(2))
    assert rig.sluice.candidates()["x"].batches == 1
    del rig.book.candidates["x"]
    rig.sluice.adopt()
    rig.sluice.decide(place, batch(3))
    assert rig.sluice.candidates() == {}
    assert rig.sluice.candidate_loss("x", place) is None


def _beside(**overlay: Any) -> tuple[Rig, Place]:
    rig = Rig(gap_seconds=600)
    rig.book.candidates["x"] = overlay
    rig.sluice.adopt()
    return rig, rig.sluice.join("s", "o", LossAccount())


REFUSES = {
    "thin_at": 0.0,
    "thin_until": 0.0,
    "refuse_at": 0.0,
    "refuse_until": 0.0,
    "loss_percent": 100.0,
    "gap_seconds": 600.0,
}


def test_a_candidate_is_not_charged_for_what_it_had_refused() -> None:
    """Batches are taken in force and lost at once; it lost each once, when it refused it or now."""
    rig, place = _beside(**REFUSES)
    refused = 0
    for number in range(30):
        rig.press(5, 1)
        rig.sluice.decide(place, batch(number))
        decided = rig.sluice.candidates()["x"].by_cause
        refused = sum(count.frames_lost for count in decided.values())
        rig.sluice.lose(place, 10, number * 1000, number * 1000 + 900)
        loss = rig.sluice.candidate_loss("x", place)
        assert loss is not None
        assert (loss.due, loss.lost) == ((number + 1) * 10,) * 2
    assert refused > 100
    assert place.loss.lost == 300


def test_a_chunk_that_is_lost_later_costs_a_candidate_what_it_took_of_each_batch() -> None:
    """Thinned by the candidate and whole in force, and lost fifteen batches later."""
    rig, place = _beside(thin_at=0.0, thin_until=0.0, loss_percent=100.0, keep_every=5)
    for number in range(40):
        rig.press(5, 1)
        rig.sluice.decide(place, batch(number))
    before = rig.sluice.candidate_loss("x", place)
    assert before is not None
    before = before.copy()
    assert before.lost > 0
    for number in range(25, 40):
        rig.sluice.lose(place, 10, number * 1000, number * 1000 + 900)
    loss = rig.sluice.candidate_loss("x", place)
    assert loss is not None
    # Two of ten were kept, and so are what is left to lose.
    assert loss.lost == before.lost + 15 * 2


def test_a_candidate_loses_the_whole_of_a_batch_that_was_thinned_in_force() -> None:
    """The report has the kept frames and their times; the candidate had taken all ten."""
    rig = Rig(loss_percent=100)
    rig.book.candidates["x"] = {"thin_at": 70.0, "refuse_at": 80.0}
    rig.sluice.adopt()
    place = rig.sluice.join("s", "o", LossAccount(10**6, 0))
    rig.press(60, 3)
    decision = rig.sluice.decide(place, batch())
    assert isinstance(decision, Thin)
    rig.sluice.lose(place, decision.kept, 90, 890)
    loss = rig.sluice.candidate_loss("x", place)
    assert loss is not None
    assert (place.loss.lost, loss.lost) == (10, 10)
