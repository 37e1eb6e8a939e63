"""HTTP/2 frames of a byte stream, counted before anything is made of them: floods end here. Pure.

A frame is looked at alone, so that what one chunk holds can be judged in order, and a GOAWAY that lets our
stream go on does not end it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from probemesh_agent.probes.httpanswer import HEADERS_MOST, TooMuch

_HEAD = 9  # bytes: length, type, flags, stream
FRAME_MOST = 16_384  # what we allow by default: SETTINGS_MAX_FRAME_SIZE
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
#: Frames that bring an answer no further; a server in its right mind needs a few.
IDLE_MOST = 256
#: Of header blocks: of one answer, of some informational ones before it, and of trailers.
PIECES_MOST = 48
_NAMES = {
    DATA: "empty DATA",
    2: "PRIORITY",
    SETTINGS: "SETTINGS",
    5: "PUSH_PROMISE",
    PING: "PING",
    WINDOW_UPDATE: "WINDOW_UPDATE",
}


@dataclass(frozen=True, slots=True)
class Frame:
    type: int
    data: bytes  # whole, with its head

    @property
    def payload(self) -> bytes:
        return self.data[_HEAD:]


@dataclass(slots=True)
class Frames:
    """``block`` is the size of the packed header block so far."""

    block: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _idle: int = 0
    _pieces: int = 0
    _seen: bool = False

    def take(self, data: bytes) -> Iterator[Frame]:
        """Every frame that is whole now. Raises :class:`TooMuch` for what breaks a bound, :class:`NotFrames`
        where it cannot be HTTP/2."""
        self._buffer += data
        while len(self._buffer) >= _HEAD:
            size = int.from_bytes(self._buffer[:3], "big")
            kind = self._buffer[3]
            if not self._seen and kind != SETTINGS:
                raise NotFrames("HTTP/1" if self._buffer[:5] == b"HTTP/" else "something else")
            if size > FRAME_MOST:
                raise TooMuch(f"a frame of {size} bytes came, and {FRAME_MOST} are allowed")
            if len(self._buffer) < _HEAD + size:
                return
            self._seen = True
            frame = Frame(kind, bytes(self._buffer[: _HEAD + size]))
            del self._buffer[: _HEAD + size]
            self._count(frame, size)
            yield frame

    def _count(self, frame: Frame, size: int) -> None:
        if frame.type in (HEADERS, CONTINUATION):
            self.block += size
            if self.block > HEADERS_MOST:
                raise TooMuch("the answer's head goes on beyond 16 KiB")
            self._pieces += 1
            if self._pieces > PIECES_MOST:
                raise TooMuch(f"the answer's head comes in more than {PIECES_MOST} pieces")
            return
        if (frame.type == DATA and size) or frame.type in (RST_STREAM, GOAWAY):
            return
        self._idle += 1
        if self._idle > IDLE_MOST:
            what = _NAMES.get(
                frame.type, "empty header" if frame.type in (HEADERS, CONTINUATION) else "unknown"
            )
            raise TooMuch(f"more than {IDLE_MOST} frames came that bring no answer, the last of them {what}")


class NotFrames(Exception):
    """What answered does not speak HTTP/2; says what it speaks."""
