"""The options of ``meshctl probe`` by name, read off the dataclasses that hold them. Pure.

A module of the configuration sets them by these names: the long option without its dashes in front, ``_`` or
``-`` inside. What is added to a dataclass is there by being there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.names import did_you_mean
from probemesh_shared.words import Family

from probemesh_controller.cli.specs import Asked

#: Where an option is called otherwise than the field that holds it.
_CALLED = {"kinds": "kind", "record_type": "type", "headers": "header"}
#: Two options that are one thing in a file.
_FAMILY = {"ipv4": Family.IPV4, "ipv6": Family.IPV6}
#: What a run obeys as a whole, beside the options of its probes.
OF_THE_RUN: Mapping[str, type] = {"deadline": float, "strict": bool, "no_trace": bool}


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an option lives: in ``Asked`` itself or in one of its parts."""

    part: str | None
    field: str
    type: Any


@cache
def slots() -> Mapping[str, Slot]:
    """Every option that a module may set, by its name in a file."""
    found: dict[str, Slot] = {}
    hints = get_type_hints(Asked)
    for field in fields(Asked):
        own = hints[field.name]
        if hasattr(own, "__dataclass_fields__"):
            inner = get_type_hints(own)
            found |= {called(f.name): Slot(field.name, f.name, inner[f.name]) for f in fields(own)}
        elif field.name not in _FAMILY:
            found[called(field.name)] = Slot(None, field.name, own)
    return found


def called(field: str) -> str:
    return _CALLED.get(field, field)


def known() -> tuple[str, ...]:
    """Every key of a module but ``description``."""
    return tuple(sorted({*slots(), *OF_THE_RUN, "family"}))


def option(key: str) -> str:
    """``dont_fragment`` → ``--dont-fragment``."""
    return f"--{key.replace('_', '-')}"


def read(key: str, value: object, where: str, base: Path) -> object:
    """A value of a file as the option has it; relative paths are seen from ``base``. Raises
    :class:`InvalidRequest` naming ``where``."""
    if key == "family":
        kind: Any = Family
    elif key in OF_THE_RUN:
        kind = OF_THE_RUN[key]
    elif key in slots():
        kind = slots()[key].type
    else:
        names = (*known(), "description")
        raise InvalidRequest(
            f"{where}: there is no option '{escape(key, 40)}'",
            did_you_mean(key, names) or f"known: {', '.join(names)}",
        )
    try:
        return _converted(_without_none(kind), value, base)
    except ValueError as wanted:
        raise InvalidRequest(f"{where}: {key} is not {wanted}", f"as {option(key)} takes it") from None


def with_value(asked: Asked, key: str, value: Any) -> Asked:
    """``asked`` with one option set."""
    if key == "family":
        return replace(asked, ipv4=value is Family.IPV4, ipv6=value is Family.IPV6)
    slot = slots()[key]
    if slot.part is None:
        return replace(asked, **{slot.field: value})
    return replace(asked, **{slot.part: replace(getattr(asked, slot.part), **{slot.field: value})})


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (UnionType, Union):
        (kind,) = [one for one in get_args(kind) if one is not NoneType]
    return kind


def _converted(kind: Any, value: object, base: Path) -> object:
    """Raises ``ValueError`` with what was wanted."""
    if kind is bool:
        return _of(value, bool, "true or false")
    if kind is int:
        return _of(value, int, "a whole number")
    if kind is float:
        return float(_of(value, (int, float), "a number"))
    if kind is Path:
        return base / Path(_of(value, str, "a path in quotes")).expanduser()
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if value not in tuple(kind):
            raise ValueError(f"one of {', '.join(kind)}")
        return kind(str(value))
    if kind is str:
        return str(_of(value, (str, int), "a text in quotes"))
    return _list(value)


def _of(value: object, kinds: Any, words: str) -> Any:
    """``true`` is no number, whatever Python says."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise ValueError(words)
    return value


def _list(value: object) -> tuple[str, ...]:
    """One text stands for a list of one."""
    items: Sequence[object] = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise ValueError("a text in quotes, or a list of them in brackets")
    return tuple(map(str, items))
