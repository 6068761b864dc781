"""The file format of plans: version 2 is written, versions 1 and 2 are read."""

from __future__ import annotations

import json
from typing import Any

from .._arguments import shown
from .rows import Row
from .strict_json import encode, parse

__all__ = ["dumps", "loads"]

_FORMAT, _VERSION = "genie-plan", 2


def dumps(plan: object, *, indent: int | None = None) -> str:
    """The canonical text: keys sorted, without spaces unless ``indent`` is given, floats as their shortest decimals."""
    data = {"format": _FORMAT, "version": _VERSION, **encode(plan)}
    separators = (",", ":") if indent is None else None
    return json.dumps(data, indent=indent, sort_keys=True, separators=separators, allow_nan=False)


def loads(text: str) -> dict[str, Any]:
    """The fields of a plan, parsed and brought to version 2; ValueError for text of another format or version."""
    if not isinstance(text, str):
        raise ValueError(f"text: {type(text).__name__}; need the string that to_json returned")
    data = parse(text)
    if not isinstance(data, dict):
        raise ValueError(f"text: not a plan; need {_needed()}{_reason(data)}")
    found, version = data.pop("format", None), data.pop("version", None)
    if found != _FORMAT or type(version) is not int or version not in (1, _VERSION):
        raise ValueError(f"text: not a plan, of format {shown(found)}, version {shown(version)}; need {_needed()}")
    return _from_version_1(data) if version == 1 else data


def _from_version_1(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 said "instructions" for the rows and gave them no kind; its flow schedules had no shift."""
    if "rows" in data or "instructions" not in data:
        raise ValueError("plan: version 1 has the key 'instructions' in place of 'rows'")
    rows, recipe = data.pop("instructions"), data.get("recipe")
    if isinstance(recipe, dict) and "schedule" in recipe:
        data["recipe"] = {**recipe, "schedule": _shifted(recipe["schedule"])}
    return {**data, "rows": [_tagged(row) for row in rows] if isinstance(rows, list) else rows}


def _shifted(schedule: Any) -> Any:
    """A flow schedule with the shift of equal steps; one that has a shift already keeps none, and is refused."""
    if not isinstance(schedule, dict) or schedule.get("name") != "flow":
        return schedule
    return {**schedule, "shift": None if "shift" in schedule else 1.0}


def _tagged(row: Any) -> Any:
    """A row of version 1 with its kind; one that has a kind already keeps none, and is refused with its path."""
    return {**row, "kind": None if "kind" in row else Row.kind} if isinstance(row, dict) else row


def _needed() -> str:
    return f'a JSON object with "format": "{_FORMAT}", "version": {_VERSION} or 1'


def _reason(data: object) -> str:
    reason = getattr(data, "reason", None)
    return "" if reason is None else f": {reason}"
