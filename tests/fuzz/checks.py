"""What the fuzz targets share: choosing by the first byte, streams without sockets, and what must hold of
whatever a reader makes of hostile bytes."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from probemesh_agent.env import Connected, TlsFacts
from probemesh_shared import convert
from probemesh_shared.model import Failure

T = TypeVar("T")
SHOWN_MOST = 4096


def pick(data: bytes, options: Sequence[T]) -> tuple[T, bytes]:
    """One of ``options`` by the first byte, and the bytes behind it."""
    return options[(data[0] if data else 0) % len(options)], data[1:]


def cut(data: bytes) -> list[bytes]:
    """Pieces as a network might give them; the first byte says of which size (0: all at once)."""
    step = data[0] if data else 0
    rest = data[1:]
    return [rest[at : at + step] for at in range(0, len(rest), step)] if step else [rest]


def is_line(text: str, most: int = SHOWN_MOST) -> None:
    """Fit for a terminal: one line, bounded, nothing in it that steers."""
    assert len(text) <= most, f"{len(text)} characters"
    assert text.isprintable(), ascii(text[:200])


def is_told(failure: Failure) -> None:
    """A failure explains itself in one line, and travels."""
    assert failure.detail
    is_line(failure.detail)
    travels(failure)


def travels(value: Any) -> None:
    """The wire takes it and gives back the same: bounds, encodings, words."""
    message = convert.to_proto(value)
    again = convert.from_proto(type(value), convert.parse(type(message), message.SerializeToString()))
    assert again == value, f"{again!a} is not {value!a}"


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs what never waits for anything but its turn. An event loop would cost more than the reader."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        coroutine.close()


def raises_only(kinds: type[Exception] | tuple[type[Exception], ...], read: Callable[[], T]) -> T | None:
    """What ``read`` gives; None where it refused as it may. Words of a refusal are fit for a terminal."""
    try:
        return read()
    except kinds as error:
        assert str(error).isprintable(), ascii(str(error)[:300])
        return None


class Memory:
    """A stream that says what it was given, in pieces, and closes."""

    facts = Connected(None, "192.0.2.1", 1)

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in reversed(pieces) if piece]

    async def read(self, limit: int, deadline: float) -> bytes:
        if not self._pieces:
            return b""
        data = self._pieces.pop()
        if len(data) > limit:
            self._pieces.append(data[limit:])
        return data[:limit]

    async def write(self, data: bytes, deadline: float) -> None:
        return None

    async def start_tls(self, context: object, server_name: object, deadline: float) -> TlsFacts:
        raise AssertionError("nobody asks for it here")

    async def settle(self, deadline: float) -> None:
        return None

    async def close(self) -> None:
        return None
