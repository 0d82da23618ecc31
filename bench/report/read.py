"""A stored report, read back; what is wrong with a file is told in one line."""

import json
from pathlib import Path

from pydantic import ValidationError

from penstock.bench.errors import BenchError
from penstock.bench.report.models import SCHEMA, Report

_RESULTS = ("load", "capacity", "peers", "scale", "pressure", "neighbour", "policy_cost")
# After so many wrong fields the file is of some other kind.
_NAMED = 3


def read_report(path: Path) -> Report:
    """Read a report that a bench command wrote with --json."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BenchError(f"{path}: there is no such file") from None
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is no JSON: it is not UTF-8 text") from error
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path} is no JSON: {error}") from error
    _check_schema(path, plain)
    try:
        report = Report.model_validate_json(text)
    except ValidationError as error:
        raise BenchError(f"{path} is no valid report: {_told(error)}") from error
    there = [name for name in _RESULTS if getattr(report, name) is not None]
    if there != [report.kind.replace("-", "_")]:
        found = " and ".join(there) or "no result"
        raise BenchError(f"{path} is no valid report: kind is {report.kind!r}, and it has {found}")
    return report


def _check_schema(path: Path, plain: object) -> None:
    if not isinstance(plain, dict) or "schema" not in plain:
        raise BenchError(f"{path} is no report: it has no field 'schema'")
    if plain["schema"] != SCHEMA:
        raise BenchError(
            f"{path} has the schema {plain['schema']!r}; this version reads {SCHEMA!r}"
        )


def _told(error: ValidationError) -> str:
    wrong = [
        f"{'.'.join(map(str, one['loc'])) or 'the document'}: {one['msg']}"
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f" (and {len(wrong) - _NAMED} more)" if len(wrong) > _NAMED else ""
    return "; ".join(wrong[:_NAMED]) + more
