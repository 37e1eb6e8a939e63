"""One table of the file: its values by type and range, what is wrong told with its line. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.names import check_name, did_you_mean

from probemesh_controller.meshes.lines import Lines, Path
from probemesh_controller.meshes.model import Problem

MOST_ITEMS = 1024
_UNITS_NS = {
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)\Z")
_MISSING = object()
Named = TypeVar("Named")


def duration_text(value_ns: int) -> str:
    """``90s``, ``5m``, ``1h``: in the largest unit that is whole."""
    for unit in ("d", "h", "m", "s", "ms"):
        if value_ns % _UNITS_NS[unit] == 0:
            return f"{value_ns // _UNITS_NS[unit]}{unit}"
    return f"{value_ns / _UNITS_NS['ms']:g}ms"


@dataclass(slots=True)
class Report:
    """What was found wrong so far."""

    lines: Lines
    problems: list[Problem] = field(default_factory=list)

    def say(self, path: Path, text: str, hint: str | None = None) -> None:
        self.problems.append(Problem(self.lines.of(path), text, hint))

    def refused(self, path: Path, error: InvalidRequest, what: str = "") -> None:
        self.say(path, f"{what}{error}", error.hint)


class Table:
    """What is wrong is told to ``report``; then the value is None, or the default."""

    def __init__(self, report: Report, path: Path, value: Mapping[str, Any], shape: type[Any]) -> None:
        self.report, self.path, self._value = report, path, value
        self._known: Sequence[str] = tuple(shape.__annotations__)
        for key in value:
            if key not in self._known:
                hint = did_you_mean(key.replace("-", "_"), self._known) or f"known: {', '.join(self._known)}"
                report.say((*path, key), f"the key '{escape(key, 40)}' is not known here", hint)
        for key in sorted(shape.__required_keys__):
            if key not in value:
                report.say(path, f"{self._what} has no {key}", f'write {key} = "…"')

    @property
    def _what(self) -> str:
        name = next((part for part in reversed(self.path) if isinstance(part, str)), "the file")
        return f"this {name}"

    @property
    def line(self) -> int | None:
        return self.report.lines.of(self.path)

    def __contains__(self, key: str) -> bool:
        return key in self._value

    @property
    def raw_name(self) -> str:
        """Its ``name``, however it was written; empty where it is no text."""
        name = self._value.get("name")
        return name if isinstance(name, str) else ""

    def at(self, key: str, *more: int) -> Path:
        return (*self.path, key, *more)

    def say(self, key: str, text: str, hint: str | None = None) -> None:
        self.report.say(self.at(key), text, hint)

    def _typed(self, key: str, kind: type[Named] | tuple[type[Named], ...], what: str) -> Named | None:
        value = self._value.get(key, _MISSING)
        if value is _MISSING:
            return None
        wanted_flag = kind is bool
        if not isinstance(value, kind) or (isinstance(value, bool) and not wanted_flag):
            self.say(key, f"{key} is {shown(value)}, and must be {what}")
            return None
        return value

    def text(self, key: str, what: str = "a text in quotes") -> str | None:
        return self._typed(key, str, what)

    def flag(self, key: str) -> bool:
        return bool(self._typed(key, bool, "true or false"))

    def name(self, what: str) -> str | None:
        """Its ``name``, as names of agents are written."""
        text = self.text("name")
        if text is None:
            return None
        try:
            return check_name(text, what)
        except InvalidRequest as error:
            self.report.refused(self.at("name"), error)
            return None

    def choice(self, key: str, words: Sequence[str]) -> str | None:
        text = self.text(key, f"one of {', '.join(words)}")
        if text is not None and text not in words:
            hint = did_you_mean(text, words) or f"one of {', '.join(words)}"
            self.say(key, f"{key} = {shown(text)} is not known", hint)
            return None
        return text

    def whole(self, key: str, least: int, most: int, default: int) -> int:
        value = self.number(key, least, most, whole=True)
        return default if value is None else int(value)

    def number(self, key: str, least: float, most: float, *, whole: bool = False) -> float | None:
        kinds: tuple[type[Any], ...] = (int,) if whole else (int, float)
        value = self._typed(key, kinds, "a whole number" if whole else "a number")
        if value is None:
            return None
        if not least <= value <= most:  # NaN too
            self.say(key, f"{key} = {shown(value)} is out of range", f"{least:g} to {most:g}")
            return None
        return float(value)

    def duration_ns(self, key: str, least_ns: int, most_ns: int, default: int | None = None) -> int | None:
        text = self.text(key, 'a text with a unit, as "30s"')
        if text is None:
            return default
        found = _DURATION.match(text)
        if found is None:
            self.say(key, f"{key} = {shown(text)} is no duration", 'write "200ms", "30s", "5m", "1h" or "2d"')
            return default
        value = round(float(found[1]) * _UNITS_NS[found[2]])
        if not least_ns <= value <= most_ns:
            small = "too small" if value < least_ns else "too large"
            hint = f"{duration_text(least_ns)} to {duration_text(most_ns)}"
            self.say(key, f"{key} = {shown(text)} is {small}", hint)
            return default
        return value

    def instant_ns(self, key: str) -> int | None:
        value = self._typed(key, datetime, "a time, as 2026-12-01T22:00:00Z without quotes")
        if value is None:
            return None
        if value.tzinfo is None:
            self.say(key, f"{key} = {value.isoformat()} has no offset", "write Z behind it for UTC")
            return None
        return round(value.timestamp()) * 1_000_000_000

    def texts(self, key: str) -> list[tuple[str, Path]]:
        """A text, or a list of them, each with its path."""
        return [(text, path) for text, path in self.items(key, alone=True) if self._is_text(text, path)]

    def items(self, key: str, *, alone: bool = False) -> Iterator[tuple[Any, Path]]:
        """Of a list; with ``alone`` a single text will do."""
        value = self._value.get(key, _MISSING)
        if value is _MISSING:
            return
        if alone and isinstance(value, str):
            yield value, self.at(key)
        elif not isinstance(value, list):
            self.say(key, f"{key} is {shown(value)}, and must be a list", f'write {key} = ["…", "…"]')
        elif not value:
            self.say(key, f"{key} is empty", "leave it out, or name something")
        elif len(value) > MOST_ITEMS:
            self.say(key, f"{key} has {len(value)} items", f"{MOST_ITEMS} at most")
        else:
            for number, item in enumerate(value):
                yield item, self.at(key, number)

    def tables(self, key: str, shape: type[Any]) -> Iterator["Table"]:
        """Those of ``[[key]]``."""
        value = self._value.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self.say(key, f"{key} must be a list of tables", f"write [[{key}]]")
        elif len(value) > MOST_ITEMS:
            self.say(key, f"{len(value)} times [[{key}]]", f"{MOST_ITEMS} at most")
        else:
            for number, one in enumerate(value):
                yield Table(self.report, self.at(key, number), one, shape)

    def table(self, key: str, shape: type[Any]) -> "Table":
        value = self._value.get(key, {})
        if not isinstance(value, dict):
            self.say(key, f"{key} is {shown(value)}, and must be a table", f"write [{key}]")
            value = {}
        return Table(self.report, self.at(key), value, shape)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """A table whose keys are names."""
        value = self._value.get(key, {})
        if not isinstance(value, dict):
            self.say(key, f"{key} is {shown(value)}, and must be a table", f"write [{key}]")
            return {}
        return value

    def _is_text(self, value: object, path: Path) -> bool:
        if not isinstance(value, str):
            self.report.say(path, f"{shown(value)} stands where a text must", "put it in quotes")
        return isinstance(value, str)


def shown(value: object) -> str:
    """A value of the file, as it was written or nearly, in at most 60 characters."""
    if isinstance(value, str):
        return escape(f"'{value}'", 60)
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return escape(str(value), 60)
    except ValueError:  # Python writes out no number of thousands of digits
        return "a number of thousands of digits"
