"""Who says which servers a zone has, and where these are: the name server that was named, or the host's
own."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from probemesh_shared.model import DnsRecord, DnsSpec, Failure, Target
from probemesh_shared.words import Family

from probemesh_agent.env import Address, ProbeEnv, ProbeFailed, ProbeLog, Refused, Resolution
from probemesh_agent.probes.attempts import Unit
from probemesh_agent.probes.dnsways import Ways
from probemesh_agent.probes.dnswire import Answer, Question, question
from probemesh_agent.probes.dnszone import addresses_of

_TYPES = {Family.IPV4: ("A",), Family.IPV6: ("AAAA",), Family.BOTH: ("A", "AAAA")}


@dataclass(frozen=True, slots=True)
class Servers:
    """Who may be asked; ``nothing`` says why, where nobody can be. ``host``: as it was named, None for the
    host's own."""

    addresses: tuple[Address, ...]
    refused: tuple[Refused, ...]
    port: int
    nothing: Failure
    host: str | None = None


class Asker:
    """Asks each address in turn until one answers, that one first from then on."""

    def __init__(self, spec: DnsSpec, target: Target, env: ProbeEnv, servers: Servers) -> None:
        self._spec, self._target, self._env, self._servers = spec, target, env, servers
        self._addresses = list(servers.addresses)

    async def ask(self, name: str) -> Answer:
        """For the servers of a zone. Raises :class:`ProbeFailed`."""
        try:
            return await self._ask(name, "NS")
        except ProbeFailed as failed:
            failure = failed.failure
        raise ProbeFailed(replace(failure, detail=f"the servers of the zone are not known: {failure.detail}"))

    async def resolved(self, server: str, glue: Iterable[DnsRecord]) -> Resolution:
        """A server's addresses, each judged by the policy. A name server that was named is asked before the
        host's resolver, which may not know the zone."""
        found = await self._found(server, tuple(glue)) if self._servers.host is not None else ()
        if not found:
            return await self._judged(server)
        judged = [await self._judged(one) for one in found]
        addresses = tuple(address for one in judged for address in one.addresses)
        refused = tuple(refusal for one in judged for refusal in one.refused)
        return Resolution(server, addresses, refused)

    async def _judged(self, host: str) -> Resolution:
        return await self._env.network.resolve_host(host, self._spec.options, self._env.deadline)

    async def _found(self, server: str, glue: tuple[DnsRecord, ...]) -> tuple[str, ...]:
        found: list[str] = []
        for record_type in _TYPES[self._spec.options.family]:
            found += addresses_of(glue, record_type, server) or await self._told(server, record_type)
        return tuple(found)

    async def _told(self, server: str, record_type: str) -> tuple[str, ...]:
        try:
            return addresses_of((await self._ask(server, record_type)).records, record_type)
        except ProbeFailed:
            return ()

    async def _ask(self, name: str, record_type: str) -> Answer:
        asked = question(name, record_type)
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
        raise ProbeFailed(failure)

    async def _of(self, address: Address, asked: Question) -> Answer:
        unit = Unit(0, self._target, self._target.text, address, self._servers.port)
        until = self._env.clock.monotonic() + self._spec.options.timeout_s
        ways = Ways(self._spec, unit, self._env, ProbeLog(), address.host)
        return (await ways.ask(asked, min(until, self._env.deadline))).answer
