"""Messages on a pipe: four bytes of length, big-endian, then the message. At most 1 MiB each."""

import struct
from typing import Final

from probemesh_shared.wire.bounds import MAX_MESSAGE, BadMessage

_PREFIX: Final = struct.Struct(">I")
PREFIX_SIZE: Final = _PREFIX.size


def pack(message: bytes) -> bytes:
    """``message`` with its length before it; ValueError where it is larger than 1 MiB (our own fault)."""
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"a frame of {len(message)} bytes is larger than {MAX_MESSAGE}")
    return _PREFIX.pack(len(message)) + message


def unpack_length(prefix: bytes) -> int:
    """The length that the four bytes announce; :class:`BadMessage` over 1 MiB, or where they are not four."""
    if len(prefix) != PREFIX_SIZE:
        raise BadMessage("the stream ended inside a frame's length")
    (size,) = _PREFIX.unpack(prefix)
    if size > MAX_MESSAGE:
        raise BadMessage(f"a frame of {size} bytes is larger than {MAX_MESSAGE}")
    return int(size)


class Unpacker:
    """Cuts a byte stream, fed in pieces of any size, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now; raises :class:`BadMessage` for a length over 1 MiB."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= PREFIX_SIZE:
            end = PREFIX_SIZE + unpack_length(bytes(self._buffer[:PREFIX_SIZE]))
            if len(self._buffer) < end:
                break
            messages.append(bytes(self._buffer[PREFIX_SIZE:end]))
            del self._buffer[:end]
        return messages

    def close(self) -> None:
        """Call at the end of the stream; raises :class:`BadMessage` where it ended inside a message."""
        if self._buffer:
            raise BadMessage("the stream ended inside a frame")
