"""Kind ``dns``: what a name server answers, and what the host's own resolver says beside it.

One row for each address of the server asked, or for each of the host's own name servers, or for each
address of each server of the zone; ``address`` and ``port`` are the server's. A sample's RTT is the exchange
that gave the answer, over connections without their handshakes. Answers that do not match the question are
passed over, and the wait goes on: a forged one must not win by being first.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import DnsDetail, DnsSpec, Failure, Measurement, Options, Spec, Target
from probemesh_shared.targets import DNS_PORT, parse_server
from probemesh_shared.words import DnsTransport, FailureKind, Family, Kind, Origin, Stage

from probemesh_agent.env import Address, ProbeEnv, ProbeFailed, Resolution
from probemesh_agent.probes.attempts import Exchange, Plan, RichRun, Unit, not_tried
from probemesh_agent.probes.dnsasker import Asker, Servers
from probemesh_agent.probes.dnsexchange import Asked, DnsExchange, ServerUnit, asked_of, asking
from probemesh_agent.probes.dnsways import PORTS, refused, warm
from probemesh_agent.probes.dnswire import question
from probemesh_agent.probes.dnszone import Zone, find_zone


class DnsProbe:
    kind = Kind.DNS

    def prepare(self, secure: bool) -> None:
        """Reads what the first question over TLS or HTTPS would read meanwhile; may block."""
        if secure:
            warm()

    async def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        if not isinstance(spec, DnsSpec):
            raise TypeError(f"not a dns spec: {type(spec).__name__}")

        async def plan(index: int, target: Target) -> Plan:
            return await _Planner(spec, index, target, env).plan()

        def opened(unit: Unit) -> Exchange:
            return DnsExchange(spec, unit, env)

        pacing = env.pacing
        rate = pacing.packets_per_s if spec.transport is DnsTransport.UDP else pacing.connects_per_s
        rows = RichRun(self.kind, spec.options, env, plan, opened, rate).rows(targets)
        try:
            async for batch in rows:
                yield batch
        finally:
            await rows.aclose()


class _Planner:
    """From one target to units, and to rows for what cannot be asked."""

    def __init__(self, spec: DnsSpec, index: int, target: Target, env: ProbeEnv) -> None:
        self._spec, self._index, self._target, self._env = spec, index, target, env
        self._started_ns = env.clock.wall_ns()

    async def plan(self) -> Plan:
        asked = asked_of(self._spec, self._target)
        if isinstance(first := question(asked.names[0], asked.types[0], asking(self._spec)), Failure):
            return Plan((self._row(None, None, first),))
        for name in asked.names:
            if (denied := self._env.network.refused_name(name)) is not None:
                return Plan((self._row(None, None, denied),))
        if (untaken := refused(self._spec)) is not None:
            return Plan((self._row(None, None, untaken),))
        if self._spec.all_servers:
            return await self._of_zone(asked)
        servers = await self._servers(self._spec.options)
        if (denied := self._env.network.refused_port(servers.port)) is not None:
            return Plan((self._row(None, servers.port, denied),))
        rows = [self._row(one.host, servers.port, one.failure) for one in servers.refused]
        if not rows and not servers.addresses:
            row = self._row(None, servers.port, servers.nothing)
            rows.append(self._about(row, asked, servers.host))
        return Plan(tuple(rows), tuple(self._unit(one, servers) for one in servers.addresses))

    async def _servers(self, options: Options) -> Servers:
        """The named server's addresses, or the host's own name servers."""
        server, default = self._target.server or self._spec.server, PORTS[self._spec.transport]
        if server is None:
            own = self._env.network.nameservers(options)
            return Servers(own.addresses, own.refused, default, _no_server())
        host, port = _host_and_port(server)
        port = default if port == DNS_PORT else port
        found = await self._env.network.resolve(Target(server, host), options, self._env.deadline)
        nothing = _unresolved(host, found.failure) if found.failure is not None else _no_server()
        return Servers(found.addresses, found.refused, port, nothing, host)

    async def _of_zone(self, asked: Asked) -> Plan:
        """Each address of each server of the zone. Who is asked says which these are, in either family;
        those that are asked then are of the family asked for."""
        servers = await self._servers(replace(self._spec.options, family=Family.BOTH))
        asker = Asker(self._spec, self._target, self._env, servers)
        try:
            zone = await find_zone(asked.names[0], asked.types[0], asker.ask)
        except ProbeFailed as failed:
            zone = failed.failure
        if isinstance(zone, Failure):
            row = self._row(None, None, zone)
            return Plan((row if servers.addresses else self._about(row, asked, servers.host),))
        found = await asyncio.gather(*(asker.resolved(one, zone.glue) for one in zone.servers))
        rows: list[Measurement] = []
        units: list[Unit] = []
        for server, resolution in zip(zone.servers, found, strict=True):
            rows += [self._about(row, asked, server, zone.name) for row in self._refused(server, resolution)]
            units += [self._server_unit(one, server, zone) for one in resolution.addresses]
        return Plan(tuple(rows), tuple(units))

    def _refused(self, server: str, resolution: Resolution) -> list[Measurement]:
        rows = [
            self._row(
                one.host, DNS_PORT, replace(one.failure, detail=f"name server {server}: {one.failure.detail}")
            )
            for one in resolution.refused
        ]
        if not rows and not resolution.addresses and resolution.failure is not None:
            rows.append(self._row(None, DNS_PORT, _unresolved(server, resolution.failure)))
        return rows

    def _about(
        self, row: Measurement, asked: Asked, server: str | None, zone: str | None = None
    ) -> Measurement:
        """With the name server that it is about; without one it stands for the host's own."""
        if server is None:
            return row
        detail = DnsDetail(asked.names[0], asked.types[0], transport=self._spec.transport)
        return replace(row, detail=replace(detail, server_name=server, zone=zone))

    def _row(self, host: str | None, port: int | None, failure: Failure) -> Measurement:
        return not_tried(Kind.DNS, self._index, self._target.text, host, port, failure, self._started_ns)

    def _unit(self, address: Address, servers: Servers) -> Unit:
        return ServerUnit(
            self._index, self._target, self._target.text, address, servers.port, host=servers.host
        )

    def _server_unit(self, address: Address, server: str, zone: Zone) -> Unit:
        target = self._target
        return ServerUnit(self._index, target, target.text, address, DNS_PORT, host=server, zone=zone.name)


def _host_and_port(server: str) -> tuple[str, int]:
    """What the command line would refuse (``0x7f.1``) is read as the system reads it: the policy will
    judge it."""
    try:
        return parse_server(server)
    except InvalidRequest:
        host, colon, port = server.rpartition(":")
        if colon and port.isascii() and port.isdigit() and ("]" in host or ":" not in host):
            return host, min(int(port[:6]), 65535)
        return server, DNS_PORT


def _unresolved(server: str, failure: Failure) -> Failure:
    """A name server's name that comes to nothing says nothing of the name that it was to be asked for. Of
    what is ours (a policy, a deadline) nothing changes."""
    if failure.origin is Origin.AGENT:
        return replace(failure, detail=f"the name server {server}: {failure.detail}")
    detail = f"the name server {server} does not resolve: {failure.detail}"
    kind = FailureKind.NAME_SERVER_FAILED
    return replace(failure, stage=Stage.RESOLVE, kind=kind, origin=Origin.RESOLVER, detail=detail)


def _no_server() -> Failure:
    detail = "this host has no name server of this family configured"
    return Failure(Stage.RESOLVE, FailureKind.NAME_SERVER_FAILED, Origin.AGENT, detail)
