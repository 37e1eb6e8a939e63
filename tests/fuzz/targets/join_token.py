"""The line that joins a host, as somebody pasted it."""

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.identity.token import PREFIX, JoinToken, decode_token, encode_token
from probemesh_shared.words import Role

from tests.fuzz.checks import pick, raises_only

_TOKEN = JoinToken("m.example", Role.AGENT, b"c" * 32, b"certificate", b"s" * 32, b"k" * 32)
SEEDS = (
    b"\0" + encode_token(_TOKEN).encode(),
    b"\0mesh2." + b"A" * 80,
    b"\1" + b"\x0fagent@m.example" + b"c" * 96 + b"certificate",
    b"\1\xff" + b"c" * 120,
)


def read(data: bytes) -> None:
    way, rest = pick(data, (_pasted, _whole))
    way(rest)


def _pasted(data: bytes) -> None:
    _read(data.decode("utf-8", "replace"))


def _whole(body: bytes) -> None:
    """With the right checksum, which strangers can make as well."""
    import base64
    import hashlib

    whole = body + hashlib.sha256(body).digest()[:4]
    _read(PREFIX + base64.urlsafe_b64encode(whole).decode("ascii").rstrip("="))


def _read(text: str) -> None:
    token = raises_only(InvalidRequest, lambda: decode_token(text))
    if token is not None:
        assert len(token.ca_sha256) == len(token.secret) == len(token.key) == 32
        assert decode_token(encode_token(token)) == token
        assert token.certificate_pem and token.key_pem
