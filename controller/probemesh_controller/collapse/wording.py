"""A cause in one sentence, and as JSON. Pure."""

from collections.abc import Iterable, Sequence

from probemesh_shared.escape import escape
from probemesh_shared.jsoncauses import CauseJson, CausesJson, ExclusionJson, TermJson

from probemesh_controller.collapse.model import Cause, Exclusion, Explanation, Kind, Term, Way

_FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6"}


def sentence(cause: Cause) -> str:
    """``site berlin is reached by tcp/5432 from nobody but site tokyo (timeout): 12 of 12 cells``."""
    words = f" ({', '.join(map(_plain, cause.words))})" if cause.words else ""
    silent = f", {cause.unknown} more unmeasured" if cause.unknown else ""
    noun = "cell" if cause.known == 1 else "cells"
    return f"{_what(cause)}{words}: {cause.failing} of {cause.known} {noun}{silent}"


def _what(cause: Cause) -> str:
    by = _by(cause.probe)
    sources = [one.term for one in cause.but if one.side in ("source", "either")]
    targets = [one.term for one in cause.but if one.side == "target"]
    probes = [one.term for one in cause.but if one.side == "probe"]
    by += _but(probes, " by anything but ")
    if cause.way is Way.BOTH:
        return _both_ways(cause, by, sources)
    source, target = _name(cause.source), _name(cause.target)
    if cause.source is None and cause.target is None:
        return f"nobody{_but(sources, ' but ')} reaches anybody{_but(targets, ' but ')}{by}"
    if cause.source is None:
        out = f" ({_list(targets)} left out)" if targets else ""
        return f"{target}{out} is reached{by} from nobody{_but(sources, ' but ')}"
    out = f" ({_list(sources)} left out)" if sources else ""
    if cause.target is None:
        return f"{source}{out} reaches nobody{_but(targets, ' but ')}{by}"
    return f"{source}{out} does not reach {target}{by}" + (f" ({_list(targets)} left out)" if targets else "")


def _both_ways(cause: Cause, by: str, but: Sequence[Term]) -> str:
    if cause.target is None:
        return f"nothing passes to or from {_name(cause.source)}{by}{_but(but, ' but with ')}"
    return f"nothing passes between {_name(cause.source)} and {_name(cause.target)}{by}"


def _by(probe: Iterable[Term]) -> str:
    parts = []
    for term in probe:
        word = _FAMILIES.get(term.value, _plain(term.value))
        parts.append(f" over {word}" if term.kind is Kind.FAMILY else f" by {word}")
    return "".join(parts)


def _but(terms: Sequence[Term], before: str) -> str:
    return f"{before}{_list(terms)}" if terms else ""


def _list(terms: Sequence[Term]) -> str:
    return " and ".join(_name(term) for term in terms)


def _name(term: Term | None) -> str:
    """An agent by its bare name, as a target that is none; everything else with what it is."""
    if term is None:
        return "anybody"
    bare = term.kind in (Kind.AGENT, Kind.PORT, Kind.TRANSPORT)
    if term.kind is Kind.FAMILY:
        return _FAMILIES.get(term.value, _plain(term.value))
    return _plain(term.value) if bare else f"{term.kind} {_plain(term.value)}"


def _plain(text: str) -> str:
    return escape(text, 120)


def causes_to_json(found: Explanation) -> CausesJson:
    return {
        "causes": [cause_to_json(cause) for cause in found.causes],
        "failing": found.failing,
        "healthy": found.healthy,
        "unknown": found.unknown,
        "exact": found.exact,
    }


def cause_to_json(cause: Cause) -> CauseJson:
    return {
        "summary": sentence(cause),
        "source": _term(cause.source),
        "target": _term(cause.target),
        "direction": cause.way.value,
        "probe": [term for term in map(_term, cause.probe) if term is not None],
        "but": [_exclusion(one) for one in cause.but],
        "failing": cause.failing,
        "known": cause.known,
        "unknown": cause.unknown,
        "words": list(cause.words),
    }


def _term(term: Term | None) -> TermJson | None:
    return None if term is None else {"kind": term.kind.value, "value": term.value}


def _exclusion(one: Exclusion) -> ExclusionJson:
    return {"side": one.side, "kind": one.term.kind.value, "value": one.term.value}
