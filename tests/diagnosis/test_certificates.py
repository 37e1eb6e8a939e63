"""All that is wrong with a certificate is said, whichever fault OpenSSL met first."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from probemesh_controller.diagnosis import diagnose
from probemesh_shared.certificates import certificate_problems, covers
from probemesh_shared.model import DnsDetail, Finding, HttpDetail, HttpHop, TlsDetail
from probemesh_shared.words import Verdict

from tests.diagnosis.scenario import read_result
from tests.servers.tls_pki import NOW as MADE
from tests.servers.tls_pki import make

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000


def certificate(first_day: int, last_day: int, *names: str) -> bytes:
    """DER, self-signed; days are counted from NOW."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW + timedelta(days=first_day))
        .not_valid_after(NOW + timedelta(days=last_day))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("first_day", "last_day", "code", "said"),
    [
        (-9, 9, 18, ("self-signed",)),
        (-9, -2, 18, ("self-signed", "expired on 2026-05-30")),
        (2, 9, 18, ("self-signed", "not yet valid until 2026-06-03")),
        (-9, -2, 10, ("expired on 2026-05-30",)),
        (-9, 9, 10, ("expired somewhere in its chain, or by the clock of who looked",)),
        (-9, 9, 999, ("refused by OpenSSL with code 999",)),
    ],
)
def test_dates_are_judged_beside_the_chain(first_day: int, last_day: int, code: int, said: object) -> None:
    leaf = certificate(first_day, last_day, "web.internal")
    assert certificate_problems(leaf, code, "web.internal", NOW_NS) == said


def test_weakness_is_said_where_it_is_why_openssl_refused() -> None:
    small = make("web.internal", "web.internal", rsa_bits=1024)
    at_ns = int(MADE.timestamp()) * 1_000_000_000
    assert certificate_problems(small.der, 66, "web.internal", at_ns) == (
        "refused for its weak key (RSA 1024)",
    )
    assert "authority" in certificate_problems(small.der, 67, "web.internal", at_ns)[0]
    assert "hash" in certificate_problems(small.der, 68, "web.internal", at_ns)[0]
    assert certificate_problems(None, 66, "web.internal", at_ns) == ("refused for its weak key",)


def test_a_wrong_name_is_told_with_the_names_that_are_right() -> None:
    leaf = certificate(-9, -2, "a.example", "*.b.example")
    said = certificate_problems(leaf, 18, "web.internal", NOW_NS)
    wrong = "not valid for web.internal (its names: a.example, *.b.example)"
    assert said == ("self-signed", "expired on 2026-05-30", wrong)


@pytest.mark.parametrize("leaf", [None, b"", b"no certificate"])
def test_without_a_leaf_that_can_be_read_the_code_is_what_there_is(leaf: bytes | None) -> None:
    assert certificate_problems(leaf, 10, "web.internal", NOW_NS) == ("expired",)
    assert certificate_problems(leaf, 18, "web.internal", NOW_NS) == ("self-signed",)
    assert certificate_problems(leaf, None, None, NOW_NS) == ("refused",)


def test_names_cover_as_rfc_9525_says() -> None:
    assert covers(["*.b.example"], "X.b.example.")
    assert not covers(["*.b.example"], "b.example")
    assert not covers(["*.b.example"], "x.y.b.example")
    assert covers(["192.0.2.1"], "192.0.2.1")
    assert covers(["2001:db8::1"], "2001:db8:0::1")
    assert not covers(["*.0.2.1"], "192.0.2.1")
    assert not covers([], "b.example")


def test_the_finding_and_its_evidence_list_all() -> None:
    finding = found(certificate(-9, -2, "a.example"), ("berlin-1",))
    said = "self-signed, expired on 2026-05-30, not valid for web.internal (its names: a.example)"
    assert finding.summary == f"the certificate of web.internal is {said}, as berlin-1 sees it"
    assert said in finding.evidence[0].text


def test_verbs_agree_with_who_sees_it() -> None:
    finding = found(certificate(-9, 9, "web.internal"), ("berlin-1", "tokyo-1"))
    assert finding.summary.endswith("is self-signed, as berlin-1 and tokyo-1 see it")


def found(leaf: bytes, names: tuple[str, ...]) -> Finding:
    rows = [f"{name} tls 192.0.2.7:443 unverified:18" for name in names]
    result, agents = read_result({"target": "web.internal:443", "rows": rows})
    tls = TlsDetail(server_name="web.internal", chain=(leaf,), verified=False, verify_code=18)
    vantages = tuple(
        replace(
            one,
            measurements=tuple(replace(row, detail=tls, started_ns=NOW_NS) for row in one.measurements),
        )
        for one in result.vantages
    )
    ((finding,),) = diagnose([replace(result, vantages=vantages)], agents)
    assert finding.verdict is Verdict.CERTIFICATE_INVALID
    return finding


def led(effective: TlsDetail | None, *hops: HttpHop) -> tuple[Finding, ...]:
    """An answer at the end of redirects."""
    result, agents = read_result({"target": "web.internal:443", "rows": ["berlin-1 http 192.0.2.7:443 ok"]})
    (vantage,) = result.vantages
    http = HttpDetail(
        status=200, tls=effective, redirects=hops, effective_url="https://sso.internal/login?x=1"
    )
    rows = tuple(replace(row, detail=http, started_ns=NOW_NS) for row in vantage.measurements)
    return diagnose([replace(result, vantages=(replace(vantage, measurements=rows),))], agents)[0]


HOP = HttpHop("https://web.internal/", "GET", 302, tls_verified=True)


def test_at_the_end_of_redirects_it_is_another_s_certificate() -> None:
    leaf = certificate(-9, -2, "sso.internal")
    last = TlsDetail(server_name="sso.internal", chain=(leaf,), verified=False, verify_code=18)
    (finding,) = led(last, HOP)
    assert finding.summary.startswith("the certificate of https://sso.internal is self-signed, expired")
    assert (finding.place, finding.scope.port) == (None, None)
    assert finding.next_test is not None
    assert finding.next_test.startswith("openssl s_client -connect sso.internal:443 -servername sso.internal")


def test_a_certificate_on_the_way_of_redirects_is_told_too() -> None:
    (finding,) = led(None, replace(HOP, tls_verified=False))
    said = "the certificate of https://web.internal is refused where a redirect was followed"
    assert finding.summary == f"{said}, as berlin-1 sees it"
    assert led(None, HOP) == ()


def test_a_name_server_s_certificate_is_its_own() -> None:
    table = {"target": "dns:web.internal", "kind": "dns", "rows": ["berlin-1 dns 192.0.2.53:853 ok"]}
    result, agents = read_result(table)
    (vantage,) = result.vantages
    leaf = certificate(-9, -2, "dns.internal")
    tls = TlsDetail(server_name="dns.internal", chain=(leaf,), verified=False, verify_code=18)
    rows = tuple(replace(row, detail=DnsDetail(tls=tls), started_ns=NOW_NS) for row in vantage.measurements)
    ((finding,),) = diagnose([replace(result, vantages=(replace(vantage, measurements=rows),))], agents)
    assert finding.summary.startswith("the certificate of dns.internal is self-signed")
    assert (
        finding.next_test
        == "openssl s_client -connect dns.internal:853 -servername dns.internal -showcerts </dev/null"
    )
