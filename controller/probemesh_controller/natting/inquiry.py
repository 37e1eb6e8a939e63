"""The inquiry about one subject: its reflectors are put on watch, it sends, others knock, all are looked at.

What an agent cannot do stands in ``seen.problems``; nothing raises but faults of our own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from probemesh_shared.model import AgentInfo, FlowSpec, WatchDetail
from probemesh_shared.words import Family, Kind

from probemesh_controller.natting import around, asks, further, reading
from probemesh_controller.natting.behaviour import behaviour
from probemesh_controller.natting.bench import Bench, Posts, alongside
from probemesh_controller.natting.choosing import Reflector, own_addresses
from probemesh_controller.natting.reading import Door, Told
from probemesh_controller.natting.seen import Asked, Clash, Endpoint, Knock, Knocker, Seen, Silence
from probemesh_controller.pair.asking import Answer
from probemesh_controller.pair.part import cannot

#: Seconds for which watches stand; an inquiry, and the clashes after it, are over long before.
STAND_S = 60.0
#: As much longer mappings are kept open where the control channel is slow.
_SLOW_TIMES = 4

OnStep = Callable[[str], None]
Accounts = dict[str, list[WatchDetail]]


@dataclass(frozen=True, slots=True)
class _Knocked:
    """What one knocker sent to the mapping of one socket."""

    socket: int
    agent: str
    source: str
    mark: int
    sent: int

    def came(self, told: Told) -> Knock:
        """With what the subject's socket got of it."""
        arrived = reading.marked(told, self.socket, self.mark)
        return Knock(
            told.first + self.socket,
            Knocker.OTHER_ADDRESS,
            self.agent,
            self.source,
            self.sent,
            min(self.sent, len(arrived)),
            tuple(dict.fromkeys(one.address for one in arrived)),
        )


class Inquiry:
    """One subject. ``seen`` grows from step to step and may be concluded from at any time. ``give_back`` in
    any case."""

    def __init__(
        self,
        bench: Bench,
        subject: AgentInfo,
        reflectors: tuple[Reflector, ...],
        family: Family,
        on_step: OnStep = lambda step: None,
        helpers: tuple[AgentInfo, ...] = (),
    ) -> None:
        self.bench = bench
        self.subject = subject
        self.reflectors = reflectors
        self.family = family
        self.helpers = helpers
        self.seen = Seen(subject.name, subject.site, family, own_addresses(subject, family))
        self.step = on_step
        self.token = bench.random(16)
        self.posts = Posts(bench, family, self.token, STAND_S, self.problem)
        self._sockets = 0

    async def run(self) -> None:
        """Filtering first, on mappings that nobody but one reflector knows; then mapping, then the rest."""
        if (why := cannot(self.subject, Kind.FLOW)) is not None:
            self.problem(why)
            return
        self.step("puts its reflectors on watch")
        await self._arm()
        if not self.posts.doors:
            await further.reached(self)
            return
        main = await self._filtering(self.mains())
        self.step("asks every reflector what it sees (mapping)")
        await self._mapping()
        beyond = self.beyond()
        if main is not None and beyond and main.agent not in beyond:
            # the first was a neighbour: no NAT stands in between
            await self._filtering([door for door in self.mains() if door.agent in beyond])
        if behaviour(self.seen).behind_nat is None:
            await further.reached(self)
        if behaviour(self.seen).behind_nat:
            self.step("sends to its own outside address (hairpinning, layers)")
            await further.hairpin_and_ladder(self)

    async def give_back(self) -> None:
        await self.posts.give_back()

    def beyond(self) -> frozenset[str]:
        """Reflectors on the other side of the NAT, or of a firewall, as far as is known."""
        return frozenset(around.behind(self.seen, around.reflectors(self.seen)).by)

    # --- state --------------------------------------------------------------------------------------------

    def problem(self, text: str) -> None:
        self.seen = replace(self.seen, problems=tuple(dict.fromkeys((*self.seen.problems, text))))

    def mains(self) -> list[Door]:
        """The first endpoint of each reflector, in their order."""
        firsts: dict[str, Door] = {}
        for door in self.posts.doors:
            firsts.setdefault(door.agent, door)
        return list(firsts.values())

    async def _arm(self) -> None:
        await self.posts.arm(self.reflectors)
        endpoints: dict[str, list[Endpoint]] = {}
        for door in self.posts.doors:
            endpoints.setdefault(door.agent, []).append(door.to)
        asked = tuple(Asked(name, tuple(its)) for name, its in endpoints.items())
        self.seen = replace(self.seen, reflectors=asked)

    def told(self, spec: FlowSpec, answer: Answer, accounts: Accounts) -> Told:
        """What came of a flow; its sockets and datagrams are counted on."""
        failures = [row.failure.detail for row in answer.rows if row.failure and row.detail is None]
        for why in [answer.problem] if answer.problem and not answer.rows else failures:
            self.problem(f"{self.subject.name} could not send: {why}")
        flow = reading.flow_of(answer.rows)
        datagrams = {name: reading.datagrams_of(told) for name, told in accounts.items()}
        told = Told(spec, flow, datagrams, self._sockets, self.seen.sent)
        self._sockets += 1 + max((shot.socket or 0 for shot in spec.shots), default=0)
        self.seen = replace(
            self.seen,
            own=tuple(dict.fromkeys((*self.seen.own, *reading.local_addresses(flow, self.family)))),
            sent=self.seen.sent + len(reading.sent_shots(flow)),
        )
        return told

    def _note(self, told: Told, doors: Sequence[Door]) -> None:
        self.seen = replace(
            self.seen,
            sightings=(*self.seen.sightings, *reading.sightings(told, doors)),
            heard=self.seen.heard | reading.heard(told, doors),
        )

    # --- filtering ----------------------------------------------------------------------------------------

    async def _filtering(self, mains: Sequence[Door]) -> Door | None:
        """With the first of ``mains`` that hears anything, which is returned; once more, and longer, where
        the others came too late to knock."""
        for main in mains:
            for open_ms in (asks.OPEN_MS, _SLOW_TIMES * asks.OPEN_MS):
                self.step(f"opens mappings to {main.agent} and lets others knock (filtering)")
                heard, in_time = await self._opened(main, open_ms)
                if heard and in_time:
                    return main
                if not heard:
                    break
        return None

    async def _opened(self, main: Door, open_ms: float) -> tuple[bool, bool]:
        """Whether ``main`` heard anything, and whether all knocks were sent while the mappings were open, as
        what comes later tells nothing. The flow's end tells whether anything could be sent."""
        spec = asks.opening(self.family, self.token, main.to, open_ms)
        closes = self.bench.clock.monotonic() + asks.open_s(spec)
        knocked: list[_Knocked] = []
        accounts: list[WatchDetail] = []
        in_time = False

        async def meanwhile(flow: "asyncio.Task[Answer]") -> bool:
            nonlocal in_time
            found, told = await self.posts.shown(spec, main, flow, asks.SOCKETS)
            accounts.extend(told)
            if found:
                knocked.extend(await self._knock(main, {one.socket: one.seen for one in found}))
                in_time = self.bench.clock.monotonic() < closes
            return True

        answer = await alongside(self.bench.flow(self.subject, spec), meanwhile)
        assert answer is not None
        accounts += (await self.posts.look([main.agent]))[main.agent]
        told = self.told(spec, answer, {main.agent: accounts})
        self._note(told, [main])
        found = [one.came(told) for one in knocked if in_time]
        found += reading.knocks_from_other_port(told, main)
        self.seen = replace(self.seen, knocks=(*self.seen.knocks, *found))
        return bool(reading.sightings(told, [main])), in_time

    async def _knock(self, main: Door, mappings: dict[int, Endpoint]) -> list[_Knocked]:
        """From every address of a reflector but the one that was asked, all at once."""
        watching = {door.agent for door in self.posts.doors}
        knockers = [
            (reflector, address, asks.SMALLEST_MARK + place)
            for place, (reflector, address) in enumerate(
                (reflector, address)
                for reflector in self.reflectors
                for address in reflector.addresses
                if reflector.name in watching and address != main.to.address
            )
        ]
        endpoints = list(mappings.values())
        answers = await asyncio.gather(
            *(
                self.bench.flow(reflector.info, asks.knocking(self.family, endpoints, mark, source))
                for (reflector, address, mark) in knockers
                # the first one the kernel takes by itself, and it may be a NAT's that is advertised
                for source in [None if address == reflector.addresses[0] else address]
            )
        )
        found = []
        for (reflector, address, mark), answer in zip(knockers, answers, strict=True):
            sent = reading.sent_shots(reading.flow_of(answer.rows))
            if not sent and address == reflector.addresses[0]:
                self.problem(f"{reflector.name} could not send to the mappings from {address}")
            for place, socket in enumerate(mappings):
                count = sum(number % len(endpoints) == place for number in sent)
                found.append(_Knocked(socket, reflector.name, address, mark, count))
        return found

    # --- mapping ------------------------------------------------------------------------------------------

    async def _mapping(self) -> None:
        doors = self.posts.doors
        spec = asks.looking_round(self.family, self.token, [door.to for door in doors])
        answer = await self.bench.flow(self.subject, spec)
        await self.bench.clock.sleep(further.SETTLE_S)
        accounts = await self.posts.look([door.agent for door in doors])
        self._note(self.told(spec, answer, accounts), doors)

    def add_silences(self, silences: Sequence[Silence]) -> None:
        self.seen = replace(self.seen, silences=(*self.seen.silences, *silences))

    def add_clash(self, clash: Clash) -> None:
        self.seen = replace(self.seen, clashes=(*self.seen.clashes, clash))
