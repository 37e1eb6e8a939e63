"""Rule for the servers of one zone, where each of them was asked: which has which serial, and which does not
serve the zone. That another one answers for it hides this from everybody who only asks for the name."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from probemesh_shared.model import Finding, Scope
from probemesh_shared.words import Confidence, Verdict

from probemesh_controller.diagnosis.facts import Facts
from probemesh_controller.diagnosis.observations import Observation
from probemesh_controller.diagnosis.wording import agree, evidence_with, names, saw

#: More serials, or ways to fail, than this are counted and not told.
_TOLD = 4


def zone_servers_rule(facts: Facts) -> Iterator[Finding]:
    """Nothing where no server answers for the zone: then the name fails, or nobody was reached."""
    rows = tuple(one for one in facts.observations if _zone(one))
    good = tuple(one for one in rows if serves(one))
    if not good:
        return
    if len({_serial(one) for one in good} - {None}) > 1:
        yield _serials(facts, [one for one in good if _serial(one) is not None])
    bad = [one for one in rows if one.held is False and not serves(one)]
    for spoke in (True, False):
        if mine := [one for one in bad if _spoke(one) is spoke]:
            yield _not_serving(facts, mine, good, spoke)


def _zone(one: Observation) -> str:
    return (one.dns.zone if one.dns is not None else None) or ""


def _serial(one: Observation) -> int | None:
    return one.dns.serial if one.dns is not None else None


def _spoke(one: Observation) -> bool:
    return one.dns is not None and one.dns.rcode is not None


def serves(one: Observation) -> bool:
    """It answered with authority, be it that there is no such name."""
    dns = one.dns
    return dns is not None and dns.rcode in ("NOERROR", "NXDOMAIN") and "aa" in dns.flags


def _server(one: Observation) -> str:
    name = (one.dns.server_name if one.dns is not None else None) or "a server"
    return f"{name} ({one.address})" if one.address else name


def _serials(facts: Facts, rows: Sequence[Observation]) -> Finding:
    """What servers say of themselves is certain; that they differ may be a transfer that is under way."""
    by_serial: defaultdict[int, list[Observation]] = defaultdict(list)
    for one in rows:
        by_serial[_serial(one) or 0].append(one)
    told = [f"{serial} at {_servers(mine)}" for serial, mine in sorted(by_serial.items(), reverse=True)]
    zone = _zone(rows[0])
    return Finding(
        verdict=Verdict.ANSWER_DIFFERS,
        scope=_scope(facts, rows),
        confidence=Confidence.CERTAIN,
        summary=f"the servers of {zone} have different serials: {_listed(told)}",
        evidence=evidence_with((one, True, f"{_server(one)}: serial {_serial(one)}") for one in rows),
        next_test=f"dig +nssearch {zone}  # again after the zone's refresh interval",
    )


def _not_serving(
    facts: Facts, bad: Sequence[Observation], good: Sequence[Observation], spoke: bool
) -> Finding:
    by_word: defaultdict[str, list[Observation]] = defaultdict(list)
    for one in bad:
        by_word[_word(one)].append(one)
    told = [f"{_servers(mine)} {word}" for word, mine in sorted(by_word.items())]
    sources, zone = _sources(bad), _zone(bad[0])
    whom = f", as {names(sources)} {agree(sources, 'sees', 'see')} it"
    sure = Confidence.LIKELY if len(sources) > 1 else Confidence.POSSIBLE
    return Finding(
        verdict=Verdict.ADDRESS_BROKEN,
        scope=_scope(facts, bad),
        confidence=Confidence.CERTAIN if spoke else sure,
        summary=f"not every server of {zone} serves it{whom}: {_listed(told)}; {_servers(good)}"
        f" {agree(_named(good), 'does', 'do')}",
        evidence=evidence_with(
            [(one, True, f"{_server(one)} {_word(one)}") for one in bad]
            + [(one, False, f"{_server(one)} answers with authority") for one in good]
        ),
        next_test=_next(zone, bad[0]),
    )


def _word(one: Observation) -> str:
    if one.errno == "LAME":
        return "answers without authority (lame)"
    if one.dns is not None and one.dns.rcode is not None:
        return f"answers {one.dns.rcode}"
    return "does not resolve" if one.address is None else f"fails: {saw(one)}"


def _next(zone: str, one: Observation) -> str:
    if one.address is None:
        return f"dig {one.unasked_server} A  # the server's own name"
    return f"dig +norecurse @{one.address} {zone} SOA"


def _scope(facts: Facts, rows: Sequence[Observation]) -> Scope:
    return Scope(_sources(rows), (facts.target.text,), rows[0].transport, rows[0].port)


def _sources(rows: Sequence[Observation]) -> tuple[str, ...]:
    return tuple(sorted({one.source for one in rows}))


def _named(rows: Sequence[Observation]) -> list[str]:
    return sorted({_server(one) for one in rows})


def _servers(rows: Sequence[Observation]) -> str:
    return names(_named(rows))


def _listed(told: Sequence[str]) -> str:
    rest = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
    return ", ".join([*told[:_TOLD], *rest])
