"""A dialogue in the clear as a state machine: bytes in, bytes out, until it is done or the peer says no.

A protocol is a generator of asks: ``yield b"…"`` sends, ``line = yield LINE`` waits for a line (without its
end), ``data = yield 4`` for that many bytes. It returns where TLS is to begin, and raises
:class:`DialogueFailed`. What comes before it was asked for, or after the end, is refused: it would be taken
for part of the session that TLS protects.
"""

from collections.abc import Generator

from probemesh_shared.escape import escape_bytes
from probemesh_shared.words import FailureKind

LINE = None
#: A line, and a whole dialogue, of a peer that keeps to its protocol are far shorter.
MOST_LINE = 4_096
MOST_BYTES = 64 * 1024
_WORDS = 200

Ask = bytes | int | None
Asks = Generator[Ask, bytes, None]
_TLS_RECORDS = (0x15, 0x16)  # alert and handshake, as a server that speaks TLS at once sends them


class DialogueFailed(Exception):
    """``words`` is one line for people, with what the peer said escaped."""

    def __init__(self, kind: FailureKind, words: str) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words


def said(data: bytes) -> str:
    """The peer's words, for a failure."""
    return escape_bytes(data.strip(), _WORDS)


def refused(what: str, line: bytes) -> DialogueFailed:
    """The peer's no, with its words."""
    return DialogueFailed(FailureKind.ANSWER_UNEXPECTED, f"{what}: {said(line)}")


def malformed(words: str) -> DialogueFailed:
    """Not of this protocol."""
    return DialogueFailed(FailureKind.BAD_ANSWER, words)


class Dialogue:
    """Runs one protocol's asks. ``is_done``: the next bytes on the stream are to be TLS."""

    def __init__(self, asks: Asks) -> None:
        self.is_done = False
        self._asks = asks
        self._buffer = bytearray()
        self._taken = 0
        self._want: int | None = None

    def start(self) -> bytes:
        """What to send before anything is read."""
        return self._run(None)

    def feed(self, data: bytes) -> bytes:
        """What to send for ``data``; raises :class:`DialogueFailed`."""
        self._buffer += data
        self._taken += len(data)
        if self._taken == len(data):
            _check_first(data)
        out = bytearray()
        while not self.is_done and (answer := self._take()) is not None:
            out += self._run(answer)
        if self._taken > MOST_BYTES:
            raise malformed(f"more than {MOST_BYTES} bytes and no end of the dialogue")
        if self.is_done:
            self._check_nothing_more("follow the server's go-ahead in the clear")
        return bytes(out)

    def _check_nothing_more(self, what: str) -> None:
        if self._buffer:
            words = f"{len(self._buffer)} bytes {what}: {said(bytes(self._buffer))}"
            raise DialogueFailed(FailureKind.ANSWER_UNEXPECTED, words)

    def _run(self, answer: bytes | None) -> bytes:
        """On to the next ask that waits, or to the end."""
        out = bytearray()
        try:
            ask = next(self._asks) if answer is None else self._asks.send(answer)
            while isinstance(ask, bytes):
                self._check_nothing_more("came before they were asked for")
                out += ask
                ask = next(self._asks)
            self._want = ask
        except StopIteration:
            self.is_done = True
        return bytes(out)

    def _take(self) -> bytes | None:
        buffer = self._buffer
        if self._want is not None:
            if len(buffer) < self._want:
                return None
            found = bytes(buffer[: self._want])
            del buffer[: self._want]
            return found
        end = buffer.find(b"\n", 0, MOST_LINE)
        if end < 0:
            if len(buffer) >= MOST_LINE:
                raise malformed(f"a line of more than {MOST_LINE} bytes")
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line.removesuffix(b"\r")


def _check_first(data: bytes) -> None:
    if len(data) >= 2 and data[0] in _TLS_RECORDS and data[1] == 3:
        raise malformed("the server speaks TLS from the first byte: leave out --starttls")
