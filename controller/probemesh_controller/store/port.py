"""The store as everything else sees it. Every adapter passes the same tests.

Calls are synchronous and short; :class:`probemesh_controller.store.worker.StoreWorker` runs them off the
event loop: ``await store.call(lambda s: s.put_agent(record))`` returns after the commit. Times are Unix
nanoseconds, UTC. All writes of one call are one transaction.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from probemesh_shared.model import Measurement, Narrowing
from probemesh_shared.words import Role

from probemesh_controller.store.matrix.port import MatrixStore


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """``id`` is the certificate's and outlives names; history hangs on it."""

    id: str
    name: str
    site: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ephemeral: bool = False
    revoked: bool = False
    created_ns: int = 0
    last_seen_ns: int | None = None
    version: str | None = None
    addresses: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    narrow: Narrowing | None = None  # by the token it joined with


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """``secret_sha256`` is hexadecimal; the secret itself is never stored."""

    id: str
    secret_sha256: str
    role: Role
    expires_ns: int
    uses_left: int
    name: str | None = None
    site: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ephemeral: bool = False
    created_by: str = ""
    narrow: Narrowing | None = None


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """``issuer`` and ``trust`` are fingerprints of CAs: whose it is, and which its holder was told to trust
    with it. ``used_ns`` is when it was last shown by a stream or a renewal."""

    serial: str  # hexadecimal
    role: Role
    subject_id: str  # agent id, or operator name
    name: str
    not_after_ns: int
    revoked: bool = False
    issuer: str = ""
    trust: tuple[str, ...] = ()
    issued_ns: int = 0
    used_ns: int | None = None


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """A person or a laptop. ``created_by`` is who made the token, empty where that was not kept."""

    name: str
    role: Role
    created_ns: int = 0
    created_by: str = ""
    renewed_ns: int | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class RunRecord:
    id: str
    started_ns: int
    asked_by: str
    targets: tuple[str, ...]
    agents: tuple[str, ...]
    ended_ns: int | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class StoredMeasurement:
    agent_id: str
    job_id: str
    spec_index: int
    measurement: Measurement


class Store(MatrixStore, Protocol):
    """Raises :class:`probemesh_shared.errors.StateError` for a store that cannot be used."""

    def put_agent(self, record: AgentRecord) -> None:
        """Insert or replace by id. A name belongs to one unrevoked id at a time: otherwise InvalidRequest."""

    def agent_by_id(self, agent_id: str) -> AgentRecord | None: ...

    def agent_by_name(self, name: str) -> AgentRecord | None:
        """The unrevoked holder of the name, else the latest revoked one."""

    def agents(self) -> tuple[AgentRecord, ...]: ...

    def delete_agent(self, agent_id: str) -> None: ...

    def add_token(self, record: TokenRecord) -> None: ...

    def token(self, secret_sha256: str) -> TokenRecord | None:
        """As it stands, without taking a use; also where it is expired or used up."""

    def redeem_token(self, secret_sha256: str, now_ns: int) -> TokenRecord | None:
        """Takes one use, atomically; None where unknown, expired or used up. The record is as before it."""

    def add_certificate(self, record: CertificateRecord) -> None: ...

    def certificate(self, serial: str) -> CertificateRecord | None: ...

    def certificates(self, after_ns: int) -> tuple[CertificateRecord, ...]:
        """Those that end after ``after_ns``, by name and date of issue."""

    def use_certificate(self, serial: str, now_ns: int) -> None: ...

    def adopt_certificates(self, issuer: str) -> None:
        """Those whose issuer is not known are of this one, and their holders trust it."""

    def prune_certificates(self, before_ns: int) -> int:
        """Forgets those that ended before; returns how many."""

    def revoke_certificates(self, subject_id: str) -> tuple[str, ...]:
        """Marks all of a subject's certificates; returns their serials."""

    def revoked_serials(self) -> frozenset[str]: ...

    def put_operator(self, record: OperatorRecord) -> None:
        """Insert or replace by name."""

    def operator(self, name: str) -> OperatorRecord | None: ...

    def operators(self) -> tuple[OperatorRecord, ...]:
        """By name, revoked ones too."""

    def add_run(self, record: RunRecord) -> None: ...

    def end_run(self, run_id: str, ended_ns: int, cancelled: bool) -> None: ...

    def runs(self, limit: int) -> tuple[RunRecord, ...]: ...

    def add_measurements(
        self,
        run_id: str,
        agent_id: str,
        job_id: str,
        spec_index: int,
        seq: int,
        measurements: Iterable[Measurement],
    ) -> bool:
        """Stores one batch; False (and nothing stored) where (job_id, seq) is already there."""

    def measurements(self, run_id: str) -> tuple[StoredMeasurement, ...]: ...

    def batch(self, job_id: str, seq: int) -> tuple[Measurement, ...] | None:
        """One batch again, for a reader that fell behind; None where it is not there."""

    def group(self) -> AbstractContextManager[None]:
        """Calls made inside become one transaction, committed at the end; one that raises undoes its own."""

    def close(self) -> None: ...
