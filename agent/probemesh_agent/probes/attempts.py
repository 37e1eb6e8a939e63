"""What dns, tls and http have in common: targets become units, a unit is tried ``count`` times, one row
comes of it.

The kind brings a plan (from a target to units, and to rows for what cannot be tried) and an exchange (one
attempt).
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Protocol

from probemesh_shared import failures
from probemesh_shared.model import Detail, Failure, Measurement, Options, PortRange, Sample, Target
from probemesh_shared.targets import expand_ports, row_text
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Stage, Timing

from probemesh_agent.engine.pace import Pace
from probemesh_agent.env import Address, ProbeEnv, ProbeFailed, ProbeLog, Resolution
from probemesh_agent.net.allowance import asking

#: Targets that are worked on at the same time, units of one target, and rows that may wait for a slow reader.
TARGETS_AT_ONCE = 64
UNITS_AT_ONCE = 32
_WAITING = 256
#: From this share of an attempt on, waiting for a processor is what was measured; less than this is noise.
_LAG_SHARE, _LAG_MS = 0.25, 10.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unit:
    """One row to be: a target at one address and port. ``dns_ms`` is what resolving its name took."""

    index: int
    target: Target
    text: str
    address: Address
    port: int
    dns_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """``rows``: told as they are, nothing to send. Every target has a row or a unit."""

    rows: tuple[Measurement, ...] = ()
    units: tuple[Unit, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempted:
    """One attempt that was answered. ``failure`` says what was wrong with the answer, ``rtt_ms`` what it
    took."""

    rtt_ms: float | None
    failure: Failure | None = None
    timing: Timing = Timing.USER
    syn_retransmits: int | None = None


class Exchange(Protocol):
    """The attempts at one unit. ``attempt`` raises :class:`ProbeFailed` where no answer came, and closes
    what it opened; ``finish`` is awaited once, after the last."""

    log: ProbeLog

    async def attempt(self, deadline: float) -> Attempted: ...

    async def finish(self) -> Detail | None: ...

    async def abandon(self) -> None:
        """In place of ``finish`` where nobody wants to know any more; waits for nothing but its own tasks'
        end."""


Planner = Callable[[int, Target], Awaitable[Plan]]
Opener = Callable[[Unit], Exchange]


@dataclass(slots=True)
class RichRun:
    """One run of a kind over its targets. ``rate_per_s``: of attempts at one address, loopback exempt."""

    kind: Kind
    options: Options
    env: ProbeEnv
    plan: Planner
    open: Opener
    rate_per_s: float | None = None
    pace: Pace = field(default_factory=Pace)

    async def rows(self, targets: Sequence[Target]) -> AsyncGenerator[Sequence[Measurement], None]:
        """Rows as they complete. Closing or cancelling it cancels every attempt, and waits until they have
        closed their sockets."""
        out: asyncio.Queue[Measurement | None] = asyncio.Queue(_WAITING)
        work = asyncio.create_task(self._all(targets, out))
        try:
            while (row := await out.get()) is not None:
                yield _batch(row, out)
            await work
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work

    async def _all(self, targets: Sequence[Target], out: "asyncio.Queue[Measurement | None]") -> None:
        asking.set(self.kind)  # this is a task of its own
        waiting = iter(enumerate(targets))

        async def worker() -> None:
            for index, target in waiting:
                await self._target(index, target, out)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(TARGETS_AT_ONCE, len(targets))):
                    group.create_task(worker())
        finally:
            if not _is_cancelled():
                await out.put(None)

    async def _target(self, index: int, target: Target, out: "asyncio.Queue[Measurement | None]") -> None:
        started_ns = self.env.clock.wall_ns()
        if self.env.clock.monotonic() >= self.env.deadline:
            late = failures.past_deadline()
            await out.put(not_tried(self.kind, index, target.text, None, None, late, started_ns))
            return
        try:
            plan = await self.plan(index, target)
        except Exception:
            await out.put(self._our_fault(index, target.text, None, None, started_ns))
            return
        for row in plan.rows:
            await out.put(row)
        units = iter(plan.units)

        async def worker(units: Iterator[Unit]) -> None:
            for unit in units:
                await out.put(await self._unit(unit))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(UNITS_AT_ONCE, len(plan.units))):
                group.create_task(worker(units))

    async def _unit(self, unit: Unit) -> Measurement:
        started_ns = self.env.clock.wall_ns()
        try:
            return await self._measure(unit, started_ns)
        except Exception:
            return self._our_fault(unit.index, unit.text, unit.address.host, unit.port, started_ns)

    def _our_fault(
        self, index: int, text: str, address: str | None, port: int | None, started_ns: int
    ) -> Measurement:
        number = secrets.token_hex(4)
        _logger.exception("a %s probe failed by our own fault, id %s", self.kind, number)
        detail = f"this agent failed by its own fault; its log has more under {number}"
        failure = Failure(Stage.SEND, FailureKind.INTERNAL, Origin.AGENT, detail)
        return not_tried(self.kind, index, text, address, port, failure, started_ns)

    async def _measure(self, unit: Unit, started_ns: int) -> Measurement:
        exchange = self.open(unit)
        began = self.env.clock.monotonic()
        samples: list[Sample] = []
        try:
            for seq in range(self.options.count):
                if not await self.turn(unit, began + seq * self.options.interval_s):
                    exchange.log.add(f"attempt {seq + 1} and later: the run's deadline came first")
                    break
                samples.append(await self._sample(exchange, seq, began))
            detail = await exchange.finish()
        except BaseException:
            await exchange.abandon()
            raise
        if not samples:
            return not_tried(
                self.kind,
                unit.index,
                unit.text,
                unit.address.host,
                unit.port,
                failures.past_deadline(),
                started_ns,
            )
        outcome, failure = failures.overall(samples)
        return Measurement(
            kind=self.kind,
            target_index=unit.index,
            target=unit.text,
            address=unit.address.host,
            port=unit.port,
            outcome=outcome,
            started_ns=started_ns,
            samples=tuple(samples),
            failure=failure,
            detail=detail,
            log=tuple(exchange.log.lines),
        )

    async def turn(self, unit: Unit, due: float) -> bool:
        """Waits for the attempt's time, and for this agent's share of the address; False: not within the
        run."""
        clock, rate = self.env.clock, self.rate_per_s
        now = clock.monotonic()
        if rate and not ip_address(unit.address.host).is_loopback:
            due = max(due, self.pace.reserve(unit.address.host, rate, max(now, due)))
        if max(due, now) >= self.env.deadline:
            return False
        if due > now:
            await clock.sleep(due - now)
        return clock.monotonic() < self.env.deadline

    async def _sample(self, exchange: Exchange, seq: int, began: float) -> Sample:
        now, lag_ns = self.env.clock.monotonic(), self.env.lag_ns()
        offset_ms = (now - began) * 1e3
        try:
            told = await exchange.attempt(min(now + self.options.timeout_s, self.env.deadline))
        except ProbeFailed as failed:
            told = Attempted(None, self._in_words(failed, now))
        told = self._unless_starved(told, (self.env.lag_ns() - lag_ns) / 1e6, exchange.log)
        if told.failure is None:
            return Sample(
                seq,
                offset_ms,
                told.rtt_ms,
                Outcome.OK,
                timing=told.timing if told.rtt_ms is not None else None,
                syn_retransmits=told.syn_retransmits,
            )
        exchange.log.add(f"attempt {seq + 1}: {told.failure.detail}")
        outcome = failures.outcome_of(told.failure)
        return Sample(seq, offset_ms, told.rtt_ms, outcome, told.failure)

    def _unless_starved(self, told: Attempted, waited_ms: float, log: ProbeLog) -> Attempted:
        """What this agent's own wait for a processor touched is left out rather than told wrong: a round trip
        by our own clock becomes unknown, and silence says nothing."""
        waited = f"this agent waited {waited_ms:.0f} ms for a processor"
        if told.failure is not None:
            much = waited_ms >= self.options.timeout_s * 1e3 * _LAG_SHARE
            if told.failure.kind is not FailureKind.TIMEOUT or not much:
                return told
            detail = f"no answer was seen, but {waited} meanwhile"
            starved = Failure(told.failure.stage, FailureKind.AGENT_STARVED, Origin.AGENT, detail)
            return replace(told, failure=starved)
        by_us = told.rtt_ms is not None and told.timing is Timing.USER
        if not by_us or waited_ms < max(_LAG_MS, (told.rtt_ms or 0.0) * _LAG_SHARE):
            return told
        log.add(f"reached; its time is not told: {waited}")
        return replace(told, rtt_ms=None)

    def _in_words(self, failed: ProbeFailed, began: float) -> Failure:
        """Silence is told by the time-out that was asked for: what was left of it when the last wait began is
        nobody's concern. Where the run's deadline cut it, that is said."""
        failure, place = failed.failure, f"{failed.at}: " if failed.at else ""
        words = failure.detail
        if failure.kind is FailureKind.TIMEOUT and failure.errno is None:
            left_s = self.env.deadline - began
            whole = left_s >= self.options.timeout_s
            time = f"{self.options.timeout_s:g} s" if whole else f"the {round(left_s, 1):g} s"
            words = f"{failed.late} within {time}{'' if whole else ' that were left of the run'}"
        return replace(failure, detail=f"{place}{words}{failed.more}")


def not_tried(
    kind: Kind,
    index: int,
    text: str,
    address: str | None,
    port: int | None,
    failure: Failure,
    at_ns: int,
) -> Measurement:
    """A row without samples; ``failure`` says why nothing was sent."""
    return Measurement(
        kind=kind,
        target_index=index,
        target=text,
        address=address,
        port=port,
        outcome=failures.outcome_of(failure),
        started_ns=at_ns,
        failure=failure,
        log=(failure.detail,),
    )


async def plan_by_address(
    kind: Kind, index: int, target: Target, options: Options, env: ProbeEnv, default_port: int
) -> Plan:
    """One unit for each address of the target's name and each of its ports; refused addresses as rows."""
    started_ns = env.clock.wall_ns()
    ports = expand_ports(target.ports) or (default_port,)
    resolution = await env.network.resolve(target, options, env.deadline)
    dns_ms = resolution.elapsed_ms if resolution.names_asked else None
    rows = _unresolved(kind, index, target, resolution, ports, started_ns)
    refused = env.network.refused_ports([PortRange(port, port) for port in ports if port])
    rows += tuple(
        not_tried(kind, index, _row_text(target, ports, port), address.host, port, failure, started_ns)
        for port, failure in refused.items()
        for address in resolution.addresses
    )
    units = tuple(
        Unit(index, target, _row_text(target, ports, port), address, port, dns_ms)
        for port in ports
        if port not in refused
        for address in resolution.addresses
    )
    return Plan(rows, units)


def _unresolved(
    kind: Kind,
    index: int,
    target: Target,
    resolution: Resolution,
    ports: Sequence[int],
    started_ns: int,
) -> tuple[Measurement, ...]:
    missing: list[tuple[str | None, Failure]] = [(one.host, one.failure) for one in resolution.refused]
    if not missing and not resolution.addresses and resolution.failure is not None:
        missing = [(None, resolution.failure)]
    return tuple(
        not_tried(kind, index, _row_text(target, ports, port), host, port, failure, started_ns)
        for port in ports
        for host, failure in missing
    )


def _row_text(target: Target, ports: Sequence[int], port: int) -> str:
    return row_text(target, port) if len(ports) > 1 else target.text


def _batch(first: Measurement, out: "asyncio.Queue[Measurement | None]") -> list[Measurement]:
    """``first`` and whatever is ready behind it; the end mark stays in the queue."""
    batch = [first]
    while not out.empty():
        row = out.get_nowait()
        if row is None:
            out.put_nowait(None)
            break
        batch.append(row)
    return batch


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
