"""What a job's kinds load, loaded before its first packet and beside the event loop: a module imported
between two instants, or while another job measures, would be told as the network's time."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib import import_module

from probemesh_shared.model import DnsSpec, LadderSpec, Spec, Target
from probemesh_shared.words import DnsTransport, Kind

from probemesh_agent.env import Probe

#: A kind, and whether over TLS: then the system's authorities are read too.
Need = tuple[Kind, bool]
_BY_PACKETS = frozenset({Kind.ICMP, Kind.TCP, Kind.UDP})


def _secure(kind: Kind, spec: Spec, targets: Sequence[Target]) -> bool:
    if isinstance(spec, DnsSpec):
        return spec.transport in (DnsTransport.DOT, DnsTransport.DOH)
    return kind is Kind.TLS or any(target.secure for target in targets)


class Preparation:
    """For one process. A kind may bring ``prepare(secure: bool)``, which may block."""

    def __init__(self, probes: Mapping[Kind, Probe]) -> None:
        self._probes = probes
        self._done: set[Need] = set()

    async def __call__(self, kind: Kind, spec: Spec, targets: Sequence[Target]) -> None:
        """Returns when nothing is left to be loaded for this job. Faults of loading are left to the probe."""
        if isinstance(spec, LadderSpec):
            needs = await asyncio.to_thread(self._ladder, targets)
        else:
            needs = {(kind, _secure(kind, spec, targets))}
        for need in sorted(needs - self._done):
            await asyncio.to_thread(self._load, *need)
        self._done |= needs

    def _ladder(self, targets: Sequence[Target]) -> set[Need]:
        from probemesh_agent.climb import needed  # only where something climbs

        return {(Kind.LADDER, False)}.union(*map(needed, targets))

    def _load(self, kind: Kind, secure: bool) -> None:
        if kind not in self._probes:
            return
        if kind in _BY_PACKETS:
            import_module("probemesh_agent.engine.loop")
        prepare = getattr(self._probes[kind], "prepare", None)
        if prepare is not None:
            prepare(secure)
