"""The default probe: many targets climb at once, rungs are told as they complete.

It has the shape of a probe kind (:class:`probemesh_agent.env.Probe`) and stands on the other kinds, which are
handed in.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from probemesh_shared.expectations import Judge
from probemesh_shared.model import LadderSpec, Measurement, Spec, Target
from probemesh_shared.words import Kind

from probemesh_agent.climb import Climb
from probemesh_agent.env import Probe, ProbeEnv
from probemesh_agent.net.allowance import asking

#: Targets that climb at the same time, and batches that may wait for a slow reader.
WIDTH = 64
WAITING = 64

_Item = Sequence[Measurement] | BaseException | None


class LadderProbe:
    """Kind ``ladder``. ``probes`` are the other kinds by name; a missing one is told as ``unsupported``."""

    kind = Kind.LADDER

    def __init__(self, probes: Mapping[Kind, Probe], width: int = WIDTH) -> None:
        self._probes = probes
        self._width = width

    async def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        """As the seam says: every target yields, batches come as rungs complete. Expectations that cannot be
        read are refused before (:mod:`probemesh_agent.expecting`)."""
        if not isinstance(spec, LadderSpec):
            raise TypeError(f"not a ladder: {type(spec).__name__}")
        out: asyncio.Queue[_Item] = asyncio.Queue(WAITING)
        climbs = asyncio.create_task(self._climb_all(spec, targets, env, out))
        try:
            while (item := await out.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            climbs.cancel()
            await asyncio.gather(climbs, return_exceptions=True)

    async def _climb_all(
        self, spec: LadderSpec, targets: Sequence[Target], env: ProbeEnv, out: "asyncio.Queue[_Item]"
    ) -> None:
        waiting = iter(enumerate(targets))
        judge = Judge(spec.options.expect, ladder=True)

        async def climber() -> None:
            asking.set(Kind.TCP)  # the greetings that it reads itself; rungs say their own kind
            for index, target in waiting:
                await Climb(self._probes, env, spec, index, target, out.put, judge).run()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._width, len(targets))):
                    group.create_task(climber())
        except BaseExceptionGroup as faults:
            await out.put(_first(faults))
        else:
            await out.put(None)


def _first(fault: BaseException) -> BaseException:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault
