"""Rule for a name that comes to different addresses, by resolver: a pool that rotates is told from a name
that means different things at different places, as far as that can be told."""

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network

from probemesh_shared.model import Finding, Scope
from probemesh_shared.said import HOSTS_FILE, NOTHING
from probemesh_shared.words import Aspect, Confidence, Family, Verdict

from probemesh_controller.diagnosis.differ import (
    Told,
    at_server,
    evidence_of,
    has_majority,
    listed,
    minority,
    pooled,
    sources,
    told,
)
from probemesh_controller.diagnosis.facts import Facts

#: What no public name should come to, and what a sinkhole answers. Documentation networks are public here.
_LOCAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "::/127",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)
_FAMILIES = ((Aspect.IPV4_ADDRESSES, Family.IPV4), (Aspect.IPV6_ADDRESSES, Family.IPV6))
_Groups = list[list[Told]]


def names_differ_rule(facts: Facts) -> Iterator[Finding]:
    """What the hosts' own resolvers say is compared among themselves, and so is what servers say that were
    asked by name: that the one says something else than the other is how a server is tried out. Of each side
    one finding, or one a family where the families divide the vantage points differently."""
    told_before: list[list[tuple[str, ...]]] = []
    for side in (_own, _servers):
        found = [
            (family, groups) for aspect, family in _FAMILIES if (groups := _differing(facts, aspect, side))
        ]
        new = [(family, groups) for family, groups in found if _divided(groups) not in told_before]
        told_before += [_divided(groups) for _, groups in new]
        yield from _findings(facts, new)


def _findings(facts: Facts, found: Sequence[tuple[Family, _Groups]]) -> Iterator[Finding]:
    if len(found) == 2 and _partition(found[0][1]) == _partition(found[1][1]):
        four, six = found[0][1], found[1][1]
        yield _finding(facts, None, [a + b for a, b in zip(four, six, strict=True)])
        return
    yield from (_finding(facts, family, groups) for family, groups in found)


def _partition(groups: _Groups) -> list[frozenset[tuple[str, str]]]:
    return [frozenset(row.who for row in group) for group in groups]


def _divided(groups: _Groups) -> list[tuple[str, ...]]:
    return [sources(group) for group in groups]


def _own(row: Told) -> bool:
    return row.said.own or row.said.own_too


def _servers(row: Told) -> bool:
    return not row.said.own


def _differing(facts: Facts, aspect: Aspect, side: Callable[[Told], bool]) -> _Groups:
    rows = [row for port in told(facts, aspect).values() for row in port if side(row)]
    groups = pooled(rows, lambda row: row.who)
    return groups if len(groups) > 1 else []


def _values(group: Sequence[Told]) -> list[str]:
    return sorted({part for row in group for part in row.said.parts if part != NOTHING})


def _confidence(groups: _Groups) -> Confidence:
    """Private here and public there, nothing here and something there, or a file that somebody wrote, is
    more than rotation."""
    if _by_hand(groups) is not None:
        return Confidence.LIKELY
    kinds = {_kind(_values(group)) for group in groups}
    return Confidence.LIKELY if len(kinds - {"mixed"}) > 1 else Confidence.POSSIBLE


def _by_hand(groups: _Groups) -> Told | None:
    """One whose whole group has its answer from ``/etc/hosts``, while others asked a nameserver."""
    files = [all(row.said.by == HOSTS_FILE for row in group) for group in groups]
    return groups[files.index(True)][0] if True in files and False in files else None


def _kind(values: Sequence[str]) -> str:
    if not values:
        return "nothing"
    local = {_is_local(value) for value in values}
    return "mixed" if len(local) > 1 else "local" if local.pop() else "public"


def _is_local(text: str) -> bool:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in _LOCAL)


def _finding(facts: Facts, family: Family | None, groups: _Groups) -> Finding:
    sure = _confidence(groups)
    left: tuple[Verdict, ...] = (Verdict.SPLIT_HORIZON, Verdict.DNS_INTERCEPT)
    if sure is Confidence.POSSIBLE:
        left = (Verdict.SEVERAL_BACKENDS, *left)
    word = f" over {family.value.replace('ip', 'IP')}" if family else ""
    tie = "" if has_majority(groups) else "; no answer has a majority"
    return Finding(
        verdict=Verdict.NAMES_DIFFER,
        scope=Scope(minority(groups), (facts.target.text,), family=family),
        confidence=sure,
        summary=f"{facts.target.host} comes{word} to {listed(groups, _text)}{tie}",
        evidence=evidence_of(groups, lambda row: f"{row.said.text}{_by([row])}"),
        alternatives=() if _by_hand(groups) and len(groups) == 2 else left,
        next_test=_next(facts, groups),
    )


def _text(group: Sequence[Told]) -> str:
    values = _values(group)
    shown = ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")
    return f"{shown or 'nothing: ' + group[0].said.text}{_by(group)}"


def _by(group: Sequence[Told]) -> str:
    who = sorted({row.said.by for row in group if row.said.by})
    rest = f" and {len(who) - 2} more" if len(who) > 2 else ""
    return f" (by {', '.join(who[:2])}{rest})" if who else ""


def _next(facts: Facts, groups: _Groups) -> str:
    """The resolver of the ones, asked by the others: does the answer go with it, or with the place?"""
    host = facts.target.host
    if (written := _by_hand(groups)) is not None:
        return f"on {written.source}: grep -w {host} /etc/hosts"
    asked = groups[-1][0]
    kind_of, _, servers = (asked.said.by or "").partition(" ")
    server = servers.partition(",")[0] if kind_of in ("resolver", "server") else ""
    others = [name for name in sources(groups[0]) if name != asked.source]
    kind = "AAAA" if asked.said.aspect is Aspect.IPV6_ADDRESSES else "A"
    if kind_of == "server" and not others:
        return f"meshctl probe dns:{host}/{kind} --all-servers --from {asked.source} -o json  # their serials"
    if not server or not others or _is_loopback(server):
        return f"meshctl probe dns:{host}/{kind} --from {','.join(minority(groups)[:3])}"
    at = at_server(server, asked.seen if kind_of == "server" else None)
    return f"meshctl probe dns:{host}/{kind}{at} --from {others[0]}  # the resolver of {asked.source}"


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server == "::1"
