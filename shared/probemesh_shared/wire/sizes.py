"""How large an object can become on the wire, without encoding it: an upper bound, near the truth.

The outbox cuts batches and counts its window with it; encoding twice would cost five times more. Built once
per class from the annotations, as the converters are, but free of protobuf.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Union, cast

_PREFIX = 5  # tag of at most two bytes, length of at most three
_FIXED: dict[type, int] = {int: 12, float: 10, bool: 3}
_WORD = 4
#: Classes with more small fields than this that may be absent are looked at field by field: details, of which
#: there is one a row. A sample counts as if it had all of its few, for there are very many.
_FEW = 4

Sizer = Callable[[Any], int]


def size_of(value: Any) -> int:
    """No fewer bytes than the encoded message of the dataclass ``value`` has, itself without a prefix."""
    return _sizer(type(value))(value)


def _text(value: str) -> int:
    return _PREFIX + (len(value) if value.isascii() else 4 * len(value))


def _bytes(value: bytes) -> int:
    return _PREFIX + len(value)


def _message(value: Any) -> int:
    return _PREFIX + _sizer(type(value))(value)


def _map(value: Mapping[str, str]) -> int:
    return sum(_PREFIX + _text(key) + _text(word) for key, word in value.items())


def _sum(one: Sizer) -> Sizer:
    return lambda values: sum(map(one, values))


def _times(one: int) -> Sizer:
    return lambda values: one * len(values)


def _pair(value: tuple[str, str]) -> int:
    return _PREFIX + _text(value[0]) + _text(value[1])


def _field(hint: Any) -> int | Sizer:
    """A constant for what is small whatever its value, else a function of it, never called with None."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, UnionType):
        inner = [arg for arg in args if arg is not NoneType]
        return _field(inner[0]) if len(inner) == 1 else lambda value: _PREFIX + _message(value)
    if hint in _FIXED:
        return _FIXED[hint]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _WORD
    if hint in (str, bytes):
        return _text if hint is str else _bytes
    if origin is Mapping:
        return _map
    if origin is tuple:
        one = _pair if args[-1] is not Ellipsis else _field(args[0])
        if args[-1] is not Ellipsis:
            return cast(Sizer, one)
        return _times(one) if isinstance(one, int) else _sum(one)
    return _message


_SIZERS: dict[type, Sizer] = {}


def _sizer(cls: type) -> Sizer:
    sizer = _SIZERS.get(cls)
    if sizer is None:
        sizer = _SIZERS[cls] = _build(cls)
    return sizer


def _build(cls: Any) -> Sizer:
    hints = typing.get_type_hints(cls)
    fields = {f.name: _field(hints[f.name]) for f in dataclasses.fields(cls)}
    small = {name: size for name, size in fields.items() if isinstance(size, int)}
    absent = {name: size for name, size in small.items() if NoneType in typing.get_args(hints[name])}
    absent = absent if len(absent) > _FEW else {}
    fixed = sum(small.values()) - sum(absent.values())
    variable = tuple((name, size) for name, size in fields.items() if not isinstance(size, int))

    def measure(value: Any) -> int:
        total = fixed
        for name, bytes_more in absent.items():
            if getattr(value, name) is not None:
                total += bytes_more
        for name, size in variable:
            part = getattr(value, name)
            if part:
                total += size(part)
        return total

    return measure
