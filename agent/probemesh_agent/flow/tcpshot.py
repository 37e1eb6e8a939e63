"""One connection attempt with a socket of its own, its error queue and TCP_INFO; where the shot asks for it,
the words after it and the watch over it.

An ICMP error that arrives while ``connect`` still holds the socket does not abort it: it waits in the error
queue of a socket that stays in SYN_SENT. So the queue is looked at whenever the socket is in error, and once
more before a shot is called silent."""

import asyncio
import errno
import socket
import struct
import time
from dataclasses import dataclass

from probemesh_shared import failures
from probemesh_shared.model import Reply
from probemesh_shared.wire import flowtoken
from probemesh_shared.words import Outcome, Stage

from probemesh_agent import kernel
from probemesh_agent.engine.echo import ancillary
from probemesh_agent.engine.item import SockAddr, socket_address
from probemesh_agent.engine.schedule import cut_or_silent
from probemesh_agent.engine.sockets import judged, port_failure
from probemesh_agent.flow.record import Record, local_of
from probemesh_agent.flow.waiting import readable, writable

#: Kept of an answer; a connection that is watched is read to an end, but not for ever.
KEPT_ANSWER = 256
_MOST_READ = 1 << 20
_CHUNK = 16_384
_PENDING = frozenset({errno.EINPROGRESS, errno.EAGAIN})
_RESETS = frozenset({errno.ECONNRESET, errno.EPIPE})
_NOW_RESET = struct.pack("=ii", 1, 0)
#: tcpi_rtt after a lost SYN: nothing was measured.
_NO_RTT_US = frozenset({0, 1000})
_SOFT_PAUSE_S = 0.002

HELD, FIN, RESET, SILENT = "held", "fin", "reset", "silent"


@dataclass(frozen=True, slots=True)
class Timing:
    """``timeout_s``: how long the shot waits for the handshake, and for an answer. ``deadline`` is on
    :func:`time.monotonic`'s scale."""

    timeout_s: float
    deadline: float


class TcpShot:
    """Owns ``sock`` from the constructor on: whoever made it calls :meth:`close`."""

    def __init__(
        self, record: Record, sock: socket.socket, timing: Timing, own: frozenset[str], token: bytes | None
    ) -> None:
        self._record = record
        self._sock = sock
        self._timing = timing
        self._own = own
        self._token = token
        self._is_bound = bool(sock.getsockname()[1])  # to a port that was asked for

    async def run(self) -> None:
        """From SYN to the end; the record is ended then."""
        record = self._record
        place = socket_address(record.host, record.address.family, record.port)[0]
        record.begun_ns = time.perf_counter_ns()
        number = self._sock.connect_ex(place)
        record.local = local_of(self._sock.getsockname())
        self._own |= {record.local[0]}
        if number and number not in _PENDING:
            self._at_once(number)
        elif await self._stands(place):
            await self._talk()

    def close(self) -> None:
        """With a FIN where it stood. Where its port was asked for nothing may linger on that: it must be
        had again for the next try; the FIN is out by then, so that the peer reads the end, no error."""
        try:
            if self._record.outcome is Outcome.OK:
                self._sock.shutdown(socket.SHUT_WR)
                self._read(_CHUNK)  # unread bytes would turn the FIN into a reset
            if self._is_bound:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW_RESET)
        except OSError:
            pass  # it is gone already
        self._sock.close()

    # --- the handshake ---

    def _at_once(self, number: int) -> None:
        """``connect`` itself failed: by our own routing, for want of a port, or refused on loopback."""
        record = self._record
        record.note(0, kernel.drain_errors(self._sock))
        failure = judged(Stage.CONNECT, number, record.entries, record.host, self._own)
        if not record.entries:
            busy = port_failure(number, record.local[1] if record.local else 0) if self._is_bound else None
            failure = busy or failures.from_errno(Stage.CONNECT, number, at_once=True)
        assert failure is not None
        self._told(self._info())
        record.fail(failure)

    async def _stands(self, place: SockAddr) -> bool:
        """Waits for the handshake; True where it was completed and holds."""
        began = time.monotonic()
        until = min(began + self._timing.timeout_s, self._timing.deadline)
        while self._record.outcome is None:
            ready = await writable(self._sock, until - time.monotonic())
            self._look(place)
            if self._record.outcome is None and not ready:
                cut = self._timing.deadline < began + self._timing.timeout_s
                self._record.end(*cut_or_silent(Stage.CONNECT, time.monotonic() - began, cut))
            elif self._record.outcome is None:
                await asyncio.sleep(_SOFT_PAUSE_S)
        return self._record.outcome is Outcome.OK and self._record.end_kind is None

    def _look(self, place: SockAddr) -> None:
        """Ends the shot where the handshake is over, well or badly."""
        record, now_ns = self._record, time.perf_counter_ns()
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # first: draining clears it
        record.note(number, kernel.drain_errors(self._sock))
        info = self._info()
        self._told(info)
        if info.state in kernel.TCP_CONNECTED:
            if self._met_itself(place):
                record.fail(failures.from_errno(Stage.CONNECT, errno.ECONNREFUSED))
            else:
                self._connected(info, now_ns)
        elif (info.state == kernel.TCP_CLOSE and number in (0, *_RESETS)) and not record.errors:
            self._connected(info, now_ns)  # it stood, and was reset before we looked
            record.end_kind, record.end_ms = RESET, 0.0
        elif failure := judged(Stage.CONNECT, number, record.entries, record.host, self._own):
            if not info.retransmits and (failure.icmp is not None or number == errno.ECONNREFUSED):
                record.rtt_ms = (now_ns - record.begun_ns) / 1e6  # how far away the one is that said no
            record.fail(failure)

    def _connected(self, info: kernel.TcpInfo, now_ns: int) -> None:
        record = self._record
        if not info.retransmits:
            measured = info.rtt_us not in _NO_RTT_US
            record.rtt_ms = info.rtt_us / 1e3 if measured else (now_ns - record.begun_ns) / 1e6
        record.ttl = _hop_limit(self._sock)
        record.end(Outcome.OK)

    def _met_itself(self, place: SockAddr) -> bool:
        """The kernel chose the very port that was asked for, on loopback: nobody listens."""
        return bool(self._sock.getsockname()[:2] == place[:2])

    # --- after it ---

    async def _talk(self) -> None:
        """Words and watch, as the shot asks."""
        shot, began = self._record.shot, time.monotonic()
        if shot.send is None and shot.hold_ms is None:
            return
        patience_s = self._timing.timeout_s if shot.hold_ms is None else shot.hold_ms / 1e3
        until = min(began + patience_s, self._timing.deadline)
        words = self._words()
        end = await self._say(words, until) or await self._hear(began, until)
        if end is None:
            is_unanswered = shot.send is not None and self._record.answer is None
            end = SILENT if is_unanswered else HELD
        self._record.end_kind = end
        self._record.end_ms = (time.monotonic() - began) * 1e3
        self._told(self._info())

    def _words(self) -> bytes:
        shot = self._record.shot
        if shot.send is None:
            return b""
        if self._token is None:
            return shot.send
        return request(self._token, self._record, flowtoken.LEAST) + shot.send

    async def _say(self, words: bytes, until: float) -> str | None:
        """Writes; how the connection ended meanwhile, if it did."""
        rest = memoryview(words)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                if not await writable(self._sock, until - time.monotonic()):
                    return None
            except OSError as error:
                if self._erred(error):
                    return RESET
        return None

    async def _hear(self, began: float, until: float) -> str | None:
        """Reads until the peer ends it, or it was answered and nobody wants to watch on; None: still open."""
        record, heard, total = self._record, b"", 0
        while await readable(self._sock, until - time.monotonic()):
            data, end = self._read(_CHUNK)
            if end is not None:
                return end
            total += len(data)
            if len(heard) < flowtoken.LONGEST:
                heard += data
            if data and record.shot.send is not None:
                record.answer = heard[:KEPT_ANSWER]
                if self._answered(heard, began) and record.shot.hold_ms is None:
                    return HELD
            elif data:
                record.answer = heard[:KEPT_ANSWER]  # said unasked
            if total >= _MOST_READ:
                return HELD
        return None

    def _answered(self, heard: bytes, began: float) -> bool:
        """With a token the responder's whole reply counts, and what cannot become one; without, anything."""
        if self._token is None:
            return True
        record = self._record
        answer = flowtoken.read_reply(heard, self._token)
        if answer is None:
            return not heard.startswith(self._token[: len(heard)])
        if not record.replies:
            record.reply(
                Reply(
                    at_ms=record.at_ms + (time.perf_counter_ns() - record.begun_ns) / 1e6,
                    source=record.host.partition("%")[0],
                    source_port=record.port,
                    size=answer.length,
                    valid=answer.shot == record.index,
                    agent=answer.agent,
                    seen_address=answer.address,
                    seen_port=answer.port,
                )
            )
        return True

    def _read(self, most: int) -> tuple[bytes, str | None]:
        """What is there, and how the connection ended, if it did."""
        try:
            data = self._sock.recv(most)
        except BlockingIOError:
            self._record.note(0, kernel.drain_errors(self._sock))
            return b"", None
        except OSError as error:
            return b"", RESET if self._erred(error) else None
        return data, None if data else FIN

    def _erred(self, error: OSError) -> bool:
        """True where it is reset; an ICMP error ends no connection that stands."""
        self._record.note(error.errno or 0, kernel.drain_errors(self._sock))
        return error.errno in _RESETS or self._info().state == kernel.TCP_CLOSE

    # --- evidence ---

    def _info(self) -> kernel.TcpInfo:
        return kernel.tcp_info(self._sock)

    def _told(self, info: kernel.TcpInfo) -> None:
        record = self._record
        record.state, record.retransmits = info.state, info.retransmits
        record.pmtu = info.pmtu or None
        if info.state in kernel.TCP_CONNECTED:
            record.mss = info.mss


def request(token: bytes, record: Record, size: int) -> bytes:
    """The token's request of a shot, at least ``size`` bytes long as far as that is allowed."""
    shot = record.shot
    asked = flowtoken.PLAIN
    if shot.large_reply:
        asked |= flowtoken.Asked.LARGE
    if shot.other_port:
        asked |= flowtoken.Asked.OTHER_PORT
    length = min(max(size, flowtoken.LEAST), flowtoken.LONGEST)
    return flowtoken.pack_request(flowtoken.Request(token, record.index, length, asked, shot.delay_ms))


def _hop_limit(sock: socket.socket) -> int | None:
    """Of what the peer sent last; IPv6 alone tells the side that connects."""
    if sock.family != socket.AF_INET6:
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_IPV6, kernel.IPV6_2292PKTOPTIONS, 256)
    except OSError:
        return None
    return kernel.arrival(list(ancillary(raw)))[1]
