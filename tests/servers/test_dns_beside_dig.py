"""dns beside dig, against bind9 (authority) and unbound (validating resolver): the same is told."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import trustme
import yaml
from probemesh_shared.certificates import parse_certificate
from probemesh_shared.jsonout import result_to_json
from probemesh_shared.model import DnsDetail, DnsSpec, Measurement, Target, TargetResult, Vantage
from probemesh_shared.words import (
    DnsAgreement,
    DnssecStatus,
    DnsTransport,
    FailureKind,
    Origin,
    Outcome,
    Stage,
)

from tests.probes_rich.rich_bench import QUICK, Bench
from tests.servers.dns_daemons import Server
from tests.servers.dns_lab import DnsLab, dns_lab

pytestmark = [
    pytest.mark.tool("named"),
    pytest.mark.tool("dnssec-signzone"),
    pytest.mark.tool("unbound"),
    pytest.mark.tool("dig"),
]


@pytest.fixture(scope="module")
def lab(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsLab]:
    with dns_lab(tmp_path_factory.mktemp("dns"), authority) as made:
        yield made


def spec(transport: DnsTransport = DnsTransport.UDP, **more: Any) -> DnsSpec:
    return DnsSpec(QUICK, transport=transport, **more)


def port_of(server: Server, transport: DnsTransport) -> int:
    ports = {DnsTransport.DOT: server.dot_port, DnsTransport.DOH: server.doh_port}
    return ports.get(transport) or server.port


async def asked(bench: Bench, server: Server, name: str, record_type: str, how: DnsSpec) -> Measurement:
    where = f"{server.address}:{port_of(server, how.transport)}"
    return await bench.one(how, Target(f"dns:{name}", name, record_type=record_type, server=where))


def detail(row: Measurement) -> DnsDetail:
    assert isinstance(row.detail, DnsDetail)
    return row.detail


_WAYS = {DnsTransport.TCP: "+tcp", DnsTransport.DOT: "+tls", DnsTransport.DOH: "+https"}


def dig(server: Server, name: str, record_type: str, how: DnsSpec) -> dict[str, Any]:
    """What dig says of the same question: ``status``, ``flags``, sections, size."""
    options = ["+yaml", "+nsid", "+nocookie", "+retry=0", "+time=5"]
    options += [_WAYS[how.transport]] if how.transport in _WAYS else []
    options += ["+dnssec"] * how.dnssec + ["+norec"] * how.no_recurse + ["+cd"] * how.checking_disabled
    options += ["+noedns"] if how.edns_size == 0 else [f"+bufsize={how.edns_size or 1232}"]
    command = ["dig", f"@{server.address}", "-p", str(port_of(server, how.transport)), name, record_type]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=30, check=True)
    (message,) = yaml.safe_load(done.stdout)
    told: dict[str, Any] = message["message"]["response_message_data"]
    told["size"] = int(message["message"]["message_size"].removesuffix("b"))
    return told


def lines(records: Any) -> list[str]:
    """As dig writes them, in one order: servers rotate records."""
    return sorted(f"{r.name} {r.ttl_s} {r.type} {' '.join(r.value.split())}" for r in records)


def dig_lines(told: dict[str, Any], section: str) -> list[str]:
    found = []
    for line in told.get(section, []):
        name, ttl, _, kind, *value = str(line).split()
        found.append(f"{name.removesuffix('.') or '.'} {ttl} {kind} {' '.join(value)}")
    return sorted(found)


def alike(text: str) -> str:
    """dig breaks base64 and hexadecimal by blanks where dnspython does so elsewhere."""
    head, kind, value = text.partition(" RRSIG ")
    return head + kind + value.replace(" ", "") if kind else text


QUESTIONS = [
    ("authority", "www.plain.example", "A", {}),
    ("authority", "www.plain.example", "A", {"edns_size": 0}),
    ("authority", "www.plain.example", "AAAA", {"no_recurse": True}),
    ("authority", "nosuch.plain.example", "A", {}),
    ("authority", "www.plain.example", "TXT", {}),
    ("authority", "alias.plain.example", "A", {}),
    ("authority", "mail.plain.example", "MX", {}),
    ("authority", "svc.plain.example", "TYPE65", {}),
    ("authority", "any.wild.plain.example", "A", {}),
    ("authority", "plain.example", "SOA", {}),
    ("authority", "a.sub.plain.example", "A", {"no_recurse": True}),
    ("authority", "www.elsewhere.test", "A", {}),
    ("authority", "many.plain.example", "A", {}),
    ("authority", "many.plain.example", "A", {"transport": DnsTransport.TCP}),
    ("authority", "www.plain.example", "A", {"transport": DnsTransport.DOT}),
    ("authority", "www.plain.example", "A", {"transport": DnsTransport.DOH}),
    ("authority", "many.signed.example", "A", {"transport": DnsTransport.DOH, "dnssec": True}),
    ("resolver", "www.signed.example", "A", {"dnssec": True}),
    ("resolver", "www.signed.example", "A", {}),
    ("resolver", "nosuch.signed.example", "A", {"dnssec": True}),
    ("resolver", "www.bogus.example", "A", {"dnssec": True}),
    ("resolver", "www.bogus.example", "A", {"dnssec": True, "checking_disabled": True}),
    ("resolver", "www.plain.example", "A", {"dnssec": True}),
    ("resolver", "www.plain.example", "A", {"no_recurse": True}),
    ("resolver", "www.plain.example", "AAAA", {"transport": DnsTransport.DOT}),
    ("resolver", "www.signed.example", "AAAA", {"transport": DnsTransport.DOH, "dnssec": True}),
]


@pytest.mark.parametrize(("who", "name", "kind", "more"), QUESTIONS)
async def test_the_same_as_dig(
    bench: Bench, lab: DnsLab, trusted: trustme.CA, who: str, name: str, kind: str, more: dict[str, Any]
) -> None:
    server = lab.authority if who == "authority" else lab.resolver
    how = spec(**more)
    dig(server, name, kind, how)  # the resolver's cache is then the same for both
    row, told = await asked(bench, server, name, kind, how), dig(server, name, kind, how)
    ours = detail(row)
    assert ours.rcode == told["status"], row.log
    assert set(ours.flags) == set(told["flags"].split())
    for section, records in (
        ("ANSWER_SECTION", ours.answers),
        ("AUTHORITY_SECTION", ours.authority),
        ("ADDITIONAL_SECTION", ours.additional),
    ):
        assert [alike(line) for line in without_ttl(lines(records))] == [
            alike(line) for line in without_ttl(dig_lines(told, section))
        ], section
        near(lines(records), dig_lines(told, section))
    assert ours.records_left_out == 0
    edns = told.get("OPT_PSEUDOSECTION", {}).get("EDNS")
    assert (ours.edns_size, list(ours.edns_flags)) == (
        (edns["udp"], (edns["flags"] or "").split()) if edns else (None, [])
    )
    assert ours.nsid == (f"lab-{who}" if edns else None)
    assert ours.answer_size == told["size"]


def without_ttl(texts: list[str]) -> list[str]:
    return sorted(" ".join(word for place, word in enumerate(text.split()) if place != 1) for text in texts)


def near(ours: list[str], theirs: list[str]) -> None:
    """TTLs of a cache run down between two questions."""
    for one, other in zip(sorted(ours), sorted(theirs), strict=True):
        assert abs(int(one.split()[1]) - int(other.split()[1])) <= 3, (one, other)


@pytest.mark.parametrize("transport", [DnsTransport.DOT, DnsTransport.DOH])
@pytest.mark.parametrize("who", ["authority", "resolver"])
async def test_by_tls_and_https(
    bench: Bench, lab: DnsLab, trusted: trustme.CA, who: str, transport: DnsTransport
) -> None:
    server = lab.authority if who == "authority" else lab.resolver
    row = await asked(
        bench, server, "www.signed.example", "A", replace(spec(transport), options=replace(QUICK, count=2))
    )
    told = detail(row)
    assert row.outcome is Outcome.OK, row.log
    assert told.transport is transport and told.tls is not None and told.tls.verified is True
    assert told.tls.version == "TLSv1.3" and len(told.tls.chain) >= 1
    assert len(row.samples) == 2 and all(one.rtt_ms is not None for one in row.samples)
    if transport is DnsTransport.DOH:
        assert (told.http_version, told.http_status, told.tls.alpn) == ("2", 200, "h2")
    else:
        assert (told.http_version, told.http_status) == (None, None)


@pytest.mark.parametrize("transport", [DnsTransport.DOT, DnsTransport.DOH])
async def test_certificate_that_does_not_verify_is_told_and_the_answer_too(
    bench: Bench, lab: DnsLab, transport: DnsTransport
) -> None:
    row = await asked(bench, lab.authority, "www.plain.example", "A", spec(transport))
    told = detail(row)
    assert row.outcome is Outcome.OK and told.rcode == "NOERROR"
    assert told.tls is not None and told.tls.verified is False and told.tls.verify_code in (19, 20, 21)
    assert any("does not verify" in line for line in row.log)


@pytest.mark.parametrize("transport", [DnsTransport.DOT, DnsTransport.DOH])
async def test_authorities_given_judge_alone(
    bench: Bench, lab: DnsLab, authority: trustme.CA, transport: DnsTransport
) -> None:
    for ca, verified in ((authority, True), (trustme.CA(), False)):
        trusting = spec(transport, ca=ca.cert_pem.bytes())
        row = await asked(bench, lab.authority, "www.plain.example", "A", trusting)
        told = detail(row)
        assert row.outcome is Outcome.OK and told.tls is not None and told.tls.verified is verified
    row = await asked(bench, lab.authority, "www.plain.example", "A", spec(transport, ca=b"nothing"))
    assert row.failure is not None and row.failure.kind is FailureKind.UNSUPPORTED


async def test_name_of_the_server_is_verified(bench: Bench, lab: DnsLab, trusted: trustme.CA) -> None:
    good = spec(DnsTransport.DOT, server_name="dns.lab.example")
    row = await asked(bench, lab.resolver, "www.plain.example", "A", good)
    told = detail(row).tls
    assert told is not None and (told.verified, told.server_name) == (True, "dns.lab.example")
    row = await asked(
        bench, lab.resolver, "www.plain.example", "A", replace(good, server_name="other.example")
    )
    told = detail(row).tls
    assert row.outcome is Outcome.OK and told is not None
    assert (told.verified, told.verify_code) == (False, 62)


async def test_wrong_path_is_told_by_its_status(bench: Bench, lab: DnsLab, trusted: trustme.CA) -> None:
    row = await asked(
        bench, lab.authority, "www.plain.example", "A", spec(DnsTransport.DOH, doh_path="/nowhere")
    )
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None
    assert (row.failure.stage, row.failure.kind) == (Stage.HTTP, FailureKind.STATUS_UNEXPECTED)
    assert detail(row).http_status == 404 and row.failure.origin is Origin.RESOLVER


DNSSEC = [
    ("resolver", "www.signed.example", {"dnssec": True}, DnssecStatus.VALIDATED),
    ("resolver", "www.signed.example", {}, DnssecStatus.VALIDATED),
    ("resolver", "www.signed.example", {"dnssec": True, "checking_disabled": True}, None),
    ("authority", "www.signed.example", {"dnssec": True}, DnssecStatus.SIGNED),
    ("authority", "www.signed.example", {}, DnssecStatus.UNKNOWN),
    ("authority", "www.plain.example", {"dnssec": True}, DnssecStatus.UNSIGNED),
    ("resolver", "www.plain.example", {"dnssec": True}, DnssecStatus.UNSIGNED),
    ("resolver", "www.bogus.example", {"dnssec": True}, DnssecStatus.BOGUS),
    ("resolver", "www.bogus.example", {}, DnssecStatus.BOGUS),
    ("resolver", "www.bogus.example", {"dnssec": True, "edns_size": 512}, DnssecStatus.BOGUS),
    ("resolver", "www.bogus.example", {"dnssec": True, "checking_disabled": True}, DnssecStatus.SIGNED),
    ("resolver", "www.expired.example", {"dnssec": True}, DnssecStatus.BOGUS),
    ("resolver", "www.expired.example", {"edns_size": 0}, DnssecStatus.UNKNOWN),
]


@pytest.mark.parametrize(("who", "name", "more", "status"), DNSSEC)
async def test_what_dnssec_says(
    bench: Bench, lab: DnsLab, who: str, name: str, more: dict[str, Any], status: DnssecStatus | None
) -> None:
    server = lab.authority if who == "authority" else lab.resolver
    row = await asked(bench, server, name, "A", spec(**more))
    told = detail(row)
    if status is not None:
        assert told.dnssec is status, row.log
    if status is DnssecStatus.BOGUS:
        assert row.outcome is Outcome.NAME_FAILS and row.failure is not None
        assert "DNSSEC" in row.failure.detail
        assert any("(CD): NOERROR" in line for line in row.log) is bool(more.get("dnssec"))
        assert told.extended_errors and told.extended_errors[0].info_code in range(6, 13)
        assert told.extended_errors[0].name in row.failure.detail
    if told.signatures:
        assert told.signature_expires_ns is not None
        assert abs(told.signature_expires_ns / 1e9 - bench.clock.wall_ns() / 1e9 - 30 * 86_400) < 3600


async def test_truncated_answer_came_by_tcp(bench: Bench, lab: DnsLab) -> None:
    row = await asked(bench, lab.authority, "many.plain.example", "A", spec(edns_size=512))
    told = detail(row)
    assert (told.transport, told.truncated, len(told.answers)) == (DnsTransport.TCP, True, 99)
    whole = await asked(bench, lab.authority, "many.plain.example", "A", spec(edns_size=4096))
    assert (detail(whole).transport, detail(whole).truncated) == (DnsTransport.UDP, False)


async def test_chain_serial_and_referral_show(bench: Bench, lab: DnsLab) -> None:
    chain = detail(await asked(bench, lab.authority, "alias.plain.example", "A", spec()))
    assert (chain.answers[0].type, chain.answers[0].name) == ("CNAME", "alias.plain.example")
    assert {r.type for r in chain.answers} == {"CNAME", "A"}
    row = await asked(bench, lab.authority, "nosuch.plain.example", "A", spec())
    assert detail(row).serial == 1 and row.failure is not None and row.failure.errno == "NXDOMAIN"
    row = await asked(bench, lab.authority, "a.sub.plain.example", "A", spec(no_recurse=True))
    assert row.failure is not None and row.failure.errno == "REFERRAL"
    assert "sub.plain.example" in row.failure.detail


async def test_system_beside_the_server_differs(bench: Bench, lab: DnsLab) -> None:
    row = await asked(bench, lab.authority, "www.plain.example", "A", spec())
    lookup = detail(row).lookup
    assert lookup is not None and lookup.agreement is DnsAgreement.ONLY_SERVER
    assert detail(row).system and detail(row).system_failure is not None
    assert any("has no address, and the server has" in line for line in row.log)


async def test_json_has_it_all(bench: Bench, lab: DnsLab, trusted: trustme.CA) -> None:
    row = await asked(bench, lab.resolver, "www.signed.example", "A", spec(DnsTransport.DOT, dnssec=True))
    vantage = Vantage("self", None, row.outcome, measurements=(row,))
    target = Target("dns:www.signed.example", "www.signed.example")
    whole = result_to_json(TargetResult(target, 1, (vantage,)), parse_certificate)
    told: Any = whole["vantages"][0]["measurements"][0]["detail"]
    assert told["dnssec"] == "validated" and told["signatures"] == 1 and told["nsid"] == "lab-resolver"
    assert told["signature_expires_at"].endswith("Z") and told["tls"]["verified"] is True
    assert told["tried"] == [
        {"name": "www.signed.example", "record_type": "A", "rcode": "NOERROR", "found": True}
    ]
