"""Mesh-wide limits to one target: how much each agent may send, and what to tell people where that slows a
run.

What the runs under way may send to one target together never exceeds its limit: a run that finds too little
left waits until others have ended. Limits are per address, and per name (all of its addresses together, which
is stricter); a name counts for the addresses that agents have found behind it, so that ten names of one host
are one host. Loopback is exempt at the agent. Pure.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.hosts import canonical_host
from probemesh_shared.model import FlowSpec, Pacing, Spec, Target

from probemesh_controller.demand import demand, natural_s

PACKETS_PER_S = 500.0
CONNECTS_PER_S = 100.0
#: A run begins only where it gets this part of the limit, or all that it wants.
_LEAST = 0.1
#: No run takes more of what is left: whoever comes next is to begin as well.
_PART = 0.8
#: What all runs together may take of an address that several came to by names of their own.
_OVER = 2.0
_NOTHING = (0.0, 0.0)
#: Names whose addresses are remembered, and how many of each.
_NAMES, _ADDRESSES = 4096, 16
#: Twice the natural rate is room enough not to be felt; more is left for others.
_ROOM = 2.0
#: A flow's shots are laid out in time by whoever planned it: where a second of it lies within the limit it
#: is not paced, only counted.
_AS_LAID_OUT = 10.0


def is_loopback(target: Target) -> bool:
    """True where nothing but loopback can be meant: no pacing there, and nothing to announce."""
    names = target.addresses or (target.host,)
    return all(_loopback(name) for name in names)


def _loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _name(target: Target) -> str:
    return f"agent:{target.agent}" if target.agent else canonical(target.host)


def _keys(target: Target) -> tuple[str, ...]:
    """What a target is counted under: its name, and the addresses that it was given."""
    found = (_name(target), *map(canonical, target.addresses))
    return tuple(dict.fromkeys(key for key in found if not _loopback(key)))


def canonical(text: str) -> str:
    """One spelling of an address or a name, however a client spelled it: agents read it as they dial it."""
    try:
        host = canonical_host(text.partition("%")[0])
        address = ipaddress.ip_address(host)
    except InvalidRequest:
        return text.lower().rstrip(".")
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _is_address(key: str) -> bool:
    try:
        ipaddress.ip_address(key)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class PacingPlan:
    """``pacing`` goes into each of the run's jobs, which begin spread over ``spread_s``; ``notes`` are for
    people."""

    pacing: Pacing
    notes: tuple[str, ...] = ()
    spread_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What may go to one target, a second."""

    packets_per_s: float = PACKETS_PER_S
    connects_per_s: float = CONNECTS_PER_S


#: Of an address, as :func:`canonical` spells it, or of a name behind which no address is known yet.
BudgetOf = Callable[[str], Budget]


@dataclass(frozen=True)
class Claim:
    """What a run asks for. ``addresses_of`` are by agent, of those that it probes; ``alone``: nobody else
    will come."""

    run_id: str
    specs: Sequence[Spec]
    targets: Sequence[Target]
    agents: int
    deadline_s: float
    addresses_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alone: bool = False

    @property
    def laid_out(self) -> bool:
        return all(isinstance(spec, FlowSpec) for spec in self.specs)

    @property
    def natural_s(self) -> float:
        return max((natural_s(spec) for spec in self.specs), default=1.0)

    @cached_property
    def sums(self) -> dict[tuple[str, ...], tuple[int, int]]:
        """Packets and connections of all agents, by the keys of a target."""
        sums: dict[tuple[str, ...], tuple[int, int]] = {}
        for target in self.targets:
            if is_loopback(target) or all(
                map(_loopback, self.addresses_of.get(target.agent or "") or ("-",))
            ):
                continue
            keys = _keys(target)
            parts = [demand(spec, target) for spec in self.specs]
            packets, connects = sums.get(keys, (0, 0))
            sums[keys] = (
                packets + self.agents * sum(part.packets for part in parts),
                connects + self.agents * sum(part.connects for part in parts),
            )
        return sums


@dataclass(slots=True)
class Ledger:
    """What the runs under way may send, by target; and those that wait, the first to come first."""

    budget_of: BudgetOf = lambda _: Budget()
    _taken: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)  # by run, by key
    _total: dict[str, tuple[float, float]] = field(default_factory=dict)  # of all runs, by key
    _waiting: dict[str, Claim] = field(default_factory=dict)
    _behind: OrderedDict[str, tuple[str, ...]] = field(default_factory=OrderedDict)

    def claim(self, claim: Claim) -> PacingPlan | None:
        """Reserves the run's rates until ``release``; None where it has to wait, which ``release`` of others
        ends."""
        plan = self._grant(claim)
        if plan is None:
            self._waiting[claim.run_id] = claim
        return plan

    def release(self, run_id: str) -> list[tuple[str, PacingPlan]]:
        """Gives back what a run had, or ends its waiting. Whose turn has come by that."""
        self._waiting.pop(run_id, None)
        gone = self._taken.pop(run_id, {})
        for key in gone:
            self._sum_up(key)
        granted = []
        for waiting, claim in list(self._waiting.items()):
            plan = self._grant(claim)
            if plan is not None:
                del self._waiting[waiting]
                granted.append((waiting, plan))
        return granted

    def learn(self, run_id: str, target: Target, address: str) -> str | None:
        """An agent found ``address`` behind ``target``: what this run takes, it takes of both. Returns why it
        cannot go on, if so: with runs under way by other names of that address it is too much. Twice as much
        as may go there is let pass, for names that share a host are common, and their runs short."""
        name, found = _name(target), canonical(address)
        if found == name or _loopback(found):
            return None
        known = self._behind.get(name, ())
        if found not in known:
            self._behind[name] = (*known, found)[-_ADDRESSES:]
            self._behind.move_to_end(name)
            if len(self._behind) > _NAMES:
                self._behind.popitem(last=False)
        taken = self._taken.get(run_id, {})
        if name in taken:
            before = taken.get(found, _NOTHING)
            taken[found] = max(before[0], taken[name][0]), max(before[1], taken[name][1])
            self._sum_up(found)
            budget = self._budgets((found,))[found]
            packets, connects = self._total[found]
            if packets > _OVER * budget.packets_per_s or connects > _OVER * budget.connects_per_s:
                return f"other runs take all that may go to {found}, by other names of it"
        return None

    def _sum_up(self, key: str) -> None:
        """Anew each time: sums that are added to and taken from drift."""
        shares = [mine[key] for mine in self._taken.values() if key in mine]
        if shares:
            self._total[key] = sum(share[0] for share in shares), sum(share[1] for share in shares)
        else:
            self._total.pop(key, None)

    def _grant(self, claim: Claim) -> PacingPlan | None:
        jobs = max(1, claim.agents * len(claim.specs))
        natural = claim.natural_s
        room = 1.0 if claim.laid_out else _ROOM
        rates: list[float] = [self._most(claim, which) for which in (0, 1)]
        notes: list[str] = []
        mine: dict[str, tuple[float, float]] = {}
        spread_s = 0.0
        for keys, totals in claim.sums.items():
            every = self._every(keys)
            share = [0.0, 0.0]
            for which, noun in ((0, "packets"), (1, "connections")):
                total = totals[which]
                if not total:
                    continue
                free, limit = self._free(every, which)
                wanted, least = max(1.0, room * total / natural), _LEAST * limit
                if free < min(wanted, least):
                    return None
                part = _PART * free
                if claim.laid_out:
                    part = free - max(mine.get(key, _NOTHING)[which] for key in every)
                elif claim.alone:
                    part = free
                granted = min(wanted, max(part, min(free, least)))
                share[which] = granted
                if not claim.laid_out or granted * natural < total:
                    rates[which] = min(rates[which], granted)
                if not claim.laid_out and total > granted:  # all at once would be more than that in a second
                    spread_s = max(spread_s, jobs / granted)
                notes += _note(keys[0], total, granted, noun, natural, claim.deadline_s)
            for key in every:  # an agent paces by address, however many targets lie behind it
                had = mine.get(key, _NOTHING)
                if claim.laid_out:
                    mine[key] = had[0] + share[0], had[1] + share[1]
                else:
                    mine[key] = max(had[0], share[0]), max(had[1], share[1])
        self._taken[claim.run_id] = mine
        for key, (packets, connects) in mine.items():
            before = self._total.get(key, _NOTHING)
            self._total[key] = before[0] + packets, before[1] + connects
        spread_s = min(spread_s, claim.deadline_s / 2)
        return PacingPlan(Pacing(rates[0] / jobs, rates[1] / jobs), tuple(notes), spread_s)

    def _most(self, claim: Claim, which: int) -> float:
        """What a run gets where nothing limits it: room for what is laid out in time, the shipped limit
        else."""
        limit = (PACKETS_PER_S, CONNECTS_PER_S)[which]
        several = [one for keys in claim.sums for one in self._budgets(self._every(keys)).values()]
        limit = max((limit, *((one.packets_per_s, one.connects_per_s)[which] for one in several)))
        return _AS_LAID_OUT * limit if claim.laid_out else limit

    def _every(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        found = [*keys, *(address for key in keys for address in self._behind.get(key, ()))]
        return tuple(dict.fromkeys(found))

    def _budgets(self, keys: Iterable[str]) -> dict[str, Budget]:
        """By key. A name has what the best of its addresses has: each of those is held to its own besides."""
        found = {key: self.budget_of(key) for key in keys}
        known = [budget for key, budget in found.items() if _is_address(key)]
        if known:
            best = Budget(max(one.packets_per_s for one in known), max(one.connects_per_s for one in known))
            found |= {key: best for key in found if not _is_address(key)}
        return found

    def _free(self, keys: Iterable[str], which: int) -> tuple[float, float]:
        """What is left of the narrowest of ``keys``, and its limit."""
        found = []
        for key, budget in self._budgets(keys).items():
            limit = (budget.packets_per_s, budget.connects_per_s)[which]
            found.append((max(0.0, limit - self._total.get(key, _NOTHING)[which]), limit))
        return min(found)


def _note(key: str, total: int, rate: float, noun: str, natural_s: float, deadline_s: float) -> list[str]:
    seconds = total / rate
    if seconds <= 1.5 * natural_s:
        return []
    text = f"pacing: {total} {noun} to {key} at {rate:.0f}/s mesh-wide take at least {seconds:.0f} s"
    if seconds > deadline_s:
        text += f"; the deadline of {deadline_s:g} s leaves {1 - deadline_s / seconds:.0%} unmeasured"
    return [text]
