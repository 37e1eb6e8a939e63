"""What no reader would take, found before it is sent: one text that is too long makes a batch unreadable,
and with it what was measured of other targets. Lengths only: numbers are made here, texts come from outside.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from probemesh_shared.wire.bounds import MAX_ITEMS, BadMessage, check_for


def misfit(value: Any) -> str | None:
    """The first field of ``value`` (a dataclass), or of what it holds, that is too long, and by how much."""
    for one in dataclasses.fields(value):
        try:
            _look(type(value), one.name, getattr(value, one.name))
        except BadMessage as error:
            return f"{type(value).__name__}.{one.name}: {error}"
    return None


def _look(cls: type, name: str, held: Any) -> None:
    if isinstance(held, str | bytes):
        check_for(cls, name, str if isinstance(held, str) else bytes)(held)
    elif isinstance(held, tuple):
        _each(cls, name, held)
    elif dataclasses.is_dataclass(held) and (words := misfit(held)) is not None:
        raise BadMessage(words)


def _each(cls: type, name: str, held: Iterable[Any]) -> None:
    for number, one in enumerate(held):
        if number >= MAX_ITEMS:
            raise BadMessage(f"more than {MAX_ITEMS}")
        _look(cls, name, one)


__all__ = ["misfit"]
