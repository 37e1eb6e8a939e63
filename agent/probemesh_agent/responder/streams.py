"""The TCP side of a watch: accepts, notes how the SYN and the handshake's last segment arrived, answers
requests that bear the token, and sees how each connection ends."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from probemesh_shared.model import Accepted
from probemesh_shared.wire.flowtoken import HEAD_SIZE, LONGEST, Request, pack_reply, read_head

from probemesh_agent.responder import savedsyn
from probemesh_agent.responder.doors import SHORTAGE
from probemesh_agent.responder.savedsyn import Syn

#: Connections open at once; more are closed as they come, and counted.
MOST: Final = 256
#: Told at one look.
MOST_TOLD: Final = 512
_ACCEPT_AT_ONCE = 64
#: Where descriptors are short a listener stays readable: without a pause nothing else would run.
_PAUSE_S: Final = 0.5
_READ_AT_ONCE = 1 << 16
_OPEN, _FIN, _RESET = "open", "fin", "reset"


@dataclass(slots=True, eq=False)
class _Talk:
    """One connection. ``buffer`` holds what is not yet a whole request; ``owed`` what the kernel did not
    take yet of replies."""

    sock: socket.socket
    at_ms: float
    peer: tuple[str, int]
    local: tuple[str, int]
    syn: Syn | None
    ack_ttl: int | None
    buffer: bytearray = field(default_factory=bytearray)
    owed: bytearray = field(default_factory=bytearray)
    valid: bool | None = None
    received: int = 0
    end: str = _OPEN
    news: bool = True
    timers: set[asyncio.TimerHandle] = field(default_factory=set)

    def told(self) -> Accepted:
        syn = self.syn
        return Accepted(
            self.at_ms,
            *self.peer,
            *self.local,
            syn_source=syn.source if syn else None,
            syn_ttl=syn.ttl if syn else None,
            syn_id=syn.id if syn else None,
            syn_dscp=syn.dscp if syn else None,
            syn_window=syn.window if syn else None,
            syn_mss=syn.mss if syn else None,
            syn_options=syn.options if syn else (),
            ack_ttl=self.ack_ttl,
            valid=self.valid,
            received=self.received,
            end=self.end,
        )


class StreamSide:
    """``now`` gives milliseconds since the watch was armed; the listeners belong to their owner.
    ``saved_syn`` False: as on a kernel that keeps no SYN."""

    def __init__(
        self,
        token: bytes,
        nonce: bytes,
        now: Callable[[], float],
        saved_syn: bool = True,
        may_answer: Callable[[str], bool] = lambda address: True,
    ) -> None:
        self._token, self._nonce, self._now, self._may_answer = token, nonce, now, may_answer
        self._saved_syn = saved_syn
        self._listeners: list[socket.socket] = []
        self._talks: list[_Talk] = []
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._open = 0
        self._untold = 0

    def serve(self, listeners: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for listener in listeners:
            self._listeners.append(listener)
            loop.add_reader(listener.fileno(), self._accept, listener)

    def close(self) -> None:
        """Ends every connection."""
        loop = asyncio.get_running_loop()
        for pause in self._pauses.values():
            pause.cancel()
        for listener in self._listeners:
            loop.remove_reader(listener.fileno())
        for talk in self._talks:
            self._end(talk, talk.end)
        self._pauses.clear()
        self._listeners, self._talks = [], []

    def look(self) -> tuple[tuple[Accepted, ...], int]:
        """Connections that are new or changed since the look before, and how many more there were."""
        told = [talk for talk in self._talks if talk.news][:MOST_TOLD]
        for talk in told:
            talk.news = False
        self._talks = [talk for talk in self._talks if talk.news or talk.end == _OPEN]
        untold, self._untold = self._untold, 0
        return tuple(talk.told() for talk in told), untold

    # --- what comes ---

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, peer = listener.accept()
            except OSError as error:  # EAGAIN; or it is gone again, or descriptors are short: later
                if error.errno == errno.ECONNABORTED:
                    continue
                if error.errno in SHORTAGE:
                    self._later(listener)
                return
            if self._open >= MOST or len(self._talks) >= 4 * MOST:
                self._untold += 1
                sock.close()
                continue
            self._begin(sock, peer)

    def _later(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())

        def go_on() -> None:
            del self._pauses[listener]
            loop.add_reader(listener.fileno(), self._accept, listener)

        self._pauses[listener] = loop.call_later(_PAUSE_S, go_on)

    def _begin(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        sock.setblocking(False)
        try:
            local = sock.getsockname()
        except OSError:
            sock.close()
            return
        if int(peer[1]) == 0 or not self._may_answer(
            _place(peer)[0]
        ):  # a forger's: no message has room for 0
            sock.close()
            return
        syn = savedsyn.saved(sock) if self._saved_syn else None
        talk = _Talk(
            sock,
            self._now(),
            _place(peer),
            _place(local),
            syn,
            savedsyn.ack_ttl(sock),
        )
        self._open += 1
        self._talks.append(talk)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable, talk)

    def _readable(self, talk: _Talk) -> None:
        try:
            data = talk.sock.recv(_READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            self._end(talk, _RESET)
            return
        if not data:
            self._end(talk, _FIN)
            return
        talk.received += len(data)
        talk.news = True
        if talk.valid is not False:
            talk.buffer += data
            self._requests(talk)

    def _requests(self, talk: _Talk) -> None:
        while len(talk.buffer) >= HEAD_SIZE and talk.end == _OPEN:
            request = read_head(bytes(talk.buffer[:HEAD_SIZE]), self._token)
            if request is None:
                talk.valid = talk.valid or False
                talk.buffer.clear()
                return
            talk.valid = True
            if len(talk.buffer) < request.length:
                return
            del talk.buffer[: request.length]
            self._answer(talk, request)

    def _answer(self, talk: _Talk, request: Request) -> None:
        if not request.delay_ms:
            self._reply(talk, request)
            return
        handles: list[asyncio.TimerHandle] = []

        def due() -> None:
            talk.timers.discard(handles[0])
            self._reply(talk, request)

        if len(talk.timers) < 4:
            handles.append(asyncio.get_running_loop().call_later(request.delay_ms / 1000, due))
            talk.timers.add(handles[0])

    # --- what goes ---

    def _reply(self, talk: _Talk, request: Request) -> None:
        if talk.end != _OPEN or len(talk.owed) > 2 * LONGEST:
            return
        talk.owed += pack_reply(request, self._nonce, *talk.peer)
        self._write(talk)

    def _write(self, talk: _Talk) -> None:
        loop = asyncio.get_running_loop()
        try:
            sent = talk.sock.send(talk.owed)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end(talk, _RESET)
            return
        del talk.owed[:sent]
        if talk.owed:
            loop.add_writer(talk.sock.fileno(), self._write, talk)
        else:
            loop.remove_writer(talk.sock.fileno())

    def _end(self, talk: _Talk, how: str) -> None:
        if talk.sock.fileno() < 0:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(talk.sock.fileno())
        loop.remove_writer(talk.sock.fileno())
        for timer in talk.timers:
            timer.cancel()
        with contextlib.suppress(OSError):
            talk.sock.close()
        talk.timers.clear()
        self._open -= 1
        talk.end, talk.news = how, True


def _place(name: tuple[str, int]) -> tuple[str, int]:
    """Without the scope of a link-local address."""
    return str(name[0]).partition("%")[0], int(name[1])
