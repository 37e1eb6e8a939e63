"""Chains whose issuer was not found, and certificates that differ, as authorities make them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.diagnosis import diagnose
from probemesh_shared.certificates import certificate_problems
from probemesh_shared.chains import UNKNOWN, issuer_missing
from probemesh_shared.model import Finding, TlsDetail
from probemesh_shared.words import Confidence, Verdict

from tests.diagnosis.scenario import read_result

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000
AIA = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS,
            x509.UniformResourceIdentifier("http://ca.example/i.crt"),
        )
    ]
)


@dataclass
class Made:
    der: bytes
    name: x509.Name
    key: ec.EllipticCurvePrivateKey


def made(
    name: str, by: Made | None = None, *names: str, days: int = 9, extension: x509.ExtensionType | None = None
) -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.name if by else subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=9))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names or ("x",)]), False)
    )
    if extension is not None:
        builder = builder.add_extension(extension, False)
    signed = builder.sign((by.key if by else key), hashes.SHA256())
    return Made(signed.public_bytes(serialization.Encoding.DER), subject, key)


ROOT = made("Our Root")
MIDDLE = made("Our Intermediate", ROOT)
LEAF = made("web", MIDDLE, "web.internal")
LEAF_AIA = made("web", MIDDLE, "web.internal", extension=AIA)
OTHER = made("Some Other CA")


@pytest.mark.parametrize(
    ("leaf", "sent", "known", "said"),
    [
        (
            LEAF_AIA,
            [],
            [],
            "sent without the intermediate that issued it (Our Intermediate): an incomplete chain",
        ),
        (
            LEAF,
            [],
            [MIDDLE],
            "sent without the intermediate that issued it (Our Intermediate): an incomplete chain",
        ),
        (LEAF, [], [], f"{UNKNOWN} (Our Intermediate), who is not sent along"),
        (LEAF, [OTHER], [], "sent with a chain that does not lead to its issuer (Our Intermediate)"),
        (LEAF, [MIDDLE], [], f"{UNKNOWN} (Our Root)"),
        (LEAF, [MIDDLE, ROOT], [], f"{UNKNOWN} (Our Root)"),
        (LEAF, [], [ROOT], f"{UNKNOWN} (Our Intermediate), who is not sent along"),
    ],
)
def test_a_missing_issuer_is_left_out_out_of_place_or_a_stranger(
    leaf: Made, sent: list[Made], known: list[Made], said: str
) -> None:
    told = issuer_missing(leaf.der, [one.der for one in sent], [one.der for one in known])
    assert told.startswith(said)


@given(st.binary(max_size=200), st.lists(st.binary(max_size=40), max_size=4))
def test_bytes_that_are_no_certificates_are_a_stranger_s(leaf: bytes, sent: list[bytes]) -> None:
    assert issuer_missing(leaf, sent, sent) == UNKNOWN
    assert issuer_missing(LEAF.der, [b"x", *sent]) == UNKNOWN


def test_a_chain_that_turns_in_circles_ends() -> None:
    a, b = made("A"), made("B")
    ab = replace(made("A", b), name=a.name)
    ba = made("B", ab)
    assert issuer_missing(made("leaf", ab).der, [ab.der, ba.der] * 8).startswith(UNKNOWN)


def test_the_chain_stands_beside_dates_and_names() -> None:
    old = made("web", MIDDLE, "a.example", days=-2, extension=AIA)
    said = certificate_problems(old.der, 20, "web.internal", NOW_NS)
    assert [one.split(" ")[0] for one in said] == ["sent", "expired", "not"]


def judged(*seen: tuple[str, Made, bool]) -> tuple[Finding, ...]:
    """``(NAME@ADDRESS, leaf, whether it verified)``."""
    rows = [f"{at.partition('@')[0]} tls {at.partition('@')[2]}:443 verified" for at, _, _ in seen]
    result, agents = read_result({"target": "web.internal:443", "rows": rows})
    by_row = {tuple(at.split("@")): (leaf, verified) for at, leaf, verified in seen}

    def detail(name: str, address: str | None) -> TlsDetail:
        leaf, verified = by_row[name, address or ""]
        chain: Sequence[bytes] = (leaf.der, MIDDLE.der) if verified else (leaf.der,)
        return TlsDetail(
            server_name="web.internal",
            chain=tuple(chain),
            verified=verified,
            verify_code=0 if verified else 20,
        )

    vantages = tuple(
        replace(
            one,
            measurements=tuple(
                replace(row, detail=detail(one.agent, row.address), started_ns=NOW_NS)
                for row in one.measurements
            ),
        )
        for one in result.vantages
    )
    return diagnose([replace(result, vantages=vantages)], agents)[0]


def test_who_got_the_chain_proves_what_another_lacks() -> None:
    (finding,) = judged(("berlin-1@192.0.2.7", LEAF, False), ("tokyo-1@192.0.2.7", LEAF, True))
    assert finding.verdict is Verdict.CERTIFICATE_INVALID
    assert "without the intermediate that issued it (Our Intermediate)" in finding.summary
    assert "as berlin-1 sees it (1 of 2 who looked); it verifies at tokyo-1" in finding.summary


def test_a_difference_is_told_with_issuer_and_expiry_of_both() -> None:
    box = made("box", OTHER, "web.internal", days=3)
    _, finding = judged(
        ("berlin-1@192.0.2.7", box, False),
        ("paris-1@192.0.2.7", LEAF, True),
        ("tokyo-1@192.0.2.7", LEAF, True),
    )
    assert finding.verdict is Verdict.CERTIFICATE_DIFFERS and finding.confidence is Confidence.LIKELY
    assert finding.scope.sources == ("berlin-1",)
    assert "one issued by CN=Some Other CA until 2026-06-04" in finding.summary
    assert (
        "does not verify) for berlin-1, one issued by CN=Our Intermediate until 2026-06-10" in finding.summary
    )
    assert finding.alternatives == (Verdict.TLS_INTERCEPT, Verdict.SEVERAL_BACKENDS)
    assert finding.next_test is not None
    assert finding.next_test.startswith(
        "on berlin-1 and on paris-1: openssl s_client -connect web.internal:443"
    )


def test_a_renewal_under_way_is_told_as_such() -> None:
    new = made("web", MIDDLE, "web.internal", days=90)
    (finding,) = judged(
        ("berlin-1@192.0.2.7", new, True),
        ("paris-1@192.0.2.7", LEAF, True),
        ("tokyo-1@192.0.2.7", LEAF, True),
    )
    assert finding.verdict is Verdict.CERTIFICATE_DIFFERS and finding.confidence is Confidence.POSSIBLE
    assert finding.alternatives == (Verdict.SEVERAL_BACKENDS,)


def test_other_addresses_are_likelier_other_servers_than_a_middlebox() -> None:
    box = made("box", OTHER, "web.internal")
    _, finding = judged(("berlin-1@192.0.2.7", box, False), ("tokyo-1@192.0.2.8", LEAF, True))
    assert finding.alternatives == (Verdict.SEVERAL_BACKENDS, Verdict.TLS_INTERCEPT)
    assert finding.confidence is Confidence.POSSIBLE
    assert finding.summary.endswith("none of them has a majority; each address shows its own")
