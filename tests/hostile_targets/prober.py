"""Run as a program in the namespace of :mod:`tests.hostile_targets.world`: lets an agent's own runner do
every ask of one way, and prints for each what came of it and which packets left."""

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from ipaddress import ip_network
from urllib.parse import quote

from probemesh_agent.kit import all_probes
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.prepare import Preparation
from probemesh_agent.runner import Runner
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import DnsSpec, HttpSpec, Job, Measurement, Spec, Target
from probemesh_shared.narrowing import Narrowing
from probemesh_shared.words import Kind

from tests.hostile_targets.asks import ASKS, FRIEND, FRIEND6, OPTIONS, Ask, Made, server, url
from tests.hostile_targets.spellings import (
    NAMES,
    OWN,
    PLACES,
    bracketed,
    named,
    packed,
)
from tests.hostile_targets.world import counted

BUDGET_MS = 20_000
#: Where the peer answers at once, and nobody but a busy machine makes anybody wait.
PATIENT = replace(OPTIONS, count=1, timeout_s=5.0)
#: An owner who allows everything in one line has not thought of what is special.
WIDE = Policy(allow=(ip_network("0.0.0.0/0"), ip_network("::/0")))

_IDS = map(str, itertools.count())

Made_by = Iterator[tuple[str, list[Made]]]


@dataclass(slots=True)
class Lane:
    """Keeps rows; ``armed`` is called for each one."""

    owner: str = "tester/1"
    rows: list[Measurement] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    armed: Callable[[str], None] = lambda job_id: None

    async def room(self) -> None:
        return

    def add(self, job_id: str, measurements: tuple[Measurement, ...]) -> None:
        self.rows.extend(measurements)
        self.armed(job_id)

    def end(self, job_id: str, status: str, detail: str) -> None:
        assert status in ("done", "cancelled"), (job_id, status, detail)
        self.ended.set()


async def carried_out(runner: Runner, made: list[Made], narrow: tuple[Narrowing, ...]) -> Counter[str]:
    """One job for each spec. A watch lives until it is cancelled, and has had its say with its first row."""
    by_spec: dict[Spec, list[Target]] = {}
    for spec, target in made:
        by_spec.setdefault(spec, []).append(target)
    outcomes: Counter[str] = Counter()
    for spec, targets in by_spec.items():
        lane = Lane()
        if type(spec).__name__ == "WatchSpec":
            lane.armed = lambda job_id, lane=lane: runner.cancel(lane.owner, job_id, "seen")  # type: ignore[misc]
        runner.start(Job(next(_IDS), "r", spec, tuple(targets), BUDGET_MS, narrow=narrow), lane)
        await lane.ended.wait()
        assert {row.target_index for row in lane.rows} == set(range(len(targets))), (spec, lane.rows)
        outcomes.update(str(row.outcome) for row in lane.rows)
    return outcomes


# --- the ways ---------------------------------------------------------------------------------------------


#: The first of each kind that may be given a name: enough where the way and not the ask is what is tried.
_FIRST = {ask.kind: name for name, ask in reversed(ASKS.items()) if not ask.literal}
ONE_A_KIND = {name: ASKS[name] for name in _FIRST.values()}


def literals(asks: Mapping[str, Ask]) -> Made_by:
    for name, ask in asks.items():
        yield name, [ask.of(place) for place in PLACES if fits(ask.kind, place)]


def names_in(zone: str, asks: Mapping[str, Ask]) -> Made_by:
    """Every place by a name of its own, new for every ask; of a kind's further asks some places will do."""
    for number, (name, ask) in enumerate(asks.items()):
        if not ask.literal:
            places = PLACES if name in ONE_A_KIND else PLACES[number % 6 :: 6]
            yield name, [ask.of(named(place, number * 1000 + at, zone)) for at, place in enumerate(places)]


def known_names() -> Made_by:
    for name, ask in ASKS.items():
        if not ask.literal:
            yield name, [ask.of(place) for place in NAMES]


def redirects() -> Made_by:
    """By every status, to http and https, at once and after another redirect, in the clear."""
    for status in (301, 302, 303, 307, 308):
        for scheme in ("http", "https"):
            places = [f"{scheme}://{bracketed(place)}/x" for place in PLACES]
            yield f"{status} {scheme}", [redirected(there, status) for there in places]
    for more in (":22/", ":80/", ":8081/x?y"):
        yield f"port {more}", [redirected(f"http://{bracketed(place)}{more}") for place in PLACES]
    yield "user", [redirected(f"http://{FRIEND}@{bracketed(place)}/") for place in PLACES]
    yield "no scheme", [redirected(f"//{bracketed(place)}/") for place in PLACES]
    yield "backslash", [redirected(f"http:\\\\{bracketed(place)}\\") for place in PLACES]
    yield (
        "second",
        [redirected(f"http://{FRIEND}:8081/302?{quote(f'http://{bracketed(p)}/')}") for p in PLACES],
    )
    yield "named", [redirected(f"http://{named(p, n, 'fix')}/") for n, p in enumerate(PLACES)]
    yield "known", [redirected(f"https://{name}/") for name in NAMES]
    yield "rebound", [redirected(rebound(place, n)) for n, place in enumerate(PLACES)]
    yield "by proxy", [redirected(f"http://{bracketed(place)}/", proxy=f"{FRIEND}:80") for place in PLACES]
    yield "ladder", [ladder_of(redirected(f"http://{bracketed(place)}/")[1]) for place in PLACES]


def rebound(place: str, number: int) -> str:
    """A name that is the friend's for the first redirect, and another port at it for the second."""
    name = named(place, number, "reb")
    return f"http://{name}/302?{quote(f'http://{name}:8081/')}"


def redirected(there: str, status: int = 302, proxy: str | None = None) -> Made:
    target = replace(url(FRIEND), path=f"/{status}?{quote(there)}")
    return HttpSpec(PATIENT, follow=5, proxy=proxy), target


def ladder_of(target: Target) -> Made:
    spec, _ = ASKS["ladder http"].of(FRIEND)
    return spec, target


def referrals() -> Made_by:
    """Zones whose servers are said to be where nobody may be asked."""
    own = DnsSpec(PATIENT, all_servers=True)
    for name, spec in {"named": replace(own, server=server(FRIEND)), "own": own}.items():
        zones = [f"www.x{packed(place).hex()}.ns.test" for place in PLACES]
        yield name, [(spec, Target(f"dns:{zone}", zone, record_type="A")) for zone in zones]


def friends() -> Made_by:
    """The control: the same asks, at somebody who may be asked."""
    for name, ask in ASKS.items():
        yield name, [ask.of(FRIEND), ask.of(FRIEND6)]


#: What the mesh may take away, each so that the friend is not left.
NARROWED = {
    "narrowed to networks": (Narrowing(networks=("10.99.0.0/16", "fd99::/16")),),
    "narrowed from networks": (Narrowing(deny_networks=("10.9.0.0/24", "fd09::/64")),),
    "narrowed to names": (Narrowing(names=("*.allowed.test",)),),
    "narrowed to kinds": (Narrowing(kinds=(Kind.WATCH,)),),
    "narrowed twice": (Narrowing(networks=("10.9.0.0/24",)), Narrowing(networks=("10.8.0.0/24",))),
    "narrowed beyond reading": (Narrowing(networks=("nonsense",)),),
}

WAYS: dict[str, Callable[[], Made_by]] = {
    "literal": lambda: literals(ASKS),
    "wide policy": lambda: literals(ONE_A_KIND),
    "name": lambda: names_in("fix", ASKS),
    "alias": lambda: names_in("alias", ONE_A_KIND),
    "mixed": lambda: names_in("mix", ONE_A_KIND),
    "rebinding": lambda: names_in("reb", ASKS),
    "known name": known_names,
    "redirect": redirects,
    "referral": referrals,
    "friend": friends,
    **dict.fromkeys(NARROWED, friends),
}


def fits(kind: Kind, place: str) -> bool:
    """A watch looks at this host's own port, by its own address: that is what it is for."""
    return kind is not Kind.WATCH or place not in OWN


async def main(way: str) -> None:
    clock = SystemClock()
    network = SystemNetwork(clock, WIDE if way == "wide policy" else Policy.shipped())
    probes = all_probes()
    runner = Runner(probes, network, clock, prepare=Preparation(probes))
    counted()
    told = {}
    for name, made in WAYS[way]():
        outcomes = await carried_out(runner, made, NARROWED.get(way, ()))
        told[name] = {"outcomes": outcomes, "asked": len(made), **asdict(counted())}
    network.close()
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
