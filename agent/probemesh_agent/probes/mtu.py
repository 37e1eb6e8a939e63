"""Path MTU: the largest packet that gets to the target in one piece, by don't-fragment echo requests.

What the kernel remembers of a path's MTU is not believed: every packet asks the path itself
(IP_PMTUDISC_PROBE)."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from probemesh_shared import failures
from probemesh_shared.model import Measurement, MtuSpec, Spec, Target
from probemesh_shared.words import Kind, Stage, Transport

from probemesh_agent.env import ProbeEnv
from probemesh_agent.path.sizing import Sizing
from probemesh_agent.probes.attempts import Exchange, Plan, RichRun, Unit, not_tried, plan_by_address


class MtuProbe:
    """See :class:`probemesh_agent.env.Probe`."""

    kind = Kind.MTU

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        assert isinstance(spec, MtuSpec)
        return MtuRun(spec, env).rows(targets)


class MtuRun(RichRun):
    """One run; a unit is searched as a whole instead of being tried ``count`` times."""

    def __init__(self, spec: MtuSpec, env: ProbeEnv) -> None:
        super().__init__(Kind.MTU, spec.options, env, self._planned, _never, env.pacing.packets_per_s)
        self._spec = spec

    async def _planned(self, index: int, target: Target) -> Plan:
        if (why := self._unfit(target)) is not None:
            failure = failures.unsupported(Stage.CONNECT, why)
            row = not_tried(Kind.MTU, index, target.text, None, None, failure, self.env.clock.wall_ns())
            return Plan((row,))
        if self._spec.transport is not Transport.UDP:
            target = replace(target, ports=())
        plan = await plan_by_address(Kind.MTU, index, target, self.options, self.env, 0)
        return Plan(tuple(replace(row, port=row.port or None) for row in plan.rows), plan.units)

    def _unfit(self, target: Target) -> str | None:
        match self._spec.transport:
            case None | Transport.ICMP:
                return None
            case Transport.UDP:
                return (
                    "sizes by UDP need a responder" if self._spec.token is None or not target.ports else None
                )
            case Transport.TCP:
                return "sizes are not found by TCP, which cuts its segments itself"

    async def _measure(self, unit: Unit, started_ns: int) -> Measurement:
        sizing = Sizing(self, unit, self._spec)
        try:
            await sizing.run()
        finally:
            sizing.close()
        return sizing.row(started_ns)


def _never(unit: Unit) -> Exchange:
    raise AssertionError("an MTU is not found by single attempts")
