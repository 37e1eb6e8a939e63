"""UDP: a datagram, and whether an answer, an ICMP error or nothing comes back.

``open`` is said of a port that answered, ``closed`` where the target itself sent "port unreachable",
``filtered`` where somebody else says no, ``open|filtered`` where there was only silence."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from probemesh_shared.model import Failure, Measurement, Spec, Target, UdpDetail, UdpSpec
from probemesh_shared.portstate import OPEN, udp_state
from probemesh_shared.words import Kind

from probemesh_agent.engine.item import Item
from probemesh_agent.engine.udp import UdpDriver
from probemesh_agent.env import ProbeEnv
from probemesh_agent.probes.packets import PacketRun
from probemesh_agent.probes.udprequests import Questions


class UdpProbe:
    """See :class:`probemesh_agent.env.Probe`."""

    kind = Kind.UDP

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncIterator[Sequence[Measurement]]:
        assert isinstance(spec, UdpSpec)
        options, questions = spec.options, Questions(spec)
        return PacketRun(
            self.kind,
            options,
            env,
            lambda schedule, engine: UdpDriver(schedule, engine, options, questions),
            rate_per_s=env.pacing.packets_per_s,
            ported=True,
            judged=_judged,
        ).rows(targets)


def _judged(item: Item, failure: Failure | None) -> UdpDetail:
    detail = item.detail if isinstance(item.detail, UdpDetail) else UdpDetail()
    if detail.state == OPEN:
        return detail
    state, reason = udp_state(failure)
    return replace(detail, state=state or "", reason=reason)
