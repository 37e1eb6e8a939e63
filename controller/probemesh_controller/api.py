"""The one interface that commands are written against: a mesh, wherever it lives.

``Mesh`` is implemented twice: by the engine itself (:mod:`probemesh_controller.engine`, inside ``controller
run`` or inside ``meshctl`` with listening agents only) and by a client of a remote controller
(:mod:`probemesh_controller.remote`). Errors are :mod:`probemesh_shared.errors` in both.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from probemesh_shared.audit.query import AuditFound, AuditQuery
from probemesh_shared.model import AgentInfo, Measurement, Narrowing, Spec, Target
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import Outcome, Role


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Which agents probe what. Selection has happened: ``agents`` are names. ``run_id`` is the caller's,
    random."""

    run_id: str
    targets: tuple[Target, ...]
    specs: tuple[Spec, ...]
    agents: tuple[str, ...]
    deadline_s: float = 15.0


@dataclass(frozen=True, slots=True)
class PlannedVantage:
    """``outcome`` is set where the agent takes no part (lost, revoked, unknown kind); it will send
    nothing."""

    agent: str
    site: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RunPlanned:
    vantages: tuple[PlannedVantage, ...]
    notes: tuple[str, ...] = ()  # pacing and the like, for stderr


@dataclass(frozen=True, slots=True)
class RunMeasured:
    """``target_index`` of each measurement counts in ``RunRequest.targets``."""

    agent: str
    spec_index: int
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class RunVantageEnded:
    """One (agent, spec) is over. ``LOST`` here also means: the link did not come back in time."""

    agent: str
    spec_index: int
    status: JobStatus
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RunEnded:
    cancelled: bool = False


RunEvent = RunPlanned | RunMeasured | RunVantageEnded | RunEnded


@dataclass(frozen=True, slots=True)
class MeshStatus:
    mesh: str
    software: str
    agents_connected: int
    agents_known: int
    now_ns: int
    peer_role: Role | None = None
    peer_name: str | None = None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    role: Role = Role.AGENT
    name: str | None = None
    site: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    uses: int = 1
    ttl_s: int = 3600
    ephemeral: bool = False
    narrow: Narrowing | None = None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    token: str
    expires_ns: int
    controller: str  # HOST:PORT by which the joiner reaches us
    id: str = ""  # no secret; what the record of its making and of its use share


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """A person or a laptop. ``valid_until_ns`` is the end of its newest certificate, ``renewable_until_ns``
    until when that can be renewed without a new token."""

    name: str
    role: str
    revoked: bool = False
    created_ns: int | None = None
    created_by: str | None = None
    renewed_ns: int | None = None
    valid_until_ns: int | None = None
    renewable_until_ns: int | None = None
    connected: bool = False


@dataclass(frozen=True, slots=True)
class CaInfo:
    """One CA of a mesh. ``fingerprint`` is SHA-256, hexadecimal; ``has_key``: on the controller, now."""

    fingerprint: str
    issues: bool
    trusted: bool
    has_key: bool
    ends_ns: int


@dataclass(frozen=True, slots=True)
class BehindInfo:
    """Somebody whom a step would cut off. ``role`` of a laptop that is shut is ``renewal``."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class CaStatus:
    """How far the change from one CA to the next has come (:mod:`probemesh_controller.castate`)."""

    phase: str
    cas: tuple[CaInfo, ...]
    behind: tuple[BehindInfo, ...]  # whom the next step would cut off
    behind_back: tuple[BehindInfo, ...]  # whom the step back would
    away: tuple[BehindInfo, ...]  # shut laptops that will have to join again after the next step
    total: int


class Mesh(Protocol):
    """Closing (``aclose``) frees every socket and task. All methods raise
    :class:`probemesh_shared.errors.MeshError`."""

    async def status(self) -> MeshStatus: ...

    async def agents(self) -> tuple[AgentInfo, ...]: ...

    def run(self, request: RunRequest) -> AsyncIterator[RunEvent]:
        """``RunPlanned`` first, ``RunEnded`` last. Closing the iterator early cancels the run at the
        agents."""

    async def label_agent(
        self, name: str, set_labels: Mapping[str, str], remove: tuple[str, ...], site: str | None
    ) -> AgentInfo: ...

    async def revoke_agent(self, name: str) -> AgentInfo: ...

    async def create_token(self, request: TokenRequest) -> IssuedToken: ...

    async def aclose(self) -> None: ...


class Administration(Protocol):
    """What only a controller can do. All methods raise :class:`probemesh_shared.errors.MeshError`."""

    async def operators(self) -> tuple[OperatorInfo, ...]: ...

    async def revoke_operator(self, name: str) -> OperatorInfo: ...

    async def audit(self, query: AuditQuery) -> AuditFound:
        """What the controller recorded."""

    async def ca_status(self) -> CaStatus: ...

    async def rotate_ca(self, step: str, anyway: bool) -> CaStatus:
        """``forward``, ``back`` or ``finish``."""
