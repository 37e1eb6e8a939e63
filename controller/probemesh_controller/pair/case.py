"""A diagnosis as data: what was asked, who took part, what was done in which order and what came of it.

Everything that is concluded is concluded from a :class:`Case` alone; a saved one gives the same
findings on any other day. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from probemesh_shared.model import (
    AgentInfo,
    FlowSpec,
    Measurement,
    MtuSpec,
    TlsSpec,
    TraceSpec,
    WatchDetail,
)
from probemesh_shared.words import Direction, Family, Transport

#: The problem of a step that somebody cut short.
INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Limits:
    """``packets`` is the most that all ends may send together, ``seconds`` the hard stop."""

    packets: int = 3000
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """``port`` None with ICMP. ``reverse_port`` is where ``target`` dials ``source``. ``listen``: both
    ends open a listener of their own on those ports. ``address``: the only one by which ``source`` dials
    ``target``, where it was named. ``payload``: what connections to ``port`` are to say, to see whether they
    are reset for it. ``idle_s``: how long a UDP flow is to live that is silent; 0: nobody asks."""

    source: str
    target: str
    transport: Transport
    port: int | None
    reverse_port: int | None
    family: Family = Family.BOTH
    listen: bool = False
    limits: Limits = Limits()
    address: str | None = None
    payload: bytes | None = None
    idle_s: float = 0.0


class EndRole(StrEnum):
    """Who somebody is in a case. ``third`` are agents that help to tell causes apart."""

    SOURCE = "source"
    TARGET = "target"
    THIRD = "third"


@dataclass(frozen=True, slots=True)
class End:
    """One agent of a case. ``addresses`` are those by which the other end may dial it, best first
    (configured, interface, reflexive); for a third, by which both ends may. ``armed`` is the first row
    of its watch, None where there is none, then ``why_not`` says why (for people). ``token`` is its
    watch's: what is sent to it begins with that; ``mss`` is the odd one by which it finds our flows.
    ``watched_port`` is the one that it watches."""

    role: EndRole
    info: AgentInfo
    addresses: tuple[str, ...] = ()
    reflexive: tuple[str, ...] = ()
    armed: WatchDetail | None = None
    why_not: str | None = None
    token: bytes = b""
    mss: int | None = None
    watched_port: int | None = None

    @property
    def name(self) -> str:
        return self.info.name


StepSpec = FlowSpec | TraceSpec | MtuSpec | TlsSpec


@dataclass(frozen=True, slots=True)
class Step:
    """One probe: agent ``sender`` sends ``spec`` to ``address`` (an address of agent ``to``, or of
    nobody's: ``to`` None) and ``port``. ``direction`` is the one it tells about, None for a control.
    ``purpose`` is a stable word that the reading side knows it by (``connect``, ``ladder``, ``sizes``);
    ``why`` is for people."""

    id: str
    purpose: str
    why: str
    sender: str
    address: str
    port: int | None
    spec: StepSpec
    to: str | None = None
    direction: Direction | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """Steps that run at the same time; all watches are looked at afterwards, ``settle_ms`` later. Counters
    of a host are for one burst at a time: steps whose evidence is a counter stand alone in their
    direction. ``thirds`` are agents whose watch has to be armed for it, on ``third_port`` where that is given
    (else on the port that was asked for; one that is armed stays as it is). ``quiet_ms``: both ends send
    nothing for us that long before the steps begin, so that their watches know what their counters do by
    themselves (time that was quiet already counts)."""

    steps: tuple[Step, ...]
    settle_ms: float = 0.0
    quiet_ms: float = 0.0
    thirds: tuple[str, ...] = ()
    third_port: int | None = None


@dataclass(frozen=True, slots=True)
class StepDone:
    """``rows`` are empty where the step could not be run; then ``problem`` says why."""

    step: Step
    rows: tuple[Measurement, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One watch's account after a round."""

    agent: str
    account: WatchDetail


@dataclass(frozen=True, slots=True)
class RoundDone:
    """``quiet_ms``: for how long nothing had been sent before it, where that was asked for."""

    steps: tuple[StepDone, ...]
    looks: tuple[Look, ...] = ()
    elapsed_ms: float = 0.0
    quiet_ms: float = 0.0

    def look(self, agent: str) -> WatchDetail | None:
        return next((look.account for look in self.looks if look.agent == agent), None)


@dataclass(frozen=True, slots=True)
class Case:
    """``lost`` are agents whose link broke on the way; ``elapsed_s`` is the time used so far."""

    asked: Asked
    started_ns: int
    ends: tuple[End, ...]
    rounds: tuple[RoundDone, ...] = ()
    lost: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    fleet: tuple[AgentInfo, ...] = ()
    problems: tuple[str, ...] = ()

    def end(self, name: str) -> End | None:
        return next((end for end in self.ends if end.name == name), None)

    def role(self, role: EndRole) -> End | None:
        return next((end for end in self.ends if end.role is role), None)

    def done(self, purpose: str, direction: Direction | None = None) -> Iterator[tuple[RoundDone, StepDone]]:
        """All steps of that purpose so far, with their rounds."""
        for done in self.rounds:
            for step in done.steps:
                if step.step.purpose == purpose and direction in (None, step.step.direction):
                    yield done, step


__all__ = [
    "Asked",
    "Case",
    "End",
    "EndRole",
    "Limits",
    "Look",
    "Round",
    "RoundDone",
    "Step",
    "StepDone",
    "StepSpec",
]
