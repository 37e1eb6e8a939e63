"""One target's climb, up to its first broken rung: resolve, ping, connect, then what port or answer suggest.

Ping runs beside the connect, because it breaks nothing and its silence would only cost time. Every address
that resolving gave is tried on each rung, and climbs on by itself as soon as it held below.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from probemesh_shared.expectations import Judge, wants_banner
from probemesh_shared.model import DnsSpec as _DnsSpec
from probemesh_shared.model import (
    Expectation,
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
from probemesh_shared.words import NOT_MEASURED, Family, Kind, Outcome

from probemesh_agent import expecting, greet, rows
from probemesh_agent.env import Address, Probe, ProbeEnv
from probemesh_agent.porttable import Manner, manner_of, rungs_above

Emit = Callable[[Sequence[Measurement]], Awaitable[object]]

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
    """What one climb needs. ``emit`` may wait: that is how back-pressure reaches the probes.

    Every row goes through :meth:`_tell`, which judges it by what is expected; a rung that held and is not as
    expected is broken, and nothing is climbed above a failure that was expected."""

    probes: Mapping[Kind, Probe]
    env: ProbeEnv
    spec: LadderSpec
    index: int
    target: Target
    emit: Emit
    judge: Judge = field(default_factory=lambda: Judge(()))
    judged: set[Expectation] = field(default_factory=set)
    held: set[tuple[Kind, int | None]] = field(default_factory=set)
    broken: set[tuple[Kind, int | None]] = field(default_factory=set)

    async def run(self) -> None:
        """Climbs until a rung breaks or none is left; what is expected and met no rung is told as such."""
        own = _OWN_KINDS.get(self.target.kind) if self.target.kind is not None else None
        if own is not None and self.target.kind is not None:
            await self._rung(self.target.kind, own(self.spec.options), self.target, self._tell)
        else:
            await self._climb()
        if self.judge:
            await self._tell_unjudged()

    async def _tell(self, batch: Sequence[Measurement]) -> list[bool]:
        """Which rows hold: they did when measured, and are as expected."""
        if not self.judge:
            await self.emit(batch)
            return [row.outcome is Outcome.OK for row in batch]
        told = [self.judge.judged(row) for row in batch]
        for before, after in zip(batch, told, strict=True):
            if before.outcome not in NOT_MEASURED:
                self.judged.update(self.judge.applying(before))
                into = self.held if after.outcome is Outcome.OK else self.broken
                into.add((after.kind, after.port))
        await self.emit(told)
        return [
            before.outcome is after.outcome is Outcome.OK for before, after in zip(batch, told, strict=True)
        ]

    async def _tell_unjudged(self) -> None:
        """What nobody judged must not look like what was met. Only the first is told: they have one cause.
        Above a rung that is broken at every address nothing was to be expected."""
        missing = next((one for one in self.spec.options.expect if one not in self.judged), None)
        broken = any(kind is not Kind.ICMP for kind, _ in self.broken - self.held)
        below = {Kind.ICMP, Kind.DNS} if self._ported else {Kind.DNS}
        climbed = any(kind not in below or kind is self.target.kind for kind, _ in self.held)
        if missing is None or broken or not climbed:
            return
        kind, failure = expecting.unjudged(missing)
        now = self.env.clock.wall_ns()
        await self.emit([rows.not_probed(kind, self.index, self.target, None, None, failure, now)])

    @property
    def _ported(self) -> bool:
        return bool(ports_of(self.target))

    async def _climb(self) -> None:
        addresses = await self._resolve()
        if not addresses:
            return
        base = replace(self.target, addresses=tuple(address.host for address in addresses))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rung(Kind.ICMP, IcmpSpec(self.spec.options), base, self._tell))
            if self._ported:
                group.create_task(self._connect(base, addresses))

    async def _resolve(self) -> tuple[Address, ...]:
        env, target, started_ns = self.env, self.target, self.env.clock.wall_ns()
        resolution = await env.network.resolve(target, self.spec.options, env.deadline)
        found: list[Measurement] = []
        if resolution.names_asked or (resolution.failure is not None and not resolution.refused):
            family = self.spec.options.family
            files = env.network.name_files()
            own = env.network.nameservers(replace(self.spec.options, family=Family.BOTH))
            found.append(rows.resolved(self.index, target, family, resolution, started_ns, own, files))
        ports = ports_of(target)
        kind, port = (Kind.TCP, ports[0].first) if ports else (Kind.ICMP, None)
        found.extend(
            rows.refused_row(kind, self.index, target, refused, port, started_ns)
            for refused in resolution.refused
        )
        as_expected = await self._tell(found) if found else [True]
        return () if resolution.names_asked and not as_expected[0] else resolution.addresses

    async def _connect(self, base: Target, addresses: tuple[Address, ...]) -> None:
        ports = ports_of(base)
        base = replace(base, ports=ports)
        if is_scan(ports):
            await self._rung(Kind.TCP, TcpSpec(self.spec.options), base, self._tell)
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
                        await self._tell([row])

            await self._rung(Kind.TCP, TcpSpec(self.spec.options), base, above)

    async def _once(self, base: Target, address: Address) -> None:
        if (refused := self.env.network.refused_kind(Kind.TCP)) is not None:
            port, now = base.ports[0].first, self.env.clock.wall_ns()
            denied = rows.not_probed(Kind.TCP, self.index, base, address.host, port, refused, now)
            await self._tell([denied])
            return
        row = await greet.connect_once(self.env, self.spec.options, self.index, base, address)
        await self._tell([row])

    async def _above(self, base: Target, address: Address, row: Measurement) -> None:
        """What follows one open port on one address. The TCP row is told once its banner is known."""
        port = base.ports[0].first
        manner = manner_of(port)
        at = replace(base, addresses=(address.host,))
        guessing = base.kind is None
        if guessing and manner is Manner.POSTGRES and self.env.network.refused_kind(Kind.TLS) is None:
            for answer in await greet.postgres(self.env, self.spec.options, at, address, row):
                if not all(await self._tell([answer])):
                    return
            return
        speaks = guessing and manner in (Manner.QUIET, Manner.SPEAKS_FIRST)
        if speaks or wants_banner(self.spec.options.expect):
            row = await greet.listen(self.env, self.spec.options, address, row, manner)
        if not all(await self._tell([row])) or base.kind is Kind.TCP:
            return
        said = row.detail.banner_protocol if isinstance(row.detail, TcpDetail) and guessing else None
        asked = (Kind.TLS, Kind.HTTP) if base.secure else (Kind.HTTP,)
        await self._kinds(at, rungs_above(manner, said) if guessing else asked, guessed=guessing)

    async def _kinds(self, at: Target, kinds: Sequence[Kind], *, guessed: bool) -> None:
        """Climbs ``kinds`` in order on one address and stops where one does not hold."""
        secure = at.secure or Kind.TLS in kinds
        at = replace(at, secure=secure, path=at.path or "/")
        for kind in kinds:
            held: list[bool] = []

            async def tell(batch: Sequence[Measurement], held: list[bool] = held) -> None:
                held.extend(await self._tell(batch))

            await self._rung(kind, self._spec_above(kind, guessed), at, tell)
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
        if (refused := self.env.network.refused_kind(kind)) is not None:
            row = rows.not_probed(kind, self.index, target, None, None, refused, self.env.clock.wall_ns())
            await emit([row])
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
