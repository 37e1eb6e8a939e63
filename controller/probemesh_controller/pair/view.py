"""One direction of a case: who initiates, who answers, and what either of them saw. Pure.

Every sign, cause and step belongs to one view. The reverse direction is a view like the other with the roles
swapped, so nothing above knows which of the two it has before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address

from probemesh_shared.model import (
    Accepted,
    Connection,
    Datagram,
    FlowDetail,
    FlowSpec,
    HalfOpen,
    Measurement,
    ShotSeen,
    TraceDetail,
    WatchDetail,
)
from probemesh_shared.words import Direction, Family, Transport

from probemesh_controller.candidates import readable
from probemesh_controller.pair.case import Case, End, EndRole, RoundDone, Step, StepDone


@dataclass(frozen=True, slots=True)
class Probed:
    """One step of a view with what came of it. ``number`` counts rounds of the case, from 0."""

    number: int
    round: RoundDone
    done: StepDone

    @property
    def step(self) -> Step:
        return self.done.step

    @property
    def row(self) -> Measurement | None:
        return self.done.rows[0] if self.done.rows else None

    @property
    def flow(self) -> FlowDetail | None:
        row = self.row
        return row.detail if row is not None and isinstance(row.detail, FlowDetail) else None

    @property
    def trace(self) -> TraceDetail | None:
        row = self.row
        return row.detail if row is not None and isinstance(row.detail, TraceDetail) else None

    @property
    def shots(self) -> tuple[ShotSeen, ...]:
        """Where none could even be made, what the row says is so for each."""
        if self.flow is not None:
            return self.flow.shots
        row, spec = self.row, self.step.spec
        if row is None or row.failure is None or not isinstance(spec, FlowSpec):
            return ()
        return tuple(
            ShotSeen(number, row.outcome, shot.at_ms, failure=row.failure)
            for number, shot in enumerate(spec.shots)
        )

    @property
    def alone(self) -> bool:
        """Nothing else was sent meanwhile: what the hosts counted is this step's."""
        return len(self.round.steps) == 1


@dataclass(frozen=True, slots=True)
class View:
    """``case`` seen along ``direction``: ``near`` initiates, ``far`` answers. ``known`` and ``owned`` keep
    what was found out once: a case does not change."""

    case: Case
    direction: Direction
    known: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    owned: dict[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def near(self) -> End | None:
        return self.case.role(EndRole.SOURCE if self.is_forward else EndRole.TARGET)

    @property
    def far(self) -> End | None:
        return self.case.role(EndRole.TARGET if self.is_forward else EndRole.SOURCE)

    @property
    def is_forward(self) -> bool:
        return self.direction is Direction.FORWARD

    @property
    def back(self) -> "View":
        """The other direction."""
        return View(self.case, Direction.REVERSE if self.is_forward else Direction.FORWARD)

    @property
    def transport(self) -> Transport:
        return self.case.asked.transport

    @property
    def port(self) -> int | None:
        return self.case.asked.port if self.is_forward else self.case.asked.reverse_port

    @property
    def near_name(self) -> str:
        return self.case.asked.source if self.is_forward else self.case.asked.target

    @property
    def far_name(self) -> str:
        return self.case.asked.target if self.is_forward else self.case.asked.source

    @property
    def flow_name(self) -> str:
        """``tcp/5432``, ``ping``."""
        return f"{self.transport}/{self.port}" if self.port is not None else "ping"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those by which the far end may be dialled, of the family that was asked for, best first; what
        the case has shown to be its address towards this end (behind a NAT) comes before all."""
        if "addresses" not in self.known:
            self.known["addresses"] = self._addresses()
        return self.known["addresses"]

    def _addresses(self) -> tuple[str, ...]:
        far = self.far
        if far is None:
            return ()
        seen = (one for one in far.reflexive if one not in self.far_own)
        known = (*self.mapped(), *seen, *far.addresses)
        return tuple(dict.fromkeys(one for one in known if self._wanted(one)))

    @property
    def address(self) -> str | None:
        """The one that the flow in question is sent to."""
        return next(iter(self.addresses), None)

    def mapped(self) -> tuple[str, ...]:
        """From where the far end's own flows came in at this end, where that is an address it does not
        have itself. UDP is believed first: a proxy in the way of TCP is no address of anybody's."""
        far = self.far
        if far is None:
            return ()
        own = self.far_own
        for transport in (Transport.UDP, Transport.TCP):
            seen = [
                address
                for probed in self.back.probes()
                if isinstance(probed.step.spec, FlowSpec) and probed.step.spec.transport is transport
                for address in seen_from(probed)
            ]
            if seen:
                return tuple(dict.fromkeys(address for address in seen if address not in own))
        # a foreign service tells nothing, but its host's table does
        return tuple(address for address in far.reflexive if address not in own)

    @property
    def near_own(self) -> frozenset[str]:
        """Addresses that the near host is known to have: listed, or those of its sockets."""
        return self._own("near", self.near, self)

    @property
    def far_own(self) -> frozenset[str]:
        """The same of the far host. No list has all: routes of type ``local`` give a host more, and of IPv6
        only lasting addresses are told."""
        return self._own("far", self.far, self.back)

    def _own(self, key: str, end: End | None, its: "View") -> frozenset[str]:
        if end is None:
            return frozenset()
        if key not in self.owned:
            self.owned[key] = own_addresses(end) | frozenset(_of_sockets(end, its))
        return self.owned[key]

    def _wanted(self, address: str) -> bool:
        """Agents are not trusted with the form of an address: what they name instead is dialled by nobody."""
        if not readable((address,)):
            return False
        family = self.case.asked.family
        return family is Family.BOTH or (family is Family.IPV6) == (":" in address)

    @property
    def surrogate(self) -> int | None:
        """The free port on which the far watch itself answers, TCP and UDP."""
        far = self.far
        return far.armed.surrogate_port if far is not None and far.armed is not None else None

    def probes(self, *purposes: str) -> Iterator[Probed]:
        """This direction's steps of these purposes (of all, without any), oldest first, whatever address
        they went to."""
        for number, round_done in enumerate(self.case.rounds):
            for done in round_done.steps:
                step = done.step
                if step.direction is self.direction and (not purposes or step.purpose in purposes):
                    yield Probed(number, round_done, done)

    def probes_here(self, *purposes: str) -> Iterator[Probed]:
        """Those that went to :attr:`address`."""
        address = self.address
        return (probed for probed in self.probes(*purposes) if probed.step.address == address)

    def far_account(self, probed: Probed) -> WatchDetail | None:
        """What the far watch told after that round."""
        return probed.round.look(self.far_name)

    def near_account(self, probed: Probed) -> WatchDetail | None:
        return probed.round.look(self.near_name)

    def far_sees(self, part: str) -> bool:
        """Whether the far watch can look at that part at all (:attr:`WatchDetail.blind`)."""
        far = self.far
        return far is not None and far.armed is not None and part not in far.armed.blind

    def is_lost(self, name: str) -> bool:
        return name in self.case.lost


def views(case: Case) -> tuple[View, View]:
    return View(case, Direction.FORWARD), View(case, Direction.REVERSE)


def own_addresses(end: End) -> frozenset[str]:
    """Addresses on the interfaces of that host, as its watch tells them; its candidates without one."""
    if end.armed is not None and end.armed.addresses:
        return frozenset(end.armed.addresses)
    return frozenset(end.addresses) - frozenset(end.reflexive)


def _of_sockets(end: End, its: View) -> Iterator[str]:
    """Local addresses of the sockets from which that end sent (``its`` view), and of those at which its watch
    saw something come in."""
    for probed in its.probes():
        yield from (local for shot in probed.shots if (local := local_address(shot.local_address)))
    for done in its.case.rounds:
        account = done.look(end.name)
        if account is not None:
            yield from (local for one in sockets_of(account) if (local := local_address(one.local_address)))


def sockets_of(account: WatchDetail) -> Iterator[HalfOpen | Connection | Accepted | Datagram]:
    """What came in at a socket of that host."""
    yield from account.half_open
    yield from account.connections
    yield from account.accepted
    yield from account.datagrams


def local_address(address: str | None) -> str | None:
    """That of a socket in plain form; None of one that is bound to every address."""
    plain = plain_address(address) if address else ""
    return None if plain in ("", "0.0.0.0", "::") else plain  # noqa: S104 - compared, not bound


@lru_cache(maxsize=4096)
def plain_address(address: str) -> str:
    """``::ffff:192.0.2.1`` of a dual-stack socket is 192.0.2.1; a zone is dropped; what is no address
    stays."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def seen_from(probed: Probed) -> tuple[str, ...]:
    """The source addresses with which the far responder says that this step's own datagrams and
    connections came: only what carried the token, or the responder's own word in a valid reply."""
    return tuple(
        dict.fromkeys(
            plain_address(reply.seen_address)
            for shot in probed.shots
            for reply in shot.replies
            if reply.valid and reply.seen_address
        )
    )
