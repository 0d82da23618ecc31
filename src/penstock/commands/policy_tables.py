"""How `penstock policy` shows what the admin routes answer: tables for people."""

from collections.abc import Iterable, Mapping
from typing import Any

import typer

from penstock.commands.output import print_table
from penstock.engine.policy_editions import spelled_out

Document = Mapping[str, Any]
_GLOBAL = "global"
_DEFAULT = "default"


def show_state(state: Document) -> None:
    """Show the whole: what is in force, what narrower scopes set, candidates, pressure."""
    since = state["seconds_since_change"]
    changed = "never changed" if since is None else f"changed {_ago(since)} ago"
    typer.echo(f"revision {state['revision']}, {changed}; {_pressure(state)}")
    reference = state["knobs"]
    inner = state["scopes"][_GLOBAL]
    turned = [
        name for name, knob in inner["knobs"].items() if knob["value"] != reference[name]["default"]
    ]
    rows = {row[0]: row for row in _knob_rows(inner)}
    print_table(
        ("Knob", "Value", "Default", "From", "Until", "Unit", "Allowed"),
        (
            (
                *rows[name][:2],
                _value(reference[name]["default"]) if name in turned else "",
                *rows[name][2:],
                reference[name]["unit"],
                reference[name]["allowed"],
            )
            for name in dict.fromkeys((*turned, *rows))
        ),
    )
    editions = [
        (scope, _knobs(edition["set"]), _until(edition), edition["reason"])
        for scope, held in state["scopes"].items()
        for edition in held["editions"]
    ]
    if editions:
        print_table(("Scope", "Sets", "Until", "Why"), editions, title="Editions")
    decided = state["decided"]
    typer.echo(
        f"{_count(decided['batches'], 'batch', 'batches')} decided, {_given(decided)} given up; "
        f"{_count(state['sessions_over_budget'], 'live session', 'live sessions')} over budget"
    )
    _show_causes(decided)
    for name, candidate in state["candidates"].items():
        _show_candidate(name, candidate)


def show_session(document: Document) -> None:
    """Show the policy of one session or organisation."""
    typer.echo(f"revision {document['revision']}: {', '.join(document['scopes'])}")
    print_table(("Knob", "Value", "From", "Until"), _knob_rows(document))


def show_explanation(document: Document) -> None:
    """Show why a session is treated as it is."""
    session = f"session {document['session_id']}"
    if document["live"]:
        budget, works = document["budget"], document["works"]
        typer.echo(f"{session} of organisation {document['org_id']}; {_pressure(document)}")
        typer.echo(
            f"lost {budget['frames_lost']} of {_count(budget['frames_due'], 'frame', 'frames')}, "
            f"{budget['lost_percent']:g} % of a budget of {budget['loss_percent']:g} %, "
            f"{'over' if budget['over_budget'] else 'within'} budget; unbroken stretch "
            f"{budget['stretch_ms']} ms of {budget['gap_seconds']:g} s; rung {works['rung']}, "
            f"waterline {works['waterline_percent']:g} %"
        )
    else:
        typer.echo(f"{session} is not live here; {_pressure(document)}")
    print_table(("Knob", "Value", "From", "Until"), _knob_rows(document["policy"]))
    decisions = _count(len(document["decisions"]), "decision", "decisions")
    typer.echo(f"{decisions}; {_following(document)}")
    if document["decisions"]:
        print_table(
            ("At", "Decision"),
            ((entry["at"], entry["words"]) for entry in document["decisions"]),
        )


def show_history(document: Document) -> None:
    """Show the changes, newest first."""
    # No table: its columns would break the ids, which are there to be copied.
    for change in document["changes"]:
        typer.echo(
            f"revision {change['revision']}, {change['made_at']}: {change['action']} "
            f"{_where(change)}"
        )
        typer.echo(f"  by {change['author']}: {change['reason']}")
        turned = ", ".join(f"{name} {before} -> {after}" for name, before, after in _turned(change))
        until = f"until {change['expires_at']}" if change["expires_at"] else ""
        if turned or until:
            typer.echo(f"  {'; '.join(part for part in (turned, until) if part)}")


def show_change(change: Document) -> None:
    """Show a change that was just made."""
    until = f" until {change['expires_at']}" if change["expires_at"] else ""
    typer.echo(f"revision {change['revision']}: {change['action']} {_where(change)}{until}")
    rows = list(_turned(change))
    if rows:
        print_table(("Knob", "Before", "After"), rows)


def visible(value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    """Give a document with what would hide in a text, or turn it around, spelled out."""
    if isinstance(value, str):
        return spelled_out(value)
    if isinstance(value, dict):
        return {visible(key): visible(held) for key, held in value.items()}
    return [visible(held) for held in value] if isinstance(value, list) else value


def _turned(change: Document) -> Iterable[tuple[str, str, str]]:
    before, after = change["before"] or {}, change["after"] or {}
    return (
        (name, _value(before.get(name)), _value(after.get(name)))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )


def _show_candidate(name: str, candidate: Document) -> None:
    typer.echo(f"candidate {name}: {_knobs(candidate['set'])} ({candidate['reason']})")
    decided = candidate["decided"]
    if decided is None:
        why = "; ".join(f"{fault['scope']}: {fault['detail']}" for fault in candidate["rests"])
        typer.echo(f"  rests, since it makes no policy with the book as it is: {why}")
        return
    typer.echo(f"  would have given up {_given(decided)} since {candidate['made_at']}")
    _show_causes(decided)


def _show_causes(decided: Document) -> None:
    rows = [
        (cause, count["verdict"], str(count["batches"]), str(count["frames_lost"]))
        for cause, count in decided["by_cause"].items()
    ]
    if rows:
        print_table(("Cause", "Verdict", "Batches", "Frames given up"), rows)


def _knob_rows(document: Document) -> list[tuple[str, str, str, str]]:
    """Give the knobs, first those that somebody set."""
    rows = [
        (name, _value(knob["value"]), knob["from"], knob.get("expires_at", ""))
        for name, knob in document["knobs"].items()
    ]
    return sorted(rows, key=lambda row: row[2] == _DEFAULT)


def _pressure(document: Document) -> str:
    stress = document["stress"]
    parts = ", ".join(f"{name} {part:g}" for name, part in stress.items() if name != "level")
    return f"stress {stress['level']:g} ({parts}), rung {document['rung']}"


def _following(document: Document) -> str:
    if document["followed"]:
        return "all of them are kept from now on, for ten minutes"
    return f"a sample, the session is not followed because {document['not_followed_because']}"


def _until(edition: Document) -> str:
    until = edition["expires_at"] or ""
    return f"{until} (ended, not saved yet)" if edition.get("ended") else until


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _given(decided: Document) -> str:
    return f"{decided['frames_lost']} of {_count(decided['frames'], 'frame', 'frames')}"


def _where(change: Document) -> str:
    return f"candidate {change['candidate']}" if change["candidate"] else str(change["scope"])


def _knobs(knobs: Document | None) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in (knobs or {}).items()) or "-"


def _value(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
