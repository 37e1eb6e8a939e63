"""A mesh that says what the test scripted, and the rows it says it with."""

import asyncio
from dataclasses import dataclass, field, replace

from probemesh_controller.api import (
    IssuedToken,
    MeshStatus,
    PlannedVantage,
    RunEnded,
    RunMeasured,
    RunPlanned,
    RunVantageEnded,
)
from probemesh_shared.audit.query import AuditFound
from probemesh_shared.errors import NotFound
from probemesh_shared.model import (
    AgentInfo,
    Failure,
    HttpDetail,
    HttpPhases,
    Measurement,
    Sample,
    TcpDetail,
    TlsDetail,
)
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import AgentState, FailureKind, Kind, Origin, Outcome, Stage, Timing

NOW_NS = 1_795_371_723_123_456_789
KINDS = {
    Outcome.REFUSED: (Stage.CONNECT, FailureKind.REFUSED, "connection refused by 192.0.2.5"),
    Outcome.TIMEOUT: (Stage.CONNECT, FailureKind.TIMEOUT, "no answer within 3 s"),
    Outcome.DENIED: (Stage.CONNECT, FailureKind.DENIED, "this agent's policy denies 192.0.2.0/24"),
    Outcome.NAME_FAILS: (Stage.RESOLVE, FailureKind.NO_SUCH_NAME, "no such name"),
    Outcome.ANSWER_UNEXPECTED: (Stage.HTTP, FailureKind.STATUS_UNEXPECTED, "status 500"),
}


def failure(outcome, detail=None):
    stage, kind, words = KINDS[outcome]
    return Failure(stage, kind, Origin.TARGET, detail or words, errno=None)


def row(
    kind,
    outcome=Outcome.OK,
    rtts=(1.25, 1.0, 1.5),
    *,
    target="db:5432",
    port=5432,
    address="192.0.2.5",
    **more,
):
    """One measurement: three samples, lost where an rtt is None."""
    why = None if outcome is Outcome.OK else more.pop("failure", None) or failure(outcome)
    samples = tuple(
        Sample(
            i,
            i * 200.0,
            rtt,
            outcome if rtt is None else Outcome.OK,
            why if rtt is None else None,
            Timing.KERNEL,
        )
        for i, rtt in enumerate(rtts if outcome is Outcome.OK else (None,) * len(rtts))
    )
    address = more.pop("address", "192.0.2.5")
    return Measurement(kind, 0, target, address, port, outcome, NOW_NS, samples, why, **more)


def agent(name, site=None, state=AgentState.CONNECTED, **labels):
    return AgentInfo(
        name, site, labels, state, "0.1.0", ("192.0.2.9",), ("icmp", "tcp"), NOW_NS, f"id-{name}"
    )


@dataclass
class FakeMesh:
    """``script``: agent → its rows, or a planned outcome with a reason."""

    fleet: list = field(default_factory=list)
    script: dict = field(default_factory=dict)
    notes: tuple = ()
    error: Exception | None = None
    block: bool = False
    gone: Exception | None = None  # raised after the first agent's rows
    requests: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    queries: list = field(default_factory=list)
    found: AuditFound = field(default_factory=lambda: AuditFound(()))
    contexts: list = field(default_factory=list)
    end: tuple = (JobStatus.DONE, "")
    cancelled: bool = False
    closed: bool = False

    def _check(self):
        if self.error is not None:
            raise self.error

    async def status(self):
        self._check()
        connected = sum(a.state is AgentState.CONNECTED for a in self.fleet)
        return MeshStatus("demo", "probemesh 0.1.0", connected, len(self.fleet), NOW_NS)

    async def agents(self):
        self._check()
        return tuple(self.fleet)

    async def run(self, request):
        self.requests.append(request)
        sites = {a.name: a.site for a in self.fleet}
        said = {name: self.script.get(name, ()) for name in request.agents}
        planned = [
            PlannedVantage(name, sites.get(name), *(what if what and isinstance(what[0], Outcome) else ()))
            for name, what in said.items()
        ]
        try:
            yield RunPlanned(tuple(planned), self.notes)
            for name, what in said.items():
                if what and isinstance(what[0], Outcome):
                    continue
                for index, _ in enumerate(request.specs):
                    if what:
                        yield RunMeasured(name, index, tuple(what))
                    elif self.block:
                        await asyncio.Event().wait()
                    if self.gone is not None:
                        raise self.gone
                    yield RunVantageEnded(name, index, *self.end)
            yield RunEnded()
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled = True
            raise

    def _named(self, name):
        self._check()
        for found in self.fleet:
            if found.name == name:
                return found
        raise NotFound(f"there is no agent called '{name}'")

    async def label_agent(self, name, set_labels, remove, site):
        found = self._named(name)
        labels = {k: v for k, v in {**found.labels, **set_labels}.items() if k not in remove}
        return replace(found, labels=labels, site=site or found.site)

    async def revoke_agent(self, name):
        return replace(self._named(name), state=AgentState.REVOKED)

    async def create_token(self, request):
        self._check()
        self.tokens.append(request)
        return IssuedToken("mesh1.c2VjcmV0", NOW_NS, "mesh.example:7400")

    async def audit(self, query):
        self._check()
        self.queries.append(query)
        return self.found

    async def aclose(self):
        self.closed = True


def https_row(verified=True, chain=()):
    tls = TlsDetail("TLSv1.3", "TLS_AES_256_GCM_SHA384", "h2", "web", chain, verified, 0 if verified else 18)
    return row(Kind.TLS, target="https://web/", port=443, detail=tls)


def http_row(status=200, outcome=Outcome.OK):
    phases = HttpPhases(0.5, 1.0, 2.0, 3.0, 0.25, 6.75)
    detail = HttpDetail(
        "https://web/", "GET", "1.1", status, "OK", (("server", "x"),), 2, b"hi", phases=phases
    )
    return row(Kind.HTTP, outcome, target="https://web/", port=443, detail=detail)


def tcp_row(outcome=Outcome.OK, port=5432, **more):
    return row(
        Kind.TCP,
        outcome,
        target=f"db:{port}",
        port=port,
        detail=TcpDetail(banner=b"SSH-2.0\x1b[2J\r\n"),
        **more,
    )
