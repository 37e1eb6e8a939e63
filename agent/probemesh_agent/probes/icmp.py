"""ICMP echo, by a ping socket, a raw socket or the system's ``ping``, whichever is allowed first.

Several sizes are measured side by side, each in rows of its own. A sample counts where the target itself
answered; who answered in its place is told."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace

from probemesh_shared.model import IcmpDetail, IcmpSpec, Measurement, Options, Spec, Target
from probemesh_shared.words import FailureKind, Kind

from probemesh_agent.engine.echo import NO_SOCKET
from probemesh_agent.engine.icmp import IcmpDriver
from probemesh_agent.engine.item import Item
from probemesh_agent.env import ProbeEnv
from probemesh_agent.probes.packets import PacketRun
from probemesh_agent.probes.pingprogram import PingRuns, is_available

#: Batches that may wait for a slow reader.
_WAITING = 64


class IcmpRun(PacketRun):
    """Asks the system's ``ping`` where this process may have no ICMP socket."""

    def __init__(self, options: Options, env: ProbeEnv) -> None:
        super().__init__(
            Kind.ICMP,
            options,
            env,
            lambda schedule, engine: IcmpDriver(schedule, engine, options),
            rate_per_s=env.pacing.packets_per_s,
            ported=False,
        )
        self._program = PingRuns(options, env)

    def _row(self, item: Item) -> Measurement:
        row = super()._row(item)
        told = _odd(row)
        failure = row.failure
        if told and failure is not None and failure.kind is FailureKind.TIMEOUT:
            of_whom = (
                " from the target" if isinstance(row.detail, IcmpDetail) and row.detail.answered_by else ""
            )
            failure = replace(failure, detail=f"{failure.detail}{of_whom}; {'; '.join(told)}")
        return replace(row, failure=failure, log=(*row.log, *told)) if told else row

    async def settle(self, batch: Sequence[Item]) -> None:
        barred = [item for item in batch if _is_barred(item)]
        if barred and is_available():
            async with asyncio.TaskGroup() as group:
                for item in barred:
                    group.create_task(self._program.measure(item))


class IcmpProbe:
    """See :class:`probemesh_agent.env.Probe`."""

    kind = Kind.ICMP

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncIterator[Sequence[Measurement]]:
        assert isinstance(spec, IcmpSpec)
        if len(spec.sizes) > 1:
            return _sweep(spec, targets, env)
        size = spec.sizes[0] if spec.sizes else spec.options.size
        return IcmpRun(replace(spec.options, size=size), env).rows(targets)


async def _sweep(
    spec: IcmpSpec, targets: Sequence[Target], env: ProbeEnv
) -> AsyncGenerator[Sequence[Measurement], None]:
    """All sizes at once: the silence of one costs the others nothing."""
    out: asyncio.Queue[Sequence[Measurement] | None] = asyncio.Queue(_WAITING)

    async def one(size: int) -> None:
        rows = IcmpRun(replace(spec.options, size=size), env).rows(targets)
        async with contextlib.aclosing(rows):
            async for batch in rows:
                await out.put(batch)

    async def every() -> None:
        async with asyncio.TaskGroup() as group:
            for size in dict.fromkeys(spec.sizes):
                group.create_task(one(size))
        await out.put(None)

    work = asyncio.create_task(every())
    work.add_done_callback(lambda done: _stop(done, out))
    try:
        while (batch := await out.get()) is not None:
            yield batch
        await work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def _stop(work: "asyncio.Task[None]", out: "asyncio.Queue[Sequence[Measurement] | None]") -> None:
    """A fault of one size must not leave the reader waiting: what is queued makes room for the end."""
    if not work.cancelled() and work.exception() is not None:
        while not out.empty():
            out.get_nowait()
        out.put_nowait(None)


def _odd(row: Measurement) -> list[str]:
    """What came, and counts as no answer in time."""
    told: list[str] = []
    if isinstance(row.detail, IcmpDetail):
        if late := row.detail.late:
            told.append("1 answer came late" if late == 1 else f"{late} answers came late")
        if others := row.detail.answered_by:
            told.append(f"answered by {', '.join(others)} and not by {row.address}")
    return told


def _is_barred(item: Item) -> bool:
    failure = item.samples[0].failure if item.samples else None
    return failure is not None and failure.kind is FailureKind.UNSUPPORTED and failure.errno in NO_SOCKET
