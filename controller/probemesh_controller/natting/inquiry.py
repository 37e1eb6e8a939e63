"""The inquiry about one subject: its reflectors are put on watch, it sends, others knock, all are looked at.

What an agent cannot do stands in ``seen.problems``; nothing raises but faults of our own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from probemesh_shared.model import AgentInfo, FlowSpec, WatchDetail
from probemesh_shared.words import Family, Kind

from probemesh_controller.natting import around, asks, reading
from probemesh_controller.natting.behaviour import behaviour
from probemesh_controller.natting.bench import Bench, Posts, alongside
from probemesh_controller.natting.choosing import Reflector, own_addresses
from probemesh_controller.natting.mapping import View, views
from probemesh_controller.natting.reading import Door, Told
from probemesh_controller.natting.seen import Asked, Clash, Endpoint, Hairpin, Knock, Knocker, Seen, Silence
from probemesh_controller.pair.asking import Answer
from probemesh_controller.pair.part import cannot

#: Seconds for which watches stand; an inquiry, and the clashes after it, are over long before.
STAND_S = 60.0
#: Last datagrams and transmit stamps get as long.
_SETTLE_S = 0.15
#: As much longer mappings are kept open where the control channel is slow.
_SLOW_TIMES = 4
#: Outside addresses to which a ladder is climbed.
_MOST_FACES = 3

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
    ) -> None:
        self.bench = bench
        self.subject = subject
        self.reflectors = reflectors
        self.family = family
        self.seen = Seen(subject.name, subject.site, family, own_addresses(subject, family))
        self.step = on_step
        self._token = bench.random(16)
        self.posts = Posts(bench, family, self._token, STAND_S, self.problem)
        self._sockets = 0

    async def run(self) -> None:
        """Filtering first, on mappings that nobody but one reflector knows; then mapping, then the rest."""
        if (why := cannot(self.subject, Kind.FLOW)) is not None:
            self.problem(why)
            return
        self.step("puts its reflectors on watch")
        await self._arm()
        if not self.posts.doors:
            return
        main = await self._filtering(self._mains())
        self.step("asks every reflector what it sees (mapping)")
        await self._mapping()
        beyond = self.beyond()
        if main is not None and beyond and main.agent not in beyond:
            # the first was a neighbour: no NAT stands in between
            await self._filtering([door for door in self._mains() if door.agent in beyond])
        if behaviour(self.seen).behind_nat:
            self.step("sends to its own outside address (hairpinning, layers)")
            await self._hairpin_and_ladder()

    async def give_back(self) -> None:
        await self.posts.give_back()

    def beyond(self) -> frozenset[str]:
        """Reflectors on the other side of the NAT, or of a firewall, as far as is known."""
        return frozenset(around.behind(self.seen, around.reflectors(self.seen)).by)

    # --- state --------------------------------------------------------------------------------------------

    def problem(self, text: str) -> None:
        self.seen = replace(self.seen, problems=tuple(dict.fromkeys((*self.seen.problems, text))))

    def _mains(self) -> list[Door]:
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

    def _told(self, spec: FlowSpec, answer: Answer, accounts: Accounts) -> Told:
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
        spec = asks.opening(self.family, self._token, main.to, open_ms)
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
        told = self._told(spec, answer, {main.agent: accounts})
        self._note(told, [main])
        found = [
            Knock(
                told.first + one.socket,
                Knocker.OTHER_ADDRESS,
                one.agent,
                one.source,
                one.sent,
                min(one.sent, len(reading.marked(told, one.socket, one.mark))),
            )
            for one in knocked
            if in_time
        ]
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
                self.bench.flow(reflector.info, asks.knocking(self.family, endpoints, mark, address))
                for reflector, address, mark in knockers
            )
        )
        found = []
        for (reflector, address, mark), answer in zip(knockers, answers, strict=True):
            sent = reading.sent_shots(reading.flow_of(answer.rows))
            if not sent:
                self.problem(f"{reflector.name} could not send to the mappings from {address}")
            for place, socket in enumerate(mappings):
                count = sum(number % len(endpoints) == place for number in sent)
                found.append(_Knocked(socket, reflector.name, address, mark, count))
        return found

    # --- mapping ------------------------------------------------------------------------------------------

    async def _mapping(self) -> None:
        doors = self.posts.doors
        spec = asks.looking_round(self.family, self._token, [door.to for door in doors])
        answer = await self.bench.flow(self.subject, spec)
        await self.bench.clock.sleep(_SETTLE_S)
        accounts = await self.posts.look([door.agent for door in doors])
        self._note(self._told(spec, answer, accounts), doors)

    # --- hairpinning, layers ------------------------------------------------------------------------------

    async def _hairpin_and_ladder(self) -> None:
        beyond = self.beyond()
        main = next((door for door in self._mains() if door.agent in beyond), None)
        known = self._known(main) if main is not None else []
        if main is None or not known:
            return
        faces = [one.seen.address for one in self.seen.sightings if around.translated(one, self.seen.own)]
        ladders = {
            face: asks.climbing(self.family, face) for face in list(dict.fromkeys(faces))[:_MOST_FACES]
        }
        climbed, _ = await asyncio.gather(
            asyncio.gather(*(self.bench.flow(self.subject, ladder) for ladder in ladders.values())),
            self._hairpin(main, known),
        )
        rungs = tuple(
            rung
            for (face, ladder), answer in zip(ladders.items(), climbed, strict=True)
            for rung in reading.rungs(ladder, reading.flow_of(answer.rows), face)
        )
        self.seen = replace(self.seen, ladder=rungs)

    def _known(self, main: Door) -> list[View]:
        """Sockets whose outside endpoint at ``main`` is known, the latest first."""
        mine = [one for one in self.seen.sightings if one.reflector == main.agent]
        found = [view for view in views(mine) if view.steady and view.local_port and main.to in view.faces]
        return found[::-1]

    async def _hairpin(self, main: Door, known: Sequence[View]) -> None:
        if len(known) < 2:
            return
        one, other = known[0], known[1]
        outside = one.faces[main.to], other.faces[main.to]
        ports = one.local_port, other.local_port
        spec = asks.crossing(self.family, self._token, ports, outside, main.to)
        answer = await self.bench.flow(self.subject, spec)
        told = self._told(spec, answer, await self.posts.look([main.agent]))
        sources = [source for socket in (0, 1) for source in reading.marked(told, socket, asks.SMALLEST_MARK)]
        after = {one.socket - told.first: one.seen for one in reading.sightings(told, [main])}
        kept = all(after[socket] == outside[socket] for socket in after) if len(after) == 2 else None
        sent = sum(spec.shots[number].send is not None for number in reading.sent_shots(told.flow))
        hairpin = Hairpin(sent, outside, tuple(dict.fromkeys(sources)), kept)
        self.seen = replace(self.seen, hairpin=hairpin)

    # --- a clash with a second agent ----------------------------------------------------------------------

    async def clash(self, second: AgentInfo) -> Clash | None:
        """This subject and ``second`` use one source port; None where the first was not seen."""
        doors = [door for door in self.posts.doors if door.agent in self.beyond()]
        if not doors:
            return None
        self.step(f"uses one source port together with {second.name} (mapping)")
        main, port = doors[0], self.bench.port()
        beside = [door for door in doors if door.to.address == main.to.address and door is not main]
        away = [door for door in doors if door.to.address != main.to.address]
        order = [*away[:1], *beside[:1], main]
        hold = asks.holding(self.family, self._token, port, main.to)
        collide = asks.colliding(self.family, self._token, port, [door.to for door in order])
        found: list[Clash] = []

        async def meanwhile(flow: "asyncio.Task[Answer]") -> bool:
            await self.bench.clock.sleep(hold.shots[-1].at_ms / 1000)  # all of them, before the second's
            first, _ = await self.posts.shown(hold, main, flow, 1)
            if not first:
                return False
            await self.posts.look([door.agent for door in order])
            answer = await self.bench.flow(second, collide)
            await self.bench.clock.sleep(_SETTLE_S)
            accounts = await self.posts.look([door.agent for door in order])
            datagrams = {name: reading.datagrams_of(told) for name, told in accounts.items()}
            told = Told(collide, reading.flow_of(answer.rows), datagrams)
            found.append(Clash(tuple(first), tuple(reading.sightings(told, order))))
            return False

        await alongside(self.bench.flow(self.subject, hold), meanwhile)
        return found[0] if found else None

    def add_silences(self, silences: Sequence[Silence]) -> None:
        self.seen = replace(self.seen, silences=(*self.seen.silences, *silences))

    def add_clash(self, clash: Clash) -> None:
        self.seen = replace(self.seen, clashes=(*self.seen.clashes, clash))
