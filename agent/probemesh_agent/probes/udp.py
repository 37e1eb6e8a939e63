"""UDP: a datagram, and whether an answer, an ICMP error or nothing comes back.

``open`` is said of a port that answered, ``closed`` where the target itself sent "port unreachable",
``open|filtered`` where there was only silence; where somebody else answered for it nothing is said."""

from collections.abc import AsyncIterator, Sequence

from probemesh_shared.expectations import bytes_expected
from probemesh_shared.model import Measurement, Spec, Target, UdpDetail, UdpSpec
from probemesh_shared.words import Kind

from probemesh_agent.engine.udp import Question, UdpDriver
from probemesh_agent.env import ProbeEnv
from probemesh_agent.probes.packets import PacketRun


class UdpProbe:
    """See :class:`probemesh_agent.env.Probe`."""

    kind = Kind.UDP

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncIterator[Sequence[Measurement]]:
        assert isinstance(spec, UdpSpec)
        options = spec.options
        payload = spec.payload if spec.payload is not None else bytes(options.size or 0)
        needles = bytes_expected(options.expect) if options.expect else ()
        question = Question(payload, tuple(needle.data for needle in needles))
        return PacketRun(
            self.kind,
            options,
            env,
            lambda schedule, engine: UdpDriver(schedule, engine, options, question),
            rate_per_s=env.pacing.packets_per_s,
            ported=True,
            silent_detail=UdpDetail(),
        ).rows(targets)
