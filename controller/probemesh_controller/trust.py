"""Who belongs to the mesh: operators, listed and cut off. Decisions are made over the store, one transaction
each; the server is told afterwards, and at its start."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

from probemesh.v1 import trust_pb2
from probemesh.v1.trust_pb2_grpc import TrustServicer
from probemesh_shared.convert import to_proto
from probemesh_shared.errors import InvalidRequest, NotFound, StateError
from probemesh_shared.escape import escape
from probemesh_shared.identity.files import load_identity
from probemesh_shared.names import did_you_mean
from probemesh_shared.rpc.calls import note
from probemesh_shared.rpc.peer import Peer
from probemesh_shared.session.frames import DenyList
from probemesh_shared.words import OPERATORS, Role

from probemesh_controller.api import CaStatus, OperatorInfo
from probemesh_controller.rotation import Rotation
from probemesh_controller.store.port import CertificateRecord, OperatorRecord, Store
from probemesh_controller.store.worker import AsyncStore

#: Of serials and of names, in one list for agents.
MOST_DENIED = 4096


class Door(Protocol):
    """What the server does for us: :class:`probemesh_shared.rpc.server.MeshServer`."""

    def deny_operator(self, name: str, serials: Iterable[str] = ()) -> int: ...

    def readmit_operator(self, name: str) -> None: ...

    def peers(self) -> tuple[Peer, ...]: ...


class Operators:
    """Lists and revokes. ``ended(owner)`` ends what an operator has running; ``tell`` reaches every agent
    that is attached; ``beside`` is the operator's folder on this host. ``denied`` is what agents that listen
    are to turn away."""

    def __init__(
        self,
        store: AsyncStore,
        door: Door,
        ended: Callable[[str], object],
        tell: Callable[[DenyList], object] = lambda denied: None,
        wall_ns: Callable[[], int] = time.time_ns,
        beside: Path | None = None,
    ) -> None:
        self._beside = beside
        self._store = store
        self._door = door
        self._ended = ended
        self._tell = tell
        self.denied = DenyList()
        self._wall_ns = wall_ns

    async def start(self, first: str) -> None:
        """Makes sure of a record of the first operator, whom no token made; closes the door on revoked
        ones."""

        def work(store: Store) -> tuple[OperatorRecord, ...]:
            if store.operator(first) is None:
                store.put_operator(OperatorRecord(first, Role.ADMIN, self._wall_ns(), "meshctl init"))
            return store.operators()

        for record in await self._store.call(work):
            if record.revoked:
                self._door.deny_operator(record.name)
        await self._look()

    async def readmit(self, name: str) -> None:
        """It joined anew; agents are told."""
        self._door.readmit_operator(name)
        await self._look()

    async def _look(self) -> None:
        now_ns = self._wall_ns()
        before, self.denied = self.denied, await self._store.call(lambda store: _denied(store, now_ns))
        if self.denied != before:
            self._tell(self.denied)

    async def list(self) -> tuple[OperatorInfo, ...]:
        now_ns = self._wall_ns()
        records, certificates = await self._store.call(
            lambda store: (store.operators(), store.certificates(now_ns))
        )
        certificates += await asyncio.to_thread(_own, self._beside)
        connected = {peer.id for peer in self._door.peers() if peer.role in OPERATORS}
        return tuple(_info(record, certificates, record.name in connected) for record in records)

    async def revoke(self, name: str) -> OperatorInfo:
        """Raises NotFound, and InvalidRequest for the last administrator."""

        def work(store: Store) -> tuple[OperatorRecord, tuple[str, ...]]:
            record = store.operator(name)
            if record is None:
                names = [one.name for one in store.operators()]
                raise NotFound(
                    f"there is no operator {escape(name, 80)}",
                    did_you_mean(name, names) or "see: meshctl operator list",
                )
            if not _another_admin(store, record):
                raise InvalidRequest(
                    f"{name} is the last administrator: nobody could let anybody in any more",
                    "make another first: meshctl operator create NAME --role admin",
                )
            store.put_operator(replace(record, revoked=True))
            return replace(record, revoked=True), store.revoke_certificates(name)

        record, serials = await self._store.call(work)
        self._door.deny_operator(name, serials)
        for role in OPERATORS:
            self._ended(f"{role}/{name}")
        await self._look()
        return _info(record, (), connected=False)


def _own(folder: Path | None) -> tuple[CertificateRecord, ...]:
    """That of the operator on this host, which the CA beside makes without a note."""
    try:
        one = load_identity(folder) if folder is not None else None
    except StateError:
        return ()
    return (
        () if one is None else (CertificateRecord(one.serial, one.role, one.id, one.name, one.not_after_ns),)
    )


def _another_admin(store: Store, record: OperatorRecord) -> bool:
    others = [one for one in store.operators() if one.role is Role.ADMIN and not one.revoked]
    return record.role is not Role.ADMIN or any(one.name != record.name for one in others)


def _denied(store: Store, now_ns: int) -> DenyList:
    """Certificates of operators that TLS would let in yet: of half a day, so they are few."""
    void = [one for one in store.certificates(now_ns) if one.revoked and one.role in OPERATORS]
    newest = sorted(void, key=lambda one: one.not_after_ns)[-MOST_DENIED:]
    names = tuple(one.name for one in store.operators() if one.revoked)[:MOST_DENIED]
    return DenyList(tuple(sorted(one.serial for one in newest)), names)


def _info(record: OperatorRecord, certificates: Iterable[CertificateRecord], connected: bool) -> OperatorInfo:
    mine = [one for one in certificates if one.subject_id == record.name and not one.revoked]
    return OperatorInfo(
        record.name,
        record.role.value,
        record.revoked,
        record.created_ns or None,
        record.created_by or None,
        record.renewed_ns,
        max((one.not_after_ns for one in mine if one.role in OPERATORS), default=None),
        max((one.not_after_ns for one in mine if one.role is Role.RENEWAL), default=None),
        connected,
    )


class TrustService(TrustServicer):
    """The servicer. Who may call what is judged before it is reached."""

    def __init__(self, operators: Operators, rotation: Rotation) -> None:
        self._operators = operators
        self._rotation = rotation

    async def ListOperators(
        self, request: trust_pb2.ListOperatorsRequest, context: Any
    ) -> trust_pb2.ListOperatorsResponse:
        return trust_pb2.ListOperatorsResponse(operators=map(_to_proto, await self._operators.list()))

    async def RevokeOperator(
        self, request: trust_pb2.RevokeOperatorRequest, context: Any
    ) -> trust_pb2.RevokeOperatorResponse:
        note(detail=f"operator {request.name}")
        return trust_pb2.RevokeOperatorResponse(
            operator=_to_proto(await self._operators.revoke(request.name))
        )

    async def GetCa(self, request: trust_pb2.GetCaRequest, context: Any) -> trust_pb2.GetCaResponse:
        return trust_pb2.GetCaResponse(status=_ca_to_proto(await self._rotation.status()))

    async def RotateCa(self, request: trust_pb2.RotateCaRequest, context: Any) -> trust_pb2.RotateCaResponse:
        status = await self._rotation.step(request.step, request.anyway)
        return trust_pb2.RotateCaResponse(status=_ca_to_proto(status))


def _ca_to_proto(status: CaStatus) -> trust_pb2.CaStatus:
    return cast(trust_pb2.CaStatus, to_proto(status))


def _to_proto(info: OperatorInfo) -> trust_pb2.OperatorInfo:
    return cast(trust_pb2.OperatorInfo, to_proto(info))
