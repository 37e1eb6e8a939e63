"""Names to addresses by the host's own resolver, ``getaddrinfo``, with deadlines it does not have itself.

A call that hangs cannot be interrupted, only left behind: it goes on in a daemon thread, of which there is
a bounded number, and holds up neither literals (which never come here), nor other names while threads are
left, nor the end of the process. The same name asked for twice at once takes one thread.
"""

import asyncio
import contextlib
import errno
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from probemesh_shared import failures
from probemesh_shared.model import Failure
from probemesh_shared.words import FailureKind, Family, Origin, Stage

from probemesh_agent.net.literals import from_sockaddr
from probemesh_agent.net.ranges import IPAddress

_FAMILIES = {
    Family.BOTH: socket.AF_UNSPEC,
    Family.IPV4: socket.AF_INET,
    Family.IPV6: socket.AF_INET6,
}
_IDLE_S = 10.0

Lookup = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Addresses in the system's order without doubles, or why there are none."""

    addresses: tuple[IPAddress, ...] = ()
    failure: Failure | None = None


@dataclass(slots=True, eq=False)
class _Call:
    name: bytes
    family: Family
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[Answer]"
    waiters: int = 0


@dataclass(slots=True)
class SystemResolver:
    """``getaddrinfo`` on at most ``threads`` daemon threads, started when needed, ended when idle."""

    threads: int = 16
    lookup: Lookup = socket.getaddrinfo
    _queue: deque[_Call] = field(default_factory=deque)
    _open: dict[tuple[bytes, Family], _Call] = field(default_factory=dict)
    _ready: threading.Condition = field(default_factory=threading.Condition)
    _running: int = 0
    _idle: int = 0

    async def resolve(self, host: str, family: Family, timeout_s: float) -> Answer:
        """Never raises for what resolving came to; a name that is none is an answer as well."""
        name = _encoded(host)
        if isinstance(name, Failure):
            return Answer(failure=name)
        call = self._call(name, family)
        call.waiters += 1
        try:
            done, _ = await asyncio.wait({call.done}, timeout=max(0.0, timeout_s))
        finally:
            call.waiters -= 1
            self._forget_unstarted(call)
        if done:
            return call.done.result()
        return Answer(failure=_silent(host, timeout_s))

    def _call(self, name: bytes, family: Family) -> _Call:
        loop = asyncio.get_running_loop()
        call = self._open.get((name, family))
        if call is not None and call.loop is loop and not call.done.done():
            return call
        call = _Call(name, family, loop, loop.create_future())
        self._open[name, family] = call
        with self._ready:
            self._queue.append(call)
            if self._idle < len(self._queue) and self._running < self.threads:
                self._running += 1
                threading.Thread(target=self._serve, name="probemesh-resolver", daemon=True).start()
            self._ready.notify()
        return call

    def _forget_unstarted(self, call: _Call) -> None:
        """What nobody waits for any more and no thread has begun need not be asked."""
        if call.waiters or call.done.done():
            return
        with self._ready, contextlib.suppress(ValueError):
            self._queue.remove(call)
            call.done.cancel()
            self._close(call)

    def _close(self, call: _Call) -> None:
        if self._open.get((call.name, call.family)) is call:
            del self._open[call.name, call.family]

    def _serve(self) -> None:
        while call := self._next():
            answer = _ask(self.lookup, call)
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody is left to tell
                call.loop.call_soon_threadsafe(self._tell, call, answer)

    def _next(self) -> _Call | None:
        with self._ready:
            self._idle += 1
            has_work = self._ready.wait_for(lambda: self._queue, _IDLE_S)
            self._idle -= 1
            if has_work:
                return self._queue.popleft()
            self._running -= 1
            return None

    def _tell(self, call: _Call, answer: Answer) -> None:
        self._close(call)
        if not call.done.done():
            call.done.set_result(answer)


def _encoded(host: str) -> bytes | Failure:
    """A-labels (IDNA 2003, as the system's own tools), or why it cannot be a name at all."""
    try:
        name = host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError:
        return _no_such_name(host, "cannot be written as a DNS name")
    labels = name.removesuffix(b".").split(b".")
    if b"\0" in name or len(name) > 254 or not all(0 < len(label) < 64 for label in labels):
        return _no_such_name(host, "is not a DNS name")
    return name


def _ask(lookup: Lookup, call: _Call) -> Answer:
    """glibc says "no such name" of one family where the other is in the hosts file: then both are asked
    for."""
    answer = _ask_family(lookup, call, call.family)
    if call.family is Family.BOTH or answer.failure is None or answer.failure.errno != "EAI_NONAME":
        return answer
    either = _ask_family(lookup, call, Family.BOTH)
    if either.addresses:
        return Answer(failure=from_eai(call.name.decode(), socket.EAI_ADDRFAMILY))
    return either


def _ask_family(lookup: Lookup, call: _Call, family: Family) -> Answer:
    try:
        rows = lookup(call.name, None, _FAMILIES[family], socket.SOCK_STREAM)
        found = dict.fromkeys(from_sockaddr(row[4]) for row in rows if row[0] in _KNOWN)
    except socket.gaierror as error:
        return Answer(failure=from_eai(call.name.decode(), error.errno or 0))
    except OSError as error:
        return Answer(failure=failures.from_errno(Stage.RESOLVE, error.errno or errno.EIO, at_once=True))
    except Exception as error:  # a thread of ours must not die of it
        detail = f"resolving failed in an unforeseen way ({type(error).__name__})"
        return Answer(failure=Failure(Stage.RESOLVE, FailureKind.INTERNAL, Origin.AGENT, detail))
    if not found:
        return Answer(failure=from_eai(call.name.decode(), socket.EAI_NODATA))
    return Answer(tuple(found))


_KNOWN = (socket.AF_INET, socket.AF_INET6)

#: By EAI code of getaddrinfo(3); glibc gives NODATA and ADDRFAMILY for names that exist.
_EAI: dict[int, tuple[FailureKind, Origin, str]] = {
    socket.EAI_NONAME: (FailureKind.NO_SUCH_NAME, Origin.TARGET, "no such name"),
    socket.EAI_NODATA: (FailureKind.NO_ADDRESS, Origin.TARGET, "the name exists, without such an address"),
    socket.EAI_ADDRFAMILY: (FailureKind.NO_ADDRESS, Origin.TARGET, "the name has no address of this family"),
    socket.EAI_AGAIN: (
        FailureKind.NAME_SERVER_FAILED,
        Origin.RESOLVER,
        "the name servers gave no usable answer",
    ),
    socket.EAI_FAIL: (FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER, "the name servers refused or failed"),
    socket.EAI_MEMORY: (FailureKind.LOCAL_RESOURCE, Origin.AGENT, "this host ran out of memory"),
    socket.EAI_FAMILY: (FailureKind.UNSUPPORTED, Origin.AGENT, "this host cannot look up this family"),
}


def from_eai(name: str, code: int) -> Failure:
    """A failure known by an EAI code; ``errno`` is then the code's name."""
    symbol = next((key for key in _EAI_NAMES if getattr(socket, key) == code), str(code))
    unknown = (FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER, "the host's resolver failed")
    kind, origin, words = _EAI.get(code, unknown)
    return Failure(Stage.RESOLVE, kind, origin, f"{name}: {words} ({symbol})", errno=symbol)


_EAI_NAMES = tuple(key for key in dir(socket) if key.startswith("EAI_"))


def _no_such_name(host: str, why: str) -> Failure:
    return Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.TARGET, f"{host[:100]!a} {why}")


def _silent(host: str, timeout_s: float) -> Failure:
    detail = f"{host[:253]}: the host's resolver gave no answer within {max(0.0, timeout_s):.1f} s"
    return Failure(Stage.RESOLVE, FailureKind.TIMEOUT, Origin.RESOLVER, detail)
