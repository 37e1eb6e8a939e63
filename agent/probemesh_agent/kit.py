"""What every way of probing stands on: all kinds with the ladder over them, and the policy."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from probemesh_shared.words import Kind

from probemesh_agent.env import Probe
from probemesh_agent.net.holder import FixedPolicy, PolicySource, ReloadingPolicy
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.registry import Registry


class _Probes(Mapping[Kind, Probe]):
    """The registry and the ladder; a kind's module is imported when it is first asked for."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._ladder: Probe | None = None

    def __getitem__(self, kind: Kind) -> Probe:
        if kind is not Kind.LADDER:
            return self._registry[kind]
        if self._ladder is None:
            from probemesh_agent.ladder import LadderProbe

            self._ladder = LadderProbe(self._registry)
        return self._ladder

    def __contains__(self, kind: object) -> bool:
        return kind is Kind.LADDER or kind in self._registry

    def __iter__(self) -> Iterator[Kind]:
        yield from self._registry
        yield Kind.LADDER

    def __len__(self) -> int:
        return len(self._registry) + 1


def all_probes() -> Mapping[Kind, Probe]:
    """The registry, and the ladder that climbs by it."""
    return _Probes(Registry())


def agent_policy(file: Path | None) -> PolicySource:
    """For ``run``: the owner's file, read again when it changes; else as shipped.

    Raises :class:`StateError`."""
    return FixedPolicy(Policy.shipped()) if file is None else ReloadingPolicy(file)


def typed_policy(file: Path | None) -> Policy:
    """For what the user of this very host typed: loopback and own addresses too.

    Raises :class:`StateError`."""
    return Policy.typed_by_user(None if file is None else Policy.load(file))
