"""What the two ends of a path tell of one probe: the prober's shots, the far watch's account; traces and
path MTU.

Instants (``at_ms``, ``first_ms``) are milliseconds since the flow began or the watch was armed, by the
teller's own monotonic clock: those of two hosts are never compared.
"""

from dataclasses import dataclass

from probemesh_shared.seen import Failure, IcmpError
from probemesh_shared.words import Outcome, Transport

#: Of a host's own addresses its watch tells no more: from so many on, the list may have gaps.
MOST_ADDRESSES = 256


@dataclass(frozen=True, slots=True)
class Reply:
    """One datagram or echo reply that came back on a shot's socket; or the far responder's word on a
    connection.

    ``valid``: it carries this flow's token. ``agent``, ``seen_address`` and ``seen_port`` are what a
    responder of ours says: who it is (the nonce of its watch, hex), and from where our packet came."""

    at_ms: float = 0.0
    source: str | None = None
    source_port: int = 0
    size: int | None = None
    ttl: int | None = None
    valid: bool = False
    agent: str | None = None
    seen_address: str | None = None
    seen_port: int | None = None


@dataclass(frozen=True, slots=True)
class ShotSeen:
    """What became of one :class:`~probemesh_shared.specs.Shot`; ``shot`` counts in the spec.

    ``errors`` is the socket's whole error queue. ``so_error`` is read before the queue is drained.
    ``scheduled`` and ``sent`` say whether the kernel's TX timestamps came (handed to the qdisc; handed
    to the driver): None where nobody asked. ``state`` and the fields after it are of TCP_INFO. ``end``
    is how a connection ended that was kept or spoke: ``held``, ``fin``, ``reset``, ``silent`` (nothing
    was answered), with ``end_ms`` since it stood. ``failed_ms`` is how long after it was fired its failure
    was known: a router that asks for a neighbour in vain says so seconds later."""

    shot: int = 0
    outcome: Outcome = Outcome.UNMEASURED
    at_ms: float = 0.0
    rtt_ms: float | None = None
    local_address: str | None = None
    local_port: int | None = None
    failure: Failure | None = None
    errors: tuple[IcmpError, ...] = ()
    so_error: str | None = None  # symbolic errno
    scheduled: bool | None = None
    sent: bool | None = None
    state: int | None = None  # TCP_ESTABLISHED = 1 ...
    retransmits: int | None = None
    mss: int | None = None
    pmtu: int | None = None
    ttl: int | None = None  # hop limit of what the peer sent (IPv6), TTL of a reply
    replies: tuple[Reply, ...] = ()
    answer: bytes | None = None  # first bytes that came on a connection, at most 256
    end: str | None = None
    end_ms: float | None = None
    failed_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Counter:
    """A kernel counter by its name (``Ip.InReceives``, ``TcpExt.ListenOverflows``, ``Ip6.InReceives``):
    its rise over the account's span, and what it rises by itself: mean and standard deviation over the
    watch's quiet time, per 50 ms (None: fewer than ten such samples)."""

    name: str = ""
    delta: int = 0
    quiet_mean: float | None = None
    quiet_deviation: float | None = None


@dataclass(frozen=True, slots=True)
class FlowDetail:
    """``counters`` are the prober's own, over the flow; ``elapsed_ms`` is how long that took. ``syn_options``
    are those that its kernel puts into SYNs (``sack``, ``ts``, ``wscale``); empty: not known."""

    shots: tuple[ShotSeen, ...] = ()
    counters: tuple[Counter, ...] = ()
    elapsed_ms: float = 0.0
    syn_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that is bound to the watched port. ``queue`` of ``backlog`` connections wait to be accepted;
    of UDP ``queue`` is bytes that nobody has read yet, ``drops`` datagrams that found no room. ``ours``:
    the watch's own."""

    address: str = ""
    port: int = 0
    queue: int | None = None
    backlog: int | None = None
    drops: int | None = None
    ours: bool = False


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """A connection in SYN_RECV: a SYN came, no handshake followed. Seen at the polls from ``first_ms`` to
    ``last_ms``."""

    address: str = ""
    port: int = 0
    local_address: str = ""
    local_port: int = 0
    first_ms: float = 0.0
    last_ms: float = 0.0
    retransmits: int | None = None  # of our SYN-ACK


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection on the watched or surrogate port, as sock_diag shows it at the look (or last saw it).
    ``accepted`` False: it waits in the accept queue (no inode). ``mss`` is the peer's advertised or
    effective one."""

    state: int = 0
    address: str = ""
    port: int = 0
    local_address: str = ""
    local_port: int = 0
    accepted: bool | None = None
    receive_queue: int | None = None
    send_queue: int | None = None
    mss: int | None = None
    retransmits: int | None = None
    bytes_received: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A connection to one of the watch's own listeners, with its saved SYN (TCP_SAVED_SYN).
    ``syn_options`` are the kinds in their order (``mss``, ``sack``, ``ts``, ``nop``, ``wscale``, or the
    number). ``ack_ttl`` is that of the handshake's ACK or later segments. ``valid``: the token came.
    ``end``: ``open``, ``fin``, ``reset``."""

    at_ms: float = 0.0
    address: str = ""
    port: int = 0
    local_address: str = ""
    local_port: int = 0
    syn_source: str | None = None
    syn_ttl: int | None = None
    syn_id: int | None = None
    syn_dscp: int | None = None
    syn_window: int | None = None
    syn_mss: int | None = None
    syn_options: tuple[str, ...] = ()
    ack_ttl: int | None = None
    valid: bool | None = None
    received: int = 0  # bytes
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram to one of the watch's own UDP sockets, and what came of the reply, if one was owed:
    ``replied`` None (no valid token), true (handed to the kernel), false (``errno`` says why not).
    ``sent``: its SND timestamp."""

    at_ms: float = 0.0
    address: str = ""
    port: int = 0
    local_address: str | None = None
    local_port: int = 0
    size: int | None = None
    ttl: int | None = None
    dscp: int | None = None
    valid: bool = False
    shot: int | None = None
    replied: bool | None = None
    sent: bool | None = None
    errno: str | None = None


@dataclass(frozen=True, slots=True)
class PacketSeen:
    """Packets on the wire before the host's filter (CAP_NET_RAW): one line for each tuple, direction and
    kind. ``flags`` of TCP in capitals (``S``, ``SA``, ``R`` ...), ``echo-request`` and the like for
    ICMP."""

    transport: Transport = Transport.TCP
    outgoing: bool = False
    address: str = ""
    port: int | None = None
    local_address: str = ""
    local_port: int | None = None
    flags: str = ""
    ttl: int | None = None
    count: int = 0
    first_ms: float = 0.0
    mss: int | None = None


@dataclass(frozen=True, slots=True)
class WatchDetail:
    """A watch's account: ``look`` 0 is the armed one, then it counts; each tells what is new since the one
    before.

    ``span_ms`` is the time that the counters' rise covers: since the look before, a quiet one included.
    ``quiet_ms`` is how long their baseline was watched, all quiet time together.
    Nonce, addresses and listeners are as they are now. ``blind`` names the parts that could not be
    looked at (``listeners``, ``half-open``, ``connections``, ``counters``, ``packets``: no
    CAP_NET_RAW): there, empty means not checked. ``agent`` is the nonce its responders answer with,
    hex. ``problems`` are for people. ``certificate`` is the leaf (DER) of the TLS service on the watched
    port, as this host itself is shown it."""

    look: int = 0
    at_ms: float = 0.0
    quiet_ms: float = 0.0
    agent: str = ""
    addresses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    listen_failure: Failure | None = None
    surrogate_port: int | None = None
    counters: tuple[Counter, ...] = ()
    half_open: tuple[HalfOpen, ...] = ()
    connections: tuple[Connection, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    datagrams: tuple[Datagram, ...] = ()
    errors: tuple[IcmpError, ...] = ()
    packets: tuple[PacketSeen, ...] = ()
    blind: tuple[str, ...] = ()
    conntrack: int | None = None
    conntrack_most: int | None = None
    problems: tuple[str, ...] = ()
    span_ms: float = 0.0
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class HopAnswer:
    """One answer to one probe of a trace. ``ttl`` is that of the answer itself. ``how`` it came: ``icmp``, or
    from the target itself ``syn-ack``, ``reset``, ``echo-reply``, ``datagram``.

    ``quoted_*`` are from the packet that the hop quotes, as far as the kernel shows it: a TCP or ICMP header
    to a socket without privilege, an IP header to nobody but CAP_NET_RAW. ``changed`` names what there
    differs from what was sent (``source-port``, ``checksum``, ``mss``, ``options`` ...): something before
    this hop rewrote it. A NAT that mends its quotations, as Linux does, is not seen by this."""

    address: str | None = None
    rtt_ms: float | None = None
    icmp: IcmpError | None = None
    ttl: int | None = None
    quoted_source: str | None = None
    quoted_port: int | None = None
    mtu: int | None = None
    how: str = "icmp"
    quoted_mss: int | None = None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceHop:
    """All probes with one TTL; an unanswered one is in ``sent`` only."""

    hop: int = 0
    sent: int = 0
    answers: tuple[HopAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceDetail:
    """``reached``: the target itself answered, at ``distance`` hops (None: with a full TTL only).
    ``rewritten_at``: the first hop whose quotation is not what was sent (NAT or another rewriter before
    it). ``stand_in``: who says at ``distance`` hops, of another packet to the target, that its hops ran
    out: then what answered there in the target's name was not the target. ``ended`` is why no further
    hop was asked: ``target``, ``error`` (a router said no), ``silence``, ``hops`` (all that were allowed),
    ``deadline``, ``local`` (nothing could be sent)."""

    transport: Transport = Transport.ICMP
    hops: tuple[TraceHop, ...] = ()
    reached: bool = False
    distance: int | None = None
    rewritten_at: int | None = None
    local_address: str | None = None
    local_port: int | None = None
    stand_in: str | None = None
    ended: str = ""


@dataclass(frozen=True, slots=True)
class MtuDetail:
    """Sizes are of IP packets, in bytes. ``mtu`` is the largest that got there (None: none did, or not
    found out), ``failing`` the smallest that did not. ``told`` is what a router said (3/4, packet too
    big) and ``told_by`` who. ``black_hole``: larger ones vanish without a word."""

    mtu: int | None = None
    failing: int | None = None
    told: int | None = None
    told_by: str | None = None
    interface_mtu: int | None = None
    black_hole: bool | None = None
    fragments_pass: bool | None = None
