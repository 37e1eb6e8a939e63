"""From the packets of one trace, and what was heard of each, to what is told of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared import failures, icmpcodes
from probemesh_shared.model import Failure, HopAnswer, Sample, TraceHop
from probemesh_shared.words import Outcome, Stage, Timing

from probemesh_agent.path.walk import FULL, Heard

#: Answers to one packet that are kept; more come from nobody who is honest.
MOST_ANSWERS = 4


@dataclass(frozen=True, slots=True)
class Told:
    """What was heard of one packet. ``failure`` is what it would mean for an attempt (None: it reached the
    target); ``too_big`` says that the packet is to be sent again, smaller."""

    answer: HopAnswer
    what: Heard
    failure: Failure | None = None
    too_big: bool = False


@dataclass(slots=True)
class Shot:
    """One packet: ``hop`` its TTL (``FULL``: the system's own), ``offset_ms`` since the trace began."""

    number: int
    hop: int
    offset_ms: float
    waited_s: float
    told: list[Told]
    failure: Failure | None = None  # of this host, which could not send it

    @property
    def reached(self) -> Told | None:
        return next((told for told in self.told if told.what is Heard.TARGET), None)


def hops_of(shots: Sequence[Shot], end: int | None) -> tuple[TraceHop, ...]:
    """Hop by hop, up to where the path ended."""
    found: dict[int, list[HopAnswer]] = {}
    sent: dict[int, int] = {}
    for shot in shots:
        if shot.hop == FULL or (end is not None and shot.hop > end):
            continue
        sent[shot.hop] = sent.get(shot.hop, 0) + 1
        found.setdefault(shot.hop, []).extend(told.answer for told in shot.told)
    return tuple(TraceHop(hop, sent[hop], tuple(found[hop])) for hop in sorted(sent))


def samples_of(shots: Sequence[Shot], distance: int | None) -> tuple[Sample, ...]:
    """The packets that were to reach the target: those with its own distance, or with a full TTL where that
    is not known."""
    meant = [shot for shot in shots if shot.hop == (FULL if distance is None else distance)]
    return tuple(_sample(seq, shot) for seq, shot in enumerate(meant))


def _sample(seq: int, shot: Shot) -> Sample:
    reached = shot.reached
    if reached is not None:
        answer = reached.answer
        return Sample(seq, shot.offset_ms, answer.rtt_ms, Outcome.OK, timing=_timing(answer), ttl=answer.ttl)
    failure = shot.failure or next((one.failure for one in shot.told if one.failure is not None), None)
    failure = failure or failures.timed_out(Stage.SEND, round(shot.waited_s, 1))
    return Sample(seq, shot.offset_ms, None, failures.outcome_of(failure), failure)


def _timing(answer: HopAnswer) -> Timing | None:
    if answer.rtt_ms is None:
        return None
    return Timing.TCP_INFO if answer.how == "syn-ack" else Timing.USER


def refusal_of(shots: Sequence[Shot]) -> Failure | None:
    """Why a router says that it goes no further: of the packet with the smallest TTL that was told so."""
    refused = [
        (shot.hop, told.failure)
        for shot in shots
        for told in shot.told
        if told.what is Heard.REFUSAL and not told.too_big and told.failure is not None and shot.hop != FULL
    ]
    return min(refused, key=lambda one: one[0])[1] if refused else None


def rewritten_at(hops: Sequence[TraceHop]) -> int | None:
    return next((hop.hop for hop in hops if any(answer.changed for answer in hop.answers)), None)


def words_of(hops: Sequence[TraceHop]) -> str:
    """Where a trace ended that did not reach its target, in a line."""
    passed = [hop for hop in hops if any(_ran_out(answer) for answer in hop.answers)]
    if not passed:
        return "no hop passed it on" if any(hop.answers for hop in hops) else "no hop answered"
    last = passed[-1]
    who = ", ".join(sorted({answer.address for answer in last.answers if answer.address}))
    words = f"the last hop that answered is {last.hop} ({who or 'unknown'})"
    silent = sum(1 for hop in hops if hop.hop > last.hop and not hop.answers)
    return f"{words}; after it {silent} were silent" if silent else words


def _ran_out(answer: HopAnswer) -> bool:
    error = answer.icmp
    return error is not None and icmpcodes.is_time_exceeded(error.family, error.type, error.code)
