"""What an inquiry asks beside mapping and filtering: who reaches the subject, its own outside address, and a
second agent behind the same one."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from probemesh_shared.model import AgentInfo
from probemesh_shared.words import Kind

from probemesh_controller.candidates import readable
from probemesh_controller.natting import around, asks, reading
from probemesh_controller.natting.behaviour import behaviour
from probemesh_controller.natting.bench import Posts, alongside
from probemesh_controller.natting.choosing import MOST_ADDRESSES, Reflector
from probemesh_controller.natting.mapping import View, views
from probemesh_controller.natting.reading import Door, Told
from probemesh_controller.natting.seen import Clash, Hairpin
from probemesh_controller.pair.asking import Answer
from probemesh_controller.pair.part import cannot
from probemesh_controller.pair.reaching import of_family

if TYPE_CHECKING:
    from probemesh_controller.natting.inquiry import Inquiry

#: Last datagrams and transmit stamps get as long.
SETTLE_S = 0.15
#: Outside addresses to which a ladder is climbed.
_MOST_FACES = 3
#: Seconds for which the subject's own listener stands.
_STAND_S = 30.0


async def reached(inquiry: "Inquiry") -> None:
    """Whether somebody reaches it by an address of its own, where nobody heard it: a host with a public
    address whose agents elsewhere are all behind NATs."""
    addresses = of_family(readable(inquiry.subject.addresses), inquiry.family)[:MOST_ADDRESSES]
    if not addresses or not inquiry.helpers or cannot(inquiry.subject, Kind.WATCH) is not None:
        return
    inquiry.step("lets others send to it")
    token = inquiry.bench.random(16)
    post = Posts(inquiry.bench, inquiry.family, token, _STAND_S, inquiry.problem)
    try:
        await post.arm([Reflector(inquiry.subject, addresses)])
        if not post.doors:
            return
        spec = asks.reaching(inquiry.family, token, [door.to for door in post.doors])
        for helper in inquiry.helpers:
            await inquiry.bench.flow(helper, spec)
            accounts = (await post.look([inquiry.subject.name]))[inquiry.subject.name]
            found = reading.reached(helper.name, accounts, post.doors)
            inquiry.seen = replace(inquiry.seen, reached=(*inquiry.seen.reached, *found))
            if behaviour(inquiry.seen).behind_nat is not None:
                return
    finally:
        await post.give_back()


async def hairpin_and_ladder(inquiry: "Inquiry") -> None:
    beyond = inquiry.beyond()
    main = next((door for door in inquiry.mains() if door.agent in beyond), None)
    known = _known(inquiry, main) if main is not None else []
    if main is None or not known:
        return
    faces = [one.seen.address for one in inquiry.seen.sightings if around.translated(one, inquiry.seen.own)]
    ladders = {face: asks.climbing(inquiry.family, face) for face in list(dict.fromkeys(faces))[:_MOST_FACES]}
    climbed, _ = await asyncio.gather(
        asyncio.gather(*(inquiry.bench.flow(inquiry.subject, ladder) for ladder in ladders.values())),
        _hairpin(inquiry, main, known),
    )
    rungs = tuple(
        rung
        for (face, ladder), answer in zip(ladders.items(), climbed, strict=True)
        for rung in reading.rungs(ladder, reading.flow_of(answer.rows), face)
    )
    inquiry.seen = replace(inquiry.seen, ladder=rungs)


def _known(inquiry: "Inquiry", main: Door) -> list[View]:
    """Sockets whose outside endpoint at ``main`` is known, the latest first."""
    mine = [one for one in inquiry.seen.sightings if one.reflector == main.agent]
    found = [view for view in views(mine) if view.steady and view.local_port and main.to in view.faces]
    return found[::-1]


async def _hairpin(inquiry: "Inquiry", main: Door, known: Sequence[View]) -> None:
    if len(known) < 2:
        return
    one, other = known[0], known[1]
    outside = one.faces[main.to], other.faces[main.to]
    ports = one.local_port, other.local_port
    spec = asks.crossing(inquiry.family, inquiry.token, ports, outside, main.to)
    answer = await inquiry.bench.flow(inquiry.subject, spec)
    told = inquiry.told(spec, answer, await inquiry.posts.look([main.agent]))
    sources = [source for socket in (0, 1) for source in reading.marked(told, socket, asks.SMALLEST_MARK)]
    after = {one.socket - told.first: one.seen for one in reading.sightings(told, [main])}
    kept = all(after[socket] == outside[socket] for socket in after) if len(after) == 2 else None
    sent = sum(spec.shots[number].send is not None for number in reading.sent_shots(told.flow))
    hairpin = Hairpin(sent, outside, tuple(dict.fromkeys(sources)), kept)
    inquiry.seen = replace(inquiry.seen, hairpin=hairpin)


async def clash(inquiry: "Inquiry", second: AgentInfo) -> Clash | None:
    """This subject and ``second`` use one source port; None where the first was not seen."""
    doors = [door for door in inquiry.posts.doors if door.agent in inquiry.beyond()]
    if not doors:
        return None
    inquiry.step(f"uses one source port together with {second.name} (mapping)")
    main, port = doors[0], inquiry.bench.port()
    beside = [door for door in doors if door.to.address == main.to.address and door is not main]
    away = [door for door in doors if door.to.address != main.to.address]
    order = [*away[:1], *beside[:1], main]
    hold = asks.holding(inquiry.family, inquiry.token, port, main.to)
    collide = asks.colliding(inquiry.family, inquiry.token, port, [door.to for door in order])
    found: list[Clash] = []

    async def meanwhile(flow: "asyncio.Task[Answer]") -> bool:
        await inquiry.bench.clock.sleep(hold.shots[-1].at_ms / 1000)  # all of them, before the second's
        first, _ = await inquiry.posts.shown(hold, main, flow, 1)
        if not first:
            return False
        await inquiry.posts.look([door.agent for door in order])
        answer = await inquiry.bench.flow(second, collide)
        await inquiry.bench.clock.sleep(SETTLE_S)
        accounts = await inquiry.posts.look([door.agent for door in order])
        datagrams = {name: reading.datagrams_of(told) for name, told in accounts.items()}
        told = Told(collide, reading.flow_of(answer.rows), datagrams)
        found.append(Clash(tuple(first), tuple(reading.sightings(told, order))))
        return False

    await alongside(inquiry.bench.flow(inquiry.subject, hold), meanwhile)
    return found[0] if found else None
