"""The vantage point itself, checked before a target is blamed: its own link, a known-good target, and whether
it got a processor."""

from collections.abc import Iterator

from probemesh_shared.model import Evidence, Finding, Place, Scope
from probemesh_shared.words import Confidence, PlaceKind, Verdict

from probemesh_controller.diagnosis.facts import Facts
from probemesh_controller.diagnosis.wording import agree, names


def impaired_rule(facts: Facts) -> Iterator[Finding]:
    """``vantage-impaired``: by control probes, or by what the agent says of its own processor."""
    sick = sorted(facts.followed.impaired)
    if sick:
        yield _finding(facts, sick, _sick_words(facts, sick), Confidence.LIKELY, _sick_evidence(facts, sick))
    starved = facts.followed.starved or {}
    tired = sorted(name for name in starved if name not in facts.followed.impaired)
    if tired:
        words = agree(tired, "{} got no processor when it was due", "{} got no processor when they were due")
        told = tuple(Evidence(f"{name}/processor", True, f"{name}: {starved[name]}") for name in tired)
        yield _finding(facts, tired, words.format(names(tired)), Confidence.CERTAIN, told)


def _sick_words(facts: Facts, sick: list[str]) -> str:
    known = sorted({one.what for name in sick for one in facts.followed.controls_of(name)})
    hears = agree(sick, "hears", "hear")
    return f"{names(sick)} {hears} nothing from {names(known)} either, and no router answers on the way"


def _sick_evidence(facts: Facts, sick: list[str]) -> tuple[Evidence, ...]:
    found: list[Evidence] = []
    for name in sick:
        heard = [one for one in facts.followed.controls_of(name) if one.reached is not None]
        found += [Evidence(one.id, True, f"{name}: no answer from {one.what}") for one in heard]
        ways = facts.followed.of(name)
        found += [Evidence(way.id, True, f"{name}: trace to {way.address}: no hop answers") for way in ways]
    return tuple(found)


def _finding(
    facts: Facts, who: list[str], words: str, sure: Confidence, evidence: tuple[Evidence, ...]
) -> Finding:
    theirs = f"what {agree(who, 'it', 'they')} did not reach says nothing about {facts.target.text}"
    return Finding(
        verdict=Verdict.VANTAGE_IMPAIRED,
        scope=Scope(tuple(who), (facts.target.text,)),
        confidence=sure,
        summary=f"{words}: {theirs}",
        place=Place(PlaceKind.SOURCE_HOST),
        evidence=evidence,
        next_test=f"on {who[0]}: mesh-agent doctor; ip -s link",
    )
