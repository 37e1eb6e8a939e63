"""Cases put together by hand: two ends, and rounds in which shots ended so or so."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from probemesh_controller.pair.case import Asked, Case, End, EndRole, Look, RoundDone, Step, StepDone
from probemesh_shared.model import (
    AgentInfo,
    Counter,
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
from probemesh_shared.words import (
    AgentState,
    Direction,
    FailureKind,
    Family,
    Kind,
    Origin,
    Outcome,
    Stage,
    Transport,
)

A, B, R, S = "10.1.0.2", "203.0.113.2", "10.1.0.1", "198.51.100.2"
PORT, BACK_PORT, OWN_PORT = 5001, 7001, 40_000
LISTENING = (Listener("0.0.0.0", PORT),)

#: Counters that a kernel has, none of which rose.
QUIET = (
    *(
        f"Ip.{name}"
        for name in (
            "InReceives",
            "InDelivers",
            "OutRequests",
            "OutTransmits",
            "ForwDatagrams",
            "OutNoRoutes",
        )
    ),
    *("Icmp.InDestUnreachs", "Icmp.InTimeExcds", "Icmp.InEchos"),
    *("Udp.InDatagrams", "Udp.NoPorts", "Udp.OutDatagrams", "Udp.RcvbufErrors"),
    *(
        "Tcp.OutRsts",
        "TcpExt.EmbryonicRsts",
        "TcpExt.ListenOverflows",
        "TcpExt.ListenDrops",
        "TcpExt.TCPRetransFail",
        "TcpExt.IPReversePathFilter",
    ),
)


def counted(**rises: int) -> tuple[Counter, ...]:
    """``counted(Tcp_OutRsts=10)``; all others stayed, and none does anything by itself."""
    known = {name.replace("_", "."): rise for name, rise in rises.items()}
    return tuple(Counter(name, known.get(name, 0), 0.0, 0.0) for name in (*QUIET,))


def watch(listeners: Sequence[Listener] = (), own: Iterable[str] = (), **more: object) -> WatchDetail:
    plain = WatchDetail(
        agent="ab" * 8,
        addresses=tuple(own),
        listeners=tuple(listeners),
        surrogate_port=OWN_PORT,
        counters=counted(),
        blind=("packets",),
        span_ms=1500.0,
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def case(
    transport: Transport = Transport.TCP,
    listeners: Sequence[Listener] = LISTENING,
    far_reports: bool = True,
    **more: object,
) -> Case:
    asked = Asked("a", "b", transport, PORT, BACK_PORT, Family.IPV4)
    ends = (
        End(EndRole.SOURCE, _info("a"), (A,), armed=watch(own=(A,)), token=b"t" * 16),
        End(
            EndRole.TARGET,
            _info("b"),
            (B,),
            armed=watch(listeners, own=(B,)) if far_reports else None,
            why_not=None if far_reports else "it is too old",
            token=b"u" * 16,
        ),
    )
    return replace(Case(asked, 1, ends, fleet=tuple(end.info for end in ends)), **more)  # type: ignore[arg-type]


def _info(name: str) -> AgentInfo:
    return AgentInfo(name, state=AgentState.CONNECTED, capabilities=("kind:flow", "kind:watch"))


# --- shots ------------------------------------------------------------------------------------------------


def silent(number: int = 1) -> list[ShotSeen]:
    failure = Failure(Stage.CONNECT, FailureKind.TIMEOUT, Origin.UNKNOWN, "no answer")
    return [ShotSeen(outcome=Outcome.TIMEOUT, failure=failure, local_address=A, local_port=50_000)] * number


def refused(number: int = 1) -> list[ShotSeen]:
    failure = Failure(Stage.CONNECT, FailureKind.REFUSED, Origin.UNKNOWN, "refused", "ECONNREFUSED")
    return [ShotSeen(outcome=Outcome.REFUSED, failure=failure)] * number


def rejected(number: int = 1, sender: str = R, kind: int = 3, code: int = 13) -> list[ShotSeen]:
    icmp = IcmpError(Family.IPV4, kind, code, sender)
    failure = Failure(Stage.CONNECT, FailureKind.PROHIBITED, Origin.PATH, "rejected", icmp=icmp)
    return [ShotSeen(outcome=Outcome.PROHIBITED, failure=failure, errors=(icmp,))] * number


def expired(sender: str) -> list[ShotSeen]:
    return [replace(rejected(1, sender, 11, 0)[0], outcome=Outcome.UNREACHABLE)]


def answered(number: int = 1, valid: bool = False, port: int = 50_000, seen: str = A) -> list[ShotSeen]:
    reply = Reply(valid=True, agent="ab" * 8, seen_address=seen, seen_port=port, ttl=62)
    return [
        ShotSeen(
            outcome=Outcome.OK,
            rtt_ms=10.0,
            local_address=A,
            local_port=port + index,
            state=1,
            end="held",
            end_ms=200.0,
            replies=(reply,) if valid else (),
        )
        for index in range(number)
    ]


# --- rounds -----------------------------------------------------------------------------------------------


def step(
    purpose: str,
    shots: Sequence[ShotSeen],
    direction: Direction = Direction.FORWARD,
    ttls: Sequence[int] = (),
    transport: Transport = Transport.TCP,
) -> StepDone:
    sender, to, address = ("a", "b", B) if direction is Direction.FORWARD else ("b", "a", A)
    plan = tuple(Shot(ttl=ttls[number] if ttls else None) for number in range(len(shots)))
    seen = tuple(replace(shot, shot=number) for number, shot in enumerate(shots))
    row = Measurement(Kind.FLOW, 0, "", address, PORT, Outcome.OK, 1, detail=FlowDetail(seen))
    spec = FlowSpec(transport=transport, shots=plan)
    return StepDone(Step(purpose, purpose, "", sender, address, PORT, spec, to, direction), (row,))


def done(before: Case, *steps: StepDone, b: WatchDetail | None = None, a: WatchDetail | None = None) -> Case:
    """One round more, after which the watches of B and A told this."""
    accounts = (("b", b or watch(LISTENING, own=(B,))), ("a", a or watch(own=(A,))))
    looks = tuple(Look(name, account) for name, account in accounts)
    return replace(before, rounds=(*before.rounds, RoundDone(steps, looks, 1500.0)))
