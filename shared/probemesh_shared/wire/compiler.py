"""Converters between frozen dataclasses and their protobuf twins, built once per class by looking at both.

Rules, so that no pair needs a line of its own:

* a class and its message have the same name, a field the same name in both;
* ``X | None`` is a field with presence; ``tuple[X, ...]`` is repeated; ``Mapping[str, str]`` a map;
  ``tuple[tuple[str, str], ...]`` is repeated ``Header``;
* an enum word ``name-fails`` of ``Outcome`` is ``OUTCOME_NAME_FAILS``;
* a union of dataclasses is a oneof of the field's name, in the message itself or in a wrapper message.

Writing builds nested dicts and hands them to the message's constructor in one call (setting field by field
through the C extension costs three times as much); reading walks only the fields that are there.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from probemesh_shared.wire import bounds
from probemesh_shared.wire.bounds import BadMessage

PACKAGE = "probemesh.v1"
#: Classes whose message has another name, because the word is taken in Python.
RENAMED = {"ErrorFrame": "Error"}

Writer = Callable[[Any], Any]
Reader = Callable[[Any], Any]
_SCALARS = (int, float, str, bytes, bool)


_R = TypeVar("_R")


def _per_class(build: Callable[[type], _R]) -> Callable[[type], _R]:
    """Built at the first use of a class, then kept; the number of classes is small and fixed."""
    return cast(Callable[[type], _R], functools.cache(build))


class Mismatch(TypeError):
    """A class and its message do not agree: a fault in the program, told by the tests."""


def message_name(cls: type) -> str:
    return RENAMED.get(cls.__name__, cls.__name__)


def descriptor_of(cls: type) -> Descriptor:
    """The message of a dataclass; raises :class:`Mismatch` where no imported ``.proto`` has one."""
    try:
        return descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.{message_name(cls)}")
    except KeyError:
        raise Mismatch(f"{cls.__name__} has no message in {PACKAGE}") from None


@_per_class
def message_class(cls: type) -> type[Message]:
    return message_factory.GetMessageClass(descriptor_of(cls))


# --- types ----------------------------------------------------------------------------------------------


def _split_optional(hint: Any) -> tuple[Any, bool]:
    """``X | None`` → (X, True); a union of several keeps its members as a tuple."""
    if typing.get_origin(hint) in (Union, UnionType):
        members = tuple(arg for arg in typing.get_args(hint) if arg is not NoneType)
        optional = len(members) < len(typing.get_args(hint))
        return (members[0] if len(members) == 1 else members), optional
    return hint, False


@functools.cache
def _words(enum: type[StrEnum], descriptor: EnumDescriptor) -> tuple[dict[Any, int], dict[int, Any]]:
    """Word → number and number → word; every word must have its number and every number its word."""
    prefix = "".join(f"_{c}" if c.isupper() and i else c.upper() for i, c in enumerate(descriptor.name)) + "_"
    numbers = {value.name.removeprefix(prefix): value.number for value in descriptor.values}
    to_number = {word: numbers.pop(word.value.upper().replace("-", "_"), -1) for word in enum}
    if -1 in to_number.values() or set(numbers) != {"UNSPECIFIED"}:
        raise Mismatch(f"{enum.__name__} and {descriptor.full_name} differ")
    return to_number, {number: word for word, number in to_number.items()}


# --- one value ------------------------------------------------------------------------------------------


def _enum_reader(enum: type[StrEnum], descriptor: EnumDescriptor) -> Reader:
    words = _words(enum, descriptor)[1]
    unsupported = next((word for word in enum if word.value == "unsupported"), None)

    def read(number: int) -> StrEnum:
        word = words.get(number)
        if word is not None:
            return cast(StrEnum, word)
        if unsupported is None or number == 0:
            raise BadMessage(f"{number} is no {enum.__name__} known here")
        return unsupported

    return read


def _single(cls: type, name: str, hint: Any, field: FieldDescriptor) -> tuple[Writer | None, Reader]:
    """Writer (None: as it is) and reader of one value of ``hint``."""
    if dataclasses.is_dataclass(hint):
        kind = cast(type, hint)
        if _message_type(field).name != message_name(kind):
            raise Mismatch(f"{kind.__name__} stands where the message is {_message_type(field).full_name}")
        return writer(kind), reader(kind)
    if isinstance(hint, tuple):
        return wrapped_union(hint, _message_type(field))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if field.enum_type is None:
            raise Mismatch(f"{field.full_name} is no enum")
        return _words(hint, field.enum_type)[0].__getitem__, _enum_reader(hint, field.enum_type)
    if hint in _SCALARS:
        return None, bounds.check_for(cls, name, hint)
    if typing.get_origin(hint) is tuple and typing.get_args(hint) == (str, str):
        text = bounds.check_for(cls, name, str)
        return (
            lambda pair: {"name": pair[0], "value": pair[1]},
            lambda header: (text(header.name), text(header.value)),
        )
    raise Mismatch(f"{cls.__name__}.{name}: no rule for {hint}")


def _message_type(field: FieldDescriptor) -> Descriptor:
    if field.message_type is None:
        raise Mismatch(f"{field.full_name} is no message")
    return field.message_type


def _members(
    union: tuple[type, ...], fields: typing.Iterable[FieldDescriptor]
) -> dict[type, FieldDescriptor]:
    by_message = {_message_type(field).name: field for field in fields}
    members = {kind: by_message.pop(message_name(kind), None) for kind in union}
    if None in members.values() or by_message:
        raise Mismatch(f"{[kind.__name__ for kind in union]} differs from its oneof")
    return cast(dict[type, FieldDescriptor], members)


def wrapped_union(union: tuple[type, ...], descriptor: Descriptor) -> tuple[Writer, Reader]:
    """A union that has a message of its own with nothing in it but one oneof (``Spec``)."""
    (oneof,) = descriptor.oneofs
    members = _members(union, oneof.fields)
    write = {kind: (field.name, writer(kind)) for kind, field in members.items()}
    read = {field.name: reader(kind) for kind, field in members.items()}
    which = oneof.name

    def write_union(value: Any) -> dict[str, Any]:
        name, convert = write[type(value)]
        return {name: convert(value)}

    def read_union(message: Message) -> Any:
        name = message.WhichOneof(which)
        if name is None:
            raise BadMessage(f"{descriptor.name} is empty or of a kind not known here")
        return read[name](getattr(message, name))

    return write_union, read_union


# --- one field ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    """``keys`` are the proto fields that this dataclass field reads from; ``zero`` is what absence means."""

    name: str
    write: Writer | None
    readers: dict[int, Reader]
    zero: Callable[[], Any]


def _field(cls: type, name: str, hint: Any, descriptor: Descriptor) -> _Field:
    inner, optional = _split_optional(hint)
    if name in descriptor.oneofs_by_name and name not in descriptor.fields_by_name:
        members = _members(inner, descriptor.oneofs_by_name[name].fields)
        return _Field(name, None, {f.number: reader(kind) for kind, f in members.items()}, lambda: None)
    field = descriptor.fields_by_name.get(name)
    if field is None:
        raise Mismatch(f"{descriptor.full_name} lacks {name}")
    if typing.get_origin(inner) is tuple and typing.get_args(inner)[-1] is Ellipsis:
        return _repeated(cls, name, typing.get_args(inner)[0], field)
    if typing.get_origin(inner) is Mapping:
        return _map(name, field)
    write, read = _single(cls, name, inner, field)
    if optional != (field.has_presence and (optional or field.message_type is None)):
        raise Mismatch(f"{cls.__name__}.{name}: presence differs from {field.full_name}")
    if optional:
        maybe = None if write is None else functools.partial(_maybe, write)
        return _Field(name, maybe, {field.number: read}, lambda: None)
    return _Field(name, write, {field.number: read}, _zero(inner, field, read))


def _maybe(write: Writer, value: Any) -> Any:
    return None if value is None else write(value)


def _zero(hint: Any, field: FieldDescriptor, read: Reader) -> Callable[[], Any]:
    """An absent field reads as proto3's zero of its type, judged like any other value."""
    if field.message_type is not None:
        empty = message_factory.GetMessageClass(field.message_type)
        return lambda: read(empty())
    return lambda: read(0 if issubclass(hint, StrEnum) else hint())


def _repeated(cls: type, name: str, hint: Any, field: FieldDescriptor) -> _Field:
    if not field.is_repeated:
        raise Mismatch(f"{field.full_name} is not repeated")
    write, read = _single(cls, name, hint, field)
    limit = bounds.items_for(cls, name)

    def write_all(values: Any) -> list[Any]:
        return list(values) if write is None else [write(value) for value in values]

    return _Field(name, write_all, {field.number: lambda values: tuple(map(read, limit(values)))}, tuple)


def _map(name: str, field: FieldDescriptor) -> _Field:
    limit, text = bounds.length(bounds.MAX_ENTRIES), bounds.length(bounds.MAX_TEXT)

    def read(entries: Any) -> dict[str, str]:
        return {text(key): text(value) for key, value in sorted(limit(entries).items())}

    return _Field(name, dict, {field.number: read}, dict)


# --- one class ------------------------------------------------------------------------------------------


@_per_class
def _fields(cls: type) -> tuple[_Field, ...]:
    descriptor = descriptor_of(cls)
    hints = typing.get_type_hints(cls)
    sent = [f.name for f in dataclasses.fields(cls) if "unsent" not in f.metadata]
    fields = tuple(_field(cls, name, hints[name], descriptor) for name in sent)
    covered = {number for field in fields for number in field.readers}
    if left := [f.name for f in descriptor.fields if f.number not in covered]:
        raise Mismatch(f"{cls.__name__} lacks {', '.join(left)}")
    return fields


@_per_class
def writer(cls: type) -> Callable[[Any], dict[str, Any]]:
    """Object of ``cls`` → keyword arguments of its message."""
    descriptor, hints = descriptor_of(cls), typing.get_type_hints(cls)
    fields = _fields(cls)
    oneofs = [
        f.name
        for f in fields
        if f.name in descriptor.oneofs_by_name and f.name not in descriptor.fields_by_name
    ]
    plain = tuple(f.name for f in fields if f.write is None and f.name not in oneofs)
    converted = tuple((f.name, f.write) for f in fields if f.write is not None)
    unions = []
    for name in oneofs:
        members = _members(_split_optional(hints[name])[0], descriptor.oneofs_by_name[name].fields)
        unions.append((name, {kind: (field.name, writer(kind)) for kind, field in members.items()}))

    def write(value: Any) -> dict[str, Any]:
        out = {name: getattr(value, name) for name in plain}
        for name, convert in converted:
            out[name] = convert(getattr(value, name))
        for name, members in unions:
            member = getattr(value, name)
            if member is not None:
                key, convert_member = members[type(member)]
                out[key] = convert_member(member)
        return out

    return write


@_per_class
def reader(cls: type) -> Reader:
    """Message → object of ``cls``; raises :class:`BadMessage`."""
    fields = _fields(cls)
    readers = {number: (f.name, read) for f in fields for number, read in f.readers.items()}
    template, required = _template(fields)
    whole = bounds.WHOLE.get(cls)
    count = len(fields)

    def read(message: Message) -> Any:
        values = template.copy()
        for field, value in message.ListFields():
            name, convert = readers[field.number]
            try:
                values[name] = convert(value)
            except BadMessage as error:
                raise BadMessage(f"{cls.__name__}.{name}: {error}") from None
        if len(values) != count:
            absent = next(name for name in required if name not in values)
            raise BadMessage(f"{cls.__name__}.{absent} is missing")
        made = cls(**values)
        if whole is not None:
            whole(made)
        return made

    return read


def _template(fields: tuple[_Field, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What absent fields read as, and the names of those whose absence is an error."""
    template: dict[str, Any] = {}
    required = []
    for field in fields:
        try:
            template[field.name] = field.zero()
        except BadMessage:
            required.append(field.name)
    return template, tuple(required)
