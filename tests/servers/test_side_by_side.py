"""The page that shows us beside dig, s_client, curl and nmap says what both say now.

``PROBEMESH_WRITE_PAGE=1`` writes the tables instead of comparing them."""

import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from probemesh_agent.net.policy import Policy
from probemesh_shared.model import DnsDetail, HttpDetail, TcpSpec, TlsDetail, UdpSpec
from probemesh_shared.words import DnsTransport, Family

from tests.lab.netlab import Host
from tests.probes_rich import test_tls_nginx as tls
from tests.probes_rich.rich_bench import Bench, at
from tests.servers import test_beside_nmap as ports
from tests.servers import test_dns_beside_dig as dns
from tests.servers import test_http_beside_curl as http
from tests.servers.dns_lab import DnsLab, dns_lab
from tests.servers.http_servers import Nginx, nginx

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "side-by-side.md"
WRITES = os.environ.get("PROBEMESH_WRITE_PAGE") == "1"

pair, world = ports.pair, tls.world  # fixtures of theirs

Row = Sequence[str]


def held(section: str, header: Row, rows: Sequence[Row]) -> None:
    """The section of the page holds this table; or does from now on, where the page is written."""
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    table, page = "\n".join(lines), PAGE.read_text()
    pattern = re.compile(rf"<!-- {section} -->\n(.*?)<!-- end -->", re.DOTALL)
    if WRITES:
        PAGE.write_text(pattern.sub(lambda _: f"<!-- {section} -->\n\n{table}\n\n<!-- end -->", page))
        return
    found = pattern.search(page)
    assert found is not None
    assert found[1].strip().splitlines() == lines


@pytest.fixture(scope="module")
def lab(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsLab]:
    with dns_lab(tmp_path_factory.mktemp("dns"), authority) as made:
        yield made


QUESTIONS = (
    ("bind9", "www.plain.example", "A", {}),
    ("bind9", "nosuch.plain.example", "A", {}),
    ("bind9", "alias.plain.example", "A", {}),
    ("bind9", "mail.plain.example", "MX", {"transport": DnsTransport.TCP}),
    ("bind9", "www.plain.example", "A", {"transport": DnsTransport.DOT}),
    ("bind9", "www.plain.example", "A", {"transport": DnsTransport.DOH}),
    ("unbound", "www.signed.example", "A", {"dnssec": True}),
    ("unbound", "www.bogus.example", "A", {"dnssec": True}),
    ("unbound", "www.plain.example", "A", {"dnssec": True}),
)
_SECTIONS = ("ANSWER_SECTION", "AUTHORITY_SECTION", "ADDITIONAL_SECTION")


@pytest.mark.tool("dig")
@pytest.mark.tool("named")
@pytest.mark.tool("unbound")
async def test_dns(bench: Bench, lab: DnsLab, trusted: trustme.CA) -> None:
    rows = []
    for who, name, kind, more in QUESTIONS:
        server = lab.authority if who == "bind9" else lab.resolver
        how = dns.spec(**more)
        dns.dig(server, name, kind, how)  # what the resolver keeps is then the same for both
        ours = dns.detail(await dns.asked(bench, server, name, kind, how))
        told = dns.dig(server, name, kind, how)
        counts = [len(told.get(section, [])) for section in _SECTIONS]
        theirs = f"{told['status']}, {told['flags']}, {'/'.join(map(str, counts))}, {told['size']}"
        said = _dns_text(ours)
        assert said == theirs
        asked = " ".join([how.transport.value, *(["dnssec"] if how.dnssec else [])])
        status = ours.dnssec.value if ours.dnssec else "–"
        rows.append((who, f"{name} {kind}", asked, theirs, said, status))
    header = ("Server", "Question", "Asked by", "dig", "probemesh", "and `dnssec`")
    held("dns", header, rows)


def _dns_text(detail: DnsDetail) -> str:
    counts = [len(part) for part in (detail.answers, detail.authority, detail.additional)]
    return f"{detail.rcode}, {' '.join(detail.flags)}, {'/'.join(map(str, counts))}, {detail.answer_size}"


@pytest.mark.tool("nginx")
@pytest.mark.tool("openssl")
async def test_tls(bench: Bench, world: tls.World) -> None:
    rows = []
    for name in (*tls.COMPARED, "only-1.3", "asking"):
        row = await bench.one(world.spec(), at(world.ports[name]))
        ours, theirs = tls.detail(row), tls.s_client(world, name)
        sent = len(re.findall("-----BEGIN CERTIFICATE-----", theirs))
        parts = [
            tls.said(theirs, r"New, (\S+), Cipher is"),
            tls.said(theirs, r"Cipher is (\S+)"),
            tls.said(theirs, r"ALPN protocol: (\S+)") or "–",
            f"{sent} sent",
            f"code {tls.said(theirs, r'Verify return code: ([0-9]+)')}",
        ]
        said, problems = _tls_text(ours), sorted(tls.codes(row))
        assert said == ", ".join(map(str, parts))
        rows.append((name, said, said, ", ".join(problems) or "–"))
    held("tls", ("Server", "s_client", "probemesh", "and what is wrong"), rows)


def _tls_text(detail: TlsDetail) -> str:
    parts = [detail.version, detail.cipher, detail.alpn or "–", f"{len(detail.chain)} sent"]
    return ", ".join([*map(str, parts), f"code {detail.verify_code or 0}"])


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[Nginx]:
    with nginx(authority) as made:
        yield made


@pytest.fixture
async def ours(server: Nginx, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    made = Bench(Policy(loopback=True))
    yield made
    made.network.close()


@pytest.mark.tool("nginx")
@pytest.mark.tool("curl")
async def test_http(server: Nginx, ours: Bench) -> None:
    rows = []
    for path, port, spec, options in http.CASES:
        scheme = "https" if port in ("secure", "old") else "http"
        host = "localhost" if scheme == "https" else "127.0.0.1"
        url = f"{scheme}://{host}:{getattr(server, port)}{path}"
        spec = replace(spec, options=replace(http.QUICK, family=Family.IPV4))
        said = _http_text(http.detail(await http.asked(ours, spec, url)))
        told = await http.curl(server, url, ["-4", *options])
        parts = (told["http_code"], told["http_version"], told["num_redirects"], told["size_download"])
        theirs = f"{parts[0]}, {parts[1]}, {parts[2]}, {parts[3]}, {told['num_headers']}"
        assert said == theirs
        words = " ".join(option if len(option) < 40 else "…" for option in options)
        rows.append((f"{scheme} {path}", f"`{words}`" if words else "–", theirs, said))
    held("http", ("URL", "curl's options", "curl", "probemesh"), rows)


def _http_text(told: HttpDetail) -> str:
    parts = (told.status, told.version, len(told.redirects), told.body_size, len(told.headers))
    return ", ".join(map(str, parts))


@pytest.mark.netns
@pytest.mark.tool("nmap")
def test_ports(pair: tuple[Host, Host]) -> None:
    here, _ = pair
    rows = []
    for transport, spec, scan, asked in (
        ("tcp", TcpSpec(ports.ONCE), "-sS", (ports.SSH, *ports.PORTS)),
        ("udp", UdpSpec(ports.ONCE), "-sU", (ports.NTP, ports.SNMP, ports.STUN, *ports.PORTS[:4])),
    ):
        found, theirs = ports.said(ports.probed(here, spec, *asked)), ports.nmap(here, scan, *asked)
        for port in asked:
            texts = [", ".join(map(str, told[port])) for told in (theirs, found)]
            rows.append((f"{transport} {port}", *texts))
    differing = [row[0] for row in rows if row[1] != row[2]]
    assert differing == ["tcp 6000"], (
        "nmap tells a reset by its SYN scan as reset, by its connect scan as refused"
    )
    held("ports", ("Port", "nmap", "probemesh"), rows)


def test_every_table_is_on_the_page() -> None:
    tables = Counter(re.findall(r"<!-- (\w+) -->", PAGE.read_text()))
    assert tables == {"dns": 1, "tls": 1, "http": 1, "ports": 1, "end": 4}
    assert PAGE.read_text().count("| --- |") >= 4
