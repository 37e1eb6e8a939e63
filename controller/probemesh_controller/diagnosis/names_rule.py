"""Rule for names that come to no address: everywhere or from whom, and whether the name or the resolver is
at fault."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from probemesh_shared.model import Finding, Scope
from probemesh_shared.words import Confidence, FailureKind, Kind, Verdict

from probemesh_controller.diagnosis.facts import Facts
from probemesh_controller.diagnosis.observations import Manner, Observation
from probemesh_controller.diagnosis.wording import agree, evidence, evidence_with, names, saw
from probemesh_controller.diagnosis.zone_servers import serves

_WHY: Mapping[FailureKind | None, str] = MappingProxyType(
    {
        FailureKind.NO_SUCH_NAME: "there is no such name",
        FailureKind.NO_ADDRESS: "the name has no address of the family asked for",
        FailureKind.NAME_SERVER_FAILED: "the nameserver failed",
        FailureKind.TIMEOUT: "the nameserver does not answer",
    }
)


def name_rule(facts: Facts) -> Iterator[Finding]:
    """One finding for each way in which the name failed."""
    order = sorted(facts.names.failed.items(), key=lambda item: item[0].value if item[0] else "")
    for kind, rows in order:
        known = tuple(one for one in rows if one.system)
        if len(known) < len(rows):
            yield _name_fails(facts, kind, tuple(one for one in rows if not one.system))
        if known:
            yield _not_in_dns(facts, kind, known)
    yield from _name_servers(facts)


def _name_servers(facts: Facts) -> Iterator[Finding]:
    """Name servers that could not be asked, as their own names came to nothing. Those of a zone that others
    serve are another rule's."""
    served = any(map(serves, facts.observations))
    lost: defaultdict[str, list[Observation]] = defaultdict(list)
    for one in facts.observations:
        server = one.unasked_server if one.manner is Manner.NO_NAME else None
        if server is not None and one.dns is not None and not (one.dns.zone and served):
            lost[server].append(one)
    for server, rows in sorted(lost.items()):
        sources = tuple(sorted({one.source for one in rows}))
        yield Finding(
            verdict=Verdict.NAME_FAILS,
            scope=Scope(sources, (server,)),
            confidence=Confidence.LIKELY if len(sources) > 1 else Confidence.POSSIBLE,
            summary=f"the name server {server} does not resolve from {names(sources)}: it was not asked for"
            f" {facts.target.host}",
            evidence=evidence(rows),
            next_test=f"meshctl probe dns:{server} --from {','.join(sources[:3])}  # the server's own name",
        )


def _name_fails(facts: Facts, kind: FailureKind | None, rows: tuple[Observation, ...]) -> Finding:
    sources = tuple(sorted({one.source for one in rows}))
    good = tuple(sorted({one.source for one in facts.names.resolved}))
    others = {one.source for seen in facts.names.failed.values() for one in seen if one not in rows}
    where = f"for {names(good)} it resolves" if good else "" if others else "the same everywhere"
    if not good and len(sources) == 1 and not others:
        where = f"{sources[0]} is the only one to look"
    summary = f"{facts.target.host} does not resolve from {names(sources)}: {_why(kind, rows)}"
    return Finding(
        verdict=Verdict.NAME_FAILS,
        scope=Scope(sources, (facts.target.text,)),
        confidence=_confidence(kind, len(sources) + len(good)),
        summary=f"{summary}; {where}" if where else summary,
        evidence=evidence((*rows, *facts.names.resolved)),
        alternatives=(),
        next_test=_next(_question(facts, rows), kind, sources, facts.target.kind is Kind.DNS),
    )


def _not_in_dns(facts: Facts, kind: FailureKind | None, rows: tuple[Observation, ...]) -> Finding:
    """The nameserver that was asked has no address, the host's own resolver has one: the name does resolve
    there, by another way than this server."""
    host, sources = facts.target.host, tuple(sorted({one.source for one in rows}))
    addresses = ", ".join(sorted({address for one in rows for address in one.system})[:3])
    servers = tuple(sorted({one.address for one in rows if one.address}))
    by_hand = " out of /etc/hosts" if all(one.by_hand for one in rows) else ""
    asked = agree(servers, "the nameserver {} gives", "the nameservers {} give").format(names(servers))
    own = agree(sources, "the host's own resolver has", "the hosts' own resolvers have")
    return Finding(
        verdict=Verdict.NAME_FAILS,
        scope=Scope(sources, (facts.target.text,)),
        confidence=_confidence(kind, len({one.source for one in rows})),
        summary=f"{asked} {names(sources)} no address of {host}: {_why(kind, rows)};"
        f" {own} {addresses}{by_hand}",
        evidence=evidence_with((one, True, _beside(one)) for one in rows),
        alternatives=(),
        next_test=f"on {sources[0]}: getent ahosts {host}; grep hosts: /etc/nsswitch.conf",
    )


def _why(kind: FailureKind | None, rows: tuple[Observation, ...]) -> str:
    return rows[0].lacks or _WHY.get(kind, "it failed")


def _question(facts: Facts, rows: tuple[Observation, ...]) -> str:
    """As the command line takes it, with the type where it is not an address that was asked for."""
    host = facts.target.host
    if facts.target.kind is not Kind.DNS:
        return host
    asked = rows[0].dns.record_type if rows[0].lacks and rows[0].dns is not None else "A"
    return host if asked in ("A", "AAAA") else f"{host}/{asked}"


def _beside(one: Observation) -> str:
    file = " out of /etc/hosts" if one.by_hand else ""
    return f"{saw(one)}; the host's own resolver has {', '.join(one.system[:3])}{file}"


def _confidence(kind: FailureKind | None, lookers: int) -> Confidence:
    """A nameserver's own word is positive evidence, its silence is absence."""
    if kind in (FailureKind.NO_SUCH_NAME, FailureKind.NO_ADDRESS):
        return Confidence.CERTAIN if lookers > 1 else Confidence.LIKELY
    return Confidence.LIKELY if lookers > 1 else Confidence.POSSIBLE


def _next(host: str, kind: FailureKind | None, sources: tuple[str, ...], asked_dns: bool) -> str:
    chosen = ",".join(sources[:3])
    if kind is FailureKind.NO_SUCH_NAME:
        return f"meshctl probe dns:{host}/SOA --from {chosen}  # names the zone that denies it"
    if asked_dns:
        return f"meshctl probe dns:{host} --from {chosen}  # through the host's own resolver"
    return f"meshctl probe dns:{host}/A --from {chosen}  # and look at /etc/resolv.conf there"
