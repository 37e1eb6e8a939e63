"""Single shots laid out in time, one row for each target: what diagnosis asks for, no person.

The row's detail tells every shot, and this host's own kernel counters over the flow. Of several addresses of
a target the first that may be probed is dialled. Without planned shots they are the options' count of plain
ones to each address, and its row has a sample of each."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from time import monotonic

from probemesh_shared import failures
from probemesh_shared.model import (
    Counter,
    Failure,
    FlowDetail,
    FlowSpec,
    Measurement,
    Sample,
    Shot,
    ShotSeen,
    Spec,
    Target,
)
from probemesh_shared.targets import expand_ports
from probemesh_shared.words import FailureKind, Kind, Origin, Stage, Transport

from probemesh_agent import signals
from probemesh_agent.engine.pace import Pace
from probemesh_agent.env import Address, ProbeEnv
from probemesh_agent.flow import Orders, fire
from probemesh_agent.flow.firing import room
from probemesh_agent.flow.fitting import fitting
from probemesh_agent.flow.synoptions import syn_options
from probemesh_agent.responder.counters import CounterFiles, CounterTrack

_FLOWS_AT_ONCE = 32
_WAITING = 64
_LOG_LINES = 10

_logger = logging.getLogger(__name__)


class FlowProbe:
    """See :class:`probemesh_agent.env.Probe`."""

    kind = Kind.FLOW

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncIterator[Sequence[Measurement]]:
        assert isinstance(spec, FlowSpec)
        return _Run(spec, env).rows(targets)


class _Run:
    def __init__(self, spec: FlowSpec, env: ProbeEnv) -> None:
        self._spec = spec
        self._env = env
        self._is_plain = not spec.shots
        self._shots = spec.shots or _plain(spec)
        self._pace, self._places = Pace(), room()

    async def rows(self, targets: Sequence[Target]) -> AsyncGenerator[Sequence[Measurement], None]:
        """Closing or cancelling it cancels every flow, and waits until their sockets are closed."""
        out: asyncio.Queue[Measurement | None] = asyncio.Queue(_WAITING)
        work = asyncio.create_task(self._all(targets, out))
        try:
            while (row := await out.get()) is not None:
                yield (row,)
            await work
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _all(self, targets: Sequence[Target], out: "asyncio.Queue[Measurement | None]") -> None:
        turns = iter(enumerate(targets))

        async def worker() -> None:
            for index, target in turns:
                for row in await self._safely(index, target):
                    await out.put(row)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(_FLOWS_AT_ONCE, len(targets))):
                group.create_task(worker())
        await out.put(None)

    async def _safely(self, index: int, target: Target) -> list[Measurement]:
        """Our own fault in one flow is told in its row, and ends no other."""
        try:
            return await self._target(index, target)
        except Exception:
            number = secrets.token_hex(4)
            _logger.exception("a flow failed by our own fault, id %s", number)
            detail = f"this agent failed by its own fault; its log has more under {number}"
            return [
                self._untried(
                    index, target, None, Failure(Stage.SEND, FailureKind.INTERNAL, Origin.AGENT, detail)
                )
            ]

    async def _target(self, index: int, target: Target) -> list[Measurement]:
        spec, env = self._spec, self._env
        ports = expand_ports(target.ports)
        if not ports and spec.transport is not Transport.ICMP and not all(one.port for one in self._shots):
            detail = f"a {spec.transport} flow needs a port: write {target.host or 'HOST'}:PORT"
            return [self._untried(index, target, None, failures.unsupported(Stage.CONNECT, detail))]
        found = await env.network.resolve(target, spec.options, env.deadline)
        if not found.addresses:
            refused: list[tuple[str | None, Failure]] = [(one.host, one.failure) for one in found.refused]
            nothing = found.failure or _no_address(target)
            return [self._untried(index, target, *one) for one in refused or [(None, nothing)]]
        if monotonic() >= env.deadline:
            return [self._untried(index, target, found.addresses[0].host, failures.past_deadline())]
        dialled = found.addresses if self._is_plain else found.addresses[:1]
        port = ports[0] if ports else 0
        return await asyncio.gather(*(self._flow(index, target, each, port) for each in dialled))

    async def _flow(self, index: int, target: Target, address: Address, port: int) -> Measurement:
        spec, env = self._spec, self._env
        others = await self._others(target)
        orders = Orders(spec.transport, spec.options, address, port, spec.token, spec.listen_ms, others)
        started_ns, began = env.clock.wall_ns(), monotonic()
        with _counting() as counted:
            seen = await fire(orders, self._shots, env, pace=self._pace, places=self._places)
            counters = counted()
        elapsed_ms = (monotonic() - began) * 1e3
        options = syn_options() if spec.transport is Transport.TCP else ()
        detail = fitting(FlowDetail(tuple(seen), counters, elapsed_ms, options))
        samples = tuple(_sample(one) for one in seen)
        outcome, failure = failures.overall(samples)
        return Measurement(
            kind=Kind.FLOW,
            target_index=index,
            target=target.text,
            address=address.host,
            port=port or None,
            outcome=outcome,
            started_ns=started_ns,
            samples=samples if self._is_plain else (),
            failure=failure,
            detail=detail,
            log=_log(seen),
        )

    async def _others(self, target: Target) -> dict[str, Address | Failure]:
        """The addresses of single shots, judged by the policy like the target's own."""
        judged: dict[str, Address | Failure] = {}
        for text in dict.fromkeys(one.address for one in self._shots if one.address):
            asked = replace(target, host=text, addresses=(text,))
            found = await self._env.network.resolve(asked, self._spec.options, self._env.deadline)
            refused = next((one.failure for one in found.refused), found.failure)
            judged[text] = found.addresses[0] if found.addresses else refused or _no_address(asked)
        return judged

    def _untried(self, index: int, target: Target, host: str | None, failure: Failure) -> Measurement:
        return Measurement(
            kind=Kind.FLOW,
            target_index=index,
            target=target.text,
            address=host,
            port=None,
            outcome=failures.outcome_of(failure),
            started_ns=self._env.clock.wall_ns(),
            failure=failure,
            log=(failure.detail,),
        )


@contextlib.contextmanager
def _counting() -> Iterator[Callable[[], tuple[Counter, ...]]]:
    """This host's own counters: what they rose by since then, none where they cannot be read."""
    try:
        files = CounterFiles(signals.masked())
    except OSError:  # no descriptors left
        yield tuple
        return
    with contextlib.closing(files):
        track = CounterTrack(files, monotonic())
        yield lambda: track.look(monotonic())


def _plain(spec: FlowSpec) -> tuple[Shot, ...]:
    options = spec.options
    return tuple(Shot(at_ms=number * options.interval_s * 1e3) for number in range(options.count))


def _sample(seen: ShotSeen) -> Sample:
    return Sample(
        seen.shot,
        seen.at_ms,
        seen.rtt_ms,
        seen.outcome,
        seen.failure,
        ttl=seen.ttl,
        syn_retransmits=seen.retransmits,
    )


def _log(seen: Sequence[ShotSeen]) -> tuple[str, ...]:
    lines = [f"shot {one.shot}: {one.failure.detail}" for one in seen if one.failure is not None]
    more = len(lines) - _LOG_LINES
    return (*lines[:_LOG_LINES], f"{more} more failed") if more > 0 else tuple(lines)


def _no_address(target: Target) -> Failure:
    detail = f"{target.host[:253]} has no address"
    return Failure(Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.RESOLVER, detail)
