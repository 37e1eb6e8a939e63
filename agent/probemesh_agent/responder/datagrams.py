"""The UDP side of a watch: every datagram is noted, those with the watch's token are answered.

A reply leaves from the address that was dialled, is never larger than the request, and there is a cap on how
many leave in a second. What became of it (our own filter, our own queue, its transmit stamp, ICMP errors) is
evidence.
"""

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from probemesh_shared.failures import errno_name
from probemesh_shared.model import Datagram, IcmpError
from probemesh_shared.wire.flowtoken import Asked, Request, pack_reply, read_request
from probemesh_shared.words import Family

from probemesh_agent import kernel
from probemesh_agent.responder import control

#: Told at one look; of those without a token far fewer, so that a stranger's flood hides nothing.
MOST: Final = 600
MOST_STRANGERS: Final = 64
MOST_ERRORS: Final = 64
_WAITING = 256  # replies that were asked for later
_READ_AT_ONCE = 64
_LONGEST = 65_535
#: The kernel has numbered a datagram when these come back: it was dropped on its way out.
_NUMBERED = frozenset({"EPERM", "ENOBUFS"})
RATE_PER_S: Final = 1000.0
BURST: Final = 500.0


#: Whether this host's policy lets an address be answered.
MayAnswer = Callable[[str], bool]


@dataclass(slots=True)
class _Noted:
    at_ms: float
    address: str
    port: int
    local: str | None
    local_port: int
    size: int
    ttl: int | None
    dscp: int | None
    valid: bool = False
    shot: int | None = None
    replied: bool | None = None
    sent: bool | None = None
    errno: str | None = None
    waiting: bool = False

    def told(self) -> Datagram:
        return Datagram(
            self.at_ms,
            self.address,
            self.port,
            self.local,
            self.local_port,
            self.size,
            self.ttl,
            self.dscp,
            self.valid,
            self.shot,
            self.replied,
            self.sent,
            self.errno,
        )


@dataclass(slots=True)
class _Door:
    """One socket; ``numbers`` are the kernel's of what was sent by it, where it ``stamps``."""

    sock: socket.socket
    port: int
    stamps: bool
    number: int = 0
    numbers: "OrderedDict[int, _Noted]" = field(default_factory=OrderedDict)


class DatagramSide:
    """``now`` gives milliseconds since the watch was armed. ``sockets`` belong to their owner, who closes
    them after :meth:`close`. ``may_answer``: a valid token may come from a forged address."""

    def __init__(
        self,
        token: bytes,
        nonce: bytes,
        now: Callable[[], float],
        may_answer: MayAnswer = lambda address: True,
    ) -> None:
        self._token, self._nonce, self._now, self._may_answer = token, nonce, now, may_answer
        self._doors: list[_Door] = []
        self._others: dict[socket.AddressFamily, _Door] = {}
        self._noted: list[_Noted] = []
        self._strangers = 0
        self._untold = 0
        self._errors: list[IcmpError] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._allowance, self._allowed_at = BURST, 0.0

    def serve(self, sockets: list[socket.socket], others: list[socket.socket]) -> None:
        """Begins to answer on ``sockets``; ``others`` are the ports that replies may be asked from."""
        loop = asyncio.get_running_loop()
        for sock in (*sockets, *others):
            stamps = sock.getsockopt(socket.SOL_SOCKET, kernel.SO_TIMESTAMPING) != 0
            door = _Door(sock, sock.getsockname()[1], stamps)
            self._doors.append(door)
            if sock in others:
                self._others[sock.family] = door
            loop.add_reader(sock.fileno(), self._readable, door)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for door in self._doors:
            loop.remove_reader(door.sock.fileno())
        for timer in self._timers:
            timer.cancel()
        self._doors, self._timers = [], set()

    # --- looks ---

    def look(self) -> tuple[tuple[Datagram, ...], tuple[IcmpError, ...], int]:
        """Datagrams and ICMP errors since the look before, and how many datagrams more there were. One whose
        reply was asked for later is told when that has been sent."""
        for door in self._doors:
            self._drain(door)
        told = tuple(one.told() for one in self._noted if not one.waiting)
        errors, untold = tuple(self._errors), self._untold
        self._noted = [one for one in self._noted if one.waiting]
        self._errors, self._strangers, self._untold = [], 0, 0
        return told, errors, untold

    # --- what comes ---

    def _readable(self, door: _Door) -> None:
        self._drain(door)
        for _ in range(_READ_AT_ONCE):
            try:
                data, ancillary, _, peer = door.sock.recvmsg(_LONGEST, 512)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error, which is in the queue as well
                self._drain(door)
                continue
            self._came(door, data, ancillary, peer)

    def _came(self, door: _Door, data: bytes, ancillary: kernel.Ancillary, peer: Any) -> None:
        arrived = control.read(ancillary)
        request = read_request(data, self._token)
        address, port = str(peer[0]).partition("%")[0], int(peer[1])
        if port == 0:  # nobody can be answered there, and nobody sends from there
            return
        noted = _Noted(
            self._now(), address, port, arrived.local, door.port, len(data), arrived.ttl, arrived.dscp
        )
        if not self._note(noted, request is not None):
            return
        if request is None:
            return
        noted.valid, noted.shot = True, request.shot
        if request.delay_ms:
            self._later(door, noted, request, peer)
        else:
            self._reply(door, noted, request, peer)

    def _note(self, noted: _Noted, valid: bool) -> bool:
        room = len(self._noted) < MOST if valid else self._strangers < MOST_STRANGERS
        if not room:
            self._untold += 1
            return False
        self._strangers += not valid
        self._noted.append(noted)
        return True

    def _later(self, door: _Door, noted: _Noted, request: Request, peer: Any) -> None:
        if len(self._timers) >= _WAITING:
            noted.replied, noted.errno = False, "EBUSY"
            return
        noted.waiting = True
        handles: list[asyncio.TimerHandle] = []

        def due() -> None:
            self._timers.discard(handles[0])
            noted.waiting = False
            self._reply(door, noted, request, peer)

        handles.append(asyncio.get_running_loop().call_later(request.delay_ms / 1000, due))
        self._timers.add(handles[0])

    # --- what goes ---

    def _reply(self, door: _Door, noted: _Noted, request: Request, peer: Any) -> None:
        if not self._may_answer(noted.address):
            noted.replied, noted.errno = False, "EACCES"
            return
        if not self._may_send():
            noted.replied, noted.errno = False, "EBUSY"
            return
        if Asked.OTHER_PORT in request.asked:
            other = self._others.get(door.sock.family)
            if other is None:
                noted.replied, noted.errno = False, "EOPNOTSUPP"
                return
            door = other
        data = pack_reply(request, self._nonce, noted.address, noted.port)
        whole = Asked.WHOLE in request.asked
        try:
            if whole:
                self._discover(door.sock, kernel.PMTUDISC_PROBE)
            door.sock.sendmsg([data], control.leaving_from(noted.local), socket.MSG_DONTWAIT, peer)
            noted.replied, noted.sent = True, False if door.stamps else None
        except OSError as error:
            noted.replied, noted.errno = False, errno_name(error.errno or 0)
        finally:
            if whole:
                self._discover(door.sock, kernel.PMTUDISC_DONT)
        if door.stamps and (noted.replied or noted.errno in _NUMBERED):
            door.numbers[door.number] = noted
            door.number = door.number + 1 & 0xFFFFFFFF
            if len(door.numbers) > MOST:
                door.numbers.popitem(last=False)
        self._drain(door)

    def _may_send(self) -> bool:
        now = self._now()
        gained = (now - self._allowed_at) / 1000 * RATE_PER_S
        self._allowance, self._allowed_at = min(BURST, self._allowance + gained), now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    @staticmethod
    def _discover(sock: socket.socket, how: int) -> None:
        six = sock.family == socket.AF_INET6
        level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
        with contextlib.suppress(OSError):
            sock.setsockopt(level, kernel.IPV6_MTU_DISCOVER if six else kernel.IP_MTU_DISCOVER, how)

    def _drain(self, door: _Door) -> None:
        for entry in kernel.drain_errors(door.sock):
            if entry.origin == kernel.ORIGIN_TIMESTAMPING:
                if (noted := door.numbers.pop(entry.number, None)) is not None:
                    noted.sent = True
            elif entry.is_icmp and len(self._errors) < MOST_ERRORS:
                family = Family.IPV6 if entry.origin == kernel.ORIGIN_ICMP6 else Family.IPV4
                self._errors.append(
                    IcmpError(family, entry.type, entry.code, entry.offender, entry.ttl, entry.info or None)
                )
