"""TCP: does the port answer, how far away is it, and who says no where it does not.

A port list is told port by port; with more than eight ports it is a scan, whose connections end by RST.
"""

from collections.abc import AsyncIterator, Sequence

from probemesh_shared.model import Measurement, Spec, Target, TcpSpec
from probemesh_shared.words import Kind

from probemesh_agent.engine.tcp import TcpDriver
from probemesh_agent.env import ProbeEnv
from probemesh_agent.probes.packets import PacketRun


class TcpProbe:
    """See :class:`probemesh_agent.env.Probe`."""

    kind = Kind.TCP

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncIterator[Sequence[Measurement]]:
        assert isinstance(spec, TcpSpec)
        options = spec.options
        return PacketRun(
            self.kind,
            options,
            env,
            lambda schedule, engine: TcpDriver(schedule, engine, options),
            rate_per_s=env.pacing.connects_per_s,
            ported=True,
        ).rows(targets)
