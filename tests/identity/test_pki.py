"""Making a mesh on disk, and what is in its certificates."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from probemesh_controller.pki import init_mesh, load_controller
from probemesh_controller.pki import mesh as mesh_module
from probemesh_controller.pki.ca import check_csr
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.identity.files import load_identity
from probemesh_shared.identity.keygen import make_request
from probemesh_shared.identity.request import request_in_child, split_request
from probemesh_shared.words import Role


def parsed(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def test_init_writes_what_decision_1_says(tmp_path: Path) -> None:
    state = tmp_path / "state"
    made = init_mesh(state, "demo")
    found = {str(path.relative_to(state)): path.stat().st_mode & 0o777 for path in state.rglob("*")}
    assert found == {
        "controller": 0o700,
        "controller/ca.key": 0o600,
        "controller/ca.pem": 0o600,
        "controller/cert.pem": 0o600,
        "controller/key.pem": 0o600,
        "operator": 0o700,
        "operator/ca.pem": 0o600,
        "operator/cert.pem": 0o600,
        "operator/key.pem": 0o600,
    }
    assert load_identity(state / "operator") == made.operator
    assert (made.operator.role, made.controller.role) == (Role.ADMIN, Role.CONTROLLER)
    ca, controller = load_controller(state)
    assert (ca.mesh, ca.fingerprint, controller) == ("demo", made.fingerprint, made.controller)


def test_a_mesh_gets_a_name_of_its_own(tmp_path: Path) -> None:
    assert init_mesh(tmp_path / "a").mesh != init_mesh(tmp_path / "b").mesh


@pytest.mark.parametrize("there", ["controller", "operator"])
def test_init_never_overwrites(tmp_path: Path, there: str) -> None:
    (tmp_path / there).mkdir()
    with pytest.raises(StateError, match="there is a mesh here already"):
        init_mesh(tmp_path)
    assert list((tmp_path / there).iterdir()) == []


def test_init_can_be_repeated_after_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(mesh_module, "write_private", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            init_mesh(tmp_path, "demo")
    assert init_mesh(tmp_path, "demo").mesh == "demo"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError):
        init_mesh(tmp_path / "file" / "state")


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "a" * 64, "self"])
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest):
        init_mesh(tmp_path, name)


def test_no_mesh(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no mesh"):
        load_controller(tmp_path)


def test_a_ca_key_that_others_may_read(tmp_path: Path) -> None:
    init_mesh(tmp_path)
    (tmp_path / "controller/ca.key").chmod(0o644)
    with pytest.raises(StateError, match="may be read by others"):
        load_controller(tmp_path)


def test_leaf_certificates_say_one_thing(make) -> None:
    for role in Role:
        certificate = parsed(make(role, "id-1", "berlin").certificate_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            f"spiffe://demo.probemesh.internal/{role}/id-1"
        ]
        assert names.get_values_for_type(x509.IPAddress) == []
        uses = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        serves = role in (Role.AGENT, Role.CONTROLLER)
        assert (ExtendedKeyUsageOID.SERVER_AUTH in uses) is serves
        assert ExtendedKeyUsageOID.CLIENT_AUTH in uses
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"


def test_dates(make) -> None:
    certificate = parsed(make(Role.AGENT).certificate_pem)
    now = datetime.now(UTC)
    assert timedelta(minutes=4) < now - certificate.not_valid_before_utc < timedelta(minutes=6)
    assert timedelta(days=29, hours=23) < certificate.not_valid_after_utc - now <= timedelta(days=30)


def test_own_certificates_are_renewed_with_a_new_key_at_a_third(tmp_path: Path) -> None:
    start = datetime.now(UTC)
    made = init_mesh(tmp_path, "demo", start)
    _, same = load_controller(tmp_path, start + timedelta(days=29))
    assert same == made.controller
    _, renewed = load_controller(tmp_path, start + timedelta(days=31))
    assert renewed.key_pem != made.controller.key_pem
    assert (renewed.role, renewed.id) == (made.controller.role, made.controller.id)
    assert renewed.not_after_ns > made.controller.not_after_ns
    assert load_identity(tmp_path / "controller") == renewed
    assert load_identity(tmp_path / "operator").not_after_ns > made.operator.not_after_ns


def test_a_ca_of_another_mesh_in_its_place(tmp_path: Path) -> None:
    init_mesh(tmp_path / "a")
    init_mesh(tmp_path / "b")
    (tmp_path / "a/controller/ca.key").write_bytes((tmp_path / "b/controller/ca.key").read_bytes())
    with pytest.raises(StateError, match="do not belong together"):
        load_controller(tmp_path / "a")


async def test_a_request_made_in_a_child_passes() -> None:
    request = await request_in_child()
    key = check_csr(request.csr_der)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert b"PRIVATE KEY" in request.key_pem


def test_requests_that_are_refused() -> None:
    from cryptography.hazmat.primitives import hashes, serialization

    good = split_request(*make_request()).csr_der
    other = ec.generate_private_key(ec.SECP384R1())
    large = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(other, hashes.SHA256())
    forged = bytearray(good)
    forged[-1] ^= 1
    for csr in (b"", b"\x30\x00", good[:-5], large.public_bytes(serialization.Encoding.DER), b"0" * 5000):
        with pytest.raises(InvalidRequest):
            check_csr(csr)
    with pytest.raises(InvalidRequest, match=r"not signed by its own key|cannot be read"):
        check_csr(bytes(forged))
