"""How many packets a second a schedule sends, and whether its budgets allow it. Pure.

What counts is the rate within a round: what is due in it over what it is spread. A connection is reckoned as
the packets that its source sends for it, if all goes well.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from probemesh_shared.escape import escape
from probemesh_shared.words import Kind

from probemesh_controller.meshes.aiming import Aim
from probemesh_controller.meshes.model import SECOND_NS, Budget, Probe, Schedule
from probemesh_controller.meshes.table import duration_text

#: Packets that one sample costs its source.
_OF_SAMPLE = {Kind.ICMP: 1, Kind.UDP: 1, Kind.DNS: 1, Kind.TCP: 4, Kind.TLS: 9, Kind.HTTP: 7}
_SECURE = 7


@dataclass(frozen=True, slots=True)
class Rates:
    """Packets a second: in all, by source, and by target (an agent's name, or a host)."""

    total: float = 0.0
    by_agent: Mapping[str, float] = field(default_factory=dict)
    by_target: Mapping[str, float] = field(default_factory=dict)

    @property
    def busiest_agent(self) -> tuple[str, float] | None:
        return _most(self.by_agent)

    @property
    def busiest_target(self) -> tuple[str, float] | None:
        return _most(self.by_target)


def rates(schedule: Schedule, aims: Sequence[Aim]) -> Rates:
    """A round of a sample has its part of the pairs; of one source never more than the part rounded up."""
    seconds = schedule.spread_ns / SECOND_NS * schedule.cycle
    by_agent, by_target = defaultdict[str, float](float), defaultdict[str, float](float)
    for aim in aims:
        rate = schedule.options.count * packets(aim.probe) / seconds
        by_agent[aim.cell.source] += rate
        by_target[aim.agent or aim.target.host] += rate
    return Rates(math.fsum(by_agent.values()), dict(by_agent), dict(by_target))


def packets(probe: Probe) -> int:
    return _OF_SAMPLE.get(probe.kind, 1) + (_SECURE if probe.secure else 0)


def together(several: Iterable[Rates]) -> Rates:
    by_agent, by_target = defaultdict[str, float](float), defaultdict[str, float](float)
    for one in several:
        for name, rate in one.by_agent.items():
            by_agent[name] += rate
        for name, rate in one.by_target.items():
            by_target[name] += rate
    return Rates(math.fsum(by_agent.values()), dict(by_agent), dict(by_target))


def over(budget: Budget, found: Rates, whose: str) -> tuple[str, ...]:
    """What exceeds it, in words; ``whose`` begins them: ``the schedule core``."""
    said = []
    if budget.total is not None and found.total > budget.total:
        said.append(f"{whose} sends {_rate(found.total)} in all, and the budget is {_rate(budget.total)}")
    most, limit = found.busiest_agent, budget.per_agent
    if limit is not None and most is not None and most[1] > limit:
        who = f"{most[0]}{_others(found.by_agent, limit)}"
        said.append(f"{whose} has {who} send {_rate(most[1])}, and the budget of one agent is {_rate(limit)}")
    most, limit = found.busiest_target, budget.per_target
    if limit is not None and most is not None and most[1] > limit:
        what = f"{escape(most[0], 80)}{_others(found.by_target, limit)}"
        said.append(f"{whose} sends {what} {_rate(most[1])}, and the budget of one target is {_rate(limit)}")
    return tuple(said)


def what_helps(schedule: Schedule, factor: float) -> str:
    """``factor``: how many times too much it is."""
    if schedule.every_ns is None:
        return "fewer pairs, kinds or samples (count), or a longer spread"
    longer = math.ceil(schedule.every_ns * factor / SECOND_NS) * SECOND_NS
    within = duration_text(math.ceil(schedule.every_ns * schedule.cycle * factor / SECOND_NS) * SECOND_NS)
    return f'every = "{duration_text(longer)}", a sample (every_pair_within = "{within}"), or a smaller count'


def excess(budget: Budget, found: Rates) -> float:
    """How many times over the tightest limit it is; at most 1 where it is within all of them."""
    pairs = [
        (found.total, budget.total),
        ((found.busiest_agent or ("", 0.0))[1], budget.per_agent),
        ((found.busiest_target or ("", 0.0))[1], budget.per_target),
    ]
    return max((rate / limit for rate, limit in pairs if limit), default=0.0)


def _most(rate_of: Mapping[str, float]) -> tuple[str, float] | None:
    return max(rate_of.items(), key=lambda item: (item[1], item[0]), default=None)


def _others(rate_of: Mapping[str, float], limit: float) -> str:
    more = sum(rate > limit for rate in rate_of.values()) - 1
    return f" (and {more} more)" if more > 0 else ""


def _rate(value: float) -> str:
    return f"{value:.3g} packets/s" if value < 1000 else f"{value:.0f} packets/s"
