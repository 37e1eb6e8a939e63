"""TCP: does the port answer, how far away is it, and who says no where it does not.

A port list is told port by port; with more than eight ports it is a scan, whose connections end by RST. Where
more than a connect is asked for (:mod:`probemesh_agent.probes.tcptalk`) it goes by streams, else by the
packet engine.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import cache

from probemesh_shared.model import Failure, Measurement, Spec, Target, TcpDetail, TcpSpec
from probemesh_shared.portstate import tcp_state
from probemesh_shared.words import Kind

from probemesh_agent.engine.item import Item
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
        if _wants_more(spec):
            from probemesh_agent.probes.tcptalk import talk  # streams, where they are wanted

            return talk(spec, targets, env)
        options = spec.options
        return PacketRun(
            self.kind,
            options,
            env,
            lambda schedule, engine: TcpDriver(schedule, engine, options),
            rate_per_s=env.pacing.connects_per_s,
            ported=True,
            judged=_judged,
        ).rows(targets)


def _wants_more(spec: TcpSpec) -> bool:
    """A server's words, ours, or the end of a connection."""
    if spec.send is not None or spec.banner or spec.half_close:
        return True
    return any(one.key in ("answer", "banner") for one in spec.options.expect)


def _judged(item: Item, failure: Failure | None) -> TcpDetail | None:
    detail = item.detail
    if not isinstance(detail, TcpDetail) or item.is_scan:
        return _bare(item.is_scan, *tcp_state(failure))
    if failure is None:
        return detail  # said so when it connected
    state, reason = tcp_state(failure)
    return replace(detail, state=state, reason=reason)


@cache
def _bare(scan: bool, state: str | None, reason: str | None) -> TcpDetail:
    """One object for all ports that ended alike, where there is no more to tell."""
    return TcpDetail(scan=scan, state=state, reason=reason)
