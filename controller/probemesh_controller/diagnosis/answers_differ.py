"""Rule for services that all reach and that answer differently: HTTP, records of DNS, banners, datagrams.

What failed is not compared here: that some get an error where others do not is ``source-selective``."""

from collections.abc import Iterator, Sequence

from probemesh_shared.consistency import is_made_anew, parts_by
from probemesh_shared.hosts import bracketed
from probemesh_shared.model import Finding, Place, Scope
from probemesh_shared.words import Aspect, Confidence, PlaceKind, Verdict

from probemesh_controller.diagnosis.differ import (
    Told,
    address_in_common,
    at_server,
    evidence_of,
    has_majority,
    listed,
    minority,
    pooled,
    told,
)
from probemesh_controller.diagnosis.drafts import ENOUGH_ATTEMPTS
from probemesh_controller.diagnosis.facts import Facts

#: Of HTTP the first that differs is said: where the status differs, so does all that follows.
_HTTP = (Aspect.STATUS, Aspect.LOCATION, Aspect.BODY)
_TALK = (Aspect.BANNER, Aspect.ANSWER, Aspect.DATAGRAM)
#: These change by themselves more often than not.
_VOLATILE = frozenset({Aspect.BODY, *_TALK})
_NOUNS = {
    Aspect.STATUS: "HTTP status",
    Aspect.LOCATION: "redirects",
    Aspect.BODY: "HTTP bodies",
    Aspect.RECORDS: "records",
    Aspect.BANNER: "banners",
    Aspect.ANSWER: "answers",
    Aspect.DATAGRAM: "datagrams",
}
_Groups = list[list[Told]]


def answers_differ_rule(facts: Facts) -> Iterator[Finding]:
    """At most one finding about HTTP a port, and one of each other aspect."""
    said: set[int] = set()
    for aspect in (*_HTTP, Aspect.RECORDS, *_TALK):
        for port, rows in told(facts, aspect).items():
            if aspect in _HTTP and port in said:
                continue
            steady = [row for row in rows if not row.seen.wavers]
            groups = _differing(aspect, steady)
            if groups:
                said.add(port)
                yield _finding(facts, aspect, port, groups, _confidence(aspect, rows, groups))


def _differing(aspect: Aspect, rows: Sequence[Told]) -> _Groups:
    """Vantage points that were told one thing in common agree. Servers of a zone are asked one by one."""

    def who(row: Told) -> tuple[str, str]:
        return row.who if aspect is Aspect.RECORDS else (row.source, "")

    if is_made_anew(aspect, parts_by((who(row), row.said) for row in rows)):
        return []
    groups = pooled(rows, who)
    return groups if len(groups) > 1 else []


def _confidence(aspect: Aspect, rows: Sequence[Told], groups: _Groups) -> Confidence:
    """One answer of a server that gives another one to the next who asks, or that was seen to, says little
    about who is answered how."""
    if aspect in _VOLATILE or any(row.seen.wavers or row.seen.attempts < ENOUGH_ATTEMPTS for row in rows):
        return Confidence.POSSIBLE
    if aspect is Aspect.RECORDS:
        return Confidence.POSSIBLE if _server_in_common(groups) else Confidence.LIKELY
    return Confidence.LIKELY if address_in_common(groups) else Confidence.POSSIBLE


def _server_in_common(groups: _Groups) -> bool:
    servers = [{row.said.by for row in group} for group in groups]
    return len(set().union(*servers)) < sum(map(len, servers))


def _finding(facts: Facts, aspect: Aspect, port: int, groups: _Groups, sure: Confidence) -> Finding:
    host = facts.target.host
    transport = "udp" if aspect is Aspect.DATAGRAM else "tcp"
    where = f"{transport} port {port} of {host}" if port else host
    tie = "" if has_majority(groups) else "; no answer has a majority"
    return Finding(
        verdict=Verdict.ANSWER_DIFFERS,
        scope=Scope(minority(groups), (facts.target.text,), transport if port else None, port or None),
        confidence=sure,
        summary=f"{where} answers differently ({_NOUNS[aspect]}): {listed(groups, _text)}{tie}",
        place=Place(PlaceKind.TARGET_SERVICE) if port else None,
        evidence=evidence_of(groups, lambda row: _text([row])),
        alternatives=_alternatives(aspect),
        next_test=_next(facts, aspect, port, groups),
    )


def _alternatives(aspect: Aspect) -> tuple[Verdict, ...]:
    if aspect is Aspect.RECORDS:
        return Verdict.SPLIT_HORIZON, Verdict.DNS_INTERCEPT, Verdict.SEVERAL_BACKENDS
    return (Verdict.SEVERAL_BACKENDS,)


def _text(group: Sequence[Told]) -> str:
    values = sorted({row.said.text[:120] for row in group})
    by = sorted({row.said.by for row in group if row.said.by})
    rest = f" and {len(values) - 2} more" if len(values) > 2 else ""
    source = f" (by {', '.join(by[:2])})" if by else ""
    return f"{', '.join(values[:2])}{rest}{source}"


def _next(facts: Facts, aspect: Aspect, port: int, groups: _Groups) -> str:
    """The same once more by those who differ, from one address: a pool shows itself by repetition."""
    chosen = ",".join(dict.fromkeys([groups[-1][0].source, groups[0][0].source]))
    address = groups[0][0].seen.address
    if aspect is Aspect.RECORDS and _server_in_common(groups) and address is not None:
        question = facts.target.text.partition("@")[0]
        at = at_server(address, groups[0][0].seen)
        return f"meshctl probe {question}{at} --from {chosen} --count 10"
    if aspect is Aspect.RECORDS or address is None:
        return f"meshctl probe {facts.target.text} --from {chosen} --count 10"
    if aspect in _HTTP:
        return f"meshctl probe {facts.target.text} --from {chosen} -o json  # does it change by itself?"
    scheme = "udp://" if aspect is Aspect.DATAGRAM else ""
    return f"meshctl probe {scheme}{bracketed(address)}:{port} --from {chosen} --count 10"
