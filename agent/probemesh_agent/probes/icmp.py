"""ICMP echo, by a ping socket, a raw socket or the system's ``ping``, whichever is allowed first."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from probemesh_shared.model import IcmpSpec, Measurement, Options, Spec, Target
from probemesh_shared.words import FailureKind, Kind

from probemesh_agent.engine.icmp import IcmpDriver
from probemesh_agent.engine.item import Item
from probemesh_agent.env import ProbeEnv
from probemesh_agent.probes.packets import PacketRun
from probemesh_agent.probes.pingprogram import PingRuns, is_available


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
        return IcmpRun(spec.options, env).rows(targets)


def _is_barred(item: Item) -> bool:
    failure = item.samples[0].failure if item.samples else None
    return failure is not None and failure.kind is FailureKind.UNSUPPORTED
