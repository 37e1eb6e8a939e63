"""The attempts of kind ``dns`` at one name server, and the detail that comes of them."""

import asyncio
from dataclasses import dataclass, replace

from probemesh_shared.hosts import unicode_name
from probemesh_shared.model import DnsDetail, DnsSpec, DnsTried, Failure, Options, Target
from probemesh_shared.words import DnssecStatus, FailureKind, Family

from probemesh_agent.env import ProbeEnv, ProbeFailed, ProbeLog, Resolution
from probemesh_agent.net.nameservers import ResolvConf, candidates
from probemesh_agent.probes.attempts import Attempted, Unit
from probemesh_agent.probes.dnsexplain import explained, in_words
from probemesh_agent.probes.dnsjudge import failure_of
from probemesh_agent.probes.dnssec import status_of, worth_asking_unchecked
from probemesh_agent.probes.dnsways import Got, Ways
from probemesh_agent.probes.dnswire import (
    EDNS_SIZE,
    Answer,
    Asking,
    Question,
    question,
    reverse_name,
)
from probemesh_agent.probes.kept import Kept

_FAMILY_OF_TYPE = {"A": Family.IPV4, "AAAA": Family.IPV6}
#: Answers by which a server says that it does not know EDNS, or not this much of it (RFC 6891 §7).
_DISLIKE_EDNS = ("FORMERR", "NOTIMP", "BADVERS")


@dataclass(frozen=True, slots=True)
class ServerUnit(Unit):
    """``host``: the name by which the server was found; ``zone``: where all of its servers are asked."""

    host: str | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """``types``: asked in turn until one has data; ``names``: absolute, tried while they do not exist."""

    types: tuple[str, ...]
    names: tuple[str, ...]


def asked_of(spec: DnsSpec, target: Target) -> Asked:
    record_type = (target.record_type or spec.record_type or "").upper()
    if record_type in ("", "PTR") and (reverse := reverse_name(target.host)):
        return Asked(("PTR",), (reverse,))
    if record_type:
        return Asked((record_type,), (target.host,))
    by_family = {Family.IPV4: ("A",), Family.IPV6: ("AAAA",), Family.BOTH: ("A", "AAAA")}
    return Asked(by_family[spec.options.family], (target.host,))


def asking(spec: DnsSpec) -> Asking:
    return Asking(
        edns_size=EDNS_SIZE if spec.edns_size is None else min(spec.edns_size, 65_535),
        dnssec=spec.dnssec,
        recurse=not (spec.no_recurse or spec.all_servers),
        checking_disabled=spec.checking_disabled,
        authoritative=spec.all_servers,
    )


class DnsExchange:
    def __init__(self, spec: DnsSpec, unit: Unit, env: ProbeEnv) -> None:
        self.log = ProbeLog()
        self._spec, self._unit, self._env = spec, unit, env
        host, self._zone = (unit.host, unit.zone) if isinstance(unit, ServerUnit) else (None, None)
        self._ways = Ways(spec, unit, env, self.log, spec.server_name or host or unit.address.host)
        self._asked = asked_of(spec, unit.target)
        if unit.target.server is None and spec.server is None and self._zone is None:
            self._asked = replace(self._asked, names=_searched(self._asked, env, spec.options))
        self._how = asking(spec)
        self._detail: DnsDetail | None = None  # of the attempt under way
        self._kept: Kept[DnsDetail | None] = Kept(None)
        self._tried: dict[tuple[str, str], DnsTried] = {}
        self._unchecked: Answer | None = None
        self._serial: int | None = None
        self._serial_asked = False
        self._system = self._ask_system()

    async def attempt(self, deadline: float) -> Attempted:
        self._detail, held = None, False
        try:
            told = await self._of_names(deadline)
            held = told.failure is None
        finally:
            self._note(held)
        return told

    def _note(self, held: bool) -> None:
        """The detail is of the first attempt that held, or else of the first that was answered."""
        if self._detail is not None:
            self._kept.offer(self._by_way(self._detail), held)

    def _by_way(self, detail: DnsDetail) -> DnsDetail:
        ways, reply = self._ways, self._ways.reply
        return replace(
            detail,
            tls=ways.tls,
            http_version=reply.version if reply is not None else None,
            http_status=reply.status if reply is not None else None,
        )

    async def _of_names(self, deadline: float) -> Attempted:
        """The first name that exists; where none does, the answer about the name as it was typed stands."""
        own: tuple[Attempted, DnsDetail | None] | None = None
        for name in self._asked.names:
            told = await self._of_types(name, deadline)
            if told.failure is None or told.failure.kind is not FailureKind.NO_SUCH_NAME:
                return told
            if own is None or name == self._unit.target.host:
                own = told, self._detail
        if own is None:
            raise AssertionError("a question has at least one name")
        self._detail = own[1]
        return own[0]

    async def _of_types(self, name: str, deadline: float) -> Attempted:
        """The first type that has data; where none has, the first one's answer stands."""
        first: tuple[Attempted, DnsDetail | None] | None = None
        for record_type in self._asked.types:
            told = await self._one(name, record_type, deadline)
            if told.failure is None or told.failure.kind is not FailureKind.NO_ADDRESS:
                return told
            first = first or (told, self._detail)
        if first is None:
            raise AssertionError("a question has at least one type")
        self._detail = first[1]
        return first[0]

    async def _one(self, name: str, record_type: str, deadline: float) -> Attempted:
        asked = question(name, record_type, self._how)
        if isinstance(asked, Failure):
            raise ProbeFailed(asked)
        key = (asked.name, asked.record_type)
        self._tried[key] = DnsTried(*key)
        got = await self._ways.ask(asked, deadline)
        self._tried[key] = DnsTried(*key, got.answer.rcode, got.answer.has_type)
        answer = replace(got.answer, dnssec=await self._dnssec(asked, got.answer, deadline))
        if answer.rcode in _DISLIKE_EDNS and self._how.edns_size:
            self.log.add(f"{answer.rcode} to a question with EDNS; --edns-size 0 asks without")
        self._detail = _told(asked, answer, got)
        await self._ask_serial(answer, deadline)
        return Attempted(got.rtt_ms, failure_of(asked, answer), syn_retransmits=got.syn_retransmits)

    async def _dnssec(self, asked: Question, answer: Answer, deadline: float) -> DnssecStatus:
        """Where it failed, once more without its checks, once a measurement: what is data then was bogus."""
        if worth_asking_unchecked(self._how, answer) and self._unchecked is None:
            again = question(asked.name, asked.record_type, replace(self._how, checking_disabled=True))
            if isinstance(again, Question):
                told = await self._beside(again, deadline)
                self._unchecked = told
                came = told.rcode if told is not None else "no answer"
                self.log.add(f"{asked.name}: SERVFAIL; asked again with checking disabled (CD): {came}")
        return status_of(self._how, answer, self._unchecked)

    async def _ask_serial(self, answer: Answer, deadline: float) -> None:
        """Of the zone whose servers are compared, from its SOA, once a measurement."""
        if self._zone is None or self._serial_asked:
            return
        self._serial_asked = True
        asked = question(self._zone, "SOA", self._how)
        told = await self._beside(asked, deadline) if isinstance(asked, Question) else None
        if told is not None and "aa" in told.flags:
            self._serial = told.serial
        else:
            self.log.add(f"{self._zone}: no SOA with authority from this server")

    async def _beside(self, asked: Question, deadline: float) -> Answer | None:
        """A question of our own beside the one that is measured; None without an answer."""
        try:
            return (await self._ways.ask(asked, deadline)).answer
        except ProbeFailed:
            return None

    def _ask_system(self) -> "asyncio.Task[Resolution] | None":
        """The same question to ``getaddrinfo``, beside ours; only addresses can be asked of it."""
        family = _FAMILY_OF_TYPE.get(self._asked.types[0])
        if family is None or self._zone is not None:
            return None
        options = replace(self._spec.options, family=Family.BOTH if len(self._asked.types) > 1 else family)
        env, host = self._env, self._unit.target.host
        until = min(env.deadline, env.clock.monotonic() + self._spec.options.timeout_s)
        return asyncio.create_task(env.network.resolve(Target(host, host), options, until))

    async def finish(self) -> DnsDetail:
        asked, ways = self._asked, self._ways
        detail = self._kept.detail
        if detail is None:
            detail = self._by_way(DnsDetail(name=asked.names[0], record_type=asked.types[0]))
        detail = replace(
            detail,
            server=self._unit.address.host,
            transport=detail.transport or self._spec.transport,
            passed_over=ways.passed_over,
            serial=detail.serial if self._serial is None else self._serial,
            zone=self._zone,
            server_name=self._unit.host if isinstance(self._unit, ServerUnit) else None,
            tried=tuple(self._tried.values()),
        )
        if (shown := unicode_name(detail.name.lower())) is not None:
            self.log.add(f"{detail.name} is written {shown}")
        if ways.passed_over:
            self.log.add(f"{ways.passed_over} datagrams passed over in all")
        return detail if self._system is None else self._beside_system(detail, await self._system)

    def _beside_system(self, detail: DnsDetail, said: Resolution) -> DnsDetail:
        found = [one.host for one in said.addresses] + [one.host for one in said.refused]
        failure = said.failure if not found else None
        if failure is not None:
            self.log.add(f"the host's own resolver: {failure.detail}")
        network, name = self._env.network, self._unit.target.host
        answered = detail.answers if detail.rcode is not None else None
        own = network.nameservers(self._spec.options)
        files = network.name_files()
        lookup = explained(name, (detail.record_type,), own, files, found, answered)
        for line in in_words(name, lookup):
            self.log.add(line)
        return replace(
            detail,
            system=True,
            system_addresses=tuple(found),
            system_failure=failure,
            resolvers=network.nameservers(replace(self._spec.options, family=Family.BOTH)).hosts,
            lookup=lookup,
        )

    async def abandon(self) -> None:
        if self._system is not None:
            self._system.cancel()
            await asyncio.wait({self._system})


def _told(asked: Question, answer: Answer, got: Got) -> DnsDetail:
    expires_s = answer.signature_expires_s
    return DnsDetail(
        name=asked.name,
        record_type=asked.record_type,
        transport=got.transport,
        rcode=answer.rcode,
        flags=answer.flags,
        answers=answer.records,
        authority=answer.authority,
        additional=answer.additional,
        records_left_out=answer.left_out,
        answer_size=answer.size,
        truncated=got.truncated,
        edns_size=answer.edns_size,
        edns_flags=answer.edns_flags,
        nsid=answer.nsid,
        extended_errors=answer.errors,
        serial=answer.serial,
        dnssec=answer.dnssec,
        signatures=answer.signatures,
        signature_expires_ns=None if expires_s is None else expires_s * 1_000_000_000,
    )


def _searched(asked: Asked, env: ProbeEnv, options: Options) -> tuple[str, ...]:
    """The host's own search list, for the types by which hosts are looked up."""
    if asked.types[0] not in _FAMILY_OF_TYPE:
        return asked.names
    own = env.network.nameservers(options)
    return candidates(asked.names[0], ResolvConf(search=own.search, ndots=own.ndots))
