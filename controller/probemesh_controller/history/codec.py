"""Results to JSON-like values and back, by looking at the dataclasses: nothing is lost, nothing is computed.

Fields that hold their default are left out; a key that is not known here is passed over, so that both older
and newer files can be read. Bytes are base64. A union of dataclasses is ``{"is": "TcpDetail", …}``. Pure.
"""

import dataclasses
import functools
import typing
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast

T = TypeVar("T")
Convert = Callable[[Any], Any]


def _per_class(build: Callable[[type], Convert]) -> Callable[[type], Convert]:
    """Built at the first use of a class, then kept; the number of classes is small and fixed."""
    return cast(Callable[[type], Convert], functools.cache(build))


#: The key that names the member of a union.
IS = "is"


class BadRecord(ValueError):
    """What stands in the file is not what this version can read."""


def encode(value: Any) -> dict[str, Any]:
    """A frozen dataclass of :mod:`probemesh_shared.model` as a JSON-like value."""
    return cast(dict[str, Any], _writer(type(value))(value))


def decode(cls: type[T], data: Any) -> T:
    """The object of ``cls``; raises :class:`BadRecord` and nothing else."""
    try:
        return cast(T, _reader(cls)(data))
    except RecursionError:
        raise BadRecord("it is nested too deeply") from None


# --- writing --------------------------------------------------------------------------------------------


@_per_class
def _writer(cls: type) -> Convert:
    hints = typing.get_type_hints(cls)
    fields = [(f.name, _write_for(hints[f.name]), _default(f)) for f in dataclasses.fields(cls)]

    def write(value: Any) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, convert, default in fields:
            part = getattr(value, name)
            if part != default:
                out[name] = None if part is None else convert(part)
        return out

    return write


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else _NOTHING


_NOTHING = object()


def _write_for(hint: Any) -> Convert:
    members = _members(hint)
    if len(members) > 1:
        return _write_member
    (inner,) = members
    if dataclasses.is_dataclass(inner):
        return lambda value: _writer(cast(type, inner))(value)
    if inner is bytes:
        return lambda value: b64encode(value).decode("ascii")
    if typing.get_origin(inner) is tuple:
        kinds = typing.get_args(inner)
        one = _write_for(kinds[0])
        return lambda values: [one(value) for value in values]
    if typing.get_origin(inner) is Mapping:
        return dict
    return str if isinstance(inner, type) and issubclass(inner, StrEnum) else lambda value: value


def _write_member(value: Any) -> dict[str, Any]:
    return {IS: type(value).__name__, **_writer(type(value))(value)}


def _members(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (Union, UnionType):
        return tuple(arg for arg in typing.get_args(hint) if arg is not NoneType)
    return (hint,)


# --- reading --------------------------------------------------------------------------------------------


@_per_class
def _reader(cls: type) -> Convert:
    hints = typing.get_type_hints(cls)
    fields = {f.name: _read_for(hints[f.name]) for f in dataclasses.fields(cls)}

    def read(data: Any) -> Any:
        if not isinstance(data, dict):
            raise BadRecord(f"a {cls.__name__} is no object")
        values = {}
        for name, convert in fields.items():
            if name in data:
                try:
                    values[name] = convert(data[name])
                except BadRecord as error:
                    raise BadRecord(f"{cls.__name__}.{name}: {error}") from None
        try:
            return cls(**values)
        except TypeError:
            raise BadRecord(f"a {cls.__name__} is incomplete") from None

    return read


def _read_for(hint: Any) -> Convert:
    members = _members(hint)
    one = _read_member(members) if len(members) > 1 else _read_one(members[0])
    if NoneType not in typing.get_args(hint):
        return one
    return lambda data: None if data is None else one(data)


def _read_one(hint: Any) -> Convert:
    if dataclasses.is_dataclass(hint):
        return lambda data: _reader(cast(type, hint))(data)
    if typing.get_origin(hint) is tuple:
        return _read_tuple(typing.get_args(hint))
    if typing.get_origin(hint) is Mapping:
        return _read_map
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return functools.partial(_read_word, hint)
    return functools.partial(_read_scalar, hint)


def _read_member(members: tuple[type, ...]) -> Convert:
    known = {member.__name__: member for member in members}

    def read(data: Any) -> Any:
        name = data.get(IS) if isinstance(data, dict) else None
        if not isinstance(name, str) or name not in known:
            raise BadRecord(f"it is none of {', '.join(known)}")
        return _reader(known[name])(data)

    return read


def _read_tuple(kinds: tuple[Any, ...]) -> Convert:
    one = _read_for(kinds[0])
    length = None if kinds[-1] is Ellipsis else len(kinds)

    def read(data: Any) -> tuple[Any, ...]:
        if not isinstance(data, list) or (length is not None and len(data) != length):
            raise BadRecord("it is no list of the right length")
        return tuple(one(item) for item in data)

    return read


def _read_map(data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise BadRecord("it is no map of texts")
    return dict(data)


def _read_word(enum: type[StrEnum], data: Any) -> StrEnum:
    try:
        return enum(data)
    except ValueError:
        raise BadRecord(f"it is no {enum.__name__} known here") from None


def _read_scalar(kind: type, data: Any) -> Any:
    if kind is bytes and isinstance(data, str):
        try:
            return b64decode(data, validate=True)
        except ValueError:
            raise BadRecord("it is no base64") from None
    if kind is float and type(data) is int:
        try:
            return float(data)
        except OverflowError:
            raise BadRecord("it is no number that anything is measured in") from None
    if type(data) is not kind:
        raise BadRecord(f"it is no {kind.__name__}")
    return data
