"""Signs of what else gets through between the two: the far watch's port, ping, the other way. Pure."""

from collections.abc import Iterator

from probemesh_shared.model import ShotSeen
from probemesh_shared.words import Outcome, Transport

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.fates import fate_of
from probemesh_controller.pair.flow.near import ENOUGH, shots_at
from probemesh_controller.pair.flow.purposes import FLOW_SHOTS, PING_SHOTS, TCP_SHOTS, THIRD, UDP_SHOTS
from probemesh_controller.pair.flow.socket_evidence import ESTABLISHED, connections, half_open, prober_of
from probemesh_controller.pair.owning import far_has
from probemesh_controller.pair.signs import Notes, Reader, Sign
from probemesh_controller.pair.view import Probed, View

#: A half-open connection that stands so long is one that no handshake ends.
LASTS_MS = 100.0


def control(view: View, purposes: tuple[str, ...], transport: Transport) -> bool | None:
    """True: answered by the far end itself; False: enough attempts, and none was, or somebody said no; None:
    too few."""
    tried, said_no = 0, 0
    for probed in view.probes_here(*purposes):
        for shot in probed.shots:
            if is_valid(shot, transport):
                return True
            fate = fate_of(shot, view)
            if fate in (None, names.ANSWERED):
                continue  # connected, and not answered: that is no silence
            tried += 1
            said_no += fate != names.SILENT
    return False if tried >= ENOUGH or said_no >= 2 else None


def is_valid(shot: ShotSeen, transport: Transport) -> bool:
    """A reply with our token; ping has none."""
    if transport is Transport.ICMP:
        return shot.outcome is Outcome.OK
    return any(reply.valid for reply in shot.replies)


def tcp_control(view: View) -> bool | None:
    return control(view, TCP_SHOTS, Transport.TCP)


def udp_control(view: View) -> bool | None:
    return control(view, UDP_SHOTS, Transport.UDP)


def ping_control(view: View) -> bool | None:
    return control(view, PING_SHOTS, Transport.ICMP)


def flow_answered(view: View) -> bool | None:
    """As the sign, in short: for the direction that is not the sign's own."""
    fates = [fate for _, shot in shots_at(view) if (fate := fate_of(shot, view)) is not None]
    if names.ANSWERED in fates:
        return True
    return False if len(fates) >= ENOUGH or any(fate != names.SILENT for fate in fates) else None


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    tcp, udp = tcp_control(view), udp_control(view)
    ping = ping_control(view)
    signs = [
        _control(
            names.TCP_CONTROL, tcp, f"TCP to {view.far_name}'s own listener on another port", view, notes
        ),
        _control(
            names.UDP_CONTROL, udp, f"UDP to {view.far_name}'s own listener on another port", view, notes
        ),
        _control(names.PING, ping, f"ping to {view.address}", view, notes),
    ]
    yield from signs
    yield _other_works(signs, view)
    yield _back_works(view, notes)
    yield from _back_half(view, notes)
    yield from _third(view, notes)
    yield from _never_completed(view, notes)
    yield from _one_way(view, tcp, udp, notes)
    yield from _turned_away(view, tcp, udp, notes)
    yield from _syn_only(view, tcp, udp, notes)


def _control(name: str, holds: bool | None, what: str, view: View, notes: Notes) -> Sign:
    if holds is None:
        return Sign(name)
    text = f"{what} from {view.near_name} {'is answered' if holds else 'is not answered'}"
    return Sign(name, holds, (notes.note(text),))


def _other_works(signs: list[Sign], view: View) -> Sign:
    """Ping's silence alone breaks nothing, so it only counts where it is answered."""
    tcp, udp, ping = signs
    good = [sign for sign in signs if sign.holds and not (sign is ping and view.transport is Transport.ICMP)]
    if good:
        return Sign(names.OTHER_WORKS, True, tuple(i for sign in good for i in sign.seen))
    if tcp.holds is False and udp.holds is False:
        return Sign(names.OTHER_WORKS, False, (*tcp.seen, *udp.seen))
    return Sign(names.OTHER_WORKS)


# --- the other direction ----------------------------------------------------------------------------------


def _back_works(view: View, notes: Notes) -> Sign:
    """What the far end opens is answered by this one: packets do get from here to there."""
    back = view.back
    found = {
        f"{back.near_name} → {back.far_name}, {what}": works
        for what, works in (
            ("TCP to another port", tcp_control(back)),
            ("UDP to another port", udp_control(back)),
            (back.flow_name, flow_answered(back)),
        )
    }
    good = [what for what, works in found.items() if works]
    if good:
        text = f"what {back.near_name} opens is answered: {', '.join(good)}"
        return Sign(names.BACK_WORKS, True, (notes.note(text),))
    if all(works is False for works in found.values()):
        return Sign(
            names.BACK_WORKS, False, (notes.note(f"nothing that {back.near_name} opens is answered"),)
        )
    return Sign(names.BACK_WORKS)


def standing(view: View, *purposes: str) -> tuple[int, int]:
    """Of the connections that stand for their initiator: how many stay half open at the end that answers, and
    how many it has as connections."""
    half, whole = 0, 0
    for probed in view.probes_here(*purposes):
        account = view.far_account(probed)
        if account is None or {"half-open", "connections"} & set(account.blind):
            continue
        prober, port = prober_of(view, probed), probed.step.port
        done = {(one.address, one.port) for one in connections(account, prober, port)}
        done |= {(one.address, one.port) for one in account.accepted if one.local_port == port}
        waiting = {
            (one.address, one.port)
            for one in half_open(account, prober, port)
            if one.last_ms - one.first_ms >= LASTS_MS
        }
        its = {(shot.local_address or "", shot.local_port or 0) for shot in probed.shots if _stands(shot)}
        half += len(its & waiting - done)
        whole += len(its & done)
    return half, whole


def _stands(shot: ShotSeen) -> bool:
    return shot.outcome is Outcome.OK or shot.state == ESTABLISHED


def _back_half(view: View, notes: Notes) -> Iterator[Sign]:
    """A lost ACK leaves a connection half open for a while; a way that eats them leaves all of them so."""
    back, works = view.back, tcp_control(view.back)
    if works is not None:
        yield Sign(names.BACK_HALF, False, (notes.note(_back_said(back)),))
    elif (half := standing(back, *FLOW_SHOTS, *TCP_SHOTS)[0]) >= ENOUGH:
        text = f"{half} connections of {back.near_name} stand there, and stay half open at {back.far_name}"
        yield Sign(names.BACK_HALF, True, (notes.note(text),))


def _back_said(back: View) -> str:
    answered = "are answered" if tcp_control(back) else "do not get through at all"
    return f"TCP connections of {back.near_name} to {back.far_name} {answered}"


def _never_completed(view: View, notes: Notes) -> Iterator[Sign]:
    """Every one of them, and enough; one that got further says no."""
    if view.transport is not Transport.TCP or flow_answered(view) is not True:
        return
    half, whole = standing(view, *FLOW_SHOTS)
    if whole or not half:
        yield Sign(names.NEVER_COMPLETED, False)
    elif half >= ENOUGH:
        text = f"{half} connections of {view.near_name} stand there, and stay half open at {view.far_name}"
        yield Sign(names.NEVER_COMPLETED, True, (notes.note(text),))


def _third(view: View, notes: Notes) -> Iterator[Sign]:
    """Does somebody else get through to the same port? A service that answers others is there."""
    found: dict[str, list[str]] = {}
    for number, done in enumerate(view.case.rounds):
        for one in done.steps:
            if one.step.purpose == f"{THIRD}:{view.direction}" and one.step.address == view.address:
                shots = Probed(number, done, one).shots
                fates = [fate for shot in shots if (fate := fate_of(shot, view)) is not None]
                found.setdefault(one.step.sender, []).extend(fates)
    tried = {name: fates for name, fates in found.items() if fates}
    good = [name for name, fates in tried.items() if names.ANSWERED in fates]
    if good:
        text = f"{', '.join(good)} gets through to {view.flow_name} at {view.address}"
        yield Sign(names.THIRD_REACHES, True, (notes.note(text),))
    elif tried and all(len(fates) >= ENOUGH for fates in tried.values()):
        text = f"{', '.join(tried)} does not get through to {view.flow_name} at {view.address} either"
        yield Sign(names.THIRD_REACHES, False, (notes.note(text),))


# --- what is opened from here, and what is opened from there ----------------------------------------------


def _one_way(view: View, tcp: bool | None, udp: bool | None, notes: Notes) -> Iterator[Sign]:
    mine, back = flow_answered(view), view.back
    theirs = (tcp_control(back), udp_control(back))
    if _at_box(view):
        yield from _through_nat(view, tcp, udp, notes)
    elif True in (mine, tcp, udp) or (theirs == (False, False) and not flow_answered(back)):
        yield Sign(names.ONE_WAY, False)
    elif (mine, tcp, udp) == (False, False, False) and theirs == (True, True):
        text = (
            f"whatever {view.near_name} opens to {view.far_name} fails ({view.flow_name}, TCP and UDP to "
            f"another port), and what {view.far_name} opens is answered, TCP and UDP"
        )
        yield Sign(names.ONE_WAY, True, (notes.note(text),))


def _turned_away(view: View, tcp: bool | None, udp: bool | None, notes: Notes) -> Iterator[Sign]:
    """What is opened from here fails at the address of a NAT, and not of the far end's own."""
    for sign in _one_way(view, tcp, udp, notes):
        yield Sign(names.TURNED_AWAY, sign.holds if _at_box(view) else False, sign.seen)


def _at_box(view: View) -> bool:
    return far_has(view) is False


def _through_nat(view: View, tcp: bool | None, udp: bool | None, notes: Notes) -> Iterator[Sign]:
    """At the address that a NAT gives the far end: what holds for its TCP need not hold for its UDP. Where
    nothing of the far end came from that address it is not known to be its."""
    its = {Transport.TCP: tcp, Transport.UDP: udp}
    control = its.get(view.transport, tcp if tcp is not None else udp)
    mine, back = flow_answered(view), view.back
    works = udp_control(back) if view.transport is Transport.UDP else tcp_control(back)
    if mine or control:
        yield Sign(names.ONE_WAY, False)
    elif (
        view.address in view.mapped() and (mine, control) == (False, False) and (works or flow_answered(back))
    ):
        text = (
            f"what {view.far_name} opens comes from {view.address} and is answered; what {view.near_name} "
            f"opens to that address, {view.flow_name} and another port, does not get to {view.far_name}"
        )
        yield Sign(names.ONE_WAY, True, (notes.note(text),))


def _syn_only(view: View, tcp: bool | None, udp: bool | None, notes: Notes) -> Iterator[Sign]:
    back = tcp_control(view.back)
    if view.transport is not Transport.TCP:
        return
    if came := _half_open_at_control(view):
        text = f"{view.far_name} has {came} half-open connections of {view.near_name} on another port"
        yield Sign(names.SYN_ONLY, False, (notes.note(text),))
    elif _at_box(view):
        yield Sign(names.SYN_ONLY, False)  # a NAT may hand on one kind, and not the other
    elif tcp or udp is False or back is False:
        yield Sign(names.SYN_ONLY, False)
    elif tcp is False and udp and back:
        text = (
            f"no TCP connection that {view.near_name} opens gets through, UDP does, and so do "
            f"{view.near_name}'s segments in connections that {view.far_name} opens"
        )
        yield Sign(names.SYN_ONLY, True, (notes.note(text),))


def _half_open_at_control(view: View) -> int:
    """SYNs to the far watch's own port that came, whatever became of the answers."""
    return sum(
        1
        for probed in view.probes_here(*TCP_SHOTS)
        if (account := view.far_account(probed)) is not None
        for _ in half_open(account, prober_of(view, probed), probed.step.port)
    )


READER = Reader(
    frozenset(
        {
            names.TCP_CONTROL,
            names.UDP_CONTROL,
            names.PING,
            names.OTHER_WORKS,
            names.BACK_WORKS,
            names.BACK_HALF,
            names.THIRD_REACHES,
            names.NEVER_COMPLETED,
            names.ONE_WAY,
            names.TURNED_AWAY,
            names.SYN_ONLY,
        }
    ),
    _read,
)
