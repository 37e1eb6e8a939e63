"""What a router, the target's host and our own host can do to a probe, over namespaces: the classification
table end to end."""

import pytest
from _pytest.fixtures import FixtureRequest
from probemesh_shared.model import (
    IcmpSpec,
    Measurement,
    Options,
    PortRange,
    Target,
    TcpDetail,
    TcpSpec,
    UdpDetail,
    UdpSpec,
)
from probemesh_shared.words import FailureKind, Family, Kind, Origin, Outcome

pytestmark = pytest.mark.netns

ONCE = Options(count=1, timeout_s=1.0)
B4, B6 = "10.77.2.2", "fd77:2::2"
R4, R6 = "10.77.1.1", "fd77:1::1"

#: port: (what R does, outcome, type, code)
REJECTS_V4 = {
    6000: ("reject with icmp type net-unreachable", "unreachable", 3, 0),
    6001: ("reject with icmp type host-unreachable", "unreachable", 3, 1),
    6002: ("reject with icmp type prot-unreachable", "unreachable", 3, 2),
    6003: ("reject with icmp type port-unreachable", "refused", 3, 3),
    6009: ("reject with icmp type net-prohibited", "prohibited", 3, 9),
    6010: ("reject with icmp type host-prohibited", "prohibited", 3, 10),
    6013: ("reject with icmp type admin-prohibited", "prohibited", 3, 13),
}
REJECTS_V6 = {
    6000: ("reject with icmpv6 type no-route", "unreachable", 1, 0),
    6001: ("reject with icmpv6 type admin-prohibited", "prohibited", 1, 1),
    6003: ("reject with icmpv6 type addr-unreachable", "unreachable", 1, 3),
    6004: ("reject with icmpv6 type port-unreachable", "refused", 1, 4),
    6005: ("reject with icmpv6 type policy-fail", "prohibited", 1, 5),
    6006: ("reject with icmpv6 type reject-route", "prohibited", 1, 6),
}
#: The words of nmap's --reason.
_V4 = {0: "net-unreach", 1: "host-unreach", 2: "proto-unreach", 3: "port-unreach"}
_V4 |= {9: "net-prohibited", 10: "host-prohibited", 13: "admin-prohibited"}
_V6 = {0: "no-route", 1: "admin-prohibited", 3: "addr-unreach", 4: "port-unreach"}
_V6 |= {5: "source-prohibited", 6: "reject-route"}
REASONS = {(Family.IPV4, 3, code): word for code, word in _V4.items()}
REASONS |= {(Family.IPV6, 1, code): word for code, word in _V6.items()}
RESET, DROP, CLOSED = 6090, 6091, 6092


def rules() -> str:
    lines = [f"meta nfproto ipv4 meta l4proto {{tcp,udp}} th dport {p} {r[0]}" for p, r in REJECTS_V4.items()]
    lines += [
        f"meta nfproto ipv6 meta l4proto {{tcp,udp}} th dport {p} {r[0]}" for p, r in REJECTS_V6.items()
    ]
    lines += [f"tcp dport {RESET} reject with tcp reset", f"meta l4proto {{tcp,udp}} th dport {DROP} drop"]
    body = "\n".join(lines)
    return f"table inet f {{ chain fw {{ type filter hook forward priority 0;\n{body}\n}}\n}}"


def ported(host: str, *ports: int) -> Target:
    text = f"[{host}]" if ":" in host else host
    return Target(text, host, tuple(PortRange(port, port) for port in sorted(ports)))


def by_port(rows: list[Measurement]) -> dict[int, Measurement]:
    return {row.port or 0: row for row in rows}


@pytest.fixture(scope="module")
def rejecting(request: FixtureRequest):  # type: ignore[no-untyped-def]
    lab = request.getfixturevalue("lab")
    lab.rules("r", rules())
    return lab


@pytest.mark.parametrize(
    ("kind", "spec"), [(Kind.TCP, TcpSpec(ONCE)), (Kind.UDP, UdpSpec(ONCE, b"x"))], ids=["tcp", "udp"]
)
@pytest.mark.parametrize(
    ("host", "router", "table"), [(B4, R4, REJECTS_V4), (B6, R6, REJECTS_V6)], ids=["v4", "v6"]
)
def test_each_reject_is_told_by_code_and_sender(rejecting, kind, spec, host, router, table):
    rows = by_port(rejecting.probe(kind, spec, [ported(host, *table)]))
    for port, (rule, outcome, icmp_type, code) in table.items():
        row = rows[port]
        assert row.failure is not None and row.failure.icmp is not None, (rule, row)
        icmp = row.failure.icmp
        assert (row.outcome, icmp.type, icmp.code) == (outcome, icmp_type, code), rule
        assert (icmp.sender, icmp.ttl, row.failure.origin) == (router, 64, Origin.PATH), rule
        assert isinstance(row.detail, TcpDetail | UdpDetail)
        reason = REASONS[icmp.family, icmp.type, icmp.code]
        assert (row.detail.state, row.detail.reason) == ("filtered", reason), rule


@pytest.mark.parametrize("host", [B4, B6], ids=["v4", "v6"])
def test_reset_closed_and_silence_are_three_things(rejecting, host):
    rows = by_port(rejecting.probe(Kind.TCP, TcpSpec(ONCE), [ported(host, RESET, CLOSED, DROP)]))
    for port in (RESET, CLOSED):
        row = rows[port]
        assert row.outcome is Outcome.REFUSED and row.failure is not None
        assert (row.failure.errno, row.failure.icmp, row.failure.origin) == (
            "ECONNREFUSED",
            None,
            Origin.TARGET,
        )
        assert row.samples[0].rtt_ms is not None
    silent = rows[DROP]
    assert (silent.outcome, silent.samples[0].rtt_ms) == (Outcome.TIMEOUT, None)
    assert silent.failure is not None and silent.failure.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize("host", [B4, B6], ids=["v4", "v6"])
def test_a_closed_udp_port_is_closed_and_a_silent_one_is_not_said_to_be(rejecting, host):
    rows = by_port(rejecting.probe(Kind.UDP, UdpSpec(ONCE), [ported(host, CLOSED, DROP)]))
    assert rows[CLOSED].outcome is Outcome.REFUSED
    assert rows[CLOSED].failure is not None and rows[CLOSED].failure.origin is Origin.TARGET
    assert rows[CLOSED].detail == UdpDetail("closed", reason="port-unreach")
    assert (rows[DROP].outcome, rows[DROP].detail) == (
        Outcome.TIMEOUT,
        UdpDetail("open|filtered", reason="no-response"),
    )


def test_a_lost_syn_is_retransmitted_and_leaves_the_round_trip_unknown(rejecting):
    """R drops the first SYN of each connection by port; the kernel's second one passes after 1 s."""
    rejecting.rules(
        "r",
        "table inet f { set seen { type inet_service; flags dynamic; timeout 30s; }\n"
        "chain fw { type filter hook forward priority 0;\n"
        "iifname r1 tcp flags & (syn|ack) == syn tcp sport @seen accept\n"
        "iifname r1 tcp flags & (syn|ack) == syn add @seen { tcp sport } drop\n}\n}",
    )
    try:
        row = rejecting.probe(
            Kind.TCP, TcpSpec(Options(count=1, timeout_s=3)), [ported(B4, CLOSED)], deadline_s=5
        )[0]
    finally:
        rejecting.rules("r", rules())
    assert row.outcome is Outcome.REFUSED
    assert row.samples[0].syn_retransmits == 1
    assert row.samples[0].rtt_ms is None


@pytest.mark.parametrize(
    ("route", "number"),
    [("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES"), ("blackhole", "EINVAL"), (None, "ENETUNREACH")],
)
@pytest.mark.parametrize("kind", [Kind.TCP, Kind.UDP, Kind.ICMP])
def test_our_own_routing_is_no_fault_of_the_path(rejecting, kind, route, number):
    host = "10.99.0.9"
    if route:
        rejecting.at("a", "ip", "route", "add", route, host)
    else:
        rejecting.at("a", "ip", "route", "del", "default")
    specs = {Kind.TCP: TcpSpec(ONCE), Kind.UDP: UdpSpec(ONCE, b"x"), Kind.ICMP: IcmpSpec(ONCE)}
    try:
        row = rejecting.probe(
            kind, specs[kind], [ported(host, 7) if kind is not Kind.ICMP else Target("t", host)]
        )[0]
    finally:
        if route:
            rejecting.at("a", "ip", "route", "del", route, host)
        else:
            rejecting.at("a", "ip", "route", "add", "default", "via", R4)
    assert row.failure is not None
    assert (row.outcome, row.failure.kind) == (Outcome.UNREACHABLE, FailureKind.NO_ROUTE)
    assert (row.failure.origin, row.failure.errno) == (Origin.AGENT, number)


def test_our_own_filter_is_told_from_the_paths(rejecting):
    rejecting.rules(
        "a",
        "table inet f { chain o { type filter hook output priority 0;\n"
        "udp dport 6100 drop\nudp dport 6101 reject\nicmp type echo-request drop\n"
        "tcp dport 6102 reject with icmp type admin-prohibited\n}\n}",
    )
    try:
        udp = rejecting.probe(Kind.UDP, UdpSpec(ONCE, b"x"), [ported(B4, 6100, 6101)])
        icmp = rejecting.probe(Kind.ICMP, IcmpSpec(ONCE), [Target("t", B4)])
        tcp = rejecting.probe(Kind.TCP, TcpSpec(ONCE), [ported(B4, 6102)])[0]
    finally:
        rejecting.rules("a", "")
    for row in (*udp, *icmp):
        assert row.failure is not None
        assert (row.failure.kind, row.failure.origin) == (FailureKind.LOCAL_FILTER, Origin.AGENT), row
        assert (row.outcome, row.failure.errno) == (Outcome.PROHIBITED, "EPERM")
    assert tcp.outcome is Outcome.PROHIBITED
    assert tcp.failure is not None and tcp.failure.origin is Origin.AGENT
    assert tcp.failure.icmp is not None and tcp.failure.icmp.sender == "10.77.1.2"


def test_a_dead_neighbour_is_told_by_our_own_host(rejecting):
    options = Options(count=1, timeout_s=5)
    row = rejecting.probe(Kind.TCP, TcpSpec(options), [ported("10.77.1.77", 7)], deadline_s=8)[0]
    assert row.outcome is Outcome.UNREACHABLE and row.failure is not None
    assert (row.failure.kind, row.failure.origin) == (FailureKind.UNREACHABLE, Origin.AGENT)


@pytest.mark.parametrize(("host", "router"), [(B4, R4), (B6, R6)], ids=["v4", "v6"])
def test_a_ttl_too_small_names_the_hop(rejecting, host, router):
    options = Options(count=1, timeout_s=1, ttl=1)
    for kind, spec in (
        (Kind.TCP, TcpSpec(options)),
        (Kind.UDP, UdpSpec(options)),
        (Kind.ICMP, IcmpSpec(options)),
    ):
        row = rejecting.probe(kind, spec, [ported(host, 7) if kind is not Kind.ICMP else Target("t", host)])[
            0
        ]
        assert row.outcome is Outcome.UNREACHABLE and row.failure is not None, (kind, row)
        assert row.failure.icmp is not None and row.failure.icmp.sender == router
        assert (row.failure.icmp.type, row.failure.icmp.code) == ((3, 0) if ":" in host else (11, 0))


@pytest.mark.parametrize("host", [B4, B6], ids=["v4", "v6"])
def test_ping_as_nobody_uses_a_ping_socket_where_the_group_is_allowed(rejecting, host):
    rejecting.at("a", "sysctl", "-qw", "net.ipv4.ping_group_range=0 65535")
    try:
        row = rejecting.probe(
            Kind.ICMP, IcmpSpec(Options(count=2, interval_s=0.01)), [Target("t", host)], user=65534
        )[0]
    finally:
        rejecting.at("a", "sysctl", "-qw", "net.ipv4.ping_group_range=1 0")
    assert row.outcome is Outcome.OK
    assert row.detail is not None and row.detail.method == "ping-socket"
    assert [(sample.ttl, sample.timing) for sample in row.samples] == [(63, "kernel")] * 2


def test_a_packet_too_big_for_the_path_is_too_big(rejecting):
    rejecting.at("r", "ip", "link", "set", "r2", "mtu", "1300")
    options = Options(count=1, timeout_s=1, size=1400, dont_fragment=True)
    try:
        rows = [
            rejecting.probe(Kind.ICMP, IcmpSpec(options), [Target("t", B4)])[0],
            rejecting.probe(Kind.UDP, UdpSpec(options), [ported(B4, 7)])[0],
        ]
    finally:
        rejecting.at("r", "ip", "link", "set", "r2", "mtu", "1500")
    for row in rows:
        assert row.failure is not None and row.failure.kind is FailureKind.TOO_BIG, row
        assert row.failure.icmp is not None and row.failure.icmp.info == 1300


@pytest.mark.tool("ping")
def test_without_any_icmp_socket_the_ping_program_is_asked(rejecting):
    options = Options(count=2, timeout_s=1)
    targets = [Target("t", B4), Target("l", "127.0.0.1"), Target("six", B6)]
    rows = rejecting.probe(Kind.ICMP, IcmpSpec(options), targets, user=65534)
    assert len(rows) == 3
    for row in rows:
        assert row.outcome is Outcome.OK, row
        assert row.detail is not None and (row.detail.method, row.detail.size) == ("ping-program", 56)
        assert [sample.ttl for sample in row.samples] == [64 if row.address == "127.0.0.1" else 63] * 2
