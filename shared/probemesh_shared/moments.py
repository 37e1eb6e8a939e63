"""Instants as text and back: RFC 3339 in UTC with Z, to the microsecond. Pure."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def time_text(wall_ns: int) -> str:
    """``2026-11-22T17:02:03.123456Z``; a peer's absurd time is clamped to what a calendar holds."""
    micros = min(max(wall_ns // 1000, -62_135_596_800_000_000), 253_402_300_799_999_999)
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def time_from_text(text: str) -> int:
    """Nanoseconds since the epoch. Without an offset it is UTC; raises ``ValueError`` for what is no time."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND * 1000
