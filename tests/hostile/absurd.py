"""Messages with values that nobody sends, made from the descriptors: a new kind, or a new field, is covered
by being there."""

import math
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from probemesh.v1 import model_pb2

#: Escapes, directions, a line of a log, a formula, a path, a NUL, a shell's and a template's words.
WORDS = "\x1b]0;pwned\x07\u202e\r\n2026-01-01 forged\x00=cmd|'/c calc'!A0 ../../etc/passwd $(id) {{7*7}} %s%n"
_INTEGERS = (0, 1, -1, 65_535, 1 << 31, (1 << 63) - 1, -(1 << 63))
_NUMBERS = (0.0, -1.0, 5e-324, 1e-9, 86_400.0, 1e300, math.inf, -math.inf, math.nan)
_OF_TYPE: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.TYPE_INT64: _INTEGERS,
    FieldDescriptor.TYPE_DOUBLE: _NUMBERS,
    FieldDescriptor.TYPE_STRING: (
        "",
        WORDS,
        "\u202e" * 16_000,
        "a" * 20_000,
        "127.0.0.1",
        "::ffff:169.254.169.254",
    ),
    FieldDescriptor.TYPE_BYTES: (
        b"",
        b"\x00",
        b"\xff" * 65_536,
        b"-----BEGIN CERTIFICATE-----\n" * 2_000,
        bytes(70_000),
    ),
    FieldDescriptor.TYPE_BOOL: (True,),
    FieldDescriptor.TYPE_ENUM: (-1, 9_999),
}
MANY = 16_000


def specs() -> Iterator[tuple[str, model_pb2.Spec]]:
    """Name and spec, each with one thing wrong, or nothing but its kind set."""
    for field in model_pb2.Spec.DESCRIPTOR.fields:
        yield f"{field.name}: bare", _of_kind(field.name)
        for path, value in _wrong(field.message_type, ()):
            spec = _of_kind(field.name)
            if _put(getattr(spec, field.name), path, value):
                yield f"{field.name}: {'.'.join(path)} = {_shown(value)}", spec


def messages(message: Message) -> Iterator[tuple[str, Message]]:
    """Copies of any message, each with one thing wrong."""
    for path, value in _wrong(message.DESCRIPTOR, ()):
        copy = type(message)()
        copy.CopyFrom(message)
        if _put(copy, path, value):
            yield f"{'.'.join(path)} = {_shown(value)}", copy


def _of_kind(name: str) -> model_pb2.Spec:
    spec = model_pb2.Spec()
    inner = getattr(spec, name)
    inner.SetInParent()
    inner.options.family = model_pb2.FAMILY_BOTH
    inner.options.count, inner.options.timeout_s = 1, 0.2
    for field in inner.DESCRIPTOR.fields:  # what an empty message says for these is refused already
        if field.type == FieldDescriptor.TYPE_ENUM and not field.has_presence:
            setattr(inner, field.name, 1)
    for field_name, value in (("method", "GET"), ("first_hop", 1), ("max_hops", 3), ("smallest", 1280)):
        if field_name in inner.DESCRIPTOR.fields_by_name:
            setattr(inner, field_name, value)
    return spec


def _wrong(of: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if len(path) > 4:
        return
    for field in of.fields:
        here = (*path, field.name)
        if field.is_repeated:
            yield here, MANY
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if not field.message_type.GetOptions().map_entry:
                yield from _wrong(field.message_type, here)
        else:
            yield from ((here, value) for value in _OF_TYPE[field.type])


def _put(message: Any, path: tuple[str, ...], value: Any) -> bool:
    """False where protobuf itself would not send it."""
    field = message.DESCRIPTOR.fields_by_name[path[0]]
    if len(path) > 1:
        inner = getattr(message, path[0])
        return _put(inner.add() if field.is_repeated else inner, path[1:], value)
    try:
        if not field.is_repeated:
            setattr(message, path[0], value)
        elif value == MANY and field.type == FieldDescriptor.TYPE_MESSAGE:
            for _ in range(MANY):
                getattr(message, path[0]).add()
        elif value == MANY:
            getattr(message, path[0]).extend(_some(field, number) for number in range(MANY))
        else:
            getattr(message, path[0]).append(value)
    except (ValueError, TypeError):
        return False
    return True


def _some(field: FieldDescriptor, number: int) -> Any:
    kinds = {FieldDescriptor.TYPE_STRING: str(number), FieldDescriptor.TYPE_BYTES: str(number).encode()}
    return kinds.get(field.type, number)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:30]}… ({len(value)})"
