"""What a prober without any privilege is told by real networks: every kernel signal that diagnosis leans
on, both families."""

from collections.abc import Iterator

import pytest
from probemesh_agent import kernel
from probemesh_shared.model import FlowDetail, Shot, ShotSeen
from probemesh_shared.words import FailureKind, Origin, Outcome, Transport

from tests.flow.conftest import OTHER, PORT, V4, V6, Way
from tests.flow.world import TOKEN, row_from, seen_from, spec_of

pytestmark = [pytest.mark.netns, pytest.mark.tool("ping"), pytest.mark.timeout(120)]

TCP, UDP, ICMP = Transport.TCP, Transport.UDP, Transport.ICMP
BOTH = pytest.mark.parametrize("host", [V4, V6])
TO_PORT = "meta l4proto { tcp, udp } th dport 5001"
SELF = {V4: "10.1.0.2", V6: "2001:db8:1::2"}
FIRST_HOP = {V4: "10.1.0.1", V6: "2001:db8:1::1"}
SECOND_HOP = {V4: "198.51.100.2", V6: "2001:db8:2::2"}


@pytest.fixture
def served(way: Way) -> Iterator[Way]:
    with way.responder():
        yield way


def codes(shot: ShotSeen) -> list[tuple[int, int]]:
    return [(error.type, error.code) for error in shot.errors]


def both(way: Way, host: str, *, timeout_s: float = 0.4) -> tuple[ShotSeen, ShotSeen]:
    """One connection, one datagram."""
    (connect,) = seen_from(way.a, spec_of(TCP, Shot(), timeout_s=timeout_s), host, PORT)
    (datagram,) = seen_from(way.a, spec_of(UDP, Shot(), timeout_s=timeout_s, token=TOKEN), host, PORT)
    return connect, datagram


@BOTH
def test_a_healthy_way(served: Way, host: str) -> None:
    spec = spec_of(TCP, Shot(mss=1201), Shot(send=b""), token=TOKEN)
    silent, speaking = seen_from(served.a, spec, host, PORT)
    for shot in (silent, speaking):
        assert shot.outcome is Outcome.OK and shot.errors == () and shot.retransmits == 0
        assert shot.rtt_ms is not None and 10 <= shot.rtt_ms < 60
        assert shot.local_address == SELF[host]
        assert shot.ttl == (62 if host == V6 else None)
    assert silent.mss in (1201, 1189)
    assert speaking.replies[0].seen_address == SELF[host]
    (datagram,) = seen_from(served.a, spec_of(UDP, Shot(), token=TOKEN), host, PORT)
    assert (datagram.outcome, datagram.ttl) == (Outcome.OK, 62)
    assert (datagram.scheduled, datagram.sent) == (True, True)
    assert datagram.local_address == SELF[host] == datagram.replies[0].seen_address


@BOTH
def test_a_drop_is_silence_in_syn_sent(served: Way, host: str) -> None:
    served.r.chain("forward", f"{TO_PORT} drop")
    connect, datagram = both(served, host, timeout_s=1.4)
    assert (connect.outcome, connect.state) == (Outcome.TIMEOUT, kernel.TCP_SYN_SENT)
    assert connect.retransmits and connect.errors == () and connect.so_error is None
    assert connect.rtt_ms is None
    assert datagram.outcome is Outcome.TIMEOUT and datagram.sent is True and datagram.errors == ()


REJECTS = [
    (V4, "icmp type net-unreachable", (3, 0), "ENETUNREACH", FailureKind.UNREACHABLE),
    (V4, "icmp type host-unreachable", (3, 1), "EHOSTUNREACH", FailureKind.UNREACHABLE),
    (V4, "icmp type prot-unreachable", (3, 2), "ENOPROTOOPT", FailureKind.UNREACHABLE),
    (V4, "icmp type port-unreachable", (3, 3), "ECONNREFUSED", FailureKind.REFUSED),
    (V4, "icmp type net-prohibited", (3, 9), "ENETUNREACH", FailureKind.PROHIBITED),
    (V4, "icmp type host-prohibited", (3, 10), "EHOSTUNREACH", FailureKind.PROHIBITED),
    (V4, "icmp type admin-prohibited", (3, 13), "EHOSTUNREACH", FailureKind.PROHIBITED),
    (V6, "icmpv6 type no-route", (1, 0), "ENETUNREACH", FailureKind.UNREACHABLE),
    (V6, "icmpv6 type admin-prohibited", (1, 1), "EACCES", FailureKind.PROHIBITED),
    (V6, "icmpv6 type addr-unreachable", (1, 3), "EHOSTUNREACH", FailureKind.UNREACHABLE),
    (V6, "icmpv6 type port-unreachable", (1, 4), "ECONNREFUSED", FailureKind.REFUSED),
    (V6, "icmpv6 type policy-fail", (1, 5), "EACCES", FailureKind.PROHIBITED),
    (V6, "icmpv6 type reject-route", (1, 6), "EACCES", FailureKind.PROHIBITED),
]


@pytest.mark.parametrize(("host", "how", "code", "errno", "kind"), REJECTS, ids=[one[1] for one in REJECTS])
def test_a_reject_names_code_and_sender(
    served: Way, host: str, how: str, code: tuple[int, int], errno: str, kind: FailureKind
) -> None:
    served.r.chain("forward", f"{TO_PORT} reject with {how}")
    for shot in both(served, host):
        assert shot.failure is not None and shot.failure.kind is kind, shot
        assert (shot.failure.origin, shot.failure.errno, shot.so_error) == (Origin.PATH, errno, errno)
        assert codes(shot) == [code]
        assert (shot.errors[0].sender, shot.errors[0].ttl) == (FIRST_HOP[host], 64)
        assert shot.rtt_ms is not None and shot.rtt_ms >= 10


@BOTH
def test_a_forged_reset_looks_like_a_closed_port(served: Way, host: str) -> None:
    """But for the ladder: it is there at a TTL that does not reach the target."""
    served.r.chain("forward", "tcp dport 5001 reject with tcp reset")
    shots = seen_from(served.a, spec_of(TCP, Shot(), Shot(ttl=2), Shot(ttl=1)), host, PORT)
    for shot in shots[:2]:
        assert shot.outcome is Outcome.REFUSED and shot.errors == ()
        assert shot.so_error == "ECONNREFUSED" and shot.state == kernel.TCP_CLOSE
    assert codes(shots[2]) == [(3, 0) if host == V6 else (11, 0)], (
        "the hop's own limit comes before its filter"
    )


@BOTH
@pytest.mark.parametrize("transport", list(Transport))
def test_a_ladder_names_the_hops(served: Way, host: str, transport: Transport) -> None:
    shots = [Shot(ttl=ttl, socket=0, source_port=4242 if transport is UDP else 0) for ttl in (1, 2, 3)]
    token = TOKEN if transport is UDP else None
    told = seen_from(served.a, spec_of(transport, *shots, token=token), host, PORT)
    assert [shot.outcome for shot in told] == [Outcome.UNREACHABLE, Outcome.UNREACHABLE, Outcome.OK]
    assert [shot.errors[0].sender for shot in told[:2]] == [FIRST_HOP[host], SECOND_HOP[host]]
    assert [shot.errors[0].ttl for shot in told[:2]] == [64, 63]
    assert {code for shot in told[:2] for code in codes(shot)} == {(3, 0) if host == V6 else (11, 0)}
    assert all(shot.rtt_ms is not None and shot.rtt_ms >= 10 for shot in told)
    if transport is UDP:
        assert {shot.local_port for shot in told} == {4242}


def test_a_ladder_of_connections_from_one_port(served: Way) -> None:
    """The failing flow itself: all with the same five-tuple, one after the other."""
    shots = [Shot(ttl=ttl, source_port=4243, at_ms=80.0 * ttl) for ttl in (1, 2, 3, 4)]
    told = seen_from(served.a, spec_of(TCP, *shots), V4, PORT)
    assert [shot.outcome for shot in told] == [Outcome.UNREACHABLE] * 2 + [Outcome.OK] * 2
    assert {shot.local_port for shot in told} == {4243}


@BOTH
def test_the_own_host_s_output_drop(served: Way, host: str) -> None:
    served.a.chain("output", f"{TO_PORT} drop")
    row = row_from(served.a, spec_of(TCP, *(Shot() for _ in range(3)), timeout_s=1.4), host, PORT)
    assert isinstance(row.detail, FlowDetail)
    assert {shot.outcome for shot in row.detail.shots} == {Outcome.TIMEOUT}
    rose = {counter.name: counter.delta for counter in row.detail.counters}
    assert rose["TcpExt.TCPRetransFail"] >= 3, rose
    ip = "Ip6" if host == V6 else "Ip"
    if f"{ip}.OutTransmits" in rose:  # Linux 6.7 and later
        assert rose[f"{ip}.OutRequests"] - rose[f"{ip}.OutTransmits"] >= 3, rose
    _, datagram = both(served, host)
    assert datagram.failure is not None
    assert datagram.failure.kind is FailureKind.LOCAL_FILTER and datagram.failure.errno == "EPERM"
    assert datagram.sent is False and datagram.errors == ()


@BOTH
def test_the_own_host_s_output_reject(served: Way, host: str) -> None:
    """Its error comes while ``connect`` holds the socket, which stays in SYN_SENT: the queue has it."""
    served.a.chain("output", f"{TO_PORT} reject")
    connect, datagram = both(served, host)
    assert connect.outcome is Outcome.REFUSED and connect.failure is not None
    assert connect.failure.origin is Origin.AGENT and connect.failure.icmp is not None
    assert datagram.failure is not None and datagram.failure.kind is FailureKind.LOCAL_FILTER
    for shot in (connect, datagram):
        assert [error.sender for error in shot.errors] == [SELF[host]]
    assert datagram.sent is False


@BOTH
@pytest.mark.parametrize("ttl", [None, 1])
def test_an_error_that_comes_while_connect_holds_the_socket(way: Way, host: str, ttl: int | None) -> None:
    """Between B and S nothing takes time: the kernel aborts no connect for such an error, and keeps it."""
    way.s.chain("forward", "meta l4proto { tcp, udp } th dport 7001 reject with icmpx type admin-prohibited")
    for transport in (TCP, UDP):
        (shot,) = seen_from(way.b, spec_of(transport, Shot(ttl=ttl)), SELF[host], 7001)
        assert shot.failure is not None and shot.failure.origin is Origin.PATH, shot
        kind = FailureKind.UNREACHABLE if ttl else FailureKind.PROHIBITED
        assert shot.failure.kind is kind
        assert shot.errors[0].sender == {V4: "203.0.113.1", V6: "2001:db8:3::1"}[host]
        assert shot.rtt_ms is not None and shot.rtt_ms < 300, "not only at the end of the wait"


def test_an_interface_that_stamps_nothing_proves_nothing(way: Way) -> None:
    """A bridge without ports swallows what it is given, and its driver says that it gives no stamps."""
    way.a.run("ip", "link", "add", "br0", "type", "bridge")
    try:
        way.a.run("ip", "addr", "add", "10.9.0.1/24", "dev", "br0")
        way.a.run("ip", "link", "set", "br0", "up")
        way.a.run("ip", "neigh", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:01", "dev", "br0")
        (shot,) = seen_from(way.a, spec_of(UDP, Shot(), timeout_s=0.2), "10.9.0.2", PORT)
    finally:
        way.a.run("ip", "link", "del", "br0")
    assert shot.outcome is Outcome.TIMEOUT
    assert (shot.scheduled, shot.sent) == (True, None)


@BOTH
def test_the_own_host_s_egress_drop(served: Way, host: str) -> None:
    served.a.nft(
        "table netdev e {\nchain out {\ntype filter hook egress device eth0 priority 0; policy accept;\n"
        f"{TO_PORT} drop\n}}\n}}\n"
    )
    connect, datagram = both(served, host)
    assert connect.outcome is Outcome.TIMEOUT
    assert datagram.failure is not None and datagram.failure.errno == "ENOBUFS"
    assert datagram.outcome is Outcome.LOCAL_RESOURCE
    assert (datagram.scheduled, datagram.sent) == (True, False)


@pytest.mark.parametrize(
    ("kind", "errno"),
    [("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES"), ("blackhole", "EINVAL")],
)
def test_the_own_host_has_no_route(way: Way, kind: str, errno: str) -> None:
    way.a.route(kind, "203.0.113.9")
    try:
        shots = both(way, "203.0.113.9")
    finally:
        way.a.run("ip", "route", "del", kind, "203.0.113.9")
    for shot in shots:
        assert shot.outcome is Outcome.UNREACHABLE and shot.failure is not None
        assert (shot.failure.kind, shot.failure.errno) == (FailureKind.NO_ROUTE, errno)
        assert shot.failure.origin is Origin.AGENT and shot.errors == ()
        assert shot.local_address is None


def test_no_route_at_all_is_told_in_the_row(way: Way) -> None:
    way.a.run("ip", "route", "del", "default")
    try:
        row = row_from(way.a, spec_of(TCP, Shot()), V4, PORT)
    finally:
        way.a.default_via("10.1.0.1")
    assert row.failure is not None and row.failure.kind is FailureKind.NO_ROUTE
    assert row.outcome is Outcome.UNREACHABLE and row.failure.errno == "ENETUNREACH"


@BOTH
def test_the_target_host_s_reject_is_the_target_s(served: Way, host: str) -> None:
    """A real stack answers a SYN to a closed port by RST: an ICMP error of the target is its filter's."""
    served.b.chain("input", f"{TO_PORT} reject")
    for shot in both(served, host):
        assert shot.outcome is Outcome.REFUSED and shot.failure is not None
        assert shot.failure.origin is Origin.TARGET
        assert codes(shot) == [(1, 4) if host == V6 else (3, 3)]
        assert (shot.errors[0].sender, shot.errors[0].ttl) == (host, 62)


@pytest.fixture
def narrow(served: Way) -> Iterator[Way]:
    """1400 bytes between R and S."""
    ends = ((served.r, "eth1"), (served.s, "eth0"))
    for host, device in ends:
        host.run("ip", "link", "set", device, "mtu", "1400")
    yield served
    for host, device in ends:
        host.run("ip", "link", "set", device, "mtu", "1500")


HEADERS = {V4: 28, V6: 48}


@BOTH
@pytest.mark.parametrize("transport", [UDP, ICMP])
def test_sizes_with_don_t_fragment(narrow: Way, host: str, transport: Transport) -> None:
    """Each size asks the path anew, whatever was remembered of it."""
    sizes = (1400, 1401, 1500, 1501)
    shots = [
        Shot(size=size - HEADERS[host], dont_fragment=True, at_ms=20.0 * i) for i, size in enumerate(sizes)
    ]
    fits, *told, too_big = seen_from(narrow.a, spec_of(transport, *shots, token=TOKEN), host, PORT)
    assert fits.outcome is Outcome.OK
    for shot in told:
        assert shot.failure is not None and shot.failure.kind is FailureKind.TOO_BIG
        assert shot.failure.origin is Origin.PATH and shot.sent is True
        (error,) = shot.errors
        assert (error.sender, error.info) == (FIRST_HOP[host], 1400)
        assert (error.type, error.code) == ((2, 0) if host == V6 else (3, 4))
    assert too_big.failure is not None and too_big.failure.origin is Origin.AGENT
    assert too_big.failure.errno == "EMSGSIZE" and too_big.sent is False


def test_sizes_without_don_t_fragment(narrow: Way) -> None:
    """Also where a path MTU is remembered: the routers fragment."""
    shots = [Shot(size=1472, dont_fragment=True), *(Shot(size=size, at_ms=50) for size in (1372, 1472, 3000))]
    first, *rest = seen_from(narrow.a, spec_of(UDP, *shots, token=TOKEN), V4, PORT)
    assert first.failure is not None and first.failure.kind is FailureKind.TOO_BIG
    assert [shot.outcome for shot in rest] == [Outcome.OK] * 3


def test_a_black_hole_is_silent_for_large_datagrams_with_df_alone(narrow: Way) -> None:
    narrow.r.chain("output", "icmp type destination-unreachable icmp code frag-needed drop")
    shots = (Shot(size=1300, dont_fragment=True), Shot(size=1472, dont_fragment=True), Shot(size=1472))
    small, large, fragmented = seen_from(narrow.a, spec_of(UDP, *shots, token=TOKEN), V4, PORT)
    assert small.outcome is fragmented.outcome is Outcome.OK
    assert large.outcome is Outcome.TIMEOUT and large.sent is True and large.errors == ()


def test_a_connection_learns_the_path_mtu(narrow: Way) -> None:
    (shot,) = seen_from(narrow.a, spec_of(TCP, Shot(send=bytes(5000), hold_ms=200)), V4, PORT)
    assert (shot.outcome, shot.pmtu) == (Outcome.OK, 1400)


def test_bulk_into_a_black_hole_is_seen_by_its_retransmits(narrow: Way) -> None:
    narrow.r.chain("output", "icmp type destination-unreachable icmp code frag-needed drop")
    (shot,) = seen_from(narrow.a, spec_of(TCP, Shot(send=bytes(5000), hold_ms=900), token=TOKEN), V4, PORT)
    assert shot.outcome is Outcome.OK and shot.pmtu == 1500
    assert shot.retransmits and shot.end == "silent"


def test_a_reply_from_another_address_is_seen(way: Way) -> None:
    with way.responder(OTHER):
        (shot,) = seen_from(way.a, spec_of(UDP, Shot(), token=TOKEN), V4, PORT)
    assert shot.outcome is Outcome.OK
    assert [(reply.source, reply.valid) for reply in shot.replies] == [(OTHER, True)]


def test_an_icmp_reject_after_the_handshake_ends_no_connection(served: Way) -> None:
    """The peer's stays open; the error is told, and the connection outlives it."""
    served.r.chain(
        "forward", "tcp dport 5001 tcp flags & (syn|psh) == psh reject with icmp type admin-prohibited"
    )
    (shot,) = seen_from(served.a, spec_of(TCP, Shot(send=b"", hold_ms=150), token=TOKEN), V4, PORT)
    assert (shot.outcome, shot.end) == (Outcome.OK, "silent")
    assert shot.so_error == "EHOSTUNREACH" and shot.state == kernel.TCP_ESTABLISHED


@BOTH
def test_raw_sockets_where_no_ping_socket_is_allowed(way: Way, host: str) -> None:
    way.a.sysctl(net__ipv4__ping_group_range="1 0")
    try:
        denied = seen_from(way.a, spec_of(ICMP, Shot()), host)
        told = seen_from(way.a, spec_of(ICMP, Shot(), Shot(ttl=1), Shot(size=1452)), host, user=0)
    finally:
        way.a.sysctl(net__ipv4__ping_group_range="0 2147483647")
    assert denied[0].outcome is Outcome.UNSUPPORTED
    assert denied[0].failure is not None and denied[0].failure.errno == "EACCES"
    answered, limited, large = told
    assert answered.outcome is large.outcome is Outcome.OK and (answered.ttl, answered.sent) == (62, True)
    assert limited.errors[0].sender == FIRST_HOP[host]
