"""Requests and answers that no class stands for: how long each text, list and map of their own may be. What
they hold of nouns is judged when those are read (:mod:`probemesh_shared.wire.compiler`)."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from probemesh_shared.wire.bounds import MAX_BYTES, MAX_ENTRIES, MAX_ITEMS, MAX_TEXT, BadMessage, length

_MOST = {FieldDescriptor.TYPE_STRING: length(MAX_TEXT), FieldDescriptor.TYPE_BYTES: length(MAX_BYTES)}
_ITEMS, _ENTRIES, _TEXT = length(MAX_ITEMS), length(MAX_ENTRIES), length(MAX_TEXT)


def check(message: Any) -> None:
    """Raises :class:`BadMessage` that names the field. What is no message was read elsewhere."""
    if not isinstance(message, Message):
        return
    for field, value in message.ListFields():
        try:
            _field(field, value)
        except BadMessage as error:
            raise BadMessage(f"{message.DESCRIPTOR.name}.{field.name}: {error}") from None


def _field(field: FieldDescriptor, value: Any) -> None:
    one = _MOST.get(field.type)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        for key, entry in _ENTRIES(value).items():
            _TEXT(key), _TEXT(entry)
    elif field.is_repeated:
        _ITEMS(value)
        if one is not None:
            for each in value:
                one(each)
    elif one is not None:
        one(value)


__all__ = ["check"]
