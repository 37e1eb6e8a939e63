"""The only part of a diagnosis that talks to agents: arms watches at both ends, does what the plan says,
looks at the watches after each round, and gives everything back, however it ends.

What an agent cannot do, does not want to do, or is not there to do any more, stands in the case. Raises
MeshErrors only where nothing began: no mesh, no such agent.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace

from probemesh_shared.clock import Clock
from probemesh_shared.errors import MeshError
from probemesh_shared.model import Options, WatchSpec
from probemesh_shared.words import AgentState, Kind, Transport

from probemesh_controller.api import Mesh
from probemesh_controller.pair.asking import Answer, Asking, ask, came_of, cut_short
from probemesh_controller.pair.case import Asked, Case, End, EndRole, Look, Round, RoundDone, Step, StepDone
from probemesh_controller.pair.cost import all_planned, longest_s, packets
from probemesh_controller.pair.part import (
    cannot,
    kind_of,
    named,
    no_listener,
    takes_part,
    target_of,
    with_lost,
)
from probemesh_controller.pair.plan import next_round
from probemesh_controller.pair.reaching import dialled_by, seen_from, watched_address, with_seen
from probemesh_controller.pair.tlsports import TLS_PORTS
from probemesh_controller.pair.watching import Watch

Plan = Callable[[Case], Round | None]
#: Told before each round what will be done, and with None at the end.
OnProgress = Callable[[Case, Round | None], None]

#: A plan that does not stop by itself is stopped.
MAX_ROUNDS = 200
#: Seconds kept back for the last looks and for giving back.
_RESERVE_S = 0.5
#: With less than this left no round is begun.
_LEAST_S = 0.3
#: How often it is asked whether agents that are waited for are still there.
_CHECK_S = 1.0


async def diagnose(
    mesh: Mesh,
    asked: Asked,
    *,
    clock: Clock,
    on_progress: OnProgress = lambda case, round_: None,
    plan: Plan = next_round,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Case:
    """The whole of it. Raises NotFound for an end that is no agent, and what ``mesh`` raises before anything
    began."""
    return await Driver(mesh, asked, clock, on_progress, plan, random).run()


class Driver:
    """One diagnosis. ``case`` is what is known at any moment, also after ``run`` was cancelled: None before
    the fleet was asked."""

    def __init__(
        self,
        mesh: Mesh,
        asked: Asked,
        clock: Clock,
        on_progress: OnProgress = lambda case, round_: None,
        plan: Plan = next_round,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.case: Case | None = None
        self._mesh = mesh
        self._asked = asked
        self._clock = clock
        self._on_progress = on_progress
        self._plan = plan
        self._random = random
        self._started = clock.monotonic()
        self._quiet_since = self._started
        self._watches: dict[str, Watch] = {}
        self._lost: set[str] = set()  # whose steps ended so

    async def run(self) -> Case:
        try:
            case = await self._begin()
            return await self._rounds(case)
        finally:
            await asyncio.gather(*(watch.give_back() for watch in self._watches.values()))

    # --- time and state -----------------------------------------------------------------------------------

    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._started

    def _left(self) -> float:
        return self._asked.limits.seconds - _RESERVE_S - self._elapsed()

    def _keep(self, case: Case) -> Case:
        self.case = replace(case, elapsed_s=round(self._elapsed(), 3))
        return self.case

    def _run_id(self) -> str:
        return self._random(16).hex()

    # --- the ends -----------------------------------------------------------------------------------------

    async def _begin(self) -> Case:
        asked, fleet = self._asked, await self._mesh.agents()
        source, target = (named(fleet, name) for name in (asked.source, asked.target))
        named_so = (asked.address,) if asked.address is not None else None
        by_source = named_so or dialled_by((source,), target, fleet, asked.family)
        by_target = dialled_by((target,), source, fleet, asked.family)
        ends = (
            End(EndRole.SOURCE, source, by_target, watched_port=asked.reverse_port),
            End(EndRole.TARGET, target, by_source, watched_port=asked.port),
        )
        case = self._keep(Case(asked, self._clock.wall_ns(), ends, fleet=fleet))
        return await self._armed(case, (source.name, target.name))

    async def _armed(self, case: Case, names: tuple[str, ...]) -> Case:
        """All of ``names`` put on watch at once."""
        ends = [end for name in names if (end := case.end(name)) is not None]
        armed = await asyncio.gather(*(self._arm(case, end) for end in ends))
        self._quiet_since = self._clock.monotonic()
        by_name = {end.name: end for end in armed}
        problems = tuple(dict.fromkeys((*case.problems, *filter(None, map(no_listener, armed)))))
        case = replace(case, ends=tuple(by_name.get(end.name, end) for end in case.ends), problems=problems)
        return self._keep(with_lost(case, (name for name, watch in self._watches.items() if watch.lost)))

    async def _arm(self, case: Case, end: End) -> End:
        if (why := cannot(end.info, Kind.WATCH)) is not None:
            return replace(end, why_not=why)
        token = self._random(16)
        mss = 1001 + 2 * (token[0] % 128)
        asked = case.asked
        address = watched_address(end.info, end.addresses, asked.family)
        others = [other for other in case.ends if other is not end]
        peers = [text for other in others for text in (*other.info.addresses, *other.reflexive)]
        spec = WatchSpec(
            Options(family=asked.family),
            token,
            transport=asked.transport,
            peers=tuple(dict.fromkeys(peers)),
            mss=mss,
            listen=asked.listen and end.role is not EndRole.THIRD,
            surrogate=True,
            certificate=asked.transport is Transport.TCP and end.watched_port in TLS_PORTS,
        )
        watch = Watch(
            self._mesh, self._clock, end.name, target_of(address, end.watched_port), spec, self._run_id
        )
        self._watches[end.name] = watch
        account = await watch.arm(max(_LEAST_S, self._left()))
        return replace(end, armed=account, why_not=watch.why_not, token=token, mss=mss)

    async def _with_thirds(self, case: Case, wanted: Round) -> Case:
        new = [info for info in case.fleet if info.name in wanted.thirds and case.end(info.name) is None]
        if not new:
            return case
        probers = tuple(end.info for end in case.ends if end.role is not EndRole.THIRD)
        port = case.asked.port if wanted.third_port is None else wanted.third_port
        ends = tuple(
            End(
                EndRole.THIRD,
                info,
                dialled_by(probers, info, case.fleet, case.asked.family),
                watched_port=port,
            )
            for info in new
        )
        return await self._armed(replace(case, ends=case.ends + ends), tuple(end.name for end in ends))

    # --- rounds -------------------------------------------------------------------------------------------

    async def _rounds(self, case: Case) -> Case:
        for _ in range(MAX_ROUNDS):
            if not any(takes_part(case, end) for end in case.ends):
                break
            wanted = self._plan(case)
            if wanted is None:
                break
            if (why := self._over(case, wanted)) is not None:
                case = replace(case, problems=(*case.problems, why))
                break
            self._on_progress(case, wanted)
            case = await self._with_thirds(case, wanted)
            case = await self._round(case, wanted)
        case = self._keep(case)
        self._on_progress(case, None)
        return case

    def _over(self, case: Case, wanted: Round) -> str | None:
        """Why a round is not begun, where a limit is reached."""
        limits, spent = case.asked.limits, packets(case)
        if self._left() < _LEAST_S:
            return f"stopped after {self._elapsed():.1f} s: the limit is {limits.seconds:g} s"
        if spent + all_planned(step.spec for step in wanted.steps) > limits.packets:
            return (
                f"stopped after {spent} packets: the next step could go beyond the limit of {limits.packets}"
            )
        return None

    async def _round(self, case: Case, wanted: Round) -> Case:
        began = self._clock.monotonic()
        quiet_s = await self._quiet(wanted.quiet_ms / 1000) if wanted.quiet_ms else 0.0
        if wanted.quiet_ms:
            await self._looks(frozenset(case.lost), quiet=True)
        tasks = {
            asyncio.create_task(self._step(case, step), name=f"step {step.id}"): step for step in wanted.steps
        }
        try:
            lost = await self._all_done(case, tasks)
            self._quiet_since = self._clock.monotonic()
            if wanted.settle_ms:
                await self._clock.sleep(wanted.settle_ms / 1000)
            looks = await self._looks(lost.union(case.lost))
        except asyncio.CancelledError:
            self._keep_cut_short(case, tasks, began)
            raise
        done = RoundDone(
            tuple(came_of(task, step, lost) for task, step in tasks.items()),
            looks,
            (self._clock.monotonic() - began) * 1000,
            quiet_s * 1000,
        )
        case = replace(case, rounds=(*case.rounds, done), problems=self._with_missed(case))
        unseen = (name for name, watch in self._watches.items() if watch.lost)
        case = with_lost(case, (*lost, *sorted(self._lost), *unseen))
        ends = tuple(with_seen(end, seen_from(case, done, end.name), case.asked) for end in case.ends)
        return self._keep(replace(case, ends=ends))

    def _keep_cut_short(self, case: Case, tasks: "dict[asyncio.Task[StepDone], Step]", began: float) -> None:
        """Of a round that was interrupted: the steps that were over, which nobody looked at any more."""
        cut = RoundDone(cut_short(tasks), (), (self._clock.monotonic() - began) * 1000)
        self._keep(replace(case, rounds=(*case.rounds, cut)))

    async def _quiet(self, seconds: float) -> float:
        """Nothing is sent until it has been quiet that long. For how long it was, in seconds."""
        left = self._quiet_since + seconds - self._clock.monotonic()
        if left > 0:
            await self._clock.sleep(min(left, max(0.0, self._left())))
        return self._clock.monotonic() - self._quiet_since

    async def _step(self, case: Case, step: Step) -> StepDone:
        sender = next((info for info in case.fleet if info.name == step.sender), None)
        if sender is None:
            return StepDone(step, problem=f"there is no agent {step.sender}")
        if step.sender in case.lost:
            return StepDone(step, problem="it was lost")
        if (why := cannot(sender, kind_of(step))) is not None:
            return StepDone(step, problem=why)
        seconds = max(_LEAST_S, min(longest_s(step.spec), self._left()))
        target = target_of(step.address, step.port)
        answer: Answer = await ask(
            self._mesh, Asking(self._run_id(), step.sender, target, step.spec, seconds)
        )
        if answer.lost:
            self._lost.add(step.sender)
        return StepDone(step, tuple(answer.rows), answer.problem)

    async def _all_done(self, case: Case, tasks: "dict[asyncio.Task[StepDone], Step]") -> frozenset[str]:
        """Waits for the steps, to the time limit at most; those of agents that went away are given up.
        Returns who went away."""
        lost: frozenset[str] = frozenset()
        try:
            while pending := {task for task in tasks if not task.done()}:
                left = self._left()
                if left <= 0:
                    break
                timer = asyncio.ensure_future(self._clock.sleep(min(_CHECK_S, left)))
                try:
                    await asyncio.wait({*pending, timer}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    timer.cancel()
                if timer.done() and not timer.cancelled():
                    lost |= await self._gone(case)
                    for task in pending:
                        if tasks[task].sender in lost:
                            task.cancel()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return lost

    async def _gone(self, case: Case) -> frozenset[str]:
        """Agents of the case that were there and are not any more. A mesh that cannot say says nothing."""
        try:
            fleet = await self._mesh.agents()
        except MeshError:
            return frozenset()
        there = {info.name for info in fleet if info.state is AgentState.CONNECTED}
        before = {info.name for info in case.fleet if info.state is AgentState.CONNECTED}
        return frozenset(before - there)

    def _with_missed(self, case: Case) -> tuple[str, ...]:
        """Accounts that did not come, beside what was amiss before; each once."""
        missed = [f"{one.agent}: {one.missed}" for one in self._watches.values() if one.missed is not None]
        return tuple(dict.fromkeys((*case.problems, *missed)))

    async def _looks(self, lost: frozenset[str], *, quiet: bool = False) -> tuple[Look, ...]:
        watches = [watch for watch in self._watches.values() if watch.armed and watch.agent not in lost]
        accounts = await asyncio.gather(*(watch.look(quiet=quiet) for watch in watches))
        return tuple(
            Look(watch.agent, account)
            for watch, account in zip(watches, accounts, strict=True)
            if account is not None
        )
