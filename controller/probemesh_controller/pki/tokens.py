"""Tokens: what ``meshctl token create`` and ``meshctl operator create`` print. The secret is kept as a hash
only."""

import secrets
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.identity.names import Subject
from probemesh_shared.identity.token import JoinToken, encode_token, hash_secret
from probemesh_shared.model import Narrowing
from probemesh_shared.names import check_name, dial_address, parse_label
from probemesh_shared.narrowing import as_table, read_narrowing
from probemesh_shared.words import Role

from probemesh_controller.api import IssuedToken, TokenRequest
from probemesh_controller.pki.ca import Issuer, new_key
from probemesh_controller.store.port import Store, TokenRecord

#: A token for one host is pasted at once; one for many (daemon sets) may be kept for a day.
MAX_TTL_ONE_S, MAX_TTL_MANY_S = 3600, 24 * 3600
MAX_USES = 10_000
MAX_LABELS = 32
_OPERATORS = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})


def check_request(request: TokenRequest) -> None:
    """Raises :class:`InvalidRequest` with what is wrong."""
    if request.role not in _OPERATORS | {Role.AGENT}:
        raise InvalidRequest(
            f"there are no tokens for role {request.role}", "agent, viewer, operator or admin"
        )
    if request.name is not None:
        check_name(request.name)
    elif request.role in _OPERATORS:
        raise InvalidRequest("an operator's token needs a name")
    if request.site is not None:
        check_name(request.site, "site")
    if len(request.labels) > MAX_LABELS:
        raise InvalidRequest(f"more than {MAX_LABELS} labels")
    for key, value in request.labels.items():
        parse_label(f"{key}={value}")
    if request.role in _OPERATORS and (request.ephemeral or request.site or request.labels):
        raise InvalidRequest("site, labels and --ephemeral are for agents")
    if request.role in _OPERATORS and request.narrow is not None:
        raise InvalidRequest("what may be probed is narrowed for agents")
    if not 1 <= request.uses <= MAX_USES:
        raise InvalidRequest(f"uses must be 1 to {MAX_USES}")
    longest = MAX_TTL_ONE_S if request.uses == 1 else MAX_TTL_MANY_S
    if not 1 <= request.ttl_s <= longest:
        raise InvalidRequest(
            f"a token for {request.uses} use(s) may live 1 s to {longest // 3600} h",
            "only tokens with --uses greater than 1 may live for up to 24 h",
        )


def _checked(narrow: Narrowing | None) -> Narrowing | None:
    """As the readers of what people write would have it. Raises :class:`InvalidRequest`."""
    return None if narrow is None else read_narrowing(as_table(narrow), "the token that it joined with")


def issue_token(
    ca: Issuer, store: Store, request: TokenRequest, controller_address: str, created_by: str
) -> IssuedToken:
    """Stores the token's hash and returns its text. Raises :class:`InvalidRequest`.

    ``controller_address`` is HOST:PORT by which joiners reach the controller; ``created_by`` is for the
    record.
    """
    check_request(request)
    dial_address(controller_address, "address of the controller")
    token_id, secret, key = secrets.token_hex(8), secrets.token_bytes(32), new_key()
    subject = Subject(ca.mesh, Role.JOIN, token_id, token_id)
    life = timedelta(seconds=request.ttl_s)
    issued = ca.issue(subject, key.public_key(), life)
    der = x509.load_pem_x509_certificate(issued.certificate_pem).public_bytes(serialization.Encoding.DER)
    number = key.private_numbers().private_value.to_bytes(32, "big")
    token = JoinToken(ca.mesh, request.role, ca.fingerprint, der, secret, number)
    expires_ns = issued.facts.not_after_ns
    store.add_token(
        TokenRecord(
            id=token_id,
            secret_sha256=hash_secret(token.secret_text),
            role=request.role,
            expires_ns=expires_ns,
            uses_left=request.uses,
            name=request.name,
            site=request.site,
            labels=dict(request.labels),
            ephemeral=request.ephemeral,
            created_by=created_by,
            narrow=_checked(request.narrow),
        )
    )
    return IssuedToken(encode_token(token), expires_ns, controller_address, token_id)
