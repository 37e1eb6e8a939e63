"""How many packets of a kind were lost, there and back. Pure.

By the far watch's own list; beside a foreign service by what its host counted beyond all that is known to
have come.
"""

from dataclasses import dataclass, field

from probemesh_shared.words import Transport

from probemesh_controller.pair.tour import bundle, ports, side
from probemesh_controller.pair.tour.basis import (
    Fate,
    arrivals,
    datagrams,
    far_listens,
    fates,
    is_v6,
    transport_of,
)
from probemesh_controller.pair.tour.chance import Burst, Share
from probemesh_controller.pair.view import Probed, View

#: What a host's counter may rise by itself, packets in the whole round, to be leant on.
_QUIET = 1.0
_PERIOD_MS = 50.0


@dataclass(slots=True)
class Counts:
    """Packets of one kind, there and back. ``arrived`` and ``sent_back`` only of those of which the far end
    knows."""

    sent: int = 0
    answered: int = 0
    known: int = 0
    arrived: int = 0
    replied: int = 0
    came_back: int = 0
    steps: list[tuple[Burst, ...]] = field(default_factory=list)

    @property
    def round_trip(self) -> Share:
        return Share(self.sent - self.answered, self.sent)

    @property
    def forward(self) -> Share | None:
        return Share(self.known - self.arrived, self.known) if self.known else None

    @property
    def back(self) -> Share | None:
        return Share(self.replied - self.came_back, self.replied) if self.replied else None


def flow_counts(view: View) -> Counts:
    """Of the flow that was asked for; source ports that are dead altogether are another matter."""
    found, dead = Counts(), frozenset[int]()
    if bundle.dead_ports(view):  # then what never got through is not lost by chance
        dead = frozenset(port for port, one in ports.tallies(view).items() if one.dead)
    for probed, every in ports.series(view, ports.FIRST, ports.AGAIN, ports.RATES):
        kept = tuple(fate for fate in every if fate.plan.source_port not in dead)
        _add(found, kept)
        if view.transport is Transport.UDP:
            _add_far(found, view, probed, kept)
        elif view.transport is Transport.ICMP:
            _add_counted(found, view, probed, kept)
    return found


def side_counts(view: View) -> Counts:
    """Of small datagrams to the far watch's own port."""
    found = Counts()
    for probed in view.probes_here(side.PURPOSE, side.AGAIN):
        kept = tuple(fate for fate in fates(probed) if side.is_small(fate) and (fate.answered or fate.silent))
        _add(found, kept)
        _add_listed(found, view, probed, kept)
    return found


def _add(found: Counts, kept: tuple[Fate, ...]) -> None:
    found.sent += len(kept)
    found.answered += sum(not fate.first_lost for fate in kept)
    if kept:
        found.steps.append(ports.bursts_by_gap(kept))


def _add_listed(found: Counts, view: View, probed: Probed, kept: tuple[Fate, ...]) -> None:
    """By the far watch's list."""
    arrived = arrivals(view, probed)
    listed = {one.shot: one for one in datagrams(view, probed)}
    for fate in kept:
        there = arrived.get(fate.seen.shot)
        if there is None:
            continue
        found.known += 1
        found.arrived += there
        one = listed.get(fate.seen.shot)
        if there and (one is None or one.replied):
            found.replied += 1
            found.came_back += fate.answered


def _add_far(found: Counts, view: View, probed: Probed, kept: tuple[Fate, ...]) -> None:
    if far_listens(view):
        _add_listed(found, view, probed, kept)
    else:
        _add_counted(found, view, probed, kept)


def _add_counted(found: Counts, view: View, probed: Probed, kept: tuple[Fate, ...]) -> None:
    """Beside a foreign service: what the far host counted beyond all that is known to have come."""
    counted = _counted(view, probed)
    if counted is None or len(kept) != len(probed.shots):
        return
    arrived, replied = counted
    answered = sum(fate.answered for fate in kept)
    if not answered <= arrived <= len(kept) or not answered <= replied <= arrived:
        return
    found.known += len(kept)
    found.arrived += arrived
    found.replied += replied
    found.came_back += answered


def _counted(view: View, probed: Probed) -> tuple[int, int] | None:
    """Packets of this step that the far host took in, and answers it let out; None where other traffic
    blurs that."""
    account = view.far_account(probed)
    if account is None:
        return None
    v6 = "6" if is_v6(view) else ""
    if view.transport is Transport.ICMP:
        into, out = f"Icmp{v6}.InEchos", "Icmp6.OutEchoReplies" if v6 else "Icmp.OutEchoReps"
    else:
        into, out = f"Udp{v6}.InDatagrams", f"Udp{v6}.OutDatagrams"
    counters = {one.name: one for one in account.counters}
    periods = probed.round.elapsed_ms / _PERIOD_MS
    rises = []
    for name in (into, out):
        one = counters.get(name)
        if one is None or (one.quiet_mean or 0.0) * periods > _QUIET:
            return None
        rises.append(one.delta)
    known_in, known_out = _others(view, probed)
    return rises[0] - known_in, rises[1] - known_out


def _others(view: View, probed: Probed) -> tuple[int, int]:
    """What is known to have come to the far host, and left it, beside this step in its round."""
    into = out = 0
    account = view.far_account(probed)
    for one in account.datagrams if account is not None else ():
        into += 1
        out += bool(one.replied)
    for done in probed.round.steps:
        other = Probed(probed.number, probed.round, done)
        if done.step is probed.step or transport_of(other) is not view.transport:
            continue
        if done.step.sender == view.far_name:
            out += len(other.shots)
            into += sum(len(shot.replies) for shot in other.shots)
    return (into, out) if view.transport is Transport.UDP else (0, 0)
