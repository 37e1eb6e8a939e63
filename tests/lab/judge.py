"""What a diagnosis said beside what is true: per direction, and as a whole. Pure.

The words of a judgement:

right direction   it is said who is well and who is not, and of a fault on which leg it is: where the packet
                  that was sent goes lost, where its answer does, at which end
right             the first verdict is the truth (or one of several true ones); where ends cannot tell causes
                  apart, the set that must be answered
in the set        the truth is the verdict or among the alternatives
overclaim         one verdict where a set had to be answered
wrong place       a place is named, and it is another than the true one
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.lab.labs import Case, Topology, Truth

DIRECTIONS = ("forward", "reverse")
#: Who is at fault, seen from where the flow begins; what is not listed concerns the flow as a whole.
LEGS = {
    "there": (
        *("forward-drop", "forward-reject", "forward-reset", "forward-no-route", "target-input-drop"),
        *("target-input-reject", "target-reverse-path-filter", "next-hop-dead", "routing-loop", "blackhole"),
        *("syn-filter", "one-way-initiation", "rate-limit", "flow-selective", "connection-limit"),
        *("destination-nat-wrong-host", "hairpin-fails", "mtu-black-hole", "size-filter", "fragment-drop"),
        *("duplicate-address", "conntrack-full", "payload-reset", "icmp-echo-filtered", "target-down"),
    ),
    "back": (
        *("return-drop", "return-reject", "return-reset", "target-output-filter", "asymmetric-stateful"),
        "reply-from-other-address",
    ),
    "source": ("source-output-filter", "source-no-route", "vantage-impaired"),
    "service": (
        *("port-closed", "listening-elsewhere", "service-unresponsive", "accept-overload"),
        *("target-host-forwards", "silent-service"),
    ),
}
LEG = {verdict: leg for leg, verdicts in LEGS.items() for verdict in verdicts}
#: What breaks nothing and may always be found.
HARMLESS = frozenset(
    {
        *("reachable", "source-nat", "double-nat", "destination-nat", "header-rewrite", "icmp-echo-filtered"),
        *("icmp-errors-filtered", "loss", "tcp-splitter", "syn-proxy"),
    }
)


@dataclass(frozen=True)
class Judged:
    """Of one direction. ``right_place`` None: none was named, or none is true."""

    direction: str
    truth: str
    said: str
    alternatives: tuple[str, ...]
    confidence: str
    right_direction: bool
    right: bool
    in_set: bool
    overclaim: bool
    right_place: bool | None
    judged: bool
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """``certain`` findings there were, of which ``false`` are not so. ``faults`` are sentences:
    what is to be said against it."""

    case: str
    directions: tuple[Judged, ...]
    false_alarm: bool
    elapsed_s: float
    packets: int
    certain: int
    false: tuple[str, ...]
    faults: tuple[str, ...]


def judge(case: Case, topology: Topology, said: Mapping[str, Any]) -> Judgement:
    """``said`` is what ``meshctl diagnose -o json`` printed."""
    directions = tuple(_direction(case, topology, said, direction) for direction in DIRECTIONS)
    alarm = case.lab.healthy and any(
        one.said not in {*HARMLESS, "undetermined", one.truth, *case.truth(one.direction).others}
        for one in directions
    )
    faults = [f"{one.direction}: {fault}" for one in directions for fault in one.faults]
    if alarm:
        faults.append("a network-fault verdict on a healthy network")
    certain = [one for one in said["findings"] if one["confidence"] == "certain"]
    false = tuple(words for one in certain if (words := _false(case, one)))
    faults += [f"certain, and false: {words}" for words in false]
    if said["elapsed_s"] > 30.0:
        faults.append(f"took {said['elapsed_s']:.1f} s, over the hard stop")
    return Judgement(
        case.name, directions, alarm, said["elapsed_s"], said["packets"], len(certain), false, tuple(faults)
    )


def _false(case: Case, finding: Mapping[str, Any]) -> str | None:
    """What a finding says, where no direction that it is about has it."""
    about = [finding["direction"]] if finding["direction"] else DIRECTIONS
    truths = [case.truth(direction) for direction in about]
    true = {word for one in truths for word in (one.verdict, *one.others, *one.findings, *one.findings_may)}
    if finding["verdict"] in true or any(one.verdict.startswith("any") for one in truths):
        return None
    return f"{finding['verdict']} {finding['direction'] or ''}".strip()


def judge_nat(truth: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    """What is wrong with an agent's entry of ``meshctl nat -o json``. A truth knows ``behind_nat``,
    ``layers``, ``lifetime_s`` (found to the second below it and above), and the words that will do for
    ``mapping`` and ``filtering``; of an undetermined mapping what has to remain possible
    (``mapping_set``)."""
    wrong = []
    if said["behind_nat"] != truth["behind_nat"]:
        wrong.append(f"behind_nat is {said['behind_nat']}")
    wrong += [
        f"{aspect} is {said[aspect]}, not {' or '.join(truth[aspect])}"
        for aspect in ("mapping", "filtering")
        if said[aspect] not in truth.get(aspect, (said[aspect],))
    ]
    missing = set(truth.get("mapping_set", ())) - set(said["mapping_alternatives"])
    if said["mapping"] == "undetermined" and missing:
        wrong.append(f"mapping might be {', '.join(sorted(missing))} as well")
    layers = truth.get("layers")
    if layers is not None and not said["layers_least"] <= layers <= (said["layers_most"] or layers):
        wrong.append(f"{said['layers_least']} to {said['layers_most']} layers, not {layers}")
    if (lifetime := truth.get("lifetime_s")) is not None:
        least, most = said["lifetime_s"], said["lifetime_most_s"]
        if least is None or most is None or not least - 1 <= lifetime <= most + 1:
            wrong.append(f"lives {least} to {most} s, not {lifetime}")
    return wrong


def _direction(case: Case, topology: Topology, said: Mapping[str, Any], direction: str) -> Judged:
    truth, told = case.truth(direction), said[direction]
    verdict, named = told["verdict"], tuple(told["alternatives"])
    true = {truth.verdict, *truth.others}
    everything = truth.verdict == "any" or (truth.verdict == "any-fault" and verdict != "reachable")
    in_set = everything or verdict in true or bool(true & set(named))
    right = everything or _right(truth, verdict, named, in_set)
    place = None if everything else _right_place(case, topology, said, direction, truth, verdict)
    overclaim = bool(truth.set) and verdict != "undetermined" and not everything
    judged = Judged(
        direction=direction,
        truth=truth.verdict,
        said=verdict,
        alternatives=named,
        confidence=told["confidence"],
        right_direction=everything or _right_leg(truth, verdict, named),
        right=right,
        in_set=in_set,
        overclaim=overclaim,
        right_place=place,
        judged=not truth.verdict.startswith("any"),
    )
    return _with_faults(judged, truth, case, said)


def judge_direction(truth: Truth, verdict: str, named: tuple[str, ...]) -> dict[str, Any]:
    """The same judgement of an answer that is a verdict and a set, and no more."""
    in_set = verdict in (true := {truth.verdict, *truth.others}) or bool(true & set(named))
    return {
        "truth": truth.verdict,
        "right_direction": _right_leg(truth, verdict, named),
        "right": _right(truth, verdict, named, in_set),
        "in_set": in_set,
    }


def _right(truth: Truth, verdict: str, named: tuple[str, ...], in_set: bool) -> bool:
    if truth.set:
        return verdict == "undetermined" and set(truth.set) <= set(named)
    if truth.may and verdict == "undetermined":
        return in_set
    return verdict in {truth.verdict, *truth.others}


def _right_leg(truth: Truth, verdict: str, named: tuple[str, ...]) -> bool:
    """Of a set all members have to be on true legs."""
    true = {truth.verdict, *truth.others, *truth.set}
    if verdict in true or (truth.may and verdict == "undetermined" and true & set(named)):
        return True
    legs = {LEG.get(one) for one in true}
    words = named if verdict == "undetermined" else (verdict,)
    return bool(words) and all(word in true or (word in LEG and LEG[word] in legs) for word in words)


def _with_faults(judged: Judged, truth: Truth, case: Case, said: Mapping[str, Any]) -> Judged:
    faults = []
    if not judged.right:
        words = f"{judged.said} ({judged.confidence})"
        words += f" of {', '.join(judged.alternatives)}" if judged.alternatives else ""
        faults.append(f"{words}, where {_wanted(truth)} is true")
    if not judged.in_set:
        faults.append("the truth is not among what is said")
    if judged.right_place is False:
        faults.append("the place is another")
    told = said[judged.direction]
    for key in ("path_verdict", "service_verdict"):
        wanted = getattr(truth, key)
        if wanted and told[key] != wanted:
            faults.append(f"{key} is {told[key]}, not {wanted}")
    found = {one["verdict"] for one in said["findings"] if one["direction"] in (None, judged.direction)}
    found.add(judged.said)
    faults += [f"no finding {word}" for word in truth.findings if word not in found]
    faults += [f"finding {word}, which is false" for word in truth.forbidden if word in found]
    return replace(judged, faults=tuple(faults))


def _wanted(truth: Truth) -> str:
    if truth.set:
        return f"the set {', '.join(truth.set)}"
    return " or ".join((truth.verdict, *truth.others))


def _right_place(
    case: Case, topology: Topology, said: Mapping[str, Any], direction: str, truth: Truth, verdict: str
) -> bool | None:
    places = [
        one["place"]
        for one in said["findings"]
        if one["direction"] == direction and one["verdict"] == verdict and one["place"] is not None
    ]
    if not truth.at or not places:
        return None
    return all(_is_at(place, case, topology, direction, truth.at) for place in places)


def _is_at(place: Mapping[str, Any], case: Case, topology: Topology, direction: str, host: str) -> bool:
    """A hop may be counted from either end; ``between`` names the last that still answered."""
    source, target = case.lab.ends if direction == "forward" else case.lab.ends[::-1]
    ends = {"source-host": source, "target-host": target, "target-service": target, "behind-host": target}
    if (kind := place["kind"]) in ends:
        return ends[kind] == host
    ways = _ways(case, topology)
    hops = {way.index(host) for way in ways if host in way}
    near = {one for way in ways if host in way for one in _beside(way, host)}
    if place["address"] is not None:
        owners = {name for name in near | {host} if place["address"] in topology.addresses(name)}
        return host in owners or (kind == "between" and bool(owners))
    reach = {hop + step for hop in hops for step in ((-1, 0) if kind == "between" else (0,))}
    return place["hop"] in reach


def _ways(case: Case, topology: Topology) -> Iterable[tuple[str, ...]]:
    there = case.lab.path or topology.path
    back = case.lab.path_back or (case.lab.path[::-1] if case.lab.path else topology.path_back)
    return (there, there[::-1], back, back[::-1])


def _beside(way: tuple[str, ...], host: str) -> tuple[str, ...]:
    """The host before it: that of which the ladder ends when this one drops at its ingress."""
    place = way.index(host)
    return way[max(0, place - 1) : place]
