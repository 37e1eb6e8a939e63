"""How the values of expectations are written and read: durations, sizes, ranges, sets of words, bytes. Pure.

Every reader takes at most :data:`MAX_VALUE` bytes, raises ``ValueError`` (its text says what is wrong) and
nothing else; ``spell`` gives the one canonical spelling. There are no regular expressions in what users and
controllers may ask: a pattern that backtracks is a weapon against the agent that runs it.
"""

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from probemesh_shared.escape import escape
from probemesh_shared.hosts import is_address
from probemesh_shared.model import PortRange

MAX_VALUE = 1024  # bytes of UTF-8
_BODY_READ = 1 << 20  # bytes of a body that an agent looks at
_MOST_ITEMS = 64  # of one list with commas, or steps of one JSON path
_LONGEST_MS = 366 * 86_400_000.0  # a year: what is spelled in microseconds stays exact
_LONGEST_S = 3_652_500 * 86_400.0  # ten thousand years: no certificate lives longer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Value(Generic[T]):
    """One way to write a value: what it means, and how it is spelled."""

    read: Callable[[str], T]
    spell: Callable[[T], str]


@dataclass(frozen=True, slots=True)
class Needle:
    """Bytes that must be contained; ``text`` is their canonical spelling, ``hex:`` where it is not text."""

    data: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Header:
    """``value`` must be contained in one header of that name; empty: there must be one."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class JsonExpected:
    """The value at ``path`` (member names, list positions from 0) must be ``value``.

    ``value`` is JSON where it can be read as a number, a boolean or null, and text elsewhere."""

    path: tuple[str, ...]
    value: str

    def unmet(self, document: Any) -> str | None:
        """In words why ``document``, parsed JSON, is not as expected; None where it is."""
        where = escape(".".join(self.path), 80)
        for step in self.path:
            if isinstance(document, dict) and step in document:
                document = document[step]
            elif isinstance(document, list) and step.isascii() and step.isdigit() and len(step) < 8:
                if int(step) >= len(document):
                    return f"the JSON of the answer has no {where}"
                document = document[int(step)]
            else:
                return f"the JSON of the answer has no {where}"
        if document == self.value or _same_scalar(document, self.value):
            return None
        found = escape(_shown(document), 80)
        return f"{where} is {found} in the JSON of the answer, expected {escape(self.value, 80)}"


def _shown(value: object) -> str:
    """Never what is inside an object or a list: it may be deeper than a stack."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    return value if isinstance(value, str) else json.dumps(value)


def _same_scalar(found: object, wanted: str) -> bool:
    """``1`` and ``1.0`` are the same number; ``true`` and ``1`` are not the same value."""
    if found is None or isinstance(found, bool):
        return wanted == json.dumps(found)
    if not isinstance(found, int | float):
        return False
    try:
        return float(wanted) == found
    except (ValueError, OverflowError):
        return False


def _trimmed(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _quantity(text: str, units: dict[str, float], bare: float | None, what: str) -> float:
    """A number with its unit; ``bare`` is what a number without one counts."""
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([A-Za-zµ%]{0,4})", text)
    factor = (units.get(found[2]) if found[2] else bare) if found else None
    if found is None or factor is None:
        raise ValueError(f"'{escape(text, 40)}' is no {what} (units: {', '.join(units)})")
    return float(found[1]) * factor


_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0}
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_BYTES = {"B": 1, "kB": 1000, "KiB": 1 << 10, "MB": 10**6, "MiB": 1 << 20}


def _read_ms(text: str) -> float:
    """Rounded as it is spelled: what is spelled as 1000 ms is a second."""
    value = round(_quantity(text, _MS, None, "duration"), 6)
    if value > _LONGEST_MS:
        raise ValueError(f"{escape(text, 40)} is more than a year")
    return value


def _spell_ms(value: float) -> str:
    return f"{_trimmed(value / 1000)}s" if value >= 1000 else f"{_trimmed(value)}ms"


def _read_percent(text: str) -> float:
    """As a ratio, 0 to 1."""
    value = _quantity(text, {"%": 1.0}, None, "percentage")
    if value > 100:
        raise ValueError(f"{escape(text, 40)} is more than everything")
    return value / 100


def _read_seconds(text: str, bare: float | None = None) -> float:
    value = float(round(_quantity(text, _SECONDS, bare, "duration")))
    if value > _LONGEST_S:
        raise ValueError(f"{escape(text, 40)} is more than ten thousand years")
    return value


def spell_seconds(value: float) -> str:
    """In the largest unit that leaves no fraction: ``30d``, ``12h``, ``90s``."""
    for unit in ("d", "h"):
        if value and value % _SECONDS[unit] == 0:
            return f"{value / _SECONDS[unit]:.0f}{unit}"
    return f"{value:.0f}s"


def _read_size(text: str) -> int:
    units = {unit: float(size) for unit, size in _BYTES.items()}
    size = round(_quantity(text, units, 1.0, "size"))
    if size > _BODY_READ:
        raise ValueError(f"{escape(text, 40)} is more than 1 MiB, and no more of a body is read")
    return size


def _read_count(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > most:
        raise ValueError(f"'{escape(text, 40)}' is no number from 0 to {most}")
    return int(text)


def _items(text: str) -> list[str]:
    found = [item.strip() for item in text.split(",")]
    if not all(found) or len(found) > _MOST_ITEMS:
        raise ValueError(f"'{escape(text, 40)}' is no list of 1 to {_MOST_ITEMS} words with commas between")
    return found


def _read_words(text: str, known: tuple[str, ...] = (), upper: bool = False) -> tuple[str, ...]:
    """A set of words, any of which will do; only ``known`` ones, where there are such."""
    words = [item.upper() if upper else item for item in _items(text)]
    for word in words:
        if known and word not in known:
            raise ValueError(f"there is no '{escape(word, 40)}', only {', '.join(known)}")
        if not re.fullmatch(r"[A-Za-z0-9_./|-]{1,64}", word):
            raise ValueError(f"'{escape(word, 40)}' is no such word")
    return tuple(dict.fromkeys(words))


def _read_statuses(text: str) -> tuple[PortRange, ...]:
    spans = []
    for item in _items(text):
        first, dash, last = item.partition("-")
        low, high = (
            int(word) if len(word) == 3 and word.isascii() and word.isdigit() else 0
            for word in (first, last if dash else first)
        )
        if not 100 <= low <= high:
            raise ValueError(f"'{escape(item, 40)}' is no HTTP status from 100 to 999, nor a range of them")
        spans.append(PortRange(low, high))
    return tuple(sorted(set(spans), key=lambda span: (span.first, span.last)))


def spell_ranges(spans: tuple[PortRange, ...]) -> str:
    """``200-299,404``."""
    return ",".join(str(s.first) if s.first == s.last else f"{s.first}-{s.last}" for s in spans)


@dataclass(frozen=True, slots=True)
class Versions:
    """``1.2,1.3``: any of them; ``1.2+``: that one or a later one."""

    words: tuple[str, ...]
    or_later: bool = False

    def allows(self, version: str) -> bool:
        found = version_word(version)
        if self.or_later:
            return _rank(found) >= _rank(self.words[0])
        return found in self.words


def version_word(text: str) -> str:
    """``TLSv1.3``, ``HTTP/2`` and ``2.0`` as ``1.3`` and ``2``."""
    bare = re.sub(r"^(tlsv?|http/)", "", text.strip().lower())
    if bare == "1":  # OpenSSL's TLSv1
        return "1.0"
    return bare[:-2] if bare.endswith(".0") and bare != "1.0" else bare


def _rank(word: str) -> float:
    try:
        return float(word) if len(word) < 8 else -1.0
    except ValueError:  # sslv3 and the like
        return -1.0


def _read_versions(text: str, known: tuple[str, ...]) -> Versions:
    or_later = text.endswith("+")
    words = tuple(dict.fromkeys(version_word(item) for item in _items(text.removesuffix("+"))))
    for word in words:
        if word not in known:
            raise ValueError(f"there is no version '{escape(word, 40)}', only {', '.join(known)}")
    if or_later and len(words) > 1:
        raise ValueError(f"'{escape(text, 40)}' is a list and a minimum at once")
    return Versions(words, or_later)


def _spell_versions(value: Versions) -> str:
    return ",".join(value.words) + ("+" if value.or_later else "")


def read_needle(text: str) -> Needle:
    """``hex:0a0b`` as those bytes, everything else as UTF-8."""
    if not text.startswith("hex:"):
        return Needle(text.encode(), text)
    try:
        data = bytes.fromhex(text[4:])
    except ValueError:
        data = b""
    if not data:
        raise ValueError(f"'{escape(text, 40)}' is not hexadecimal")
    return Needle(data, f"hex:{data.hex()}")


def _read_text(text: str) -> str:
    return text


def _read_address(text: str) -> str:
    if not is_address(text):
        raise ValueError(f"'{escape(text, 60)}' is no IP address")
    return str(ipaddress.ip_address(text))


def _read_flag(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    return _read_words(text.lower(), known)


def _read_yes(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ValueError(f"'{escape(text, 40)}' is neither yes nor no")
    return text.lower() == "yes"


def _read_fingerprint(text: str) -> str:
    bare = text.lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch(r"[0-9a-f]{64}", bare):
        raise ValueError(f"'{escape(text, 40)}' is no SHA-256 fingerprint of 64 hexadecimal digits")
    return bare


def _read_header(text: str) -> Header:
    name, _, value = text.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}", name):
        raise ValueError(f"'{escape(name, 40)}' is no name of a header")
    return Header(name, value.strip())


def _spell_header(header: Header) -> str:
    return f"{header.name}: {header.value}" if header.value else header.name


def _read_json(text: str) -> JsonExpected:
    path, equals, value = text.partition("=")
    path = re.sub(r"\[([0-9]{1,7})\]", r".\1", path)  # nodes[0].name, as jq and most people write it
    steps = tuple(path.removeprefix("$").removeprefix(".").split("."))
    if not equals or not all(steps) or len(steps) > _MOST_ITEMS:
        raise ValueError(f"'{escape(text, 60)}' is no PATH=VALUE")
    return JsonExpected(steps, value)


def _spell_json(value: JsonExpected) -> str:
    """With the root before a member that begins like one, or with a blank: both are taken off in reading."""
    root = "$." if value.path[0].startswith(("$", " ")) else ""
    return f"{root}{'.'.join(value.path)}={value.value}"


def _comma(words: tuple[str, ...]) -> str:
    return ",".join(words)


def words(*known: str, upper: bool = False) -> Value[tuple[str, ...]]:
    """A set of words with commas between; any of them will do."""
    return Value(partial(_read_words, known=known, upper=upper), _comma)


def count(most: int) -> Value[int]:
    return Value(partial(_read_count, most=most), str)


def versions(*known: str) -> Value[Versions]:
    return Value(partial(_read_versions, known=known), _spell_versions)


def flags(*known: str) -> Value[tuple[str, ...]]:
    return Value(partial(_read_flag, known=known), _comma)


MILLISECONDS = Value(_read_ms, _spell_ms)
PERCENT = Value(_read_percent, lambda ratio: f"{_trimmed(ratio * 100)}%")
DURATION = Value(_read_seconds, spell_seconds)
TTL = Value(partial(_read_seconds, bare=1.0), lambda value: f"{value:.0f}s")
SIZE: Value[int] = Value(_read_size, str)
STATUSES = Value(_read_statuses, spell_ranges)
NEEDLE = Value(read_needle, lambda needle: needle.text)
TEXT = Value(_read_text, _read_text)
ADDRESS = Value(_read_address, _read_text)
YES = Value(_read_yes, lambda value: "yes" if value else "no")
FINGERPRINT = Value(_read_fingerprint, _read_text)
HEADER = Value(_read_header, _spell_header)
JSON = Value(_read_json, _spell_json)
