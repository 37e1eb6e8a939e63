"""Rule for certificates that differ between vantage points: the minority against the majority, with issuer
and expiry of both."""

from collections import defaultdict
from collections.abc import Sequence

from probemesh_shared.model import Finding, Scope
from probemesh_shared.words import Aspect, Confidence, Verdict

from probemesh_controller.diagnosis.differ import (
    Told,
    address_in_common,
    evidence_of,
    has_majority,
    listed,
    minority,
    sources,
    told,
)
from probemesh_controller.diagnosis.facts import Facts
from probemesh_controller.diagnosis.wording import look_at_certificate

_Groups = list[list[Told]]


def certificates_differ_rule(facts: Facts) -> tuple[Finding, ...]:
    """One finding a port."""
    found = ((port, _by_leaf(rows)) for port, rows in told(facts, Aspect.CERTIFICATE).items())
    return tuple(_finding(facts, port, groups) for port, groups in found if len(groups) > 1)


def _by_leaf(rows: Sequence[Told]) -> _Groups:
    """The certificate of most vantage points first. A leaf is one or it is not: nothing overlaps."""
    found: defaultdict[str, list[Told]] = defaultdict(list)
    for row in rows:
        found[min(row.said.parts)].append(row)
    return [rows for _, rows in sorted(found.items(), key=lambda one: (-len(sources(one[1])), one[0]))]


def _finding(facts: Facts, port: int, groups: _Groups) -> Finding:
    shared, alike = address_in_common(groups), _alike(groups)
    seen = listed(groups, _text)
    where = f"tcp port {port} of {facts.target.host}" if port else facts.target.host
    note = "" if has_majority(groups) else "; none of them has a majority"
    if not shared:
        note += "; each address shows its own"
    return Finding(
        verdict=Verdict.CERTIFICATE_DIFFERS,
        scope=Scope(minority(groups), (facts.target.text,), "tcp", port or None),
        confidence=Confidence.LIKELY if shared and not alike else Confidence.POSSIBLE,
        summary=f"{where} shows different certificates: {seen}{note}",
        evidence=evidence_of(groups, lambda row: _text([row]).replace("one ", "a certificate ", 1)),
        alternatives=_alternatives(groups, shared, alike),
        next_test=_next(facts, port, groups),
    )


def _alternatives(groups: _Groups, shared: bool, alike: bool) -> tuple[Verdict, ...]:
    """Who met several certificates at several addresses has met several servers; one issuer that all trust
    does not sign for a middlebox."""
    names = [set(sources(group)) for group in groups]
    several = any(mine & other for n, mine in enumerate(names) for other in names[n + 1 :])
    if alike or (several and not shared):
        return (Verdict.SEVERAL_BACKENDS,)
    pair = (Verdict.TLS_INTERCEPT, Verdict.SEVERAL_BACKENDS)
    return pair if shared else pair[::-1]


def _alike(groups: _Groups) -> bool:
    """All verify, and by one issuer: as where a certificate is being renewed server by server."""
    fine = all(row.seen.verified for group in groups for row in group)
    issuers = {_read(group[0])[0] for group in groups}
    return fine and len(issuers) == 1 and None not in issuers


def _read(row: Told) -> tuple[str | None, str | None]:
    """Issuer and expiry."""
    # reading certificates costs a large import, which only findings about them need
    from probemesh_shared.certificates import parse_certificate

    read = parse_certificate(row.seen.leaf or b"")
    return read["issuer"], read["not_after"]


def _text(group: Sequence[Told]) -> str:
    issuer, expiry = _read(group[0])
    mark = f"sha256 {min(group[0].said.parts)[:8]}…"
    bad = ", does not verify" if any(row.seen.verified is False for row in group) else ""
    if issuer is None or expiry is None:
        return f"one that cannot be read ({mark}{bad})"
    return f"one issued by {issuer[:80] or 'nobody'} until {expiry[:10]} ({mark}{bad})"


def _next(facts: Facts, port: int, groups: _Groups) -> str:
    apart, most = groups[-1][0], groups[0][0]
    both = f"{apart.source} and on {most.source}" if apart.source != most.source else apart.source
    return f"on {both}: {look_at_certificate(facts, port, apart.seen)}"
