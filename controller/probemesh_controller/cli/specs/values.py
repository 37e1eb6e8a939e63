"""What several kinds read from their options: bytes, and numbers within bounds. Pure."""

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape


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
