"""Which rungs are climbed, where a climb stops, and what is sent on the way."""

import asyncio
from collections.abc import Callable

import pytest
from agent_tests_fakes import OWN, REFUSED, TIMED_OUT, FakeNetwork, FakeProbe, env_of
from probemesh_agent import porttable
from probemesh_agent.ladder import LadderProbe
from probemesh_agent.porttable import Manner
from probemesh_agent.wire.starttls import SSL_REQUEST
from probemesh_shared.expectations import parse_expectations
from probemesh_shared.model import (
    DnsDetail,
    Failure,
    HttpSpec,
    LadderSpec,
    Measurement,
    Options,
    PortRange,
    TcpDetail,
    TlsDetail,
)
from probemesh_shared.targets import parse_target
from probemesh_shared.words import DnsSource, FailureKind, Family, Kind, Outcome

Broken = Callable[[str, int | None], Failure | None]
RUNGS = (Kind.ICMP, Kind.DNS, Kind.TCP, Kind.UDP, Kind.TLS, Kind.HTTP)


class Climbed:
    """One climb of ``text`` with fakes; ``broken`` by kind."""

    def __init__(
        self,
        network: FakeNetwork | None = None,
        family: Family = Family.BOTH,
        expect: tuple[str, ...] = (),
        **broken: Broken,
    ) -> None:
        self.network = network or FakeNetwork()
        self.options = Options(family, timeout_s=1.0, expect=parse_expectations(expect))
        self.probes = {kind: FakeProbe(kind, broken.get(kind.value, lambda h, p: None)) for kind in RUNGS}
        self.rows: list[Measurement] = []

    async def __call__(self, *texts: str) -> "Climbed":
        targets = tuple(map(parse_target, texts))
        ladder = LadderProbe(self.probes)
        async for batch in ladder.run(LadderSpec(self.options), targets, env_of(self.network)):
            self.rows.extend(batch)
        assert self.network.open == 0, "a connection was left open"
        return self

    @property
    def kinds(self) -> list[Kind]:
        return sorted({row.kind for row in self.rows}, key=RUNGS.index)

    def of(self, kind: Kind) -> list[Measurement]:
        return [row for row in self.rows if row.kind is kind]


def always(failure: Failure) -> Broken:
    return lambda host, port: failure


@pytest.mark.parametrize(
    ("target", "kinds"),
    [
        ("192.0.2.1", [Kind.ICMP]),
        ("192.0.2.1:443", [Kind.ICMP, Kind.TCP, Kind.TLS, Kind.HTTP]),
        ("192.0.2.1:993", [Kind.ICMP, Kind.TCP, Kind.TLS]),
        ("192.0.2.1:80", [Kind.ICMP, Kind.TCP, Kind.HTTP]),
        ("192.0.2.1:22", [Kind.ICMP, Kind.TCP]),
        ("192.0.2.1:9100", [Kind.ICMP, Kind.TCP]),
        ("192.0.2.1:80,443", [Kind.ICMP, Kind.TCP]),
        ("tcp://192.0.2.1:443", [Kind.ICMP, Kind.TCP]),
        ("http://192.0.2.1:4711/x", [Kind.ICMP, Kind.TCP, Kind.HTTP]),
        ("https://192.0.2.1/x", [Kind.ICMP, Kind.TCP, Kind.TLS, Kind.HTTP]),
        ("udp://192.0.2.1:53", [Kind.UDP]),
        ("dns:example.org/MX", [Kind.DNS]),
        ("icmp:192.0.2.1", [Kind.ICMP]),
    ],
)
async def test_rungs_by_target(target: str, kinds: list[Kind]) -> None:
    assert (await Climbed()(target)).kinds == kinds


async def test_a_name_is_resolved_once_and_told() -> None:
    network = FakeNetwork(hosts={"web.example": ("192.0.2.1", "2001:db8::1")})
    climbed = await Climbed(network)("web.example:80")
    (resolved,) = climbed.of(Kind.DNS)
    assert isinstance(resolved.detail, DnsDetail)
    assert resolved.detail.system
    assert resolved.detail.system_addresses == ("192.0.2.1", "2001:db8::1")
    assert resolved.detail.resolvers == ("192.0.2.53", "2001:db8::53")  # as the C library asks, policy or not
    for kind in (Kind.ICMP, Kind.TCP, Kind.HTTP):
        assert {row.address for row in climbed.of(kind)} == {"192.0.2.1", "2001:db8::1"}
        assert all(
            target.addresses and target.host == "web.example" for _, target in climbed.probes[kind].asked
        )


async def test_the_nameservers_told_are_those_of_the_host_whatever_family_is_asked_for() -> None:
    network = FakeNetwork(hosts={"web.example": ("192.0.2.1",)})
    climbed = await Climbed(network, family=Family.IPV4)("web.example")
    (resolved,) = climbed.of(Kind.DNS)
    assert isinstance(resolved.detail, DnsDetail)
    assert resolved.detail.resolvers == ("192.0.2.53", "2001:db8::53")


async def test_a_name_out_of_the_hosts_file_is_told_as_such() -> None:
    hosts = {"known.example": ("192.0.2.9",), "other.example": ("192.0.2.9",)}
    for name, source in (("known.example", DnsSource.HOSTS_FILE), ("other.example", DnsSource.UNKNOWN)):
        (resolved,) = (await Climbed(FakeNetwork(hosts=hosts))(name)).of(Kind.DNS)
        assert isinstance(resolved.detail, DnsDetail) and resolved.detail.lookup is not None
        assert resolved.detail.lookup.source is source


async def test_a_name_that_fails_ends_the_climb() -> None:
    climbed = await Climbed()("no.invalid:80")
    assert [(row.kind, row.outcome) for row in climbed.rows] == [(Kind.DNS, Outcome.NAME_FAILS)]


async def test_ping_breaks_nothing_but_connect_does() -> None:
    climbed = await Climbed(icmp=always(TIMED_OUT), tcp=always(REFUSED))("192.0.2.1:443")
    assert climbed.kinds == [Kind.ICMP, Kind.TCP]
    assert (await Climbed(icmp=always(TIMED_OUT))("192.0.2.1:443")).kinds[-1] is Kind.HTTP


async def test_a_broken_handshake_ends_the_climb() -> None:
    climbed = await Climbed(tls=always(TIMED_OUT))("192.0.2.1:443")
    assert climbed.kinds == [Kind.ICMP, Kind.TCP, Kind.TLS]


async def test_each_address_climbs_from_where_it_held() -> None:
    network = FakeNetwork(hosts={"web.example": ("192.0.2.1", "192.0.2.2")})
    dead = lambda host, port: REFUSED if host == "192.0.2.2" else None  # noqa: E731
    climbed = await Climbed(network, tcp=dead)("web.example:80")
    assert {row.address: row.outcome for row in climbed.of(Kind.TCP)} == {
        "192.0.2.1": Outcome.OK,
        "192.0.2.2": Outcome.REFUSED,
    }
    assert [row.address for row in climbed.of(Kind.HTTP)] == ["192.0.2.1"]


async def test_own_address_is_told_and_not_probed() -> None:
    climbed = await Climbed(FakeNetwork(own=frozenset({"192.0.2.1"})))("192.0.2.1:80")
    (only,) = climbed.rows
    assert (only.kind, only.port, only.outcome) == (Kind.TCP, 80, Outcome.UNMEASURED)
    assert only.failure is not None
    assert only.failure.kind is FailureKind.OWN_ADDRESS
    assert not any(probe.asked for probe in climbed.probes.values())


async def test_only_the_addresses_that_may_be_probed_are() -> None:
    network = FakeNetwork(hosts={"web.example": ("192.0.2.1", "192.0.2.2")}, own=frozenset({"192.0.2.1"}))
    climbed = await Climbed(network)("web.example:80")
    assert [row.failure for row in climbed.of(Kind.TCP) if row.address == "192.0.2.1"] == [OWN]
    assert [row.address for row in climbed.of(Kind.HTTP)] == ["192.0.2.2"]


async def test_a_scan_connects_and_no_more() -> None:
    climbed = await Climbed()("192.0.2.1:22,80,5432")
    assert [row.port for row in climbed.of(Kind.TCP)] == [22, 80, 5432]
    assert climbed.network.dialled == []


@pytest.mark.parametrize("port", [22, 25, 4711])
async def test_a_banner_is_read_and_nothing_is_sent(port: int) -> None:
    climbed = await Climbed(FakeNetwork(says=[b"220 mail ESMTP\r\n"]))(f"192.0.2.1:{port}")
    (row,) = climbed.of(Kind.TCP)
    assert isinstance(row.detail, TcpDetail)
    assert (row.detail.banner, row.detail.banner_protocol) == (b"220 mail ESMTP\r\n", "smtp")
    assert climbed.network.written == []


async def test_a_silent_unknown_port_is_just_open() -> None:
    climbed = await Climbed()("192.0.2.1:4711")
    (row,) = climbed.of(Kind.TCP)
    assert (row.outcome, climbed.network.dialled, climbed.network.written) == (
        Outcome.OK,
        [("192.0.2.1", 4711)],
        [],
    )


async def test_a_server_that_speaks_http_unasked_is_asked_for_a_page() -> None:
    climbed = await Climbed(FakeNetwork(says=[b"HTTP/1.1 400 Bad Request\r\n"]))("192.0.2.1:4711")
    assert climbed.kinds[-1] is Kind.HTTP


async def test_mysql_is_connected_to_once() -> None:
    greeting = b"\x4a\x00\x00\x00\x0a8.0.36\x00"
    climbed = await Climbed(FakeNetwork(says=[greeting]))("192.0.2.1:3306")
    (row,) = climbed.of(Kind.TCP)
    assert isinstance(row.detail, TcpDetail)
    assert (row.detail.banner_protocol, len(row.samples), row.samples[0].rtt_ms) == ("mysql", 1, 1.5)
    assert climbed.network.dialled == [("192.0.2.1", 3306)]
    assert climbed.probes[Kind.TCP].asked == []
    assert climbed.network.written == []


async def test_mysql_that_refuses() -> None:
    climbed = await Climbed(FakeNetwork(closed=True))("192.0.2.1:3306")
    (row,) = climbed.of(Kind.TCP)
    assert (row.outcome, row.failure) == (Outcome.REFUSED, REFUSED)


async def test_postgres_is_asked_for_tls_in_its_own_way() -> None:
    climbed = await Climbed(FakeNetwork(says=[b"S"]))("192.0.2.1:5432")
    assert climbed.network.written == [SSL_REQUEST]
    (row,) = climbed.of(Kind.TLS)
    assert isinstance(row.detail, TlsDetail)
    assert (row.outcome, row.detail.version, row.port) == (Outcome.OK, "TLSv1.3", 5432)
    assert climbed.network.handshakes == [None]


@pytest.mark.parametrize("answer", [[b"N"], [b""], [b"x"], []])
async def test_postgres_without_tls_breaks_nothing(answer: list[bytes]) -> None:
    climbed = await Climbed(FakeNetwork(says=answer))("192.0.2.1:5432")
    (row,) = climbed.of(Kind.TCP)
    assert row.outcome is Outcome.OK
    assert any("SSLRequest" in line for line in row.log)
    assert climbed.of(Kind.TLS) == []
    assert climbed.network.handshakes == []


async def test_a_url_keeps_its_path_and_its_expectation_a_guess_forgives_4xx() -> None:
    asked = (await Climbed()("http://192.0.2.1/health?x=1")).probes[Kind.HTTP].asked
    assert [
        (target.path, target.secure, spec.expect_status)
        for spec, target in asked
        if isinstance(spec, HttpSpec)
    ] == [("/health?x=1", False, ())]
    asked = (await Climbed()("192.0.2.1:8443")).probes[Kind.HTTP].asked
    assert [
        (target.path, target.secure, spec.expect_status)
        for spec, target in asked
        if isinstance(spec, HttpSpec)
    ] == [("/", True, (PortRange(200, 499),))]


async def test_many_targets_keep_their_index() -> None:
    climbed = await Climbed()(*(f"192.0.2.{n}:22" for n in range(1, 101)))
    assert sorted({row.target_index for row in climbed.rows}) == list(range(100))
    assert all(row.address == f"192.0.2.{row.target_index + 1}" for row in climbed.rows)


async def test_a_missing_kind_is_unsupported() -> None:
    climbed = Climbed()
    del climbed.probes[Kind.ICMP]
    await climbed("192.0.2.1")
    assert [(row.kind, row.outcome) for row in climbed.rows] == [(Kind.ICMP, Outcome.UNSUPPORTED)]


async def test_closing_early_ends_every_climb() -> None:
    before = asyncio.all_tasks()
    climbed = Climbed()
    rows = LadderProbe(climbed.probes).run(
        LadderSpec(), tuple(parse_target(f"192.0.2.{n}:80") for n in range(1, 200)), env_of(climbed.network)
    )
    await anext(rows)
    await rows.aclose()
    assert asyncio.all_tasks() == before
    assert climbed.network.open == 0


async def test_a_fault_of_a_kind_is_raised() -> None:
    climbed = Climbed(tcp=lambda host, port: (_ for _ in ()).throw(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await climbed("192.0.2.1:80")


@pytest.mark.parametrize(
    ("port", "manner"),
    [
        (22, "speaks-first"),
        (443, "https"),
        (80, "http"),
        (853, "tls"),
        (5432, "postgres"),
        (3306, "once"),
        (9100, "quiet"),
    ],
)
def test_manners(port: int, manner: str) -> None:
    assert porttable.manner_of(port) is Manner(manner)


@pytest.mark.parametrize(
    ("banner", "port", "protocol"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", 4711, "ssh"),
        (b"220 ftp ready\r\n", 21, "ftp"),
        (b"220 ready\r\n", 4711, None),
        (b"220 mx ESMTP\r\n", 4711, "smtp"),
        (b"+OK POP3\r\n", 110, "pop3"),
        (b"* OK IMAP4\r\n", 143, "imap"),
        (b"RFB 003.008\n", 5900, "vnc"),
        (b"\x4a\x00\x00\x00\x0a8", 3306, "mysql"),
        (b"\x00\x00\x00\x00\x00", 3306, None),
        (b"", 22, None),
        (b"\xff" * 256, 22, None),
    ],
)
def test_greetings(banner: bytes, port: int, protocol: str | None) -> None:
    assert porttable.protocol_of(banner, port) == protocol


# --- what is expected -----------------------------------------------------------------------------------


async def test_a_rung_that_is_not_as_expected_ends_the_climb() -> None:
    climbed = await Climbed(FakeNetwork(says=[b"SSH-2.0-x"]), expect=("banner=SSH-1",))("192.0.2.1:8080")
    assert climbed.kinds == [Kind.ICMP, Kind.TCP]
    (row,) = climbed.of(Kind.TCP)
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None
    assert "expected SSH-1 in it" in row.failure.detail


async def test_a_failure_that_is_expected_holds_and_nothing_is_climbed_above_it() -> None:
    climbed = await Climbed(expect=("state=closed",), tcp=always(REFUSED))("192.0.2.1:443")
    (row,) = climbed.of(Kind.TCP)
    assert (row.outcome, row.failure) == (Outcome.OK, None)
    assert climbed.kinds == [Kind.ICMP, Kind.TCP]


async def test_a_name_that_has_other_addresses_is_not_climbed() -> None:
    network = FakeNetwork(hosts={"web.example": ("192.0.2.1",)})
    climbed = await Climbed(network, expect=("address=192.0.2.2",))("web.example:80")
    assert climbed.kinds == [Kind.DNS]
    assert climbed.rows[0].outcome is Outcome.ANSWER_UNEXPECTED
    held = await Climbed(network, expect=("address=192.0.2.1",))("web.example:80")
    assert held.kinds == [Kind.ICMP, Kind.DNS, Kind.TCP, Kind.HTTP]


@pytest.mark.parametrize(
    ("target", "says", "expect", "kind"),
    [
        ("192.0.2.1:22", [b"SSH-2.0-x"], "status=200", Kind.HTTP),
        ("192.0.2.1:80,443", [], "status=200", Kind.HTTP),
        ("web.example:443", [], "rcode=NXDOMAIN", Kind.DNS),
    ],
)
async def test_what_no_rung_could_be_judged_by_is_told_as_unsupported(
    target: str, says: list[bytes], expect: str, kind: Kind
) -> None:
    network = FakeNetwork(hosts={"web.example": ("192.0.2.1",)}, says=says)
    climbed = await Climbed(network, expect=(expect,))(target)
    last = climbed.rows[-1]
    assert (last.kind, last.outcome, last.port) == (kind, Outcome.UNSUPPORTED, None)
    assert last.failure is not None and f"--kind {kind}" in last.failure.detail


async def test_where_the_climb_broke_below_nothing_more_is_told() -> None:
    climbed = await Climbed(expect=("status=200",), tcp=always(REFUSED))("192.0.2.1:80")
    assert climbed.kinds == [Kind.ICMP, Kind.TCP]
    own = FakeNetwork(hosts={"web.example": ("192.0.2.1",)}, own=frozenset({"192.0.2.1"}))
    climbed = await Climbed(own, expect=("status=200",))("web.example:80")
    assert [(row.kind, row.outcome) for row in climbed.rows] == [
        (Kind.DNS, Outcome.OK),
        (Kind.TCP, Outcome.UNMEASURED),
    ]


async def test_one_address_that_is_broken_hides_no_expectation_that_nobody_judged_at_the_other() -> None:
    network = FakeNetwork(hosts={"web.example": ("192.0.2.1", "192.0.2.2")}, says=[b"SSH-2.0-x"])

    def second(host: str, port: int | None) -> Failure | None:
        return REFUSED if host == "192.0.2.2" else None

    climbed = await Climbed(network, expect=("status=200",), tcp=second)("web.example:22")
    assert climbed.rows[-1].outcome is Outcome.UNSUPPORTED


async def test_a_banner_that_is_expected_is_waited_for_where_none_would_be_read() -> None:
    network = FakeNetwork(says=[b"SSH-2.0-x"])
    climbed = await Climbed(network, expect=("banner=SSH-2",))("tcp://192.0.2.1:80")
    assert climbed.of(Kind.TCP)[0].outcome is Outcome.OK
    silent = await Climbed(expect=("banner=SSH-2",))("tcp://192.0.2.1:80")
    assert silent.of(Kind.TCP)[0].outcome is Outcome.ANSWER_UNEXPECTED
