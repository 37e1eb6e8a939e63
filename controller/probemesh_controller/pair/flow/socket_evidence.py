"""Which of the far end's sockets, connections and packets are the prober's. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from probemesh_shared.model import Connection, HalfOpen, PacketSeen, ShotSeen, WatchDetail
from probemesh_shared.words import Outcome, Transport

from probemesh_controller.pair.view import Probed, View, own_addresses, plain_address, seen_from

#: TCP_ESTABLISHED, TCP_SYN_RECV and the like, as the kernel numbers them.
ESTABLISHED, SYN_RECV, NEW_SYN_RECV = 1, 3, 12
#: What a watch sees so soon after it was armed was there before: no job gets to the other end in that time.
_AT_ONCE_MS = 30.0


@dataclass(frozen=True, slots=True)
class Prober:
    """By what the prober's flows are known at the far end: its own tuples, and the addresses that it comes
    from. As ``outside`` others have seen it, behind a NAT; what was half open ``before`` is not of
    this step."""

    tuples: frozenset[tuple[str, int]]
    addresses: frozenset[str]
    mss: int | None = None
    outside: frozenset[str] = frozenset()
    before: frozenset[tuple[str, int]] = frozenset()

    def is_its(self, address: str, port: int) -> bool:
        """Its very tuple; or its address after a NAT, which changes ports."""
        address = plain_address(address)
        return (address, port) in self.tuples or address in self.addresses

    def has_mark(self, mss: int | None) -> bool:
        """The odd segment size that its SYNs carry, which a NAT leaves alone; timestamps take 12 off it."""
        return self.mss is not None and mss in (self.mss, self.mss - 12)


def prober_of(view: View, probed: Probed) -> Prober:
    """Of one step. Addresses count only where they are not the prober's own: its own come with the port that
    its socket has."""
    tuples = frozenset(
        (plain_address(shot.local_address), shot.local_port)
        for shot in probed.shots
        if shot.local_address and shot.local_port
    )
    own = view.near_own
    beyond = frozenset(
        address for other in view.probes() for address in seen_from(other) if address not in own
    )
    outside = frozenset(view.near.reflexive) - own if view.near is not None else own
    mss = view.far.mss if view.far is not None else None
    return Prober(tuples, beyond, mss, outside, _before(view, probed))


def _before(view: View, probed: Probed) -> frozenset[tuple[str, int]]:
    """Left half open by whoever came earlier, such as the last diagnosis: they live for a minute."""
    found = {
        (plain_address(one.address), one.port)
        for done in view.case.rounds[: probed.number]
        if (account := done.look(view.far_name)) is not None
        for one in account.half_open
    }
    first = view.far_account(probed) if probed.number == 0 else None
    if first is not None:
        found |= {
            (plain_address(one.address), one.port) for one in first.half_open if one.first_ms < _AT_ONCE_MS
        }
    return frozenset(found)


def half_open(account: WatchDetail, prober: Prober, port: int | None) -> Iterator[HalfOpen]:
    """Who stands behind one NAT with the prober may have connections there, but hardly unanswered ones."""
    for one in account.half_open:
        key = plain_address(one.address), one.port
        by_address = key[0] in prober.outside | prober.addresses and key not in prober.before
        if one.local_port == port and (by_address or key in prober.tuples):
            yield one


def unclaimed(account: WatchDetail, prober: Prober, view: View, port: int | None) -> int:
    """New half-open connections to the port whose addresses are none that an agent of the case has itself."""
    known = {address for end in view.case.ends for address in own_addresses(end)}
    known |= view.near_own | view.far_own
    found = {(plain_address(one.address), one.port) for one in account.half_open if one.local_port == port}
    return sum(key[0] not in known and key not in prober.before for key in found)


def connections(account: WatchDetail, prober: Prober, port: int | None) -> Iterator[Connection]:
    for one in account.connections:
        if one.local_port == port and (prober.is_its(one.address, one.port) or prober.has_mark(one.mss)):
            yield one


def packets_in(account: WatchDetail, prober: Prober, view: View) -> Iterator[PacketSeen]:
    """The prober's packets on the wire, towards the port. Of ping its requests: what answers the far end's
    own pings, and what a host says of others' packets, comes from there as well."""
    for one in account.packets:
        if one.outgoing or one.transport is not view.transport:
            continue
        if one.transport is Transport.ICMP and one.flags != "echo-request":
            continue
        its = (
            plain_address(one.address) in {address for address, _ in prober.tuples} | prober.addresses
            if one.port is None or view.port is None
            else prober.is_its(one.address, one.port)
        )
        if its and (view.port is None or one.local_port == view.port):
            yield one


def is_answered(shot: ShotSeen) -> bool:
    return shot.outcome is Outcome.OK
