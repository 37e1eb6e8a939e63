"""One trace under way: asks as :mod:`probemesh_agent.path.walk` says, hears by a lane, and becomes a row."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from probemesh_shared import failures
from probemesh_shared.model import Failure, IcmpError, Measurement, Sample, TraceDetail, TraceSpec
from probemesh_shared.words import Kind, Origin, Outcome, Transport

from probemesh_agent.env import ProbeEnv, ProbeFailed, ProbeLog
from probemesh_agent.kernel import ORIGIN_ICMP, ORIGIN_ICMP6, QueueEntry
from probemesh_agent.path.ear import Ear, listen
from probemesh_agent.path.lane import Lane, LaneFailed, Tell, failure_of
from probemesh_agent.path.quotes import WholeQuote
from probemesh_agent.path.told import (
    MOST_ANSWERS,
    Shot,
    Told,
    hops_of,
    refusal_of,
    rewritten_at,
    samples_of,
    words_of,
)
from probemesh_agent.path.walk import FULL, Ask, Heard, Over, Walk
from probemesh_agent.probes.attempts import RichRun, Unit, not_tried

#: Seconds after which a neighbour that is not there is told, unless less patience was asked for.
_NEIGHBOUR_S, _ASKED_S = 3.4, 2.0
_CONTROL_TRIES, _CONTROL_PORT = 2, 33_434


class Course:
    """The trace of one unit; :meth:`close` ends it at any time."""

    def __init__(self, run: RichRun, unit: Unit, transport: Transport, spec: TraceSpec) -> None:
        self._run = run
        self._unit = unit
        self._transport = transport
        self._env: ProbeEnv = run.env
        self._options = replace(spec.options, ttl=None)
        self._walk = Walk(
            spec.first_hop,
            spec.max_hops,
            self._options.count,
            self._options.timeout_s,
            self._options.interval_s,
        )
        self._shots: list[Shot] = []
        self._lane: Lane | None = None
        self._ear: Ear | None = None
        self._something = asyncio.Event()
        self._began = self._env.clock.monotonic()
        self._failure: Failure | None = None  # of this host
        self._ended = ""
        self._stand_in: str | None = None
        self.log = ProbeLog()

    async def run(self) -> None:
        """Until it is over, or the run's deadline."""
        try:
            self._lane = await self._opened(self._transport, self._unit.port, self._tell)
            self._walk.window = self._lane.window
            self._ear = listen(self._lane, self._transport, self._overheard)
            await self._go(self._lane)
            if self._ear is not None:
                self._ear.flush()
            if not self._ended:
                await self._wait_for_neighbour()
                self._ended = self._walk.over.value
                await self._look_for_stand_in()
        except (LaneFailed, ProbeFailed, OSError) as failed:
            failure = failure_of(failed) if isinstance(failed, OSError) else failed.failure
            self._failure, self._ended = failure, "local"
            if self._shots and not self._shots[-1].told:
                self._shots[-1].failure = failure

    def close(self) -> None:
        if self._ear is not None:
            self._ear.close()
        if self._lane is not None:
            self._lane.close()

    # --- packets ------------------------------------------------------------------------------------------

    async def _opened(self, transport: Transport, port: int, tell: Tell) -> Lane:
        options = await self._env.network.sending(self._unit.address, self._options, self._env.deadline)
        return _lane_class(transport)(self._unit.address, port, options, self._env.clock, tell)

    async def _go(self, lane: Lane) -> None:
        while (step := self._walk.step(self._now)) is not None:
            if isinstance(step, Ask):
                if not await self._turn():
                    self._ended = "deadline"
                    return
                self._send(lane, step.hop, self._walk.wait_s)
            elif not await self._heard_or(step.until):
                self._ended = "deadline"
                return

    async def _turn(self) -> bool:
        if not await self._run.turn(self._unit, self._now):
            return False
        await self._env.network.sending(self._unit.address, self._options, self._env.deadline)
        return True

    def _send(self, lane: Lane, hop: int, wait_s: float) -> None:
        number = self._walk.sent(hop, self._now)
        self._shots.append(Shot(number, hop, (self._now - self._began) * 1e3, wait_s, []))
        lane.send(number, hop)

    async def _heard_or(self, until: float) -> bool:
        """False: the run's deadline came first."""
        self._something.clear()
        left = min(until, self._env.deadline) - self._now
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._something.wait()
        except TimeoutError:
            return self._now < self._env.deadline
        return True

    def _tell(self, number: int, told: Told) -> None:
        if number >= len(self._shots) or len(self._shots[number].told) >= MOST_ANSWERS:
            return
        shot = self._shots[number]
        shot.told.append(told)
        if told.too_big:
            self._walk.too_big(number)
        else:
            trip_s = told.answer.rtt_ms / 1e3 if told.answer.rtt_ms is not None else None
            self._walk.heard(number, shot.hop, told.what, trip_s)
        self._something.set()

    def _overheard(self, number: int, quote: WholeQuote, error: IcmpError, stamp_ns: int | None) -> None:
        """The whole quotation beside what the lane's socket was told; alone where that was told nothing."""
        assert self._lane is not None
        if number >= len(self._shots):
            return
        changed = tuple(self._changed(quote))
        for shot in self._shots[max(0, number - 1) : number + 1]:  # the next one may have left meanwhile
            for place, told in enumerate(shot.told):
                if told.answer.address != error.sender or told.answer.icmp is None:
                    continue
                words = tuple(dict.fromkeys((*changed, *told.answer.changed)))
                answer = replace(told.answer, quoted_source=quote.source, changed=words)
                shot.told[place] = replace(told, answer=answer)
                return
        entry = QueueEntry(
            ORIGIN_ICMP6 if self._lane.ipv6 else ORIGIN_ICMP,
            0,
            error.type,
            error.code,
            error.info or 0,
            offender=error.sender,
            ttl=error.ttl,
            stamp_ns=stamp_ns,
        )
        fresh = self._lane.told_by_icmp(number, entry, self._lane.local_address) if changed else None
        if fresh is not None and not fresh.too_big:
            answer = replace(fresh.answer, quoted_source=quote.source, changed=changed)
            self._tell(number, replace(fresh, answer=answer))

    def _changed(self, quote: WholeQuote) -> list[str]:
        assert self._lane is not None
        local = self._lane.local_address
        found = ["source"] if local is not None and quote.source != local else []
        return found if self._lane.is_target(quote.target) else [*found, "destination"]

    async def _wait_for_neighbour(self) -> None:
        """What a router, or our own kernel, says of a neighbour that is not there comes after three seconds:
        later than any hop is waited for."""
        if self._options.timeout_s < _ASKED_S or self._walk.over is not Over.SILENCE:
            return
        assert self._lane is not None
        until = self._began + _NEIGHBOUR_S
        if not any(shot.told for shot in self._shots) and await self._turn():
            until = self._now + _NEIGHBOUR_S
            self._send(self._lane, FULL, _NEIGHBOUR_S)
        elif self._transport is Transport.TCP:
            return  # the connection that would be told is closed
        while self._now < until and self._walk.over is Over.SILENCE and await self._heard_or(until):
            pass

    async def _look_for_stand_in(self) -> None:
        """Another packet with the TTL at which the target seemed to answer: where its hops run out, the
        target is further away."""
        distance = self._distance
        if distance is None or self._transport is Transport.ICMP or not self._seemed_target(distance):
            return
        if ip_address(self._unit.address.host.partition("%")[0]).is_loopback:
            return
        heard: list[Told] = []

        def tell(number: int, told: Told) -> None:
            heard.append(told)
            self._something.set()

        transport = Transport.UDP if self._transport is Transport.TCP else Transport.ICMP
        control = await self._opened(transport, _CONTROL_PORT, tell)
        try:
            await self._ask_control(control, distance, heard)
        except LaneFailed as failed:
            self.log.add(f"whether the target itself answered was not looked at: {failed.failure.detail}")
        finally:
            control.close()
        for told in heard:
            if told.what is Heard.HOP and told.answer.address != self._unit.address.host:
                self._stand_in = told.answer.address

    async def _ask_control(self, control: Lane, distance: int, heard: list[Told]) -> None:
        for number in range(_CONTROL_TRIES):
            if heard or not await self._turn():
                return
            wait_s = self._walk.wait_s
            control.send(number, distance)
            await self._heard_or(self._now + wait_s)

    def _seemed_target(self, distance: int) -> bool:
        """Anybody can send a SYN-ACK, a RST or a datagram in another's name."""
        answers = [
            told.answer
            for shot in self._shots
            if shot.hop == distance
            for told in shot.told
            if told.what is Heard.TARGET
        ]
        return any(answer.icmp is None for answer in answers)

    # --- what it came to ------------------------------------------------------------------------------------

    def row(self, started_ns: int) -> Measurement:
        unit, port = self._unit, self._unit.port or None
        if not self._shots:
            why = self._failure or failures.past_deadline()
            return not_tried(Kind.TRACE, unit.index, unit.text, unit.address.host, port, why, started_ns)
        detail = self._detail()
        samples = samples_of(self._shots, detail.distance)
        failure = None if detail.reached else self._why(samples, detail)
        if failure is not None:
            self.log.add(failure.detail)
        return Measurement(
            Kind.TRACE,
            unit.index,
            unit.text,
            unit.address.host,
            port,
            Outcome.OK if failure is None else failures.outcome_of(failure),
            started_ns,
            samples,
            failure,
            detail,
            tuple(self.log.lines),
        )

    def _detail(self) -> TraceDetail:
        lane, distance = self._lane, self._distance
        hops = hops_of(self._shots, self._walk.end)
        return TraceDetail(
            self._transport,
            hops,
            any(shot.reached for shot in self._shots),
            distance,
            rewritten_at(hops),
            lane.local_address if lane else None,
            lane.local_port if lane else None,
            self._stand_in,
            self._ended,
        )

    def _why(self, samples: Sequence[Sample], detail: TraceDetail) -> Failure:
        """Our own host's fault first, then what a router said."""
        failure = self._failure or refusal_of(self._shots) or failures.overall(samples)[1]
        failure = failure or failures.past_deadline()
        if failure.origin is Origin.AGENT:
            return failure
        return replace(failure, detail=f"{failure.detail}; {words_of(detail.hops)}")

    @property
    def _distance(self) -> int | None:
        walk = self._walk
        return walk.end if walk.ended_by is Heard.TARGET else None

    @property
    def _now(self) -> float:
        return self._env.clock.monotonic()


def _lane_class(transport: Transport) -> type[Lane]:
    match transport:
        case Transport.TCP:
            from probemesh_agent.path.tcplane import TcpLane

            return TcpLane
        case Transport.UDP:
            from probemesh_agent.path.udplane import UdpLane

            return UdpLane
        case Transport.ICMP:
            from probemesh_agent.path.echolane import EchoLane

            return EchoLane
