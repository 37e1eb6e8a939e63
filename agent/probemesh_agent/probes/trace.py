"""Trace: hop by hop to the very port (TCP), or by UDP or ICMP, all packets of one flow.

The samples of a trace are those packets that were to reach the target: it is ``ok`` where the target itself
answered, whatever it said. Silent hops are told as such and mean nothing by themselves."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from probemesh_shared import failures
from probemesh_shared.model import Measurement, Spec, Target, TraceSpec
from probemesh_shared.words import Kind, Stage, Transport

from probemesh_agent.capabilities import ping_method
from probemesh_agent.engine.echo import PING_SOCKET, RAW_SOCKET
from probemesh_agent.env import ProbeEnv
from probemesh_agent.path.course import Course
from probemesh_agent.path.udplane import USUAL_PORT
from probemesh_agent.probes.attempts import Exchange, Plan, RichRun, Unit, not_tried, plan_by_address


class TraceProbe:
    """See :class:`probemesh_agent.env.Probe`."""

    kind = Kind.TRACE

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        assert isinstance(spec, TraceSpec)
        return TraceRun(spec, env).rows(targets)


class TraceRun(RichRun):
    """One run; a unit is traced as a whole instead of being tried ``count`` times."""

    def __init__(self, spec: TraceSpec, env: ProbeEnv) -> None:
        super().__init__(Kind.TRACE, spec.options, env, self._planned, _never, env.pacing.packets_per_s)
        self._spec = spec

    async def _planned(self, index: int, target: Target) -> Plan:
        transport = self._transport(target)
        if transport is Transport.TCP and not target.ports:
            detail = f"a trace by TCP needs a port: write {target.host or 'HOST'}:PORT"
            failure = failures.unsupported(Stage.CONNECT, detail)
            row = not_tried(Kind.TRACE, index, target.text, None, None, failure, self.env.clock.wall_ns())
            return Plan((row,))
        if transport is Transport.ICMP:
            target = replace(target, ports=())
        port = USUAL_PORT if transport is Transport.UDP else 0
        plan = await plan_by_address(Kind.TRACE, index, target, self.options, self.env, port)
        return Plan(tuple(replace(row, port=row.port or None) for row in plan.rows), plan.units)

    def _transport(self, target: Target) -> Transport:
        if self._spec.transport is not None:
            return self._spec.transport
        if target.kind is Kind.UDP:
            return Transport.UDP
        if target.ports and target.kind is not Kind.ICMP:
            return Transport.TCP
        return Transport.ICMP if ping_method() in (PING_SOCKET, RAW_SOCKET) else Transport.UDP

    async def _measure(self, unit: Unit, started_ns: int) -> Measurement:
        course = Course(self, unit, self._transport(unit.target), self._spec)
        try:
            await course.run()
        finally:
            course.close()
        return course.row(started_ns)


def _never(unit: Unit) -> Exchange:
    raise AssertionError("a trace is not made of single attempts")
