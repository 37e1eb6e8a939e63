"""What a probe kind is given, and the one shape every kind has.

A kind never reaches for a clock, a socket or a resolver: it uses ``env``. Failures of the network are data in
the measurements; a kind raises only for our own faults, and ``asyncio.CancelledError`` passes through after
its sockets are closed.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from probemesh_shared.model import Failure, Measurement, Options, Pacing, PortRange, Spec, Target
from probemesh_shared.words import Family, Kind

from probemesh_agent.lag import waited_ns
from probemesh_agent.net.namefiles import NameFiles


@dataclass(frozen=True, slots=True)
class Address:
    """One address that the policy has judged and allowed. ``host`` is the canonical literal, with ``%scope``
    for link-local IPv6. Only :class:`Network` makes these."""

    host: str
    family: Family  # IPV4 or IPV6


@dataclass(frozen=True, slots=True)
class Refused:
    """An address (or a name as a whole: ``host`` is then the name) that cannot be probed from here, and why:
    the policy (``denied``), this agent's own address (``own-address``), a family this host has no route
    for."""

    host: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a target's host came to. ``failure`` is set when there is nothing to try at all.

    ``addresses`` holds at most eight of each family asked for, in the system's order (RFC 6724);
    ``names_asked`` is False for literals. ``elapsed_ms`` is the resolver's time.
    """

    host: str
    addresses: tuple[Address, ...] = ()
    refused: tuple[Refused, ...] = ()
    failure: Failure | None = None
    elapsed_ms: float | None = None
    names_asked: bool = False


class ProbeFailed(Exception):
    """Raised by :class:`Network` streams inside a kind; carries the failure that belongs into the sample.

    ``at`` names the place where that is not the target: a proxy, the target of a redirect. ``late`` is what
    did not come, where it is a time-out; ``more`` stands behind the words."""

    def __init__(self, failure: Failure, at: str = "", *, late: str = "no answer", more: str = "") -> None:
        super().__init__(failure.detail)
        self.failure = failure
        self.at, self.late, self.more = at, late, more
        self.seen: TlsSeen | None = None  # where it was a handshake that failed

    def told(self, failure: Failure, at: str) -> "ProbeFailed":
        """The same, as ``failure`` and at another place."""
        return ProbeFailed(failure, at, late=self.late, more=self.more)


@dataclass(slots=True)
class TlsSeen:
    """What the peer's messages said besides, also where the handshake failed. ``requested``: it asked for a
    client certificate. ``group`` and ``cipher`` are registry numbers. ``tickets``: it was content with us.
    ``too_large``: bytes of a certificate that was left out, with those behind it; 0: there was none."""

    requested: bool = False
    authorities: tuple[str, ...] = ()
    cipher: int = 0
    group: int | None = None
    tickets: int = 0
    too_large: int = 0


class CertificateInvalid(ProbeFailed):
    """The handshake went well but for the peer's certificate. ``verify_code`` is OpenSSL's X509_V_ERR
    number."""

    def __init__(self, failure: Failure, verify_code: int, verify_error: str) -> None:
        super().__init__(failure)
        self.verify_code = verify_code
        self.verify_error = verify_error


@dataclass(frozen=True, slots=True)
class Nameservers:
    """What this host itself is configured to ask; ``search`` and ``ndots`` as resolv.conf(5)."""

    addresses: tuple[Address, ...] = ()
    refused: tuple[Refused, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 1

    @property
    def hosts(self) -> tuple[str, ...]:
        """All of them, those too that the policy keeps us from: the C library asks them all the same."""
        return (*(one.host for one in self.addresses), *(one.host for one in self.refused))


@dataclass(frozen=True, slots=True)
class Connected:
    """Facts about an open stream. ``connect_ms`` is the handshake (TCP_INFO where it can be trusted)."""

    connect_ms: float | None
    local_address: str
    local_port: int
    syn_retransmits: int | None = None


class Stream(Protocol):
    """A byte stream. Every call raises :class:`ProbeFailed` (stage as fits) and honours ``deadline``
    (monotonic s)."""

    facts: Connected

    async def read(self, limit: int, deadline: float) -> bytes:
        """At most ``limit`` bytes; ``b""`` at FIN."""

    async def write(self, data: bytes, deadline: float) -> None: ...

    async def end_sending(self) -> None:
        """Sends FIN; what the peer still says can be read."""

    async def start_tls(
        self, context: ssl.SSLContext, server_name: str | None, deadline: float
    ) -> "TlsFacts":
        """Raises :class:`CertificateInvalid` where the context verifies and the certificate does not."""

    async def settle(self, deadline: float) -> None:
        """With TLS 1.3 the peer judges our certificate after the handshake: until it has said how, or
        ``deadline``, which is no failure. What it says beyond that is kept for :meth:`read`."""

    async def close(self) -> None:
        """Sends FIN and frees the descriptor; never raises, never waits for the peer."""


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the handshake came to; ``chain`` is DER, leaf first, as the peer sent it."""

    version: str | None
    cipher: str | None
    alpn: str | None
    chain: tuple[bytes, ...]
    handshake_ms: float
    seen: TlsSeen = field(default_factory=TlsSeen)


class Datagrams(Protocol):
    """A connected UDP socket for request and answer kinds (dns); the udp kind has its own engine."""

    async def send(self, data: bytes) -> None: ...

    async def receive(self, deadline: float) -> bytes:
        """The next datagram; raises :class:`ProbeFailed` for ICMP errors and for silence until
        ``deadline``."""

    async def close(self) -> None: ...


class Network(Protocol):
    """The only way out of the process. Judges every address by the policy before anything is sent to it."""

    async def resolve(self, target: Target, options: Options, deadline: float) -> Resolution:
        """Resolves ``target.host`` (or takes ``target.addresses``) once, by the host's own resolver."""

    async def resolve_host(self, host: str, options: Options, deadline: float) -> Resolution:
        """The same for a nameserver or redirect: never loosened because a user typed the target. A proxy that
        was typed is judged as typed, by :meth:`resolve` (docs/decisions/0014-the-ways-of-http.md)."""

    def nameservers(self, options: Options) -> Nameservers:
        """The host's own. Its owner chose them, 127.0.0.53 included, so only an owner's own denial refuses
        them."""

    def refused_kind(self, kind: Kind) -> Failure | None:
        """Why no probe of this kind may be made from here; None where it may."""

    def refused_port(self, port: int) -> Failure | None:
        """The same for a port of others, TCP or UDP alike; 0, which is none, is never refused.
        :meth:`connect` and :meth:`datagrams` ask by themselves, sockets of one's own do not."""

    def refused_ports(self, spans: Sequence[PortRange]) -> Mapping[int, Failure]:
        """Those of many that are."""

    def refused_name(self, host: str) -> Failure | None:
        """The same for a name that others are to look up for us (a proxy, a name server); None for literals,
        which :meth:`resolve_host` judges."""

    def may_answer(self, address: str) -> bool:
        """Whether a responder may answer who asks from there with the right token. A source address is easily
        forged; loopback and own addresses do not leave this host."""

    def is_own(self, address: str) -> bool:
        """An address of this host's, loopback aside, that its owner does not deny by itself."""

    def name_files(self) -> NameFiles:
        """What this host has for names beside its name servers."""

    async def connect(self, address: Address, port: int, options: Options, deadline: float) -> Stream: ...

    async def datagrams(
        self, address: Address, port: int, options: Options, deadline: float
    ) -> Datagrams: ...

    async def admit(self, address: Address, deadline: float, *, connects: bool) -> Callable[[], None]:
        """Waits until the host owner's caps (sockets at once, packets or connections a second, in all, of
        the kind and to this address) let one more socket send; returns what gives its place back. Raises
        :class:`ProbeFailed` where that is not before ``deadline``. For kinds whose sockets are their own."""

    @property
    def may_listen(self) -> bool:
        """Whether this host's owner lets its agent open listeners."""

    async def sending(self, address: Address, options: Options, deadline: float) -> Options:
        """For kinds that send single packets by sockets of their own: waits until the host owner's rates let
        one leave; returns the options with this agent's own source. Raises :class:`ProbeFailed` where it
        does not before ``deadline``."""

    @property
    def engine(self) -> Any:
        """The packet engine (:mod:`probemesh_agent.engine`) that icmp, tcp and udp share; it takes Address
        only."""


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds; the base of every deadline."""

    def perf_ns(self) -> int:
        """Finest monotonic clock, for round trips."""

    def wall_ns(self) -> int:
        """Unix epoch, UTC; only ever a label."""

    async def sleep(self, seconds: float) -> None: ...


@dataclass(slots=True)
class ProbeLog:
    """Lines that explain a failure, in the measurement's own words; bounded."""

    lines: list[str] = field(default_factory=list)
    limit: int = 50

    def add(self, line: str) -> None:
        if len(self.lines) < self.limit:
            self.lines.append(line[:500])


@dataclass(frozen=True, slots=True)
class ProbeEnv:
    """``deadline`` is on ``clock.monotonic``'s scale: nothing is sent after it and all iterators end by it +
    0.2 s.

    ``pacing`` is this agent's share of the mesh-wide limit per target address (loopback exempt)."""

    network: Network
    clock: Clock
    deadline: float
    pacing: Pacing = Pacing()
    capabilities: frozenset[str] = frozenset()
    lag_ns: Callable[[], int] = waited_ns  # what the calling thread has waited for a processor so far


class Probe(Protocol):
    """A probe kind. One instance serves all jobs; it keeps no state between runs."""

    kind: Kind

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncIterator[Sequence[Measurement]]:
        """Yields measurements as they complete, each ``target_index`` from 0; ends when all are told.

        Every target yields at least one measurement, unless the iterator is closed or cancelled. One that
        could not be started before the deadline is told as outcome ``unmeasured``, failure kind ``deadline``.
        """


__all__ = [
    "Address",
    "CertificateInvalid",
    "Clock",
    "Connected",
    "Datagrams",
    "Nameservers",
    "Network",
    "Probe",
    "ProbeEnv",
    "ProbeFailed",
    "ProbeLog",
    "Refused",
    "Resolution",
    "Stream",
    "TlsFacts",
    "TlsSeen",
]
