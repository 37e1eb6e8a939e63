"""Kind ``dns``: what a name server answers, and what the host's own resolver says beside it.

One row for each address of the server asked, or for each of the host's own name servers, or for each
address of each server of the zone; ``address`` and ``port`` are the server's. A sample's RTT is the exchange
that gave the answer, over connections without their handshakes. Answers that do not match the question are
passed over, and the wait goes on: a forged one must not win by being first.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import DnsSpec, Failure, Measurement, Options, Spec, Target
from probemesh_shared.targets import DNS_PORT, parse_server
from probemesh_shared.words import DnsTransport, FailureKind, Family, Kind, Origin, Stage

from probemesh_agent.env import Address, ProbeEnv, ProbeFailed, ProbeLog, Refused, Resolution
from probemesh_agent.probes.attempts import Exchange, Plan, RichRun, Unit, not_tried
from probemesh_agent.probes.dnsexchange import DnsExchange, ServerUnit, asked_of, asking
from probemesh_agent.probes.dnsways import PORTS, Ways, warm
from probemesh_agent.probes.dnswire import Answer, Question, question
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


@dataclass(frozen=True, slots=True)
class _Servers:
    """Who may be asked; ``nothing`` says why, where nobody can be."""

    addresses: tuple[Address, ...]
    refused: tuple[Refused, ...]
    port: int
    nothing: Failure
    host: str | None = None


class _Planner:
    """From one target to units, and to rows for what cannot be asked."""

    def __init__(self, spec: DnsSpec, index: int, target: Target, env: ProbeEnv) -> None:
        self._spec, self._index, self._target, self._env = spec, index, target, env
        self._started_ns = env.clock.wall_ns()

    async def plan(self) -> Plan:
        asked = asked_of(self._spec, self._target)
        if isinstance(first := question(asked.names[0], asked.types[0], asking(self._spec)), Failure):
            return Plan((self._row(None, None, first),))
        if self._spec.all_servers:
            return await self._of_zone(asked.names[0], asked.types[0])
        servers = await self._servers(self._spec.options)
        rows = [self._row(one.host, servers.port, one.failure) for one in servers.refused]
        if not rows and not servers.addresses:
            rows.append(self._row(None, servers.port, servers.nothing))
        return Plan(tuple(rows), tuple(self._unit(one, servers) for one in servers.addresses))

    async def _servers(self, options: Options) -> _Servers:
        """The named server's addresses, or the host's own name servers."""
        server, default = self._target.server or self._spec.server, PORTS[self._spec.transport]
        if server is None:
            own = self._env.network.nameservers(options)
            return _Servers(own.addresses, own.refused, default, _no_server())
        host, port = _host_and_port(server)
        port = default if port == DNS_PORT else port
        found = await self._env.network.resolve(Target(server, host), options, self._env.deadline)
        return _Servers(found.addresses, found.refused, port, found.failure or _no_server(), host)

    async def _of_zone(self, name: str, record_type: str) -> Plan:
        """Each address of each server of the zone. The host's resolvers say which these are, in either
        family; those that are asked then are of the family asked for."""
        servers = await self._servers(replace(self._spec.options, family=Family.BOTH))
        asker = _Asker(self._spec, self._target, self._env, servers)
        try:
            zone = await find_zone(name, record_type, asker.ask)
        except ProbeFailed as failed:
            zone = failed.failure
        if isinstance(zone, Failure):
            return Plan((self._row(None, None, zone),))
        found = await asyncio.gather(*(self._resolved(one) for one in zone.servers))
        rows: list[Measurement] = []
        units: list[Unit] = []
        for server, resolution in zip(zone.servers, found, strict=True):
            rows += self._refused(server, resolution)
            units += [self._server_unit(one, server, zone) for one in resolution.addresses]
        return Plan(tuple(rows), tuple(units))

    async def _resolved(self, server: str) -> Resolution:
        return await self._env.network.resolve_host(server, self._spec.options, self._env.deadline)

    def _refused(self, server: str, resolution: Resolution) -> list[Measurement]:
        missing: list[tuple[str | None, Failure]] = [(one.host, one.failure) for one in resolution.refused]
        if not missing and not resolution.addresses and resolution.failure is not None:
            missing = [(None, resolution.failure)]
        return [
            self._row(host, DNS_PORT, replace(failure, detail=f"name server {server}: {failure.detail}"))
            for host, failure in missing
        ]

    def _row(self, host: str | None, port: int | None, failure: Failure) -> Measurement:
        return not_tried(Kind.DNS, self._index, self._target.text, host, port, failure, self._started_ns)

    def _unit(self, address: Address, servers: _Servers) -> Unit:
        return ServerUnit(
            self._index, self._target, self._target.text, address, servers.port, host=servers.host
        )

    def _server_unit(self, address: Address, server: str, zone: Zone) -> Unit:
        target = self._target
        return ServerUnit(self._index, target, target.text, address, DNS_PORT, host=server, zone=zone.name)


class _Asker:
    """Asks for the servers of a zone: each address in turn until one answers, that one first from then on."""

    def __init__(self, spec: DnsSpec, target: Target, env: ProbeEnv, servers: _Servers) -> None:
        self._spec, self._target, self._env, self._servers = spec, target, env, servers
        self._addresses = list(servers.addresses)

    async def ask(self, name: str) -> Answer:
        asked = question(name, "NS")
        if isinstance(asked, Failure):
            raise ProbeFailed(asked)
        failure = self._servers.refused[0].failure if self._servers.refused else self._servers.nothing
        for address in tuple(self._addresses):
            try:
                answer = await self._of(address, asked)
            except ProbeFailed as failed:
                failure = failed.failure
            else:
                self._addresses.sort(key=lambda one: one != address)
                return answer
        raise ProbeFailed(replace(failure, detail=f"the servers of the zone are not known: {failure.detail}"))

    async def _of(self, address: Address, asked: Question) -> Answer:
        unit = Unit(0, self._target, self._target.text, address, self._servers.port)
        until = self._env.clock.monotonic() + self._spec.options.timeout_s
        ways = Ways(self._spec, unit, self._env, ProbeLog(), address.host)
        return (await ways.ask(asked, min(until, self._env.deadline))).answer


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


def _no_server() -> Failure:
    detail = "this host has no name server of this family configured"
    return Failure(Stage.RESOLVE, FailureKind.NAME_SERVER_FAILED, Origin.AGENT, detail)
