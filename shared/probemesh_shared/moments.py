"""Instants as text and back: RFC 3339 in UTC with Z, to the microsecond. Pure."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MICROSECOND = timedelta(microseconds=1)


def time_text(wall_ns: int) -> str:
    """``2026-11-22T17:02:03.123456Z``; a peer's absurd time is clamped to what a calendar holds."""
    micros = min(max(wall_ns // 1000, -62_135_596_800_000_000), 253_402_300_799_999_999)
    instant = _EPOCH + timedelta(microseconds=micros)
    return instant.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def time_from_text(text: str) -> int:
    """Nanoseconds since the epoch. Without an offset it is UTC; raises ``ValueError`` for what is no time."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - _EPOCH) // _MICROSECOND * 1000


def moment(text: str, now_ns: int) -> int:
    """``90s``, ``15m``, ``1h``, ``2d``: so long before ``now_ns``; or a time, as ``2026-11-27T04:00`` (UTC).
    Raises ``ValueError``."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is not None:
        return max(0, now_ns - int(found[1]) * _SECONDS[found[2]] * 1_000_000_000)
    return max(0, time_from_text(text))
