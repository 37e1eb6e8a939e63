"""Diagnoses written by hand, and a driver that sends nothing."""

from dataclasses import dataclass, field, replace

from probemesh_controller.pair.case import Asked, Case, End, EndRole, Round, RoundDone, StepDone
from probemesh_shared.model import (
    Diagnosis,
    DirectionVerdict,
    Evidence,
    Finding,
    PathHop,
    Place,
    RuledOut,
    Scope,
    ShotSeen,
    WatchDetail,
)
from probemesh_shared.words import (
    Confidence,
    Direction,
    Outcome,
    PlaceKind,
    Transport,
    Verdict,
)

from tests.cli.fakes import NOW_NS
from tests.pair.fakes import info, shots, step

COUNTERS = "tokyo-1's counters did not move: InReceives +0 for 5 SYNs"


def ruled_out(verdict: Verdict, *by: str, direction: Direction = Direction.FORWARD) -> RuledOut:
    return RuledOut(verdict, direction, by)


REACHABLE = DirectionVerdict(
    Outcome.OK, Verdict.REACHABLE, Verdict.REACHABLE, Verdict.REACHABLE, Confidence.CERTAIN
)
CLOSED = replace(
    REACHABLE, outcome=Outcome.REFUSED, service_verdict=Verdict.PORT_CLOSED, verdict=Verdict.PORT_CLOSED
)
LOSSY = replace(REACHABLE, path_verdict=Verdict.LOSS, verdict=Verdict.LOSS)
DROPPED = DirectionVerdict(
    Outcome.TIMEOUT, Verdict.FORWARD_DROP, None, Verdict.FORWARD_DROP, Confidence.CERTAIN
)
UNKNOWN = DirectionVerdict(
    Outcome.TIMEOUT,
    Verdict.UNDETERMINED,
    None,
    Verdict.UNDETERMINED,
    Confidence.POSSIBLE,
    (Verdict.FORWARD_DROP, Verdict.TARGET_DOWN),
)
LOST = DirectionVerdict(Outcome.AGENT_LOST, None, None, Verdict.AGENT_LOST, Confidence.CERTAIN)
NOT_ADDRESSABLE = replace(LOST, outcome=Outcome.UNMEASURED, verdict=Verdict.NOT_ADDRESSABLE)

DROP = Finding(
    Verdict.FORWARD_DROP,
    scope=Scope(("berlin-1",), ("tokyo-1",), "tcp", 5432),
    confidence=Confidence.CERTAIN,
    summary="tcp/5432 from berlin-1 is dropped on its way to tokyo-1, beyond hop 1 (10.1.0.1)",
    direction=Direction.FORWARD,
    place=Place(PlaceKind.BETWEEN, "10.1.0.1", 1),
    evidence=(
        Evidence("o1", True, "berlin-1 sent 5 SYNs to 203.0.113.2:5432 and heard nothing"),
        Evidence("o2", True, "tokyo-1 saw none of them, and took 5 datagrams on another port meanwhile"),
        Evidence("o3", False, "1 of 3 pings was lost"),
    ),
    next_test="meshctl diagnose berlin-1 tokyo-1 --tcp 22",
)
PATH = (
    PathHop("berlin-1", "10.1.0.2"),
    PathHop("hop 1", "10.1.0.1", 1, 0.42),
    PathHop("hop 2", None, 2, mark="forward-drop", breaks=True),
    PathHop("tokyo-1", "203.0.113.2"),
)
BACK = (
    PathHop("tokyo-1", "203.0.113.2"),
    PathHop("hop 1", "203.0.113.1", 1, 5.1),
    PathHop("hop 2", "198.51.100.1", 2, 5.6),
    PathHop("berlin-1", "10.1.0.2", 3, 6.0),
)


def diagnosis(forward=DROPPED, reverse=REACHABLE, findings=(DROP,), **more) -> Diagnosis:
    base = Diagnosis(
        "berlin-1",
        "tokyo-1",
        Transport.TCP,
        5432,
        5432,
        NOW_NS,
        forward,
        reverse,
        findings,
        excluded=(
            ruled_out(
                Verdict.RETURN_DROP, "tokyo-1 saw no SYN of berlin-1's: nothing came that could be answered"
            ),
            ruled_out(Verdict.TARGET_INPUT_DROP, COUNTERS),
            ruled_out(Verdict.TARGET_INPUT_REJECT, COUNTERS),
        ),
        path=PATH,
        reverse_path=BACK,
        packets=143,
        elapsed_s=3.21,
    )
    return replace(base, **more)


BERLIN = info("berlin-1", "10.1.0.2", site="berlin")
TOKYO = info("tokyo-1", "203.0.113.2", site="tokyo")


def case(**more) -> Case:
    asked = Asked("berlin-1", "tokyo-1", Transport.TCP, 5432, 5432)
    ends = (
        End(EndRole.SOURCE, BERLIN, ("10.1.0.2",), ("198.51.100.1",)),
        End(EndRole.TARGET, TOKYO, ("203.0.113.2",), (), WatchDetail()),
    )
    silent = ShotSeen(outcome=Outcome.TIMEOUT)
    there = replace(step(1, "berlin-1", "tokyo-1"), direction=Direction.FORWARD)
    back = step(2, "tokyo-1", "berlin-1", "10.1.0.2")
    done = (
        StepDone(there, (shots(silent, silent),)),
        StepDone(back, problem="tokyo-1 runs 0.1, which knows no flow"),
    )
    return replace(Case(asked, NOW_NS, ends, (RoundDone(done),), elapsed_s=3.21), **more)


@dataclass
class FakeDriver:
    """In the place of the real one; what it was asked is kept in ``asked``."""

    answer: object = None
    asked: list = field(default_factory=list)

    def __call__(self, mesh, asked, clock, on_progress=None, **more):
        self.asked.append(asked)
        self.case = None
        self.on_progress = on_progress
        return self

    async def run(self):
        self.on_progress(case(), Round(tuple(done.step for done in case().rounds[0].steps)))
        if isinstance(self.answer, BaseException):
            raise self.answer
        self.case = self.answer or case()
        return self.case
