from penstock.engine.level import Level, LevelStatistics


def test_a_bounded_level_takes_up_to_its_limit_and_no_more() -> None:
    """What fits exactly is taken; one more is turned away and changes nothing."""
    level = Level(10)
    assert level.take_nowait(10)
    assert not level.take_nowait(1)
    assert level.statistics() == LevelStatistics(held=10, peak=10, limit=10)


def test_what_is_given_back_can_be_taken_again() -> None:
    """Room that was given back is room."""
    level = Level(10)
    level.take_nowait(8)
    level.give(5)
    assert level.take_nowait(7)
    assert level.held == 10


def test_a_level_without_a_limit_only_counts() -> None:
    """No bound, no refusal."""
    level = Level()
    assert level.take_nowait(1 << 60)
    assert level.statistics().limit is None


def test_the_peak_outlives_what_made_it_until_it_is_reset() -> None:
    """A peak between two looks is seen at the second, and a reset begins at what is held now."""
    level = Level()
    level.take_nowait(9)
    level.give(7)
    assert level.statistics() == LevelStatistics(held=2, peak=9, limit=None)
    level.reset_peak()
    assert level.statistics().peak == 2
    level.take_nowait(1)
    assert level.statistics().peak == 3
