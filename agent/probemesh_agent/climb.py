"""One target's climb, up to its first broken rung: resolve, ping, connect, then what port or answer suggest.

Ping runs beside the connect, because it breaks nothing and its silence would only cost time. Every address
that resolving gave is tried on each rung, and climbs on by itself as soon as it held below.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from probemesh_shared.model import DnsSpec as _DnsSpec
from probemesh_shared.model import (
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    Measurement,
    PortRange,
    Spec,
    Target,
    TcpDetail,
    TcpSpec,
    TlsSpec,
    UdpSpec,
)
from probemesh_shared.words import Family, Kind, Outcome

from probemesh_agent import greet, rows
from probemesh_agent.env import Address, Probe, ProbeEnv
from probemesh_agent.porttable import Manner, manner_of, rungs_above

Emit = Callable[[Sequence[Measurement]], Awaitable[None]]

#: Kinds that a target's own spelling asks for, and that are no rung above a connect.
_OWN_KINDS: dict[Kind, type[_DnsSpec] | type[UdpSpec] | type[IcmpSpec]] = {
    Kind.DNS: _DnsSpec,
    Kind.UDP: UdpSpec,
    Kind.ICMP: IcmpSpec,
}

#: On a port that merely suggests HTTP nobody asked for "/": only the server's own faults break the rung.
_ANY_BUT_SERVER_ERROR = (PortRange(200, 499),)


@dataclass(frozen=True, slots=True)
class Climb:
    """What one climb needs. ``emit`` may wait: that is how back-pressure reaches the probes."""

    probes: Mapping[Kind, Probe]
    env: ProbeEnv
    spec: LadderSpec
    index: int
    target: Target
    emit: Emit

    async def run(self) -> None:
        """Climbs until a rung breaks or none is left."""
        own = _OWN_KINDS.get(self.target.kind) if self.target.kind is not None else None
        if own is not None and self.target.kind is not None:
            await self._rung(self.target.kind, own(self.spec.options), self.target, self.emit)
            return
        addresses = await self._resolve()
        if not addresses:
            return
        base = replace(self.target, addresses=tuple(address.host for address in addresses))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rung(Kind.ICMP, IcmpSpec(self.spec.options), base, self.emit))
            if ports_of(self.target):
                group.create_task(self._connect(base, addresses))

    async def _resolve(self) -> tuple[Address, ...]:
        env, target, started_ns = self.env, self.target, self.env.clock.wall_ns()
        resolution = await env.network.resolve(target, self.spec.options, env.deadline)
        found: list[Measurement] = []
        if resolution.names_asked or (resolution.failure is not None and not resolution.refused):
            family = self.spec.options.family
            own = env.network.nameservers(replace(self.spec.options, family=Family.BOTH))
            found.append(rows.resolved(self.index, target, family, resolution, started_ns, own))
        ports = ports_of(target)
        kind, port = (Kind.TCP, ports[0].first) if ports else (Kind.ICMP, None)
        found.extend(
            rows.refused_row(kind, self.index, target, refused, port, started_ns)
            for refused in resolution.refused
        )
        if found:
            await self.emit(found)
        return resolution.addresses

    async def _connect(self, base: Target, addresses: tuple[Address, ...]) -> None:
        ports = ports_of(base)
        base = replace(base, ports=ports)
        if is_scan(ports):
            await self._rung(Kind.TCP, TcpSpec(self.spec.options), base, self.emit)
            return
        by_host = {address.host: address for address in addresses}
        async with asyncio.TaskGroup() as group:
            if manner_of(ports[0].first) is Manner.ONCE:
                for address in addresses:
                    group.create_task(self._once(base, address))
                return

            async def above(batch: Sequence[Measurement]) -> None:
                for row in batch:
                    address = by_host.get(row.address or "")
                    if row.outcome is Outcome.OK and address is not None:
                        group.create_task(self._above(base, address, row))
                    else:
                        await self.emit([row])

            await self._rung(Kind.TCP, TcpSpec(self.spec.options), base, above)

    async def _once(self, base: Target, address: Address) -> None:
        row = await greet.connect_once(self.env, self.spec.options, self.index, base, address)
        await self.emit([row])

    async def _above(self, base: Target, address: Address, row: Measurement) -> None:
        """What follows one open port on one address. The TCP row is told once its banner is known."""
        port = base.ports[0].first
        at = replace(base, addresses=(address.host,))
        if base.kind is Kind.HTTP:
            await self.emit([row])
            await self._kinds(at, (Kind.TLS, Kind.HTTP) if base.secure else (Kind.HTTP,), guessed=False)
            return
        manner = manner_of(port)
        if base.kind is Kind.TCP:
            await self.emit([row])
        elif manner is Manner.POSTGRES:
            for answer in await greet.postgres(self.env, self.spec.options, at, address, row):
                await self.emit([answer])
        else:
            if manner in (Manner.QUIET, Manner.SPEAKS_FIRST):
                row = await greet.listen(self.env, self.spec.options, address, row, manner)
            await self.emit([row])
            said = row.detail.banner_protocol if isinstance(row.detail, TcpDetail) else None
            await self._kinds(at, rungs_above(manner, said), guessed=True)

    async def _kinds(self, at: Target, kinds: Sequence[Kind], *, guessed: bool) -> None:
        """Climbs ``kinds`` in order on one address and stops where one does not hold."""
        secure = at.secure or Kind.TLS in kinds
        at = replace(at, secure=secure, path=at.path or "/")
        for kind in kinds:
            held: list[bool] = []

            async def judge(batch: Sequence[Measurement], held: list[bool] = held) -> None:
                held.extend(row.outcome is Outcome.OK for row in batch)
                await self.emit(batch)

            await self._rung(kind, self._spec_above(kind, guessed), at, judge)
            if not any(held):
                return

    def _spec_above(self, kind: Kind, guessed: bool) -> Spec:
        if kind is Kind.TLS:
            return TlsSpec(self.spec.options)
        expect = _ANY_BUT_SERVER_ERROR if guessed else ()
        return HttpSpec(self.spec.options, expect_status=expect)

    async def _rung(self, kind: Kind, spec: Spec, target: Target, emit: Emit) -> None:
        probe = self.probes.get(kind)
        if probe is None:
            await emit([rows.unsupported(kind, self.index, target, self.env.clock.wall_ns())])
            return
        batches = probe.run(spec, (target,), self.env)
        try:
            async for batch in batches:
                await emit([replace(row, target_index=self.index) for row in batch])
        finally:
            closing = getattr(batches, "aclose", None)
            if closing is not None:
                await closing()


def needed(target: Target) -> set[tuple[Kind, bool]]:
    """Every kind that this target's climb may come to, and whether over TLS."""
    if target.kind in _OWN_KINDS:
        return {(target.kind, False)}
    found = {(Kind.ICMP, False)}
    ports = ports_of(target)
    if not ports:
        return found
    found.add((Kind.TCP, False))
    if target.kind is Kind.HTTP:
        return found | ({(Kind.TLS, True), (Kind.HTTP, True)} if target.secure else {(Kind.HTTP, False)})
    if target.kind is Kind.TCP or is_scan(ports):
        return found
    manner = manner_of(ports[0].first)
    if manner is Manner.POSTGRES:
        return found | {(Kind.TLS, True)}
    kinds = rungs_above(manner, "http" if manner in (Manner.QUIET, Manner.SPEAKS_FIRST) else None)
    return found | {(kind, Kind.TLS in kinds) for kind in kinds}


def ports_of(target: Target) -> tuple[PortRange, ...]:
    """The target's ports; an ``http(s)://`` target without one has its scheme's."""
    if target.ports or target.kind is not Kind.HTTP:
        return target.ports
    port = 443 if target.secure else 80
    return (PortRange(port, port),)


def is_scan(ports: tuple[PortRange, ...]) -> bool:
    """More than one port."""
    return len(ports) > 1 or ports[0].first != ports[0].last
