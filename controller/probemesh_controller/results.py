"""Run events → one result per TARGET, at any moment of the run.

Owns what a vantage point that said nothing, or not everything, is called: ``agent-lost`` where our own agent
went away, ``cancelled``, else ``unmeasured``; always with a reason for people. Events may come twice, late or
not at all.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from probemesh_shared.model import (
    HttpSpec,
    LadderSpec,
    Measurement,
    Spec,
    Target,
    TargetResult,
    TcpSpec,
    TlsSpec,
    UdpSpec,
    Vantage,
)
from probemesh_shared.outcomes import RUNGS, rung_order, vantage_outcome
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import NOT_MEASURED, FailureKind, Kind, Outcome

from probemesh_controller.api import (
    PlannedVantage,
    RunEnded,
    RunEvent,
    RunMeasured,
    RunPlanned,
    RunRequest,
    RunVantageEnded,
)
from probemesh_controller.turned import turned

#: The name of the vantage point that is the laptop itself; it stands first.
SELF = "self"

_ABOVE_PING: Mapping[type[Spec], frozenset[Kind]] = MappingProxyType(
    {
        LadderSpec: frozenset({Kind.TCP, Kind.UDP, Kind.TLS, Kind.HTTP}),
        TcpSpec: frozenset({Kind.TCP}),
        UdpSpec: frozenset({Kind.UDP}),
        TlsSpec: frozenset({Kind.TLS}),
        HttpSpec: frozenset({Kind.HTTP}),
    }
)

_ENDED: Mapping[JobStatus, tuple[Outcome, str]] = MappingProxyType(
    {
        JobStatus.DONE: (Outcome.UNMEASURED, "the agent ended without a word about this"),
        JobStatus.EXPIRED: (Outcome.UNMEASURED, "the deadline came first"),
        JobStatus.CANCELLED: (Outcome.CANCELLED, "cancelled"),
        JobStatus.REJECTED: (Outcome.UNMEASURED, "the agent did not take the job"),
        JobStatus.FAILED: (Outcome.UNMEASURED, "a fault of our own, not of the target"),
        JobStatus.LOST: (Outcome.AGENT_LOST, "the agent was lost in the middle of the run"),
    }
)


@dataclass(slots=True)
class _Account:
    """What one vantage point has said so far. Rows by target index, each once, with the spec they answer."""

    site: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    rows: dict[int, dict[Measurement, int]] = field(default_factory=dict)
    ended: dict[int, RunVantageEnded] = field(default_factory=dict)


def _row_key(row: Measurement) -> tuple[int, int, str, bool, str, int]:
    address = row.address or ""
    return rung_order(row.kind), row.port or 0, row.target, ":" in address, address, row.started_ns


class Assembly:
    """Feed it the events of a run (those of ``self`` too, in the same shapes), read the results at any time.

    ``started_ns`` is the run's own start; without it that of the earliest measurement is shown. With
    ``expect_fail`` accounts are turned round, and ``strict`` says what counts as reached.
    """

    def __init__(
        self,
        request: RunRequest,
        started_ns: int | None = None,
        *,
        expect_fail: bool = False,
        strict: bool = False,
    ) -> None:
        self._request = request
        self._expect_fail, self._strict = expect_fail, strict
        self._started_ns = started_ns
        self._accounts: dict[str, _Account] = {name: _Account() for name in request.agents}
        self._planned = False
        self._ended = False
        self._cancelled = False
        self._cache: dict[tuple[str, int], Vantage] = {}

    @property
    def planned(self) -> bool:
        """Whether the run began."""
        return self._planned

    def add(self, event: RunEvent) -> None:
        """Takes one event; what does not belong to the request (an index out of range, what is no rung)
        is left out."""
        match event:
            case RunPlanned(vantages=planned):
                self._planned = True
                for one in planned:
                    self._plan(one)
            case RunMeasured():
                self._measured(event)
            case RunVantageEnded(agent=agent, spec_index=index):
                self._end(agent, index, event)
            case RunEnded(cancelled=cancelled):
                self._ended, self._cancelled = True, self._cancelled or cancelled
                self._cache.clear()

    def results(self) -> tuple[TargetResult, ...]:
        """One per TARGET, in the request's order: ``self`` first, then by site and name. No findings yet."""
        names = sorted(self._accounts, key=self._order)
        return tuple(self._result(index, target, names) for index, target in enumerate(self._request.targets))

    def _account(self, agent: str) -> _Account:
        return self._accounts.setdefault(agent, _Account())

    def _forget(self, agent: str) -> None:
        for index in range(len(self._request.targets)):
            self._cache.pop((agent, index), None)

    def _end(self, agent: str, spec_index: int, event: RunVantageEnded) -> None:
        ended = self._account(agent).ended
        if spec_index not in ended or ended[spec_index].status is JobStatus.LOST:  # it came back after all
            ended[spec_index] = event
            self._forget(agent)

    def _plan(self, planned: PlannedVantage) -> None:
        account = self._account(planned.agent)
        account.site, account.outcome, account.reason = planned.site, planned.outcome, planned.reason
        self._forget(planned.agent)

    def _measured(self, event: RunMeasured) -> None:
        account = self._account(event.agent)
        for row in event.measurements:
            if row.kind in RUNGS and 0 <= row.target_index < len(self._request.targets):
                account.rows.setdefault(row.target_index, {}).setdefault(row, event.spec_index)
                self._cache.pop((event.agent, row.target_index), None)

    def _order(self, agent: str) -> tuple[bool, bool, str, str]:
        site = self._accounts[agent].site
        return agent != SELF, site is None, site or "", agent

    def _result(self, index: int, target: Target, names: list[str]) -> TargetResult:
        vantages = tuple(self._vantage(name, index, target) for name in names)
        starts = [row.started_ns for vantage in vantages for row in vantage.measurements]
        started = self._started_ns if self._started_ns is not None else min(starts, default=0)
        return TargetResult(target, started, vantages)

    def _vantage(self, name: str, index: int, target: Target) -> Vantage:
        key = name, index
        if key not in self._cache:
            told = self._judge(name, self._accounts[name], index, target)
            self._cache[key] = turned(told, target, self._strict) if self._expect_fail else told
        return self._cache[key]

    def _judge(self, name: str, account: _Account, index: int, target: Target) -> Vantage:
        rows = account.rows.get(index, {})
        ordered = tuple(sorted(rows, key=_row_key))
        if account.outcome is not None and not rows:
            return Vantage(name, account.site, account.outcome, reason=account.reason)
        ladder = any(isinstance(spec, LadderSpec) for spec in self._request.specs)
        ported = (
            bool(target.ports) if target.kind is None else rung_order(target.kind) > rung_order(Kind.ICMP)
        )
        outcome, failed_at, is_target = vantage_outcome(ordered, ladder, ported=ported)
        reason = _reason(ordered, outcome, is_target)
        if outcome in (Outcome.OK, Outcome.UNMEASURED) and not is_target:
            gap = self._gap(account, rows, target)
            if gap is not None:
                own = reason if gap[0] is outcome else None  # a row's own word tells more than its absence
                (outcome, missing), failed_at = gap, None
                reason = own or missing
        return Vantage(name, account.site, outcome, failed_at, ordered, is_target, reason)

    def _gap(
        self, account: _Account, rows: Mapping[Measurement, int], target: Target
    ) -> tuple[Outcome, str | None] | None:
        """What a vantage point is called that left a spec, or a port of the list, without an answer."""
        for index, spec in enumerate(self._request.specs):
            mine = [row for row, answered in rows.items() if answered == index]
            missing = _missing_ports(spec, target, mine)
            if mine and not missing and not self._cut_short(account, index, spec):
                continue
            outcome, reason = self._why(account, index)
            return outcome, _of_the_ports(missing, target, reason) if mine and missing else reason
        return None

    def _cut_short(self, account: _Account, spec_index: int, spec: Spec) -> bool:
        """Whether higher rungs may be missing that nobody announced: only the climber knows how high it meant
        to go, and it went away without saying that it had arrived."""
        ended = account.ended.get(spec_index)
        away = self._ended if ended is None else ended.status in (JobStatus.LOST, JobStatus.FAILED)
        return away and isinstance(spec, LadderSpec)

    def _why(self, account: _Account, spec_index: int) -> tuple[Outcome, str | None]:
        ended = account.ended.get(spec_index)
        if ended is not None:
            outcome, reason = _ENDED[ended.status]
            return outcome, f"{reason}: {ended.detail}" if ended.detail else reason
        if account.outcome is not None:
            return account.outcome, account.reason
        if self._cancelled:
            return Outcome.CANCELLED, "cancelled"
        return Outcome.UNMEASURED, "the run ended before it answered" if self._ended else None


def _missing_ports(spec: Spec, target: Target, rows: Iterable[Measurement]) -> set[int]:
    """Ports asked for that no row speaks of; none where a row says why nothing above it was tried."""
    kinds = _ABOVE_PING.get(type(spec))
    if kinds is None or not target.ports:
        return set()
    if any(row.port is None and row.outcome in NOT_MEASURED for row in rows if row.kind is not Kind.ICMP):
        return set()
    return _asked_ports(target) - {row.port for row in rows if row.kind in kinds and row.port is not None}


def _asked_ports(target: Target) -> set[int]:
    return {port for span in target.ports for port in range(span.first, span.last + 1)}


def _of_the_ports(missing: Collection[int], target: Target, reason: str | None) -> str | None:
    """How many ports of a list ``reason`` is about, where it is not all of them."""
    asked = len(_asked_ports(target))
    if reason is None or len(missing) == asked:
        return reason
    return (
        f"{len(missing)} of the {asked} ports {'was' if len(missing) == 1 else 'were'} not measured: {reason}"
    )


def _reason(rows: Iterable[Measurement], outcome: Outcome, is_target: bool) -> str | None:
    if is_target:
        return "the target's own end"
    if outcome not in NOT_MEASURED:
        return None
    for row in rows:
        if row.outcome is outcome and row.failure and row.failure.kind is not FailureKind.OWN_ADDRESS:
            return row.failure.detail
    return None


def assemble(
    request: RunRequest, events: Iterable[RunEvent], started_ns: int | None = None
) -> tuple[TargetResult, ...]:
    """All at once; see :class:`Assembly` for results while the run is going on."""
    assembly = Assembly(request, started_ns)
    for event in events:
        assembly.add(event)
    return assembly.results()
