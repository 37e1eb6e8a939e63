"""A little world that answers what the plan asks: A – R – S – B, with a fault in it, and chance.

It plays only the steps of the flow question; whatever else is planned is said not to be had.
"""

import random
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from probemesh_controller.pair.case import Case, Look, Round, RoundDone, Step, StepDone
from probemesh_controller.pair.flow import purposes
from probemesh_controller.pair.plan import next_round
from probemesh_shared.model import (
    Connection,
    FlowDetail,
    FlowSpec,
    HalfOpen,
    Listener,
    Measurement,
    Reply,
    Shot,
    ShotSeen,
    WatchDetail,
)
from probemesh_shared.words import Direction, Kind, Outcome, Transport

from tests.pair import staged
from tests.pair.staged import BACK_PORT, OWN_PORT, PORT, A, B

#: Routers of either direction, nearest first.
HOPS = {A: ("10.1.0.1", "198.51.100.2"), B: ("203.0.113.1", "198.51.100.1")}
ANSWERED, SILENT, REFUSED, REJECTED = "answered", "silent", "refused", "rejected"


@dataclass(frozen=True)
class Fault:
    """What happens to packets of A's flow to the port. ``there``: after how many hops it is dropped on the
    way there (3: by B's own firewall); ``back``: it is dropped on the way back; ``rejects``: told so by that
    hop; ``closed``: nothing listens; ``mute``: what listens takes datagrams and answers none."""

    there: int | None = None
    back: bool = False
    rejects: bool = False
    closed: bool = False
    mute: bool = False


@dataclass
class _Host:
    """What one host's watch will tell of a round."""

    counts: Tally[str] = field(default_factory=Tally)
    half_open: list[HalfOpen] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)


class World:
    """``loss`` is that of every packet, each way. ``away``: an agent that does nothing it is asked."""

    def __init__(
        self,
        fault: Fault,
        loss: float,
        seed: int,
        transport: Transport = Transport.TCP,
        away: str | None = None,
    ) -> None:
        self.away = away
        self.fault, self.loss, self.random = fault, loss, random.Random(seed)
        listeners = () if fault.closed else staged.LISTENING
        self.listeners = {"a": (Listener("0.0.0.0", BACK_PORT),), "b": listeners}
        self.case = staged.case(transport, listeners)
        self._hosts = {"a": _Host(), "b": _Host()}
        self._port = 50_000

    def diagnosed(self) -> Case:
        """The case when the plan has no more to ask."""
        for _ in range(30):
            wanted = next_round(self.case)
            if wanted is None:
                return self.case
            self.case = self._round(wanted)
        raise AssertionError("the plan does not end")

    def _round(self, wanted: Round) -> Case:
        self._hosts = {"a": _Host(), "b": _Host()}
        done = tuple(self._step(step) for step in wanted.steps)
        looks = (Look("a", self._account("a", A)), Look("b", self._account("b", B)))
        return replace(self.case, rounds=(*self.case.rounds, RoundDone(done, looks, 1500.0)))

    def _account(self, name: str, own: str) -> WatchDetail:
        host = self._hosts[name]
        counters = staged.counted(**{key.replace(".", "_"): value for key, value in host.counts.items()})
        return staged.watch(
            self.listeners[name],
            (own,),
            counters=counters,
            half_open=tuple(host.half_open),
            connections=tuple(host.connections),
        )

    def _step(self, step: Step) -> StepDone:
        played = {purposes.FIRST, purposes.CONTROLS, purposes.AGAIN, purposes.BURST, purposes.LADDER}
        if step.purpose.partition(":")[0] not in {*played, purposes.HOLD, purposes.PATH, purposes.LONG}:
            return StepDone(step, problem="not here")
        if step.sender == self.away:
            return StepDone(step, problem="it is not connected")
        spec = step.spec
        assert isinstance(spec, FlowSpec)
        seen = tuple(self._shots(step, spec))
        row = Measurement(Kind.FLOW, 0, "", step.address, step.port, Outcome.OK, 1, detail=FlowDetail(seen))
        return StepDone(step, (row,))

    # --- packets ------------------------------------------------------------------------------------------

    def _shots(self, step: Step, spec: FlowSpec) -> Iterator[ShotSeen]:
        for number, shot in enumerate(spec.shots):
            self._port += 1
            yield replace(self._shot(step, spec, shot), shot=number, local_port=self._port)

    def _lost(self) -> bool:
        return self.random.random() < self.loss

    def _shot(self, step: Step, spec: FlowSpec, shot: Shot) -> ShotSeen:
        near = A if step.sender == "a" else B
        far = "b" if step.sender == "a" else "a"
        self._count(step.sender, "Ip.OutRequests", "Ip.OutTransmits")
        its = step.direction is Direction.FORWARD and step.port == PORT and spec.transport is self._transport
        stop = self.fault.there if its else None
        reach = shot.ttl or 64
        if self._lost():
            return self._silent(near)
        if stop is not None and stop < 3 and reach > stop:
            return self._rejected(near, HOPS[near][stop - 1]) if self.fault.rejects else self._silent(near)
        if reach < 3:
            return self._silent(near) if self._lost() else staged.expired(HOPS[near][reach - 1])[0]
        self._count(far, "Ip.InReceives")
        if stop == 3:
            return self._rejected(near, B) if self.fault.rejects else self._silent(near)
        self._count(far, "Ip.InDelivers")
        return self._arrived(step, spec, shot, near, far, its)

    @property
    def _transport(self) -> Transport:
        return self.case.asked.transport

    def _arrived(self, step: Step, spec: FlowSpec, shot: Shot, near: str, far: str, its: bool) -> ShotSeen:
        own = step.port == OWN_PORT
        ours = (near, self._port)
        closed = its and self.fault.closed
        if spec.transport is Transport.TCP and not closed:
            half = HalfOpen(*ours, step.address, step.port or 0, 0.0, 1300.0, 1)
            if (its and self.fault.back) or self._lost():
                self._hosts[far].half_open.append(half)
                return self._silent(near)
            if self._lost() and not own:  # the handshake's last segment
                self._hosts[far].half_open.append(half)
            else:
                self._hosts[far].connections.append(
                    Connection(1, *ours, step.address, step.port or 0, accepted=True)
                )
        elif spec.transport is Transport.TCP:
            self._count(far, "Tcp.OutRsts")
        elif spec.transport is Transport.UDP:
            self._count(far, "Udp.NoPorts" if closed else "Udp.InDatagrams")
            if its and self.fault.mute:
                return self._silent(near)
            self._count(far, *(() if closed else ("Udp.OutDatagrams",)))
        else:
            self._count(far, "Icmp.InEchos")
        self._count(far, "Ip.OutRequests", "Ip.OutTransmits")
        if spec.transport is not Transport.TCP and ((its and self.fault.back) or self._lost()):
            return self._silent(near)
        if closed:
            if self._lost():
                return self._silent(near)
            return staged.refused()[0] if spec.transport is Transport.TCP else staged.rejected(1, B, 3, 3)[0]
        reply = Reply(valid=True, agent="ab" * 8, seen_address=near, seen_port=self._port, ttl=62)
        return ShotSeen(
            outcome=Outcome.OK,
            rtt_ms=10.0,
            local_address=near,
            state=1,
            end="held",
            end_ms=shot.hold_ms or 0.0,
            replies=(reply,) if own else (),
        )

    def _silent(self, near: str) -> ShotSeen:
        return replace(staged.silent()[0], local_address=near)

    def _rejected(self, near: str, sender: str) -> ShotSeen:
        return self._silent(near) if self._lost() else staged.rejected(1, sender)[0]

    def _count(self, host: str, *names: str) -> None:
        self._hosts[host].counts.update(names)
