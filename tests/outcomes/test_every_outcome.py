"""Every outcome of the contract from a real condition of a real network, for every kind that can have it."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from probemesh_shared.expectations import parse_expectation
from probemesh_shared.model import (
    DnsSpec,
    HttpSpec,
    IcmpSpec,
    Measurement,
    Options,
    PortRange,
    Spec,
    Target,
    TcpSpec,
    TlsSpec,
    UdpSpec,
)
from probemesh_shared.words import DnsTransport, Kind, Outcome

from tests.lab.netlab import Host, NetLab
from tests.outcomes.origin import PORTS

pytestmark = pytest.mark.netns

HERE = Path(__file__).parent
SPECS: dict[Kind, type[Spec]] = {
    Kind.ICMP: IcmpSpec,
    Kind.DNS: DnsSpec,
    Kind.TCP: TcpSpec,
    Kind.UDP: UdpSpec,
    Kind.TLS: TlsSpec,
    Kind.HTTP: HttpSpec,
}
WELL = "10.2.0.2"
#: Addresses of the target whose packets the router treats each in a way of its own.
TREATED = {
    "10.2.0.11": "drop",
    "10.2.0.12": "reject with icmp type host-unreachable",
    "10.2.0.13": "reject with icmp type admin-prohibited",
    "10.2.0.14": "reject with icmp type port-unreachable",
    "10.2.0.15": "meta l4proto tcp reject with tcp reset",
}
DROPPED, UNREACHABLE, PROHIBITED, REFUSED, RESET = TREATED
METADATA = "169.254.169.254"
ALL = tuple(SPECS)
CONNECTING = (Kind.TCP, Kind.TLS, Kind.HTTP)
NAMED = tuple(kind for kind in ALL if kind is not Kind.DNS)
OPEN = {Kind.TCP: "http", Kind.UDP: "echo", Kind.TLS: "tls", Kind.HTTP: "http", Kind.DNS: "dns"}

#: outcome, kinds, host, service, more: how the condition is brought about.
CONDITIONS: list[tuple[Outcome, tuple[Kind, ...], str, str | None, frozenset[str]]] = [
    (Outcome.OK, ALL, WELL, None, frozenset()),
    (Outcome.REFUSED, (Kind.UDP, Kind.DNS), WELL, "closed", frozenset()),
    (Outcome.REFUSED, CONNECTING, WELL, "closed", frozenset()),
    (Outcome.REFUSED, CONNECTING, RESET, None, frozenset()),
    (Outcome.REFUSED, ALL, REFUSED, None, frozenset()),
    (Outcome.RESET, (Kind.HTTP, Kind.TCP, Kind.DNS), WELL, "reset", frozenset({"talks"})),
    (Outcome.TIMEOUT, ALL, DROPPED, None, frozenset()),
    (Outcome.TIMEOUT, (Kind.HTTP,), WELL, "mute", frozenset()),
    (Outcome.UNREACHABLE, ALL, UNREACHABLE, None, frozenset()),
    (Outcome.UNREACHABLE, ALL, "10.9.9.9", None, frozenset({"no-route"})),
    (Outcome.PROHIBITED, ALL, PROHIBITED, None, frozenset()),
    (Outcome.NAME_FAILS, ALL, "nothing.test", None, frozenset({"name"})),
    (Outcome.NAME_FAILS, ALL, "broken.example", None, frozenset({"name"})),
    (Outcome.TLS_FAILS, (Kind.TLS,), WELL, "plain", frozenset()),
    (Outcome.TLS_FAILS, (Kind.TLS,), WELL, "reset", frozenset()),
    (Outcome.TLS_FAILS, (Kind.TLS,), WELL, "mute", frozenset()),
    (Outcome.TLS_FAILS, (Kind.DNS,), WELL, "plain", frozenset({"dot"})),
    (Outcome.TLS_FAILS, (Kind.DNS,), WELL, "reset", frozenset({"dot"})),
    (Outcome.TLS_FAILS, (Kind.HTTP,), WELL, "plain", frozenset({"secure"})),
    (Outcome.ANSWER_UNEXPECTED, (Kind.HTTP,), WELL, "http", frozenset({"/500"})),
    (Outcome.ANSWER_UNEXPECTED, (Kind.HTTP,), WELL, "plain", frozenset()),
    (Outcome.ANSWER_UNEXPECTED, (Kind.DNS,), WELL, "junk-dns", frozenset()),
    (Outcome.ANSWER_UNEXPECTED, ALL, WELL, None, frozenset({"expect rtt-max=0.0001ms"})),
    (Outcome.ANSWER_UNEXPECTED, (Kind.DNS,), WELL, None, frozenset({"expect answer=192.0.2.2"})),
    (Outcome.ANSWER_UNEXPECTED, (Kind.UDP,), WELL, None, frozenset({"expect answer=hex:ff"})),
    (Outcome.ANSWER_UNEXPECTED, (Kind.TLS,), WELL, None, frozenset({"expect alpn=h2"})),
    (Outcome.ANSWER_UNEXPECTED, (Kind.TCP,), WELL, None, frozenset({"expect state=closed"})),
    (Outcome.OK, (Kind.TCP,), WELL, "closed", frozenset({"expect state=closed"})),
    (Outcome.OK, (Kind.DNS,), "nothing.test", None, frozenset({"name", "expect rcode=NXDOMAIN"})),
    (Outcome.OK, (Kind.HTTP,), WELL, "http", frozenset({"/500", "expect status=500"})),
    (Outcome.DENIED, ALL, METADATA, None, frozenset({"shipped"})),
    (Outcome.UNSUPPORTED, ALL, WELL, None, frozenset({"other-family"})),
    (Outcome.LOCAL_RESOURCE, ALL, WELL, None, frozenset({"descriptors"})),
    (Outcome.UNMEASURED, ALL, DROPPED, None, frozenset({"paced"})),
]
CASES = [
    pytest.param(
        outcome, kind, host, service, more, id="-".join([outcome, kind, service or "", *sorted(more)])
    )
    for outcome, kinds, host, service, more in CONDITIONS
    for kind in kinds
]
#: Told by the mesh, of a vantage point and not of a row; and by a starved agent.
ELSEWHERE = {Outcome.AGENT_LOST, Outcome.CANCELLED, Outcome.VOID}


@pytest.fixture(scope="module")
def prober(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host whose way to the target goes over a router with :data:`TREATED`; it asks the target for
    names."""
    folder = tmp_path_factory.mktemp("origin")
    certificate = trustme.CA().issue_cert(WELL)
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    with NetLab() as lab:
        a, r, b = lab.host("a"), lab.router("r"), lab.host("b")
        lab.link(a, r, "10.1.0.2/24", "10.1.0.1/24")
        lab.link(r, b, "10.2.0.1/24", f"{WELL}/24")
        a.route("10.2.0.0/24", "via", "10.1.0.1")
        a.route("169.254.0.0/16", "via", "10.1.0.1")
        b.default_via("10.2.0.1")
        r.chain("forward", *(f"ip daddr {host} {does}" for host, does in TREATED.items()))
        lab.etc(a, "resolv.conf", f"nameserver {WELL}\n")
        files = (str(folder / "cert.pem"), str(folder / "key.pem"))
        server = (sys.executable, str(HERE / "origin.py"), WELL, *files)
        with b.start(*server, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield a
            process.stdout.close()


def measured(
    prober: Host, kind: Kind, spec: Spec, targets: list[Target], more: frozenset[str]
) -> list[Measurement]:
    command = prober.command(sys.executable, str(HERE / "in_namespace.py"))
    given = pickle.dumps((more, kind, spec, targets))
    done = subprocess.run(command, input=given, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    rows: list[Measurement] = pickle.loads(done.stdout)
    return rows


def target(kind: Kind, host: str, service: str | None, more: frozenset[str]) -> Target:
    port = 9 if service == "closed" else PORTS[service or OPEN.get(kind, "http")]
    if kind is Kind.DNS:
        named = "name" in more
        asked, server = (host, f"{WELL}:53") if named else ("a.example", f"{host}:{port}")
        return Target(f"dns:{asked}@{server}", asked, kind=kind, record_type="A", server=server)
    ports = () if kind is Kind.ICMP else (PortRange(port, port),)
    path = next((word for word in more if word.startswith("/")), "/200")
    return Target(f"{host}:{port}", host, ports, path=path, secure="secure" in more)


@pytest.mark.parametrize(("outcome", "kind", "host", "service", "more"), CASES)
def test_outcome(
    prober: Host, outcome: Outcome, kind: Kind, host: str, service: str | None, more: frozenset[str]
) -> None:
    source = "fd00::1" if "other-family" in more else None
    wanted = tuple(parse_expectation(word[7:]) for word in more if word.startswith("expect "))
    options = Options(count=1, timeout_s=0.4, source=source, expect=wanted)
    spec = SPECS[kind](options)  # type: ignore[call-arg]
    if "talks" in more and isinstance(spec, TcpSpec):
        spec = replace(spec, send=b"ten bytes.")
    if isinstance(spec, DnsSpec) and more & {"talks", "dot"}:
        spec = replace(spec, transport=DnsTransport.DOT if "dot" in more else DnsTransport.TCP)
    targets = [target(kind, host, service, more)] * (2 if "paced" in more else 1)
    row = max(measured(prober, kind, spec, targets, more), key=lambda row: row.target_index)
    assert (row.kind, row.outcome) == (kind, outcome), row.failure
    if outcome is Outcome.OK:
        assert row.failure is None
    if outcome is Outcome.OK and not wanted:
        assert all(sample.rtt_ms is not None for sample in row.samples) or any(
            "not told" in line for line in row.log
        )
    if outcome is not Outcome.OK:
        assert row.failure is not None
        assert row.failure.detail


def test_no_outcome_is_left_out() -> None:
    assert {outcome for outcome, *_ in CONDITIONS} | ELSEWHERE == set(Outcome)
