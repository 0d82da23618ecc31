"""Names of people: nothing to whoever has no key, all of them to who has it and knows the id."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.platform.actors import ActorNames, period_of

ANN = "aaaaaaaa-0000-4000-8000-00000000000a"
DAY = 24 * 3600
SECRET, OLD = b"n" * 32, b"o" * 32


@given(st.integers(1, 3650), st.integers(0, 60), st.booleans())
def test_every_name_that_was_ever_given_can_be_made_again(
    days: int,
    at_day: int,
    former: bool,  # noqa: FBT001 - drawn
) -> None:
    """Whatever periods were set and whichever of the secrets served, at whatever moment."""
    then = ActorNames(OLD if former else SECRET, days * DAY)
    now = ActorNames(SECRET, 30 * DAY, (OLD,))
    assert then.name(ANN, at_day * DAY + 5) in now.every_name(ANN, 60 * DAY + 9)


def test_names_tell_of_one_person_in_one_period() -> None:
    """Another period, person or secret: another name; the period is its beginning."""
    names = ActorNames(SECRET, 30 * DAY)
    one = names.name(ANN, 0)
    assert one == names.name(ANN, 30 * DAY - 1)
    assert period_of(one) == "0"
    others = {
        names.name(ANN, 30 * DAY), names.name("bob", 0), ActorNames(OLD, 30 * DAY).name(ANN, 0),
    }  # fmt: skip
    assert len(others | {one}) == 4
    assert ActorNames(OLD, DAY).name(ANN, 0) not in names.every_name(ANN, 9 * DAY)
