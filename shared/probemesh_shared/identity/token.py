"""The text that joins a host: ``mesh1.`` and base64url, about 700 characters, to be pasted or piped.

Inside: mesh name, SHA-256 of the CA (so that the joiner knows whom it talks to), the secret, and a
certificate with key of role ``join`` that may call Enrol and nothing more, because the port lets nobody in
without one.
"""

import base64
import binascii
import hashlib
import ssl
from dataclasses import dataclass, field

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.names import check_name
from probemesh_shared.words import Role

PREFIX = "mesh1."
MAX_TEXT = 4096
_CHECK = 4
# ECPrivateKey of RFC 5915 on P-256, without the public key: everything but the 32 bytes of the number.
_KEY_HEAD = bytes.fromhex("30310201010420")
_KEY_TAIL = bytes.fromhex("a00a06082a8648ce3d030107")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """``secret`` and ``key`` (P-256 private number) are 32 bytes each, ``ca_sha256`` too.
    ``role`` is what the token leads to, so that a laptop does not spend an agent's token; the controller
    decides."""

    mesh: str
    role: Role
    ca_sha256: bytes
    certificate_der: bytes
    secret: bytes = field(repr=False)
    key: bytes = field(repr=False)

    @property
    def secret_text(self) -> str:
        """As it travels in EnrolRequest."""
        return self.secret.hex()

    @property
    def certificate_pem(self) -> bytes:
        return ssl.DER_cert_to_PEM_cert(self.certificate_der).encode("ascii")

    @property
    def key_pem(self) -> bytes:
        body = base64.encodebytes(_KEY_HEAD + self.key + _KEY_TAIL)
        return b"-----BEGIN EC PRIVATE KEY-----\n" + body + b"-----END EC PRIVATE KEY-----\n"


def hash_secret(secret_text: str) -> str:
    """What is stored of a token: hexadecimal SHA-256. The secret has 256 random bits, so no salt is
    needed."""
    return hashlib.sha256(secret_text.encode()).hexdigest()


def encode_token(token: JoinToken) -> str:
    head = f"{token.role}@{token.mesh}".encode("ascii")
    body = bytes([len(head)]) + head + token.ca_sha256 + token.secret + token.key + token.certificate_der
    check = hashlib.sha256(body).digest()[:_CHECK]
    return PREFIX + base64.urlsafe_b64encode(body + check).decode("ascii").rstrip("=")


def decode_token(text: str) -> JoinToken:
    """Raises :class:`InvalidRequest`: not a token, of a newer version, or cut short when it was copied."""
    text = "".join(text[: MAX_TEXT + 1].split())
    if not text.startswith("mesh") or "." not in text[:8]:
        raise InvalidRequest(
            "this is not a join token", "a token begins with mesh1. and comes from meshctl token create"
        )
    if not text.startswith(PREFIX):
        raise InvalidRequest("this token is of a version that this program does not know", "update probemesh")
    if len(text) > MAX_TEXT:
        raise InvalidRequest("this token is too long to be one")
    encoded = text.removeprefix(PREFIX)
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("this token is damaged", "copy it again, whole") from error
    body, check = data[:-_CHECK], data[-_CHECK:]
    if len(body) < 100 or hashlib.sha256(body).digest()[:_CHECK] != check:
        raise InvalidRequest("this token is damaged or cut short", "copy it again, whole")
    at = 1 + body[0]
    if len(body) <= at + 96:  # a checksum is made by anybody
        raise InvalidRequest("this token is malformed", "ask for a new one")
    ca, secret, key = (body[at + 32 * n : at + 32 * (n + 1)] for n in range(3))
    try:
        role, _, mesh = body[1:at].decode("ascii").partition("@")
        return JoinToken(check_name(mesh, "mesh name"), Role(role), ca, body[at + 96 :], secret, key)
    except ValueError as error:
        raise InvalidRequest("this token is malformed", "ask for a new one") from error
