"""DER of strangers: certificates, distinguished names, OCSP answers, requests for certificates."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from probemesh_agent.wire.ocsp import read_staple
from probemesh_controller.pki.ca import check_csr
from probemesh_shared.certificates import certificate_problems, parse_certificate
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.identity.der import name_text, pem_to_der, read_der, read_pem, serial_of
from probemesh_shared.jsonout import dumps

from tests.fuzz.checks import pick, raises_only

_DER = serialization.Encoding.DER
#: The same seeds in every process: their keys are no secret.
_KEY = ec.derive_private_key(0x5EED, ec.SECP256R1())
_START = datetime(2026, 1, 1, tzinfo=UTC)


def _certificate() -> x509.Certificate:
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "ca"), x509.NameAttribute(NameOID.COUNTRY_NAME, "PT")]
    )
    names = [x509.DNSName("a.example"), x509.UniformResourceIdentifier("spiffe://m.example/agent/1")]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_KEY.public_key())
        .serial_number(77)
        .not_valid_before(_START)
        .not_valid_after(_START + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(_KEY, hashes.SHA256(), ecdsa_deterministic=True)
    )


def _staple() -> bytes:
    made = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            LEAF, LEAF, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, _START, _START + timedelta(1), None, None
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME, LEAF)
        .sign(_KEY, hashes.SHA256())
    )
    return made.public_bytes(_DER)


LEAF = _certificate()
_LEAF = LEAF.public_bytes(_DER)
_CSR = x509.CertificateSigningRequestBuilder().subject_name(LEAF.subject).sign(_KEY, hashes.SHA256())
SEEDS = (
    b"\0" + _LEAF,
    b"\1" + _LEAF,
    b"\2" + LEAF.subject.public_bytes(),
    b"\3" + _staple(),
    b"\4" + _CSR.public_bytes(_DER),
    b"\5" + LEAF.public_bytes(serialization.Encoding.PEM),
)


def read(data: bytes) -> None:
    way, rest = pick(data, (_facts, _shown, _name, _stapled, _request, _pem))
    way(rest)


def _facts(data: bytes) -> None:
    facts = raises_only(ValueError, lambda: read_der(data))
    if facts is not None:
        assert all(one.isascii() for one in (*facts.uris, *facts.dns_names, facts.serial))
    raises_only(ValueError, lambda: serial_of(data))


def _shown(data: bytes) -> None:
    dumps(parse_certificate(data))
    for code in (None, 18, 20, 10, 62):
        problems = certificate_problems(data, code, "a.example", 1_790_000_000 * 10**9, sent=(_LEAF, data))
        assert problems and all(problems)


def _name(data: bytes) -> None:
    text = raises_only(ValueError, lambda: name_text(data))
    assert text is None or len(text) <= 500


def _stapled(data: bytes) -> None:
    for leaf in (None, _LEAF, data):
        staple = read_staple(data, leaf)
        assert staple.status in ("good", "revoked", "unknown", "malformed")
        for moment in (staple.this_update_ns, staple.next_update_ns):
            assert moment is None or 0 <= moment < 1 << 63


def _request(data: bytes) -> None:
    raises_only(InvalidRequest, lambda: check_csr(data))


def _pem(data: bytes) -> None:
    raises_only(ValueError, lambda: pem_to_der(data))
    raises_only(ValueError, lambda: read_pem(data))
