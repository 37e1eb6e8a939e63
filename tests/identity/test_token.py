"""The text that joins a host."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.api import TokenRequest
from probemesh_controller.pki.tokens import issue_token
from probemesh_controller.store.memory import MemoryStore
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.identity.files import load_identity, make_identity, save_identity
from probemesh_shared.identity.token import decode_token, hash_secret
from probemesh_shared.words import Role

HOUR = 3600


ONE = TokenRequest()


def issued(ca, request: TokenRequest = ONE) -> tuple[str, MemoryStore]:
    store = MemoryStore()
    return issue_token(ca, store, request, "192.0.2.1:7400", "admin").token, store


def test_it_carries_a_working_certificate_of_role_join(ca, tmp_path) -> None:
    text, store = issued(ca)
    token = decode_token(text)
    assert (token.mesh, token.role, token.ca_sha256) == ("demo", Role.AGENT, ca.fingerprint)
    joiner = make_identity(token.certificate_pem, token.key_pem, ca.certificate_pem)
    assert joiner.role is Role.JOIN
    save_identity(tmp_path, joiner)
    assert load_identity(tmp_path) == joiner  # the key, written without its public half, fits the certificate
    record = store.token(hash_secret(token.secret_text))
    assert record is not None
    assert record.id == joiner.id
    assert record.expires_ns == joiner.not_after_ns
    assert (joiner.not_after_ns - joiner.not_before_ns) / 1e9 <= HOUR + 301
    assert 600 <= len(text) <= 1000


def test_neither_secret_nor_key_is_stored_or_shown(ca) -> None:
    text, store = issued(ca)
    token = decode_token(text)
    kept = repr(vars(store))
    assert token.secret_text not in kept
    assert token.secret.hex() not in repr(token)
    assert repr(token.key) not in repr(token)


def test_pasted_over_several_lines(ca) -> None:
    text, _ = issued(ca)
    assert decode_token(f" {text[:80]}\n {text[80:300]}\r\n{text[300:]}\n") == decode_token(text)


@pytest.fixture(scope="module")
def text(ca) -> str:
    return issued(ca)[0]


@given(st.data())
def test_any_change_is_noticed(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 2))  # the last character may hold padding bits only
    other = data.draw(st.sampled_from("ABCabc019-_.x"))
    changed = text[:at] + other + text[at + 1 :]
    if changed != text:
        with pytest.raises(InvalidRequest):
            decode_token(changed)
    with pytest.raises(InvalidRequest):
        decode_token(text[: at + 1] if at + 1 < len(text) else "")


@pytest.mark.parametrize("size", [70, 95, 96])
def test_one_without_whole_keys_is_refused_though_its_checksum_is_right(size: int) -> None:
    """A checksum is made by anybody; a short key would be a fault of ours much later."""
    head = b"agent@" + b"d" * 24
    body = bytes((len(head),)) + head + bytes(size)
    whole = body + hashlib.sha256(body).digest()[:4]
    with pytest.raises(InvalidRequest, match="malformed"):
        decode_token("mesh1." + base64.urlsafe_b64encode(whole).decode().rstrip("="))


@given(st.text(max_size=200) | st.binary(max_size=300).map(lambda b: "mesh1." + b.hex()))
def test_garbage_is_an_invalid_request(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_token(text)


@pytest.mark.parametrize(
    "request_",
    [
        TokenRequest(uses=0),
        TokenRequest(uses=10**6),
        TokenRequest(ttl_s=0),
        TokenRequest(ttl_s=HOUR + 1),
        TokenRequest(uses=2, ttl_s=24 * HOUR + 1),
        TokenRequest(role=Role.JOIN),
        TokenRequest(role=Role.CONTROLLER),
        TokenRequest(role=Role.ADMIN),
        TokenRequest(role=Role.ADMIN, name="ann", ephemeral=True),
        TokenRequest(role=Role.VIEWER, name="ann", site="berlin"),
        TokenRequest(name="Bad Name"),
        TokenRequest(name="self"),
        TokenRequest(site="a,b"),
        TokenRequest(labels={"x": "a\nb"}),
        TokenRequest(labels={f"k{n}": "v" for n in range(33)}),
    ],
    ids=str,
)
def test_requests_that_are_refused(ca, request_: TokenRequest) -> None:
    with pytest.raises(InvalidRequest):
        issued(ca, request_)


def test_a_token_for_many_lives_for_a_day(ca) -> None:
    text, _ = issued(ca, TokenRequest(uses=5, ttl_s=24 * HOUR))
    joiner = make_identity(decode_token(text).certificate_pem, b"", ca.certificate_pem)
    assert (joiner.not_after_ns - joiner.not_before_ns) / 1e9 == pytest.approx(24 * HOUR, abs=301)


def test_its_key_is_the_certificates(ca) -> None:
    token = decode_token(issued(ca)[0])
    key = serialization.load_pem_private_key(token.key_pem, None)
    from cryptography import x509

    assert x509.load_der_x509_certificate(token.certificate_der).public_key() == key.public_key()
