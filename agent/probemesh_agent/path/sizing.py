"""One search for the path MTU under way: volleys as :mod:`probemesh_agent.path.sizes` says, by a lane."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from probemesh_shared import failures
from probemesh_shared.model import Failure, HopAnswer, Measurement, MtuDetail, MtuSpec, Options, Sample
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Stage, Transport

from probemesh_agent.env import ProbeFailed, ProbeLog
from probemesh_agent.net.own import interface_mtu
from probemesh_agent.path.echolane import EchoLane
from probemesh_agent.path.lane import Lane, LaneFailed, failure_of
from probemesh_agent.path.sizes import Search
from probemesh_agent.path.told import Told
from probemesh_agent.path.walk import FULL, Heard
from probemesh_agent.probes.attempts import RichRun, Unit, not_tried

#: Seconds for which a volley's answers are waited for: at least, at first, by the longest round trip.
_LEAST_S, _FIRST_S, _TRIPS = 0.3, 1.0, 3.0
_GAP_S = 0.005  # between the packets of a volley
_FRAGMENTED, _FRAGMENT_TRIES = 3000, 3
_MOST_SAMPLES = 100
_ANY_INTERFACE = 1500
_LARGEST = 65_000  # on loopback


class Sizing:
    """The search of one unit; :meth:`close` ends it at any time."""

    def __init__(self, run: RichRun, unit: Unit, spec: MtuSpec) -> None:
        self._run, self._unit, self._spec = run, unit, spec
        self._env = run.env
        self._options = replace(spec.options, ttl=None, dont_fragment=True)
        self._own_mtu = interface_mtu(ip_address(unit.address.host))
        least = max(spec.smallest, 1280 if unit.address.family.value == "ipv6" else 68)
        largest = min(spec.largest or _LARGEST, self._own_mtu or _ANY_INTERFACE, _LARGEST)
        self._search = Search(min(least, largest), largest)
        self._lanes: list[Lane] = []
        self._sizes: dict[int, int] = {}  # number of the packet → its size
        self._told: dict[int, Told] = {}
        self._offsets: dict[int, float] = {}
        self._trip_s: float | None = None
        self._something = asyncio.Event()
        self._failure: Failure | None = None
        # the target's own no: it got there, but such answers are rationed, so their absence says nothing
        self._refusal: Failure | None = None
        self._fragments: bool | None = None
        self._began = self._now
        self.log = ProbeLog()

    async def run(self) -> None:
        """Until it is over, or the run's deadline."""
        try:
            lane = await self._opened()
            while self._refusal is None and (sizes := self._search.volley()):
                if not await self._volley(lane, sizes):
                    self.log.add("the run's deadline came before the size was found")
                    return
            if self._search.mtu is not None and self._refusal is None:
                await self._fragmented(self._search.mtu)
        except (LaneFailed, ProbeFailed, OSError) as failed:
            self._failure = failure_of(failed) if isinstance(failed, OSError) else failed.failure

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()

    async def _opened(self, fragment_for: int | None = None) -> Lane:
        options = replace(self._options, dont_fragment=fragment_for is None)
        options = await self._env.network.sending(self._unit.address, options, self._env.deadline)
        lane = self._lane(options)
        lane.fragment_for = fragment_for
        self._lanes.append(lane)
        return lane

    def _lane(self, options: Options) -> Lane:
        address, port, clock = self._unit.address, self._unit.port, self._env.clock
        if self._spec.transport is Transport.UDP:
            from probemesh_agent.path.tokenlane import TokenLane

            assert self._spec.token is not None, "planned with a token"
            return TokenLane(address, port, options, clock, self._tell, self._spec.token, self._spec.large)
        return EchoLane(address, port, options, clock, self._tell)

    # --- packets ------------------------------------------------------------------------------------------

    async def _volley(self, lane: Lane, sizes: Sequence[int]) -> bool:
        """False: the run's deadline came first."""
        numbers = []
        for size in sizes:
            if not await self._run.turn(self._unit, self._now):
                return False
            numbers.append(await self._send(lane, size))
        return await self._until_heard(numbers)

    async def _send(self, lane: Lane, size: int) -> int:
        await self._env.network.sending(self._unit.address, self._options, self._env.deadline)
        number = len(self._sizes)
        self._sizes[number] = size
        self._offsets[number] = (self._now - self._began) * 1e3
        lane.size = max(0, size - lane.headers)
        if lane.fragment_for is None:
            self._search.sent(size)
        try:
            lane.send(number, FULL)
        except LaneFailed as failed:
            if failed.failure.kind is not FailureKind.TOO_BIG:
                raise
            self._search.too_big(size, None, lane.local_address)
            self._told[number] = Told(HopAnswer(), Heard.REFUSAL, failed.failure)
        await self._env.clock.sleep(_GAP_S)
        return number

    async def _until_heard(self, numbers: Sequence[int]) -> bool:
        wait_s = _FIRST_S if self._trip_s is None else max(_LEAST_S, _TRIPS * self._trip_s)
        until = min(self._now + min(wait_s, self._options.timeout_s), self._env.deadline)
        while self._now < until and not all(number in self._told for number in numbers):
            self._something.clear()
            try:
                async with asyncio.timeout(until - self._now):
                    await self._something.wait()
            except TimeoutError:
                break
        return self._now < self._env.deadline

    def _tell(self, number: int, told: Told) -> None:
        if number not in self._sizes or number in self._told:
            return
        self._told[number] = told
        self._something.set()
        size, answer = self._sizes[number], told.answer
        if told.what is Heard.TARGET and answer.icmp is not None:
            self._refusal = failures.from_icmp(Stage.SEND, answer.icmp, target=answer.address or "")
        elif told.what is Heard.TARGET:
            self._search.heard(size)
            if answer.rtt_ms is not None:
                self._trip_s = max(self._trip_s or 0.0, answer.rtt_ms / 1e3)
        elif told.failure is not None and told.failure.kind is FailureKind.TOO_BIG:
            self._search.too_big(size, answer.mtu, answer.address)

    async def _fragmented(self, mtu: int) -> None:
        """Whether a packet that is too large gets there in pieces. Routers make the pieces (IPv4), so the
        size is one that our own host lets go whole; of IPv6 our own host makes them, above its interface's
        MTU."""
        lane = await self._opened(fragment_for=mtu)
        kept = self._search
        self._search = Search(kept.smallest, kept.largest)  # what is heard now is not about whole packets
        try:
            size = max(_FRAGMENTED if lane.ipv6 else kept.failing or _FRAGMENTED, mtu + 1)
            for _ in range(_FRAGMENT_TRIES):
                if not await self._run.turn(self._unit, self._now):
                    return
                number = await self._send(lane, size)
                in_time = await self._until_heard((number,))
                if self._heard_target(number):
                    self._fragments = True
                    return
                if not in_time:
                    return
            self._fragments = False
        finally:
            self._search = kept

    def _heard_target(self, number: int) -> bool:
        told = self._told.get(number)
        return told is not None and told.what is Heard.TARGET and told.answer.icmp is None

    # --- what it came to ------------------------------------------------------------------------------------

    def row(self, started_ns: int) -> Measurement:
        unit, port = self._unit, self._unit.port or None
        search = self._search
        failure = self._refusal or (self._failure if search.mtu is None else None)
        if not self._sizes:
            why = failure or failures.past_deadline()
            return not_tried(Kind.MTU, unit.index, unit.text, unit.address.host, port, why, started_ns)
        if search.mtu is None and failure is None:
            failure = self._why()
        if failure is not None:
            self.log.add(failure.detail)
        detail = MtuDetail(
            search.mtu,
            search.failing,
            search.told,
            search.told_by,
            self._own_mtu,
            search.black_hole,
            self._fragments,
        )
        return Measurement(
            Kind.MTU,
            unit.index,
            unit.text,
            unit.address.host,
            port,
            Outcome.OK if failure is None else failures.outcome_of(failure),
            started_ns,
            self._samples(failure),
            failure,
            detail,
            tuple(self.log.lines),
        )

    def _why(self) -> Failure:
        """Nothing got there: what somebody said of it, else silence."""
        told = [one.failure for one in self._told.values() if one.failure is not None]
        said = [one for one in told if one.kind is not FailureKind.TOO_BIG] or told
        if said:
            return said[0]
        tries = self._search.tries.get(self._search.smallest, 0)
        detail = f"no answer to {tries} packets of {self._search.smallest} bytes"
        return Failure(Stage.SEND, FailureKind.TIMEOUT, Origin.UNKNOWN, detail)

    def _samples(self, failure: Failure | None) -> tuple[Sample, ...]:
        """The packets that had a size which passes; without such the smallest ones."""
        most = self._search.mtu or self._search.smallest
        meant = [number for number, size in self._sizes.items() if size <= most][:_MOST_SAMPLES]
        return tuple(self._sample(seq, number, failure) for seq, number in enumerate(meant))

    def _sample(self, seq: int, number: int, failure: Failure | None) -> Sample:
        told = self._told.get(number)
        if told is not None and self._heard_target(number):
            return Sample(seq, self._offsets[number], told.answer.rtt_ms, Outcome.OK, ttl=told.answer.ttl)
        why = (told.failure if told else None) or failure
        why = why or failures.timed_out(Stage.SEND, self._options.timeout_s, "no answer to this packet")
        return Sample(seq, self._offsets[number], None, failures.outcome_of(why), why)

    @property
    def _now(self) -> float:
        return self._env.clock.monotonic()
