"""ICMP echo, by a ping socket, a raw socket or the system's ``ping``, whichever is allowed first."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from probemesh_shared.model import IcmpSpec, Measurement, Spec, Target
from probemesh_shared.words import Kind

from probemesh_agent.engine.icmp import IcmpDriver
from probemesh_agent.env import ProbeEnv
from probemesh_agent.probes.packets import PacketRun


class IcmpProbe:
    """See :class:`probemesh_agent.env.Probe`."""

    kind = Kind.ICMP

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncIterator[Sequence[Measurement]]:
        assert isinstance(spec, IcmpSpec)
        options = spec.options
        return PacketRun(
            self.kind,
            options,
            env,
            lambda schedule, engine: IcmpDriver(schedule, engine, options),
            rate_per_s=env.pacing.packets_per_s,
            ported=False,
        ).rows(targets)
