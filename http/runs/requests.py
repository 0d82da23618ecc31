"""What the handlers of runs share: which run is meant, and how it is said that there is none."""

from penstock.http.cold_routes import Call, RefusedError
from penstock.http.exchange import Answer
from penstock.http.problems import Problem
from penstock.http.runs.words import refuse, shown


def event_id_of(call: Call) -> str:
    """Give the event id in the path; RefusedError for one that no run can have."""
    event_id = call.parameters["event_id"]
    if "\0" in event_id:  # which no database would even look for
        raise RefusedError(Problem.RUN_UNKNOWN, _unknown(event_id))
    return event_id


def no_run(event_id: str) -> Answer:
    """Say that there is no such run."""
    return refuse(Problem.RUN_UNKNOWN, _unknown(event_id))


def _unknown(event_id: str) -> str:
    return f"Run not found: {shown(event_id)}"
