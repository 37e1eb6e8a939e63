"""How long a silent mapping lives: many mappings at once, each left alone for another time, then answered.

The answer comes from the very endpoint that was asked, so that no filter is in the way. That endpoint is
first a watch's listener, which tells the mappings; then a flow of the same agent takes its port over. Whether
it is the NAT or a firewall behind it that forgets cannot be told.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared.model import FlowSpec, Shot

from probemesh_controller.natting import asks, reading
from probemesh_controller.natting.around import lifetime
from probemesh_controller.natting.bench import Posts, alongside
from probemesh_controller.natting.choosing import Reflector
from probemesh_controller.natting.inquiry import Inquiry
from probemesh_controller.natting.reading import Door, Told
from probemesh_controller.natting.seen import Endpoint, Silence
from probemesh_controller.pair.asking import Answer

#: Mappings of the first pass, and of the second, between what lived and what did not.
_COARSE, _FINE = 12, 8
#: The shortest silence: mappings have to be told first.
LEAST_S = 2.0
_STAND_S = 30.0
#: Two answers to each mapping, so that one may be lost.
_AGAIN_MS = 200.0
_SPARE_MS = 3000.0


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Asked for: silences up to ``most_s`` are tried."""

    most_s: float


def coarse(most_s: float) -> tuple[float, ...]:
    """From LEAST_S to ``most_s``, each as much longer than the one before."""
    if most_s <= LEAST_S:
        return (most_s,)
    factor = (most_s / LEAST_S) ** (1 / (_COARSE - 1))
    return tuple(round(LEAST_S * factor**number, 2) for number in range(_COARSE))


def fine(lived: float | None, died: float | None) -> tuple[float, ...]:
    """Evenly between; nothing where the first pass left no gap that is worth it."""
    if died is None or died <= LEAST_S:
        return ()
    low = lived if lived is not None else LEAST_S
    step = (died - low) / (_FINE + 1)
    return tuple(round(low + step * number, 2) for number in range(1, _FINE + 1)) if step >= 0.05 else ()


async def measure(inquiry: Inquiry, asked: Lifetime) -> None:
    """Into ``inquiry.seen``."""
    reflector = next((one for one in inquiry.reflectors if one.name in inquiry.beyond()), None)
    if reflector is None:
        return
    delays: tuple[float, ...] = coarse(asked.most_s)
    for _ in range(2):
        if not delays:
            return
        inquiry.step(f"leaves mappings alone for up to {delays[-1]:.3g} s (lifetime)")
        found = await _pass(inquiry, reflector, delays)
        inquiry.add_silences(found)
        delays = fine(*lifetime(inquiry.seen.silences))


async def _pass(inquiry: Inquiry, reflector: Reflector, delays: Sequence[float]) -> tuple[Silence, ...]:
    bench, token = inquiry.bench, inquiry.bench.random(16)
    posts = Posts(bench, inquiry.family, token, _STAND_S, inquiry.problem)
    results: list[Silence] = []
    try:
        await posts.arm([reflector])
        door = (
            posts.doors[-1] if posts.doors else None
        )  # the listener of its own, whose port can be had again
        if door is None:
            return ()
        spec = _left_alone(inquiry, token, door.to, delays)
        answered = asyncio.Event()
        replies: list[tuple[Answer, float, tuple[int, ...]]] = []

        async def meanwhile(flow: "asyncio.Task[Answer]") -> bool:
            sent_s = bench.clock.monotonic()
            mappings = await _mappings(posts, spec, door, flow, len(delays))
            await posts.give_back()
            answered.set()
            if not mappings:
                return False
            began_s = bench.clock.monotonic()
            answer = _answering(inquiry, door, mappings, delays, (began_s - sent_s) * 1000)
            told = await bench.flow(reflector.info, answer)
            late_s = _late_s(answer, bench.clock.monotonic() - began_s)
            replies.append((told, late_s, tuple(mappings)))
            return True

        ended = await alongside(bench.flow(inquiry.subject, spec), meanwhile)
        if ended is None or not replies:
            inquiry.problem(f"{reflector.name} heard no mapping whose lifetime could be tried")
            return ()
        results = _silences(Told(spec, reading.flow_of(ended.rows), {}), replies[0], delays)
    finally:
        await posts.give_back()
    return tuple(results)


def _left_alone(inquiry: Inquiry, token: bytes, to: Endpoint, delays: Sequence[float]) -> FlowSpec:
    shots = [
        Shot(turn * 100.0 + socket * 5.0, to.port, socket=socket, address=to.address)
        for turn in range(2)
        for socket in range(len(delays))
    ]
    return asks.flow(inquiry.family, shots, token, max(delays) * 1000 + _SPARE_MS)


async def _mappings(
    posts: Posts, spec: FlowSpec, door: Door, flow: "asyncio.Task[Answer]", enough: int
) -> dict[int, Endpoint]:
    found, _ = await posts.shown(spec, door, flow, enough)
    return {one.socket: one.seen for one in found}


def _answering(
    inquiry: Inquiry, door: Door, mappings: dict[int, Endpoint], delays: Sequence[float], passed_ms: float
) -> FlowSpec:
    shots = [
        Shot(
            max(0.0, delays[socket] * 1000 - passed_ms) + turn * _AGAIN_MS,
            to.port,
            source_port=door.to.port,
            socket=0,
            address=to.address,
            send=asks.marked(asks.SMALLEST_MARK),
        )
        for socket, to in mappings.items()
        for turn in range(2)
    ]
    return asks.flow(inquiry.family, shots, None, source=door.to.address)


def _late_s(answer: FlowSpec, took_s: float) -> float:
    """What the flow took beyond its own plan: on the way to the agent, and there before it began."""
    last_ms = max((shot.at_ms for shot in answer.shots), default=0.0)
    return max(0.0, took_s - last_ms / 1000 - answer.options.timeout_s)


def _silences(
    told: Told, reply: tuple[Answer, float, tuple[int, ...]], delays: Sequence[float]
) -> list[Silence]:
    """Of mappings to which something was sent."""
    answer, late_s, order = reply
    sent = reading.sent_shots(reading.flow_of(answer.rows))
    return [
        Silence(delays[socket], bool(reading.marked(told, socket, asks.SMALLEST_MARK)), late_s)
        for place, socket in enumerate(order)
        if sent & {2 * place, 2 * place + 1}
    ]
