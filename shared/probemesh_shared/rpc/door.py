"""Keeps the door of one listener: who has how many connections, who misbehaves, and out with them.

grpc bounds streams and sizes by itself, but never ends a connection that is merely abusive, and holds one
that says nothing after its handshake for ever. Several times a second the connections are looked at
(:mod:`.connections`); what calls show is judged as it happens (:mod:`.conduct`). A connection is *recognised*
once a call on it has shown a certificate that is welcome.

One that is over before anybody has looked at it shows nothing, and may still have cost us a call with headers
without an end: grpc bounds those of a frame, not of a call. Whose they were is not told. After such a call
all is looked at more often for a while, and nobody unrecognised may be loud; who is may not dial again for a
while, he and whoever shares his address, since to take him in costs more than to cut him off.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from probemesh_shared.errors import Busy
from probemesh_shared.names import join_host_port
from probemesh_shared.rpc.conduct import Conduct, Leave, Limits
from probemesh_shared.rpc.connections import Connections, Key, Seen, key_of_peer
from probemesh_shared.rpc.peer import Peer
from probemesh_shared.words import Role

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
#: After a call with headers that nobody of ours sends, for so long.
_LOOK_OFTEN_S, SUSPECT_S = 0.05, 60.0
#: Bytes that nobody needs before he is recognised, but for one whole message at once: under suspicion enough.
_LOUD = 64 << 10
#: For so long an address may not dial: long enough to be rid of him, and soon over for who shares it.
BARRED_S = 20.0
#: Headers of a call; ours have half a dozen.
MOST_HEADERS = 64
#: Looking takes at most this part of a processor, however many descriptors there are, down to some pace.
_SHARE, _SHARE_UNDER_SUSPICION, _LOOK_AT_LEAST_EVERY_S = 0.05, 0.2, 5.0
_SLICE = 16
#: Connections of one certificate. Tokens may be shared by a whole daemon set, operators by many commands.
CONNECTIONS = {Role.AGENT: 8, Role.JOIN: 256}
CONNECTIONS_OF_OTHERS = 64
#: Nobody dials without a call to make at once: what is not recognised by then never will be. When a fleet
#: comes back at once calls wait for us, for as long as agents do (25 s).
SILENT_S = 30.0
#: A handshake under way is not counted against its address for as long as this.
_YOUNG_S = 1.0
#: A message's frames, and its part of TLS records; a call's headers.
_MESSAGE_OVERHEAD, _CALL_OVERHEAD = 128, 1024
_CUT_AFTER_S = 0.2  # so that the words of a refusal arrive
#: How often it is told that strangers were cut off: there may be thousands.
_TOLD_EVERY_S = 10.0
_TOO_MANY = "too many calls with this certificate"


@dataclass(slots=True)
class _Connection:
    """``explained``: bytes that were messages, since the last look."""

    inode: str = ""
    since: float = 0.0
    received: int = 0
    explained: int = 0
    peer: Peer | None = None
    recognised_at: float = 0.0
    seen: Seen | None = None


class Door:
    """Of one server; used from its event loop only. Of one address ``strangers`` may wait, once there are
    more than ``crowded`` connections in all. ``on_cut(address, peer, why, times)`` hears of everybody
    who is cut off; ``peer`` is None where nobody was recognised, and ``times`` is how many such went since it
    last heard."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        strangers: int = 512,
        crowded: int = 2048,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_cut: Callable[[str, Peer | None, str, int], None] = lambda *_: None
        self.cuts: Counter[str] = Counter()  # by why
        self._strangers = strangers
        self._crowded = crowded
        self._now = now
        self._conduct = Conduct(limits or Limits(), now)
        self._known: dict[Key, _Connection] = {}
        self._connections: Connections | None = None
        self._task: asyncio.Task[None] | None = None
        self._told_at = float("-inf")
        self._untold = 0
        self._looked_at = float("-inf")  # when the last look began
        self._suspicious_until = float("-inf")
        self._look_now = asyncio.Event()
        self._barred: dict[str, float] = {}  # addresses, until

    # --- calls ------------------------------------------------------------------------------------------

    def called(self, peer: Peer) -> None:
        """Before anything else is asked of a call. Raises :class:`Busy`."""
        judged = self._conduct.called(peer.serial)
        if judged is Leave.TAKE:
            self.read(peer.address, _CALL_OVERHEAD)
            return
        if judged is Leave.CUT:
            self._cut_certificate(peer, _TOO_MANY)
            raise Busy(_TOO_MANY, f"it is let in again after {self._conduct.limits.disgrace_s:g} s")
        raise Busy(_TOO_MANY, f"at most {self._conduct.limits.calls_per_s:g} a second, in the long run")

    def recognised(self, peer: Peer) -> None:
        """A call was let through."""
        key = key_of_peer(peer.address)
        if key is not None:
            connection = self._known.setdefault(key, _Connection(since=self._now()))
            connection.peer, connection.recognised_at = peer, self._now()

    def suspect(self) -> None:
        """There was a call with more than :data:`MOST_HEADERS`, from whomever."""
        if not self._is_suspicious:
            self._look_now.set()
        self._suspicious_until = self._now() + SUSPECT_S

    def disgrace(self, peer: Peer, why: str) -> Busy:
        """Cuts off, and for a while turns away, whoever has that certificate; what he is told."""
        self._conduct.disgrace(peer.serial)
        self._cut_certificate(peer, why)
        return Busy(why, f"it is let in again after {self._conduct.limits.disgrace_s:g} s")

    def reset(self, peer: Peer) -> None:
        """The peer took its call back, or is gone, in the middle of the handler's work."""
        if self._conduct.reset(peer.serial) is Leave.CUT:
            self._cut_certificate(peer, "calls that are taken back")

    def read(self, address: str, size: int) -> None:
        """A message of ``size`` bytes was read from the peer at ``address`` (grpc's spelling)."""
        key = key_of_peer(address)
        if key is not None and (connection := self._known.get(key)) is not None:
            connection.explained += size + _MESSAGE_OVERHEAD

    # --- connections ------------------------------------------------------------------------------------

    def open(self, port: int) -> None:
        """From now on: looks at the connections to ``port``."""
        self._connections = Connections(port)
        self._task = asyncio.create_task(self._keep(), name="door")

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _keep(self) -> None:
        while True:
            worked = await self.look()
            pause = max(LOOK_EVERY_S, worked / _SHARE)
            if self._is_suspicious:
                pause = max(_LOOK_OFTEN_S, worked / _SHARE_UNDER_SUSPICION)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause, _LOOK_AT_LEAST_EVERY_S)):
                    await self._look_now.wait()
            self._look_now.clear()

    @property
    def _is_suspicious(self) -> bool:
        return self._now() < self._suspicious_until

    async def look(self) -> float:
        """One look at all connections, in slices; processor seconds that it took."""
        if self._connections is None:
            return 0.0
        found: list[Seen] = []
        began, worked, start = self._now(), 0.0, time.thread_time()
        for number, seen in enumerate(self._connections):
            found.append(seen)
            if number % _SLICE == _SLICE - 1:
                worked += time.thread_time() - start
                await asyncio.sleep(0)
                start = time.thread_time()
        self._take(found)
        self._looked_at = began
        self._conduct.sweep()
        return worked + time.thread_time() - start

    def _take(self, found: Iterable[Seen]) -> None:
        there = {seen.key: seen for seen in found}
        for key in [key for key, known in self._known.items() if key not in there and known.seen]:
            self._forget(key)
        for key, seen in there.items():
            self._meet(key, seen)
        for known in self._noisy():
            self._cut(known, "noise")
        for known in self._loud():
            self._cut(known, "headers without an end")
        self._let_in()
        for known in self._silent():
            self._cut(known, "silence")
        for known in self._too_many():
            self._cut(known, "too many connections")

    def _meet(self, key: Key, seen: Seen) -> None:
        known = self._known.setdefault(key, _Connection(since=self._now()))
        if known.seen is not None and known.inode != seen.inode:  # another one, from the same port
            fresh = _Connection(since=self._now())
            if known.recognised_at >= known.since and known.recognised_at > self._looked_at:
                fresh.peer, fresh.recognised_at = known.peer, known.recognised_at
            self._conduct.gone(key)
            known = self._known[key] = fresh
        known.inode, known.seen = seen.inode, seen

    def _forget(self, key: Key) -> None:
        del self._known[key]
        self._conduct.gone(key)

    def _noisy(self) -> list[_Connection]:
        found = []
        for key, known in self._known.items():
            if known.seen is None:
                continue
            noise = known.seen.received - known.received - known.explained
            known.received, known.explained = known.seen.received, 0
            where = key.where if known.peer is None else None
            before = where is not None and self._conduct.in_disgrace(where)
            if not self._conduct.heard(key, noise, where):
                if known.peer is not None:
                    self._conduct.disgrace(known.peer.serial)
                elif before:
                    self._bar(key.where)
                found.append(known)
        return found

    def _loud(self) -> list[_Connection]:
        if not self._is_suspicious:
            return []
        found = []
        for key, known in self._known.items():
            if known.peer is None and known.seen is not None and known.seen.received > _LOUD:
                self._conduct.disgrace(key.where)
                self._bar(key.where)
                found.append(known)
        return found

    def _bar(self, where: str) -> None:
        self._barred.pop(where, None)
        self._barred[where] = self._now() + BARRED_S
        self._refuse()

    def _let_in(self) -> None:
        over = [where for where, until in self._barred.items() if until <= self._now()]
        for where in over:
            del self._barred[where]
        if over:
            self._refuse()

    def _refuse(self) -> None:
        if self._connections is not None and self._connections.bar(self._barred):
            _log.warning("connections are not taken from: %s", ", ".join(self._barred) or "nobody any more")

    def _silent(self) -> list[_Connection]:
        now = self._now()
        return [
            known
            for known in self._known.values()
            if known.peer is None and known.seen is not None and now - known.since > SILENT_S
        ]

    def _too_many(self) -> list[_Connection]:
        """Of strangers at one address the oldest: whoever is welcome is soon recognised, unless a whole fleet
        comes back at once from behind one balancer, which has to have its turn while there is room. Of one
        certificate the newest: they came on top of what was enough."""
        strangers: dict[str, list[_Connection]] = {}
        holders: dict[str, list[_Connection]] = {}
        for key, known in self._known.items():
            if known.seen is None:
                continue
            if known.peer is not None:
                holders.setdefault(known.peer.serial, []).append(known)
            elif self._now() - known.since > _YOUNG_S:
                strangers.setdefault(key.where, []).append(known)
        found: list[_Connection] = []
        crowded = sum(known.seen is not None for known in self._known.values()) > self._crowded
        for group in strangers.values() if crowded else ():
            group.sort(key=lambda one: one.since)
            found += group[: max(0, len(group) - self._strangers)]
        for group in holders.values():
            assert group[0].peer is not None
            most = CONNECTIONS.get(group[0].peer.role, CONNECTIONS_OF_OTHERS)
            group.sort(key=lambda one: one.since)
            found += group[most:]
        return found

    # --- out --------------------------------------------------------------------------------------------

    def _cut_certificate(self, peer: Peer, why: str) -> None:
        """All of its connections, a moment later; those that were not looked at yet, at the next look."""
        asyncio.get_running_loop().call_later(_CUT_AFTER_S, self._cut_all, peer, why)

    def _cut_all(self, peer: Peer, why: str) -> None:
        key = key_of_peer(peer.address)
        for seen in self._connections or ():
            known = self._known.get(seen.key)
            theirs = known is not None and known.peer is not None and known.peer.serial == peer.serial
            if seen.key == key or theirs:
                self._end(seen, peer, why)

    def _cut(self, known: _Connection, why: str) -> None:
        if known.seen is not None:
            self._end(known.seen, known.peer, why)

    def _end(self, seen: Seen, peer: Peer | None, why: str) -> None:
        if self._connections is None or not self._connections.shut(seen):
            return
        self.cuts[why] += 1
        address, times = str(seen.key.address), 1
        if peer is None:
            self._untold += 1
            if self._now() - self._told_at < _TOLD_EVERY_S:
                return
            self._told_at, times, self._untold = self._now(), self._untold, 0
        who = f"{peer.role} {peer.name}" if peer is not None else "nobody we know"
        more = f", the last of {times}" if times > 1 else ""
        _log.warning("cut off %s (%s): %s%s", address, who, why, more)
        self.on_cut(join_host_port(address, seen.key.port), peer, why, times)
