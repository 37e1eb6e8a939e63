"""Cron expressions of five fields, in UTC. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

from probemesh_controller.meshes.table import Table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HINT = 'five fields, in UTC: minute hour day month weekday, as "*/15 * * * *" or "0 3 * * MON-FRI"'
#: A file holds these for years; what does not fire within so long does not fire.
_ONCE_ONE_WAITS = timedelta(days=5 * 366)
_CHECKED_FROM = datetime(2026, 1, 1, tzinfo=UTC)


def check_cron(text: str) -> str:
    """The expression with single blanks. Raises :class:`InvalidRequest` for what cannot be read, and for what
    never fires."""
    fields = text.split()
    shown = escape(text, 60)
    if len(fields) != 5 or len(text) > 200:
        raise InvalidRequest(f"'{shown}' is no cron expression: it has {len(fields)} fields", _HINT)
    try:
        first = next(CronSim(text, _CHECKED_FROM), None)
    except CronSimError as error:
        if _day_never_comes(fields):
            raise _never(shown) from error
        raise InvalidRequest(f"the cron expression '{shown}' cannot be read: {error}", _HINT) from error
    if first is None or first - _CHECKED_FROM > _ONCE_ONE_WAITS:
        raise _never(shown)
    return " ".join(fields)


def read_cron(table: Table) -> str | None:
    """Its ``cron``, checked; None where there is none, or it cannot be used, which its report says then."""
    text = table.text("cron")
    if text is None:
        return None
    try:
        return check_cron(text)
    except InvalidRequest as error:
        table.report.refused(table.at("cron"), error)
        return None


def fires(cron: str, since_ns: int, until_ns: int) -> Iterator[int]:
    """The instants with ``since_ns`` ≤ t < ``until_ns``. The expression is one that :func:`check_cron`
    passed."""
    before = _EPOCH + timedelta(seconds=-(-since_ns // 1_000_000_000) - 1)
    for instant in CronSim(cron, before):
        at_ns = int((instant - _EPOCH).total_seconds()) * 1_000_000_000
        if at_ns >= until_ns:
            return
        if at_ns >= since_ns:
            yield at_ns


def _never(shown: str) -> InvalidRequest:
    return InvalidRequest(f"the cron expression '{shown}' never fires", "no month it names has that day")


def _day_never_comes(fields: list[str]) -> bool:
    """The month and the day are each well written, and have no day in common."""
    try:
        CronSim(" ".join([*fields[:2], "*", *fields[3:]]), _CHECKED_FROM)
        CronSim(" ".join([*fields[:3], "*", fields[4]]), _CHECKED_FROM)
    except CronSimError:
        return False
    return True
