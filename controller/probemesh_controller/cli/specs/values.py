"""What several kinds read from their options: bytes, and numbers within bounds. Pure."""

from enum import StrEnum
from typing import TypeVar

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.names import did_you_mean

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
