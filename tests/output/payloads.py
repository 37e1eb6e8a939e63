"""What a hostile end may write, and any of our dataclasses with that in every place for text."""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Union

#: What begins a line of its own where a line break got through.
FORGED = "FORGED"
TERMINAL = f"\x1b[2J\x1b]0;title\x07\x9b31m\u202eelif\u2066\u200b\u2028\x00\x7f\r\n{FORGED}"
TEXTS = {
    "terminal": f"x{TERMINAL}",
    "formula": f"=cmd|'/c calc'!A1{TERMINAL}",
    "tab": f"\t@SUM(1+1)*{TERMINAL}",
    "surrogate": f"\ud800-\udfff{TERMINAL}",
    "quotes": f"\",'\n{FORGED}: &anchor !!python/object:os.system [{{}}] # %s {{}} \\x1b",
}


def filled(kind: Any, text: str, chosen: Mapping[Any, Any] = {}) -> Any:
    """An object of ``kind`` with ``text`` in every string and every bytes. ``chosen``: type → value, for
    enumerations and the members of unions."""
    if kind in chosen:
        return chosen[kind]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        values = {field.name: filled(hints[field.name], text, chosen) for field in dataclasses.fields(kind)}
        return typing.cast(type, kind)(**values)
    return _other(kind, text, chosen)


def _other(kind: Any, text: str, chosen: Mapping[Any, Any]) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, UnionType):
        members = [arg for arg in args if arg is not NoneType]
        return filled(next((arg for arg in members if arg in chosen), members[0]), text, chosen)
    if origin is tuple:
        return tuple(filled(arg, text, chosen) for arg in args if arg is not Ellipsis)
    if origin in (Mapping, dict):
        return {filled(args[0], text, chosen): filled(args[1], text, chosen)}
    if origin is frozenset:
        return frozenset({filled(args[0], text, chosen)})
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return next(iter(kind))
    plain: dict[Any, Any] = {str: text, bytes: _bytes(text), int: 1, float: 1.0, bool: True}
    return plain[kind]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass") + b"\xff\x9b"


def planted(value: Any, text: str) -> Iterator[Any]:
    """Copies of ``value``, each with ``text`` in the place of one string: what is true of the rest stays."""
    if type(value) is str:
        yield text
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            for inner in planted(getattr(value, field.name), text):
                yield dataclasses.replace(value, **{field.name: inner})
    elif isinstance(value, tuple):
        for index, one in enumerate(value):
            for inner in planted(one, text):
                yield (*value[:index], inner, *value[index + 1 :])


def is_clean(shown: str) -> bool:
    """Nothing but what can be seen, in lines of which none was begun by somebody else."""
    lines = shown.split("\n")
    return all(line.isprintable() for line in lines) and not any(
        line.lstrip(" \"'|>-").startswith(FORGED) for line in lines
    )
