"""How steps of the flow question are made: shots of the flow, and at the far watch's own ports. Pure."""

from collections.abc import Iterable
from statistics import median

from probemesh_shared.model import FlowDetail, FlowSpec, Options, Shot
from probemesh_shared.words import Transport

from probemesh_controller.pair.case import RoundDone, Step
from probemesh_controller.pair.flow import names, purposes
from probemesh_controller.pair.hellos import hello
from probemesh_controller.pair.signs import Signs
from probemesh_controller.pair.view import View

#: Seconds that the first shots are waited for: less than a kernel waits before it sends a SYN again.
FIRST_S = 0.9
#: Long enough for the first repetition of a SYN and of a SYN-ACK, a second after it: of a burst all but the
#: last ones stand even longer.
AGAIN_S = 1.1
#: How long a shot is waited for where nothing is known of what the path takes.
UNKNOWN_S = 1.4
#: A service that lives takes a connection within this.
HELD_MS = 1050.0
#: A dead neighbour is given up after about three seconds; the first shots were the first to ask for it, and
#: have been waited for since.
LONG_S = 2.2
#: Shots of a burst whose evidence is a counter, and between them.
BURST, BURST_MS = 14, 25.0
#: Hops that are tried where the distance is not known.
HOPS = 10
#: Shots of each rung: with what the ladder beside it takes no more than a Linux router answers at once.
RUNG, RUNG_MS = 3, 15.0
#: How long counters, socket tables and late answers have to come to rest, in ms.
SETTLE_MS = 60.0
QUIET_MS = 1000.0
#: Of it, what is enough to know what counters do by themselves: the watch samples them every 50 ms.
KNOWN_MS = 0.9 * QUIET_MS
#: Quiet enough for a router that limits what it says of missing routes. Linux (``ip_error``) asks its
#: allowance, of one a second, twice for each: while more than one packet in two seconds comes, it is silent.
RESTED_MS = 2200.0
#: When a SYN-ACK is sent again, and a little.
REPEAT_MS = 1050.0


def step(view: View, purpose: str, why: str, spec: FlowSpec, port: int | None) -> Step:
    assert view.address is not None
    return Step("", purpose, why, view.near_name, view.address, port, spec, view.far_name, view.direction)


def is_ours(view: View) -> bool:
    """Whether the port that is asked about is the far watch's own listener (``--listen``)."""
    far = view.far
    if not view.case.asked.listen or far is None or far.armed is None or not far.token:
        return False
    return any(one.ours and one.port == view.port for one in far.armed.listeners)


def flow_spec(view: View, shots: Iterable[Shot], timeout_s: float) -> FlowSpec:
    """Shots of the flow itself. A foreign service is told nothing over TCP, and no token over UDP."""
    token = view.far.token if view.far is not None and is_ours(view) else None
    return FlowSpec(options(view, timeout_s), view.transport, tuple(shots), token or None)


def own_spec(view: View, transport: Transport, shots: Iterable[Shot], timeout_s: float) -> FlowSpec:
    """Shots at the far watch's own listeners, which answer."""
    token = view.far.token if view.far is not None and transport is not Transport.ICMP else None
    return FlowSpec(options(view, timeout_s), transport, tuple(shots), token or None)


def options(view: View, timeout_s: float) -> Options:
    return Options(family=view.case.asked.family, timeout_s=timeout_s)


def flow_shots(view: View, count: int, every_ms: float, hold_ms: float | None = None) -> list[Shot]:
    """An odd segment size marks TCP. UDP goes out of unconnected sockets, one for each: they also take what
    comes from another address than was asked."""
    tcp, udp = view.transport is Transport.TCP, view.transport is Transport.UDP
    mss = view.far.mss if tcp and view.far is not None else None
    speaks = (b"" if tcp else None) if is_ours(view) else (hello(view.port) if udp else None)
    return [
        Shot(
            at_ms=number * every_ms,
            mss=mss,
            hold_ms=hold_ms if tcp else None,
            send=speaks,
            socket=number if udp else None,
        )
        for number in range(count)
    ]


def own_shots(transport: Transport, count: int, every_ms: float) -> list[Shot]:
    send = b"" if transport is Transport.TCP else None
    return [Shot(at_ms=number * every_ms, send=send) for number in range(count)]


def _rtts_ms(view: View) -> list[float]:
    """Of whatever was answered on this path, either way."""
    return [
        shot.rtt_ms
        for one in (view, view.back)
        for probed in one.probes()
        for shot in probed.shots
        if shot.rtt_ms
    ]


def patience_s(view: View) -> float:
    """Seconds that a shot is waited for: plenty for what this path was seen to take."""
    rtts = _rtts_ms(view)
    return min(3.0, max(FIRST_S, 0.3 + 5 * median(rtts) / 1000)) if rtts else UNKNOWN_S


def again_s(view: View) -> float:
    """Seconds that a burst's shots are waited for, whose evidence is what the hosts count of it. Only TCP
    says anything again; and where shots were waited for much longer in vain, the path is not just slow."""
    waited = any(True for _ in view.probes_here(purposes.LONG))
    patience = FIRST_S if waited and not _rtts_ms(view) else patience_s(view)
    return max(AGAIN_S if view.transport is Transport.TCP else FIRST_S, patience)


def quiet_ms(view: View) -> float:
    """How long nothing is to be sent before a burst: once both hosts' counters are known, that is needed only
    where a handshake that stands half open would still be repeated into it."""
    if not view.case.rounds:
        return QUIET_MS
    done, ends = view.case.rounds[-1], (view.near_name, view.far_name)
    told = [account for name in ends if (account := done.look(name)) is not None]
    if len(told) < len(ends) or any(one.quiet_ms < KNOWN_MS for one in told):
        return QUIET_MS
    echoes = any(one.half_open or "half-open" in one.blind for one in told)
    return QUIET_MS if echoes and not _repeated(done) else 0.0


def _repeated(done: RoundDone) -> bool:
    """It went on beyond the first repetition of what was sent last; the second is two seconds later."""
    took = [
        row.detail.elapsed_ms for one in done.steps for row in one.rows if isinstance(row.detail, FlowDetail)
    ]
    return max(took, default=0.0) >= (BURST - 1) * BURST_MS + REPEAT_MS


def not_settled(view: View, signs: Signs) -> bool:
    """Something failed that was tried first."""
    return (
        any(True for _ in view.probes_here(purposes.FIRST_FLOW)) and signs.holds(names.ANSWERED) is not True
    )


def may_be_hidden(view: View, signs: Signs) -> bool:
    """The address that was dialled may mean the far end at its own site only. Where what the far end opens is
    answered, and by a foreign service that tells nobody as whom it comes, a router has to have said so."""
    told = (signs.holds(names.REJECTED), signs.holds(names.ROUTE_CODE))
    if not not_settled(view, signs) or signs.holds(names.PRIVATE) is not True:
        return False
    if False in told or True in (signs.holds(names.SILENT), signs.holds(names.OTHER_WORKS)):
        return False
    return signs.holds(names.BACK_WORKS) is not True or told == (True, True)
