"""Signs of the prober's own shots at the flow. Pure."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network

from probemesh_shared.model import IcmpError, Place, ShotSeen
from probemesh_shared.words import AgentState, FailureKind, Outcome, PlaceKind, Transport

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.fates import (
    error_words,
    fate_of,
    icmp_of,
    is_expired,
    is_host_unreachable,
    is_port_unreachable,
    is_protocol_unreachable,
    is_route_code,
)
from probemesh_controller.pair.flow.purposes import FIRST_FLOW, FLOW_SHOTS, LADDER_FLOW
from probemesh_controller.pair.flow.rungs import would_be_told
from probemesh_controller.pair.owning import far_has
from probemesh_controller.pair.signs import Notes, Reader, Sign
from probemesh_controller.pair.view import Probed, View, plain_address, seen_from

#: Nobody gives a neighbour up so soon.
SOON_MS = 700.0
#: Shots so far apart in time that fail within such a moment had waited for the same thing.
APART_MS = 20.0
MOMENT_MS = 10.0
#: What a router may take beyond two round trips to it to say that it knows no way.
SLACK_MS = 15.0
#: Silence is named from so many attempts on.
ENOUGH = 5


def shots_at(view: View) -> Iterator[tuple[Probed, ShotSeen]]:
    """All full-TTL shots of the flow itself, at the address that it is about."""
    for probed in view.probes_here(*FLOW_SHOTS):
        for shot in probed.shots:
            yield probed, shot


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    seen = _fates(view)
    fates = Tally(fate for _, fate in seen if fate is not None)
    if not fates:
        return
    loud = [fate for fate in fates if fate != names.SILENT]
    seen_ids = (notes.note(_said(view, fates, seen)),)
    enough = sum(fates.values()) >= ENOUGH
    for name in names.FATES:
        # one kind of answer, and silence beside it: ICMP errors are rate limited, single packets get lost
        if len(loud) == 1:
            holds: bool | None = name == loud[0]
        elif not loud:
            holds = (name == names.SILENT) if enough else None
        else:
            holds = None if name in loud else False
        if not loud and name == names.REJECTED and not would_be_told(view):
            holds = None
        place = _place(name, seen, view) if holds else None
        yield Sign(name, holds, seen_ids, place)
    yield from _codes(seen, notes, view)
    yield from _other_source(view, notes)
    yield from _box(view, notes)
    yield from _asked_here(seen, view)


def _fates(view: View) -> list[tuple[ShotSeen, str | None]]:
    """Of every shot. "Host unreachable" that did not come to the first, who waited for a second, comes from
    whoever asked for a neighbour in vain (ARP, ND)."""
    seen = [(probed, shot, fate_of(shot, view)) for probed, shot in shots_at(view)]
    first = {fate for probed, _, fate in seen if probed.step.purpose == FIRST_FLOW}
    late = first == {names.SILENT} and not _says_so_at_once(view)
    found = []
    for _, shot, fate in seen:
        icmp = icmp_of(shot)
        # nobody asks the link for his own address: it is somebody else who says so in his name
        waited = late and icmp is not None and is_host_unreachable(icmp) and fate != names.REJECTED_BY_TARGET
        found.append((shot, names.LATE_UNREACHABLE if waited else fate))
    return [*found, *_answered_on_ladder(view)]


def _answered_on_ladder(view: View) -> Iterator[tuple[ShotSeen, str]]:
    """A shot of limited TTL that gets an answer is one of the flow like others. One that gets none tells
    nothing here."""
    for probed in view.probes_here(LADDER_FLOW):
        for shot in probed.shots:
            if fate_of(shot, view) == names.ANSWERED:
                yield shot, names.ANSWERED


def _says_so_at_once(view: View) -> bool:
    """A router without a way there says so in a round trip, when its limit of errors lets it. One that gives
    a neighbour up says it for all who wait, late comers too, in the same moment."""
    hops = _round_trips(view)
    return any(_alone(probed.shots, hops) for probed in view.probes_here())


def _round_trips(view: View) -> dict[str | None, float]:
    """Of every hop that answered a short TTL: the shortest."""
    found: dict[str | None, float] = {}
    for probed in view.probes_here():
        for shot in probed.shots:
            if (icmp := icmp_of(shot)) is not None and is_expired(icmp) and shot.rtt_ms is not None:
                found[icmp.sender] = min(shot.rtt_ms, found.get(icmp.sender, shot.rtt_ms))
    return found


def _alone(shots: Iterable[ShotSeen], hops: Mapping[str | None, float]) -> bool:
    """Some "host unreachable" came in about a round trip, and not together with that of a shot fired at
    another time."""
    told = [
        (shot, shot.failed_ms, 2 * hops[icmp.sender] + SLACK_MS if icmp.sender in hops else SOON_MS)
        for shot in shots
        if (icmp := icmp_of(shot)) is not None and is_host_unreachable(icmp) and shot.failed_ms is not None
    ]
    return any(
        _since_sent_ms(failed, shot.retransmits or 0) < soon
        and not any(
            abs(shot.at_ms - other.at_ms) > APART_MS
            and abs(shot.at_ms + failed - other.at_ms - late) < MOMENT_MS
            for other, late, _ in told
        )
        for shot, failed, soon in told
    )


def _since_sent_ms(failed_ms: float, repeats: int) -> float:
    """Since the last repetition of a SYN: kernels send them a second apart, older ones after 1, 3, 7 s."""
    sent = (1000.0 * repeats, 1000.0 * ((1 << min(repeats, 10)) - 1))
    return min((failed_ms - at for at in sent if failed_ms >= at), default=failed_ms)


def _said(view: View, fates: "Tally[str]", seen: list[tuple[ShotSeen, str | None]]) -> str:
    parts = [f"{count} {_words(fate, seen)}" for fate, count in sorted(fates.items())]
    total = sum(fates.values())
    return f"{view.near_name} tried {view.flow_name} at {view.address} {total} times: {', '.join(parts)}"


def _words(fate: str, seen: list[tuple[ShotSeen, str | None]]) -> str:
    error = next((icmp for shot, one in seen if one == fate and (icmp := icmp_of(shot))), None)
    errno = next((shot.failure.errno for shot, one in seen if one == fate and shot.failure), None)
    if error is not None:
        return f"got {error_words(error)} from {error.sender or 'an unknown sender'}"
    return {
        names.ANSWERED: "answered",
        names.SILENT: "got no answer",
        names.REFUSED: "refused by a RST",
        names.SEND_FILTERED: f"not let out by its own host ({errno})",
        names.NO_ROUTE: f"without a way at its own host ({errno})",
    }.get(fate, fate)


def _place(name: str, seen: list[tuple[ShotSeen, str | None]], view: View) -> Place | None:
    error = next((icmp for shot, one in seen if one == name and (icmp := icmp_of(shot))), None)
    if name in (names.REJECTED, names.EXPIRED, names.LATE_UNREACHABLE) and error is not None:
        return Place(PlaceKind.HOP, plain_address(error.sender)) if error.sender else None
    return None


def _codes(seen: list[tuple[ShotSeen, str | None]], notes: Notes, view: View) -> Iterator[Sign]:
    errors = [error for shot, _ in seen if (error := icmp_of(shot)) is not None]
    if not errors:
        return
    ids = tuple(notes.note(_error_said(error, view)) for error in dict.fromkeys(errors))
    yield Sign(names.PORT_CODE, all(is_port_unreachable(one) for one in errors), ids)
    yield Sign(names.ROUTE_CODE, all(is_route_code(one) for one in errors), ids)


def _error_said(error: IcmpError, view: View) -> str:
    return f"{error.sender or 'an unknown sender'} answered {view.near_name} with {error_words(error)}"


def _other_source(view: View, notes: Notes) -> Iterator[Sign]:
    """Replies to an unconnected socket whose source is not the address that was asked."""
    others = [
        (plain_address(reply.source), reply.source_port)
        for probed, shot in shots_at(view)
        for reply in shot.replies
        if reply.source and plain_address(reply.source) != plain_address(probed.step.address)
    ]
    if others:
        found = Tally(others).most_common(1)[0][0]
        text = f"{view.near_name} asked {view.address} and was answered from {found[0]}"
        yield Sign(names.OTHER_SOURCE, True, (notes.note(text),), values={"source": found[0]})
    elif view.transport is Transport.UDP and sum(1 for _ in shots_at(view)) >= ENOUGH:
        yield Sign(names.OTHER_SOURCE, False)


#: Of one site only (RFC 1918, 6598, 4193, 3927, 4291).
_SITES = tuple(
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("fc00::/7", "fe80::/10"),
    )
)


def is_private(address: str) -> bool:
    return any(ip_address(address) in site for site in _SITES)


def _box(view: View, notes: Notes) -> Iterator[Sign]:
    """Whether something else holds the address that is dialled, and says no itself."""
    far, address = view.far, view.address
    if far is None or far.armed is None or address is None or not far.armed.addresses:
        return
    has = far_has(view)
    there = has is not False
    seen = () if there else (notes.note(f"{address} is on no interface of {view.far_name}"),)
    yield Sign(names.AT_BOX, None if has is None else not has, seen)
    yield Sign(names.PRIVATE, is_private(address))
    seen_at = {one for probed in view.back.probes() for one in seen_from(probed)}
    if seen_at:
        text = f"{view.far_name}'s own packets are seen to come from {', '.join(sorted(seen_at))}"
        yield Sign(names.SEEN_THERE, address in seen_at, (notes.note(text),))
    errors = [error for _, shot in shots_at(view) if (error := icmp_of(shot)) is not None]
    its = bool(errors) and all(error.sender and plain_address(error.sender) == address for error in errors)
    if errors or there:
        yield Sign(names.BOX_REJECTS, its and not there, seen)
        # of a TCP port that nobody has a host says so with a RST
        own_words = view.transport is not Transport.TCP and any(
            is_port_unreachable(error) or is_protocol_unreachable(error) for error in errors
        )
        yield Sign(names.BOX_FILTERS, its and not there and not own_words, seen)


def _asked_here(seen: list[tuple[ShotSeen, str | None]], view: View) -> Iterator[Sign]:
    """Another site may have the same private network: then the far end is not there, and not dead either."""
    senders = {
        plain_address(icmp.sender)
        for shot, fate in seen
        if fate == names.LATE_UNREACHABLE and (icmp := icmp_of(shot)) is not None and icmp.sender
    }
    if senders and view.near is not None and view.address is not None:
        here = senders <= view.near_own and is_private(view.address)
        yield Sign(names.ASKED_HERE, here)


def _ourselves(view: View, notes: Notes) -> Iterator[Sign]:
    for name, end, agent in (
        (names.NEAR_GONE, view.near, view.near_name),
        (names.FAR_GONE, view.far, view.far_name),
    ):
        gone = end is None or end.info.state is not AgentState.CONNECTED
        if view.is_lost(agent):  # on the way: what it had told by then holds
            gone = gone or not any(fate_of(shot, view) for _, shot in shots_at(view))
        why = (end.info.reason if end is not None else None) or "it is not connected"
        ids = (notes.note(f"the agent {agent} cannot be reached: {why}"),) if gone else ()
        yield Sign(name, gone, ids)
    yield _address(view, notes)
    yield _impaired(view, notes)
    far = view.far
    armed = far is not None and far.armed is not None and not view.is_lost(view.far_name)
    text = "watches" if armed else f"does not watch: {(far and far.why_not) or 'it is gone'}"
    yield Sign(names.FAR_REPORTS, armed, () if armed else (notes.note(f"{view.far_name} {text}"),))


def _address(view: View, notes: Notes) -> Sign:
    if view.address is not None:
        return Sign(names.NO_ADDRESS, False)
    family = view.case.asked.family
    text = f"{view.far_name} has no {family} address that {view.near_name} could dial"
    return Sign(names.NO_ADDRESS, True, (notes.note(text.replace(" both ", " ")),))


_OUR_FAULT = frozenset({FailureKind.AGENT_STARVED, FailureKind.LOCAL_RESOURCE})


def _impaired(view: View, notes: Notes) -> Sign:
    """The prober's host got no processor or no sockets: its silence says nothing."""
    shots = [shot for _, shot in shots_at(view)]
    sick = [shot for shot in shots if shot.failure is not None and shot.failure.kind in _OUR_FAULT]
    void = [shot for shot in shots if shot.outcome is Outcome.VOID]
    if shots and len(sick) + len(void) == len(shots):
        text = f"{view.near_name} itself could not measure: {(sick or void)[0].outcome}"
        return Sign(names.IMPAIRED, True, (notes.note(text),))
    return Sign(names.IMPAIRED, False if shots else None)


READER = Reader(
    frozenset(
        {
            *names.FATES,
            names.PORT_CODE,
            names.ROUTE_CODE,
            names.OTHER_SOURCE,
            names.AT_BOX,
            names.BOX_REJECTS,
            names.BOX_FILTERS,
            names.PRIVATE,
            names.ASKED_HERE,
            names.SEEN_THERE,
        }
    ),
    _read,
)
OURSELVES = Reader(
    frozenset({names.NEAR_GONE, names.FAR_GONE, names.NO_ADDRESS, names.IMPAIRED, names.FAR_REPORTS}),
    _ourselves,
)
