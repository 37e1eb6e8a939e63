"""Who gets a certificate. Each decision is one transaction of the store, with the token's use spent last:
fifty redemptions at once give one certificate, and a name that is taken costs no token.
"""

import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from probemesh.v1 import enrol_pb2
from probemesh.v1.enrol_pb2_grpc import EnrolmentServicer
from probemesh_shared.errors import CertificateRefused, InvalidRequest, NotAllowed
from probemesh_shared.identity.names import Subject
from probemesh_shared.identity.token import hash_secret
from probemesh_shared.names import check_name
from probemesh_shared.rpc.calls import note
from probemesh_shared.rpc.explain import when
from probemesh_shared.rpc.peer import Peer, peer_of
from probemesh_shared.words import OPERATORS, Role

from probemesh_controller.engine import software
from probemesh_controller.pki.ca import Issued, Issuer, check_csr
from probemesh_controller.store.port import (
    AgentRecord,
    CertificateRecord,
    OperatorRecord,
    Store,
    TokenRecord,
)
from probemesh_controller.store.worker import AsyncStore

_log = logging.getLogger(__name__)
_SECRET = re.compile(r"[0-9a-f]{64}\Z")
_NEW_TOKEN = "ask an administrator for a new token"  # noqa: S105
_REPLACE = "choose another name, join with --replace to take its place, or revoke it first"
_LIVING = "stop it first, revoke it, or use a token that was made for that name"

#: Told the subject's id and the serials that are refused from now on: ``MeshServer.revoke``.
Revoked = Callable[[str, tuple[str, ...]], object]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """``revoked`` are serials of the certificates whose place the new one took; ``renewal`` is an
    operator's."""

    subject: Subject
    issued: Issued
    revoked: tuple[str, ...] = ()
    renewal: Issued | None = None

    @property
    def renewal_pem(self) -> bytes:
        return b"" if self.renewal is None else self.renewal.certificate_pem


class Enroller:
    """The decisions, over a store that the caller has to itself."""

    def __init__(
        self,
        ca: Issuer,
        wall_ns: Callable[[], int] = time.time_ns,
        attached: Callable[[str], bool] = lambda agent_id: False,
    ) -> None:
        self._ca = ca
        self._wall_ns = wall_ns
        self._attached = attached

    def enrol(
        self, store: Store, peer: Peer, secret: str, key: ec.EllipticCurvePublicKey, wanted: str, again: bool
    ) -> Enrolled:
        """Spends one use of the token whose certificate ``peer`` showed. ``again``: may take a living
        agent's place.

        Raises :class:`NotAllowed` (token), :class:`InvalidRequest` (name).
        """
        token = self._token(store, peer, secret)
        if token.role is not Role.AGENT:
            self._spend(store, token)
            return self._operator(store, token, key)
        name = check_name(token.name or wanted or f"agent-{secrets.token_hex(3)}", "agent's name")
        holder = store.agent_by_name(name)
        taken = holder is not None and not holder.revoked
        # a host that comes and goes takes its own place again, never that of one which stays
        returns = holder is not None and holder.ephemeral and token.ephemeral
        if taken and not (again or returns):
            raise InvalidRequest(f"there is an agent named {name} already", _REPLACE)
        # a token for any name is in many hands: it takes the place of hosts that are gone, not of living ones
        if taken and holder is not None and token.name is None and self._attached(holder.id):
            raise InvalidRequest(f"the agent named {name} is connected now", _LIVING)
        self._spend(store, token)
        if holder is None or not (taken or again):
            holder = AgentRecord(id=secrets.token_hex(10), name=name, created_ns=self._wall_ns())
        revoked = store.revoke_certificates(holder.id)
        store.put_agent(
            replace(
                holder,
                site=token.site or holder.site,
                labels={**holder.labels, **token.labels},
                ephemeral=token.ephemeral,
                revoked=False,
                narrow=token.narrow or holder.narrow,
            )
        )
        made = self._record(store, Subject(self._ca.mesh, Role.AGENT, holder.id, name), key)
        return replace(made, revoked=revoked)

    def _operator(self, store: Store, token: TokenRecord, key: ec.EllipticCurvePublicKey) -> Enrolled:
        """A name has one role: what it had by another, or before it was revoked, is void."""
        assert token.name is not None
        before = store.operator(token.name)
        other = before is not None and (before.revoked or before.role is not token.role)
        revoked = store.revoke_certificates(token.name) if other else ()
        record = OperatorRecord(token.name, token.role, self._wall_ns(), token.created_by)
        store.put_operator(record)
        return replace(self._for_operator(store, record, key), revoked=revoked)

    def _for_operator(self, store: Store, record: OperatorRecord, key: ec.EllipticCurvePublicKey) -> Enrolled:
        mesh, name = self._ca.mesh, record.name
        made = self._record(store, Subject(mesh, record.role, name, name), key)
        renewal = self._record(store, Subject(mesh, Role.RENEWAL, name, name), key)
        return replace(made, renewal=renewal.issued)

    def _token(self, store: Store, peer: Peer, secret: str) -> TokenRecord:
        token = store.token(hash_secret(secret)) if _SECRET.match(secret) else None
        if token is None or token.id != peer.id:
            raise NotAllowed("this token is not known here", _NEW_TOKEN)
        if token.expires_ns <= self._wall_ns():
            raise NotAllowed(f"this token expired at {when(token.expires_ns)}", _NEW_TOKEN)
        if token.uses_left < 1:
            raise NotAllowed("this token has been used already", _NEW_TOKEN)
        return token

    def _spend(self, store: Store, token: TokenRecord) -> None:
        if store.redeem_token(token.secret_sha256, self._wall_ns()) is None:
            raise NotAllowed("this token has been used already", _NEW_TOKEN)

    def _record(self, store: Store, subject: Subject, key: ec.EllipticCurvePublicKey) -> Enrolled:
        issued = self._ca.issue(subject, key)
        facts = issued.facts
        store.add_certificate(
            CertificateRecord(
                facts.serial,
                subject.role,
                subject.id,
                subject.name,
                facts.not_after_ns,
                issuer=self._ca.issuer,
                trust=self._ca.trust,
                issued_ns=self._wall_ns(),
            )
        )
        return Enrolled(subject, issued)

    def renew(self, store: Store, peer: Peer, key: ec.EllipticCurvePublicKey) -> Enrolled:
        """A certificate for the same role and id. The present one stays good until it ends: the answer may
        be lost.

        Raises :class:`CertificateRefused` for who is revoked or not known.
        """
        if peer.role is not Role.AGENT:
            return self._renew_operator(store, peer, key)
        self.check(store, peer)
        store.use_certificate(peer.serial, self._wall_ns())
        return self._record(store, Subject(self._ca.mesh, Role.AGENT, peer.id, peer.name), key)

    def _renew_operator(self, store: Store, peer: Peer, key: ec.EllipticCurvePublicKey) -> Enrolled:
        """The role is the one that the name has now. A certificate that the CA's own host made for itself is
        not known here, and good all the same."""
        record, present = store.operator(peer.id), store.certificate(peer.serial)
        if record is None:
            raise CertificateRefused(f"there is no operator {peer.name} here", _NEW_TOKEN)
        other = peer.role is not Role.RENEWAL and peer.role is not record.role
        if record.revoked or other or (present is not None and present.revoked):
            raise CertificateRefused("this certificate has been revoked", _NEW_TOKEN)
        now_ns = self._wall_ns()
        store.use_certificate(peer.serial, now_ns)
        store.put_operator(replace(record, renewed_ns=now_ns))
        return self._for_operator(store, record, key)

    @staticmethod
    def check(store: Store, peer: Peer) -> None:
        """Raises :class:`CertificateRefused` for an agent that is revoked or not known."""
        present = store.certificate(peer.serial)
        agent = store.agent_by_id(peer.id)
        if present is None or agent is None:
            raise CertificateRefused("this agent is not known here", "join again with a new token")
        if present.revoked or agent.revoked:
            raise CertificateRefused("this certificate has been revoked", _NEW_TOKEN)


class Enrolment(EnrolmentServicer):
    """The servicer: parses, lets the store's owner decide, and has the replaced cut off before it answers."""

    def __init__(
        self,
        ca: Issuer,
        store: AsyncStore,
        revoked: Revoked,
        attached: Callable[[str], bool] = lambda agent_id: False,
        wall_ns: Callable[[], int] = time.time_ns,
        readmitted: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._readmitted = readmitted
        self._ca = ca
        self._store = store
        self._revoked = revoked
        self._attached = attached
        self._enroller = Enroller(ca, wall_ns, attached)

    async def Enrol(self, request: enrol_pb2.EnrolRequest, context: Any) -> enrol_pb2.EnrolResponse:
        peer = peer_of(context)
        note(token=peer.id, agent=request.name, detail="--replace" if request.replace else "")
        key = check_csr(request.csr_der)
        made = await self._store.call(
            lambda store: self._enroller.enrol(
                store, peer, request.token_secret, key, request.name, request.replace
            )
        )
        _note(made)
        if made.revoked:
            self._revoked(made.subject.id, made.revoked)
        if made.subject.role in OPERATORS and self._readmitted is not None:
            await self._readmitted(made.subject.id)
        _log.info("enrolled %s %s by token %s", made.subject.role, made.subject.name, peer.id)
        return enrol_pb2.EnrolResponse(
            name=made.subject.name,
            mesh=made.subject.mesh,
            role=made.subject.role,
            certificate_pem=made.issued.certificate_pem,
            ca_pem=self._ca.bundle_pem,
            renewal_pem=made.renewal_pem,
        )

    async def Renew(self, request: enrol_pb2.RenewRequest, context: Any) -> enrol_pb2.RenewResponse:
        peer, key = peer_of(context), check_csr(request.csr_der)
        made = await self._store.call(lambda store: self._enroller.renew(store, peer, key))
        _note(made)
        _log.info("renewed the certificate of %s %s", made.subject.role, made.subject.name)
        return enrol_pb2.RenewResponse(
            certificate_pem=made.issued.certificate_pem,
            ca_pem=self._ca.bundle_pem,
            renewal_pem=made.renewal_pem,
        )

    async def Standing(self, request: enrol_pb2.StandingRequest, context: Any) -> enrol_pb2.StandingResponse:
        """Changes nothing, and is no session: a second one would take the first one's place."""
        peer = peer_of(context)
        await self._store.call(lambda store: self._enroller.check(store, peer))
        return enrol_pb2.StandingResponse(software=software(), attached=self._attached(peer.id))


def _note(made: Enrolled) -> None:
    """For the record: which certificate, and whose place it took."""
    text = f"{made.subject.role} {made.subject.id}, certificate {made.issued.facts.serial}"
    text += f" in the place of {', '.join(made.revoked)}" if made.revoked else ""
    note(agent=made.subject.name if made.subject.role is Role.AGENT else "", detail=text)
