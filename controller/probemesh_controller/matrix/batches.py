"""From what is to be measured to as few runs as there can be: one spec, many targets, the agents that all
measure these. Pure.

A run asks every one of its agents for every one of its targets. Sources whose targets differ by nothing but
the sources themselves share a run: to itself an agent sends nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from probemesh_shared.model import Options, Spec, Target
from probemesh_shared.targets import unparse

from probemesh_controller.meshes.aiming import Aim, spec_of
from probemesh_controller.planning import MAX_AGENTS, MAX_TARGETS

#: The least time a run has, seconds; and what an agent may take beside its samples.
_LEAST_S, _BESIDE_S = 15.0, 5.0
#: Of flows an agent has so many under way at once.
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Task:
    """One cell and how it is measured."""

    aim: Aim
    options: Options


#: Source → key of a target → what asks for it.
_OfSource = dict[str, dict[str, list[Task]]]


@dataclass(frozen=True, slots=True)
class Batch:
    """``tasks`` by source and place of the target; several cells may ask for the same, as the pings of two
    TARGETs of one host."""

    spec: Spec
    targets: tuple[Target, ...]
    agents: tuple[str, ...]
    tasks: dict[tuple[str, int], tuple[Task, ...]] = field(default_factory=dict)


def batches(tasks: Sequence[Task], target_of: Callable[[Aim], Target], token: bytes | None) -> list[Batch]:
    """``target_of`` gives what is dialled for an aim; ``token`` is what responders answer to."""
    targets: dict[str, Target] = {}
    by_spec: defaultdict[Spec, _OfSource] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for task in tasks:
        target = target_of(task.aim)
        targets[_key(target)] = target
        spec = spec_of(task.aim, task.options, token)
        by_spec[spec][task.aim.cell.source][_key(target)].append(task)
    return [batch for spec, of_source in by_spec.items() for batch in _of_spec(spec, of_source, targets)]


def _key(target: Target) -> str:
    return f"{unparse(target)} {target.secure}"


def _of_spec(spec: Spec, of_source: _OfSource, targets: Mapping[str, Target]) -> Iterator[Batch]:
    own: defaultdict[str, set[str]] = defaultdict(set)
    for key in {key for wanted in of_source.values() for key in wanted}:
        if (name := targets[key].agent) is not None:
            own[name].add(key)
    groups: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for source, keys in _shared({name: frozenset(wanted) for name, wanted in of_source.items()}, own).items():
        groups[keys].append(source)
    for keys, sources in groups.items():
        ordered = sorted(keys)
        for first in range(0, len(ordered), MAX_TARGETS):
            some = ordered[first : first + MAX_TARGETS]
            for start in range(0, len(sources), MAX_AGENTS):
                agents = tuple(sources[start : start + MAX_AGENTS])
                cells = {
                    (source, place): tuple(of_source[source][key])
                    for place, key in enumerate(some)
                    for source in agents
                    if key in of_source[source]
                }
                yield Batch(spec, tuple(targets[key] for key in some), agents, cells)


def _shared(wanted: Mapping[str, frozenset[str]], own: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    """For each source the targets of its run: its own or not, whichever it has in common with more others."""
    both = {name: (keys, keys | own.get(name, set())) for name, keys in wanted.items()}
    common = Counter(keys for some in both.values() for keys in set(some))
    return {name: max(some, key=lambda keys: common[keys]) for name, some in both.items()}


def deadline_s(batch: Batch) -> float:
    """In which it can end, though nothing answers."""
    options = batch.spec.options
    one = (options.count - 1) * options.interval_s + options.timeout_s
    return max(_LEAST_S, one * (1 + len(batch.targets) // _AT_ONCE) + _BESIDE_S)
