import pytest

from penstock.storage.ledger.migrate import (
    Applied,
    LedgerOpenError,
    Migration,
    due,
    load_migrations,
)
from penstock.storage.ledger.sqlite_file import statements

ONE, TWO = Migration(1, "one", "CREATE TABLE a (b);"), Migration(2, "two", "CREATE TABLE c (d);")
KNOWN = (ONE, TWO)


def applied(*steps: Migration) -> list[Applied]:
    return [Applied(step.number, step.name, step.checksum) for step in steps]


def test_only_what_a_database_has_not_taken_is_due() -> None:
    """Each step is taken once, in order."""
    assert due(KNOWN, []) == KNOWN
    assert due(KNOWN, applied(ONE)) == (TWO,)
    assert due(KNOWN, applied(ONE, TWO)) == ()


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (applied(ONE, TWO, Migration(3, "new", "")), ["newer version", "0003", "'new'", "backup"]),
        (applied(ONE._replace(sql="CREATE TABLE z (b);")), ["0001", "'one'", "never edited"]),
        (applied(TWO), ["hole"]),
        (applied(ONE._replace(number=0)), ["hole"]),
    ],
)
def test_a_past_that_is_not_ours_is_refused_in_words(past: list[Applied], words: list[str]) -> None:
    """A newer ledger, an edited migration and a hole are told apart, with what to do."""
    with pytest.raises(LedgerOpenError) as refused:
        due(KNOWN, past)
    assert all(word in str(refused.value) for word in words)
    assert "\n" not in str(refused.value)


def test_the_migrations_that_come_with_it_are_whole() -> None:
    """They are numbered without a hole, and each is a script of whole statements."""
    known = load_migrations("sqlite")
    assert [step.number for step in known] == list(range(1, len(known) + 1))
    assert all(list(statements(step.sql)) for step in known)


def test_a_build_without_its_migrations_is_told() -> None:
    """An installation that lacks them does not make an empty ledger."""
    with pytest.raises((RuntimeError, FileNotFoundError)):
        load_migrations("nothing")


def test_a_script_is_split_at_the_ends_of_statements() -> None:
    """Not at a semicolon in a text, a comment or a trigger; a torn script is no script."""
    parts = [
        "-- a; b\nCREATE TABLE a (b TEXT DEFAULT ';');\n",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n",
    ]
    assert list(statements("".join(parts) + "-- the end;\n\n")) == parts
    with pytest.raises(ValueError, match="statement"):
        list(statements(parts[0] + "CREATE TABLE c (d)\n"))
