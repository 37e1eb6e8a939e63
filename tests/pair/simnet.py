"""A pair of agents and the path between them, simulated: every round is answered packet by packet, in virtual
time and from a seed, so that a thousand diagnoses take a minute.

Two routers lie between ``a`` and ``b``. What breaks the path are rules, asked of every packet at the first
router that it meets on its way; what they let pass may still get lost.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from probemesh_controller.pair.case import Asked, Case, End, EndRole, Look, Round, RoundDone, Step, StepDone
from probemesh_controller.pair.conclude import conclude
from probemesh_controller.pair.plan import next_round
from probemesh_shared.model import (
    Accepted,
    Connection,
    Counter,
    Datagram,
    Diagnosis,
    Failure,
    FlowDetail,
    FlowSpec,
    IcmpError,
    Listener,
    Measurement,
    Reply,
    Shot,
    ShotSeen,
    WatchDetail,
)
from probemesh_shared.wire.flowtoken import LEAST, REPLY_SIZE
from probemesh_shared.words import FailureKind, Family, Kind, Origin, Outcome, Stage, Transport

from tests.pair.fakes import NOW_NS, A, B

ROUTERS = {"a": ("10.1.0.1", "198.51.100.2"), "b": ("203.0.113.1", "198.51.100.1")}
ADDRESS = {"a": "10.1.0.2", "b": "203.0.113.2"}
SURROGATE = {"a": 40001, "b": 40002}
PORT = {"a": 7001, "b": 5001}
RTT_MS, DISTANCE = 12.0, 3
TCP_SYN_AGAIN_MS = 1000.0
OVERFLOWS = "TcpExt.ListenOverflows"
COUNTED = ("Udp.InDatagrams", "Udp.OutDatagrams", "Icmp.InEchos", "Icmp.OutEchoReps", OVERFLOWS)


@dataclass(frozen=True)
class Packet:
    """``size`` is of the IP packet before it was fragmented; ``pieces`` are its fragments."""

    to: str
    transport: Transport
    source_port: int
    port: int
    at_ms: float
    size: int = 60
    ttl: int = 64
    dont_fragment: bool = False
    pieces: int = 1
    syn: bool = False
    payload: bytes | None = None
    answer: bool = False
    address: str = ""


#: Says what becomes of a packet: None, ``drop``, ``reset``, or ``narrow`` (larger than the next link).
Rule = Callable[[Packet], str | None]


@dataclass
class Net:
    """``loss`` each way. ``syn_options`` and ``syn_mss`` are what SYNs arrive with, ``source`` as whom others
    see an end. ``answers_at``: by port, the hop of who answers there in the target's place. ``mute`` hops
    never say that hops ran out. ``forgets``: connections that stood are reset in the middle."""

    rules: tuple[Rule, ...] = ()
    loss: float = 0.0
    seed: int = 0
    syn_mss: int = 1460
    syn_dscp: int | None = None
    syn_options: tuple[str, ...] = ("mss", "sack", "ts", "nop", "wscale")
    source: dict[str, str] = field(default_factory=dict)
    answers_at: dict[int, int] = field(default_factory=dict)
    mute: frozenset[int] = frozenset()
    forgets: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.held: list[tuple[float, float, str, int]] = []
        self.now_ms = 0.0

    def passes(self, packet: Packet) -> tuple[str, int]:
        """``there``, ``lost``, ``reset`` or ``expired``, and at which hop."""
        for _ in range(packet.pieces):
            if self.random.random() < self.loss:
                return "lost", 0
        hop = packet.ttl
        if hop <= 1:
            return "expired", 1
        for rule in self.rules:
            said = rule(packet)
            if said is not None:
                return ("lost" if said == "drop" else said), 1
        return ("expired", hop) if hop < DISTANCE else ("there", DISTANCE)

    def open_connections(self, to: str, port: int, at_ms: float) -> int:
        return sum(b <= at_ms < e and (to, port) == (t, p) for b, e, t, p in self.held)


@dataclass
class Host:
    """What an end's watch gathers between two looks."""

    name: str
    accepted: list[Accepted] = field(default_factory=list)
    datagrams: list[Datagram] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))

    def told(self, look: int) -> WatchDetail:
        account = replace(
            armed(self.name),
            look=look,
            counters=tuple(Counter(name, n, 0.0, 0.0) for name, n in self.counts.items()),
            accepted=tuple(self.accepted),
            datagrams=tuple(self.datagrams),
            connections=tuple(self.connections),
        )
        self.__init__(self.name)  # type: ignore[misc]
        return account


def armed(name: str) -> WatchDetail:
    return WatchDetail(
        agent=f"nonce-{name}",
        quiet_ms=1000.0,
        addresses=(ADDRESS[name],),
        listeners=(Listener("0.0.0.0", PORT[name], 0, 128),),
        surrogate_port=SURROGATE[name],
        blind=("packets",),
    )


class Sim:
    """Plays a case to its end. ``asked`` is tcp, udp or icmp."""

    def __init__(
        self, net: Net, transport: Transport = Transport.TCP, port: int = PORT["b"], **more: object
    ) -> None:
        ports = (None, None) if transport is Transport.ICMP else (port, PORT["a"])
        more = {"family": Family.IPV4, **more}
        asked = Asked("a", "b", transport, *ports, **more)  # type: ignore[arg-type]
        ends = (
            End(EndRole.SOURCE, A, (ADDRESS["a"],), armed=armed("a"), token=b"a" * 16, mss=1141),
            End(EndRole.TARGET, B, (ADDRESS["b"],), armed=armed("b"), token=b"b" * 16, mss=1033),
        )
        self.net = net
        self.hosts = {"a": Host("a"), "b": Host("b")}
        self.case = Case(asked, NOW_NS + 10_000 * net.seed, ends, fleet=(A, B))

    def run(self) -> Diagnosis:
        for _ in range(40):
            wanted = next_round(self.case)
            if wanted is None:
                return conclude(self.case)
            self.case = self._done(wanted)
        last = self.case.rounds[-1]
        raise AssertionError(f"no end: {', '.join(one.step.purpose for one in last.steps)} again and again")

    def _done(self, wanted: Round) -> Case:
        done = [self._step(step) for step in wanted.steps]
        elapsed = max((self._took(one) for one in done), default=0.0) + wanted.settle_ms + wanted.quiet_ms
        self.net.now_ms += elapsed + 1000.0  # whatever counts packets has forgotten
        looks = tuple(Look(n, host.told(len(self.case.rounds) + 1)) for n, host in self.hosts.items())
        rounds = (*self.case.rounds, RoundDone(tuple(done), looks, elapsed))
        return replace(self.case, rounds=rounds, elapsed_s=self.case.elapsed_s + elapsed / 1000)

    @staticmethod
    def _took(done: StepDone) -> float:
        details = [row.detail for row in done.rows if isinstance(row.detail, FlowDetail)]
        return max((detail.elapsed_ms for detail in details), default=100.0)

    def _step(self, step: Step) -> StepDone:
        if not isinstance(step.spec, FlowSpec):
            return StepDone(step, problem="not simulated")
        seen = tuple(self._shot(step, step.spec, n, shot) for n, shot in enumerate(step.spec.shots))
        took = max((one.at_ms + (one.rtt_ms or 0.0) for one in seen), default=0.0)
        if any(one.outcome is Outcome.TIMEOUT for one in seen):
            took += 1000 * step.spec.options.timeout_s
        detail = FlowDetail(seen, (), took, ("sack", "ts", "wscale"))
        return StepDone(
            step,
            (Measurement(Kind.FLOW, 0, "t", step.address, step.port, Outcome.OK, NOW_NS, detail=detail),),
        )

    # --- one shot -------------------------------------------------------------------------------------------

    def _shot(self, step: Step, spec: FlowSpec, number: int, shot: Shot) -> ShotSeen:
        port = shot.port or step.port or 0
        source_port = shot.source_port or 33_000 + self.net.random.randrange(27_000)
        began = ShotSeen(number, at_ms=shot.at_ms, local_address=ADDRESS[step.sender], local_port=source_port)
        packet = Packet(
            step.to or "b",
            spec.transport,
            source_port,
            port,
            self.net.now_ms + shot.at_ms,
            ttl=shot.ttl or 64,
            address=shot.address or step.address,
        )
        if spec.transport is Transport.TCP:
            return self._connect(began, packet, step, spec, shot)
        return self._ask(began, packet, step, spec, shot)

    def _connect(self, seen: ShotSeen, packet: Packet, step: Step, spec: FlowSpec, shot: Shot) -> ShotSeen:
        waits_ms = 1000 * spec.options.timeout_s
        instead = self.net.answers_at.get(packet.port, DISTANCE)
        for attempt, late in enumerate((0.0, TCP_SYN_AGAIN_MS)):
            if late >= waits_ms:
                break
            syn = replace(packet, syn=True, at_ms=packet.at_ms + late)
            fate, hop = self.net.passes(syn)
            if fate == "reset":
                return replace(seen, outcome=Outcome.REFUSED, failure=_failure(FailureKind.REFUSED))
            if fate == "expired" and hop < instead:
                if hop not in self.net.mute and self._back(syn):
                    return self._expired(seen, step, hop)
                continue
            if fate == "lost" or not self._back(syn):
                continue
            stood = replace(
                seen,
                outcome=Outcome.OK,
                rtt_ms=RTT_MS,
                retransmits=attempt,
                state=1,
                pmtu=1500,
            )
            return self._stood(stood, syn, step, spec, shot)
        return replace(seen, outcome=Outcome.TIMEOUT, failure=_failure(FailureKind.TIMEOUT))

    def _stood(self, seen: ShotSeen, syn: Packet, step: Step, spec: FlowSpec, shot: Shot) -> ShotSeen:
        held = shot.hold_ms or 0.0
        self.net.held.append((syn.at_ms, syn.at_ms + max(held, 10.0), syn.to, syn.port))
        host = self.hosts[syn.to]
        address = self.net.source.get(step.sender, ADDRESS[step.sender])
        said = shot.send if not spec.token else (None if shot.send is None else b"token" + shot.send)
        end, arrived = ("reset" if self.net.forgets else "held") if held else None, 0
        if said is not None:
            fate, _ = self.net.passes(replace(syn, syn=False, payload=said, size=60 + len(said)))
            end, arrived = ("reset", 0) if fate == "reset" else ("held", len(said))
        if syn.port in SURROGATE.values():
            host.accepted.append(self._saved(address, syn, spec, shot, arrived))
            if spec.token and arrived:
                reply = Reply(
                    1.0,
                    step.address,
                    syn.port,
                    REPLY_SIZE,
                    None,
                    True,
                    f"nonce-{syn.to}",
                    address,
                    syn.source_port,
                )
                return replace(seen, end=end, replies=(reply,))
        elif syn.port not in self.net.answers_at:
            host.connections.append(
                Connection(
                    1, address, syn.source_port, ADDRESS[syn.to], syn.port, True, bytes_received=arrived
                )
            )
        return replace(seen, end=end, end_ms=held or None)

    def _saved(self, address: str, syn: Packet, spec: FlowSpec, shot: Shot, arrived: int) -> Accepted:
        mss = min(shot.mss or 1460, self.net.syn_mss)
        dscp = spec.options.dscp if self.net.syn_dscp is None else self.net.syn_dscp
        return Accepted(
            syn.at_ms, address, syn.source_port, ADDRESS[syn.to], syn.port,
            syn_ttl=64 - DISTANCE + 1, syn_dscp=dscp, syn_mss=mss, syn_options=self.net.syn_options,
            ack_ttl=64 - DISTANCE + 1, valid=arrived > 0, received=arrived,
        )  # fmt: skip

    def _ask(self, seen: ShotSeen, packet: Packet, step: Step, spec: FlowSpec, shot: Shot) -> ShotSeen:
        host, ours = self.hosts[packet.to], packet.port in SURROGATE.values()
        payload = len(shot.send) if shot.send is not None else max(shot.size or 0, LEAST if spec.token else 0)
        size = payload + 28
        whole = size > 1500 and not shot.dont_fragment
        packet = replace(
            packet, size=size, dont_fragment=shot.dont_fragment, pieces=-(-size // 1480) if whole else 1
        )
        silent = replace(seen, outcome=Outcome.TIMEOUT, failure=_failure(FailureKind.TIMEOUT))
        echo = spec.transport is Transport.ICMP
        if not echo:
            self.hosts[step.sender].counts["Udp.OutDatagrams"] += 1
        fate, hop = self.net.passes(packet)
        if packet.ttl >= self.net.answers_at.get(packet.port, 255):
            return replace(seen, outcome=Outcome.OK, replies=(self._reply(step, packet, None),))
        if fate == "expired":
            told = hop not in self.net.mute and self._back(packet)
            return self._expired(seen, step, hop) if told else silent
        if fate != "there":
            return silent
        host.counts["Icmp.InEchos" if echo else "Udp.InDatagrams"] += 1
        host.counts["Icmp.OutEchoReps" if echo else "Udp.OutDatagrams"] += 1
        address = self.net.source.get(step.sender, ADDRESS[step.sender])
        if ours and not echo:
            host.datagrams.append(
                Datagram(packet.at_ms, address, packet.source_port, ADDRESS[packet.to], packet.port, payload,
                         64 - DISTANCE + 1, 0, True, seen.shot, True, True)
            )  # fmt: skip
        if not self._back(packet):
            return silent
        if not echo:
            self.hosts[step.sender].counts["Udp.InDatagrams"] += 1
        reply = self._reply(step, packet, address if ours and not echo else None)
        return replace(seen, outcome=Outcome.OK, rtt_ms=RTT_MS, replies=(reply,))

    @staticmethod
    def _reply(step: Step, packet: Packet, seen_as: str | None) -> Reply:
        """``seen_as`` None: of a foreign service."""
        if seen_as is None:
            return Reply(1.0, step.address, packet.port, REPLY_SIZE, 62)
        nonce = f"nonce-{packet.to}"
        port = packet.source_port
        return Reply(1.0, step.address, packet.port, REPLY_SIZE, 62, True, nonce, seen_as, port)

    def _back(self, packet: Packet) -> bool:
        other = "a" if packet.to == "b" else "b"
        answer = replace(
            packet, to=other, source_port=packet.port, port=packet.source_port, ttl=64, size=60, pieces=1,
            dont_fragment=False, syn=False, answer=True,
        )  # fmt: skip
        return self.net.passes(answer)[0] == "there"

    def _expired(self, seen: ShotSeen, step: Step, hop: int) -> ShotSeen:
        error = IcmpError(Family.IPV4, 11, 0, ROUTERS[step.sender][hop - 1], 64)
        failure = replace(_failure(FailureKind.UNREACHABLE), icmp=error)
        return replace(seen, outcome=Outcome.UNREACHABLE, errors=(error,), failure=failure)


def _failure(kind: FailureKind) -> Failure:
    return Failure(Stage.CONNECT, kind, Origin.PATH, str(kind))


def diagnosed(net: Net, transport: Transport = Transport.TCP, **more: object) -> Diagnosis:
    return Sim(net, transport, **more).run()


# --- rules ------------------------------------------------------------------------------------------------


def to_b(rule: Rule, port: int = PORT["b"]) -> Rule:
    """Only for what ``a`` sends to that port of ``b``."""
    return lambda packet: rule(packet) if packet.to == "b" and packet.port == port else None


def dropping(wanted: Callable[[Packet], bool]) -> Rule:
    return lambda packet: "drop" if wanted(packet) else None


class Bucket:
    """So many packets a second, and that many at once."""

    def __init__(
        self, rate: float, depth: float, counts: Callable[[Packet], bool] = lambda packet: True
    ) -> None:
        self.rate, self.depth, self.counts = rate, depth, counts
        self.tokens, self.last = depth, 0.0

    def __call__(self, packet: Packet) -> str | None:
        if not self.counts(packet):
            return None
        self.tokens = min(self.depth, self.tokens + self.rate * max(0.0, packet.at_ms - self.last) / 1000)
        self.last = max(self.last, packet.at_ms)
        if self.tokens < 1:
            return "drop"
        self.tokens -= 1
        return None


def verdicts(diagnosis: Diagnosis) -> set[str]:
    return {finding.verdict.value for finding in diagnosis.findings}
