"""What several kinds read from their options: bytes, and numbers within bounds. Pure."""

from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import PortRange
from probemesh_shared.names import did_you_mean

#: What one datagram over IPv4 holds.
MOST_BYTES = 65_507
Word = TypeVar("Word", bound=StrEnum)


def parse_bytes(text: str, what: str) -> bytes:
    """``hex:0a0b`` as those bytes, everything else as UTF-8."""
    if not text.startswith("hex:"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(text[4:])
    except ValueError:
        raise InvalidRequest(
            f"{what} '{escape(text, 60)}' is not hexadecimal", "for example hex:0a0b0c"
        ) from None


def read_bytes(text: str, what: str) -> bytes:
    """As :func:`parse_bytes`, or a file's content for ``@FILE``; one datagram's size at most."""
    data = _of_file(Path(text[1:]), what) if text.startswith("@") else parse_bytes(text, what)
    if len(data) > MOST_BYTES:
        raise InvalidRequest(f"{what} is longer than {MOST_BYTES} bytes", "that is what one datagram holds")
    return data


def _of_file(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        words = (error.strerror or "cannot be read").lower()
        hint = "bytes that begin with @ are written as hex:40…"
        raise InvalidRequest(f"{what} @{escape(str(path), 200)}: {words}", hint) from None


def parse_span(text: str, what: str) -> PortRange:
    """``4000`` or ``4000-4010``."""
    first, dash, last = text.partition("-")
    words = (first, last if dash else first)
    if all(word.isascii() and word.isdigit() and 0 < len(word) <= 5 for word in words):
        low, high = (int(word) for word in words)
        if 1 <= low <= high <= 65_535:
            return PortRange(low, high)
    raise InvalidRequest(f"{what} '{escape(text, 40)}' is no port or range", "for example 4000 or 4000-4010")


def within(name: str, value: float | None, low: float, high: float) -> None:
    """Raises :class:`InvalidRequest` for a number out of its bounds; None was not given."""
    if value is not None and not low <= value <= high:
        raise InvalidRequest(f"{name} {value:g} is out of range", f"{low:g} to {high:g}")


def one_of(words: type[Word], text: str, what: str) -> Word:
    """The word that was typed, in any case; raises :class:`InvalidRequest` with what there is."""
    try:
        return words(text.lower())
    except ValueError:
        known = [word.value for word in words]
        hint = did_you_mean(text.lower(), known) or f"known: {', '.join(known)}"
        raise InvalidRequest(f"{what} does not know '{escape(text, 40)}'", hint) from None
