"""The watches of a case: armed at an agent as a run that goes on, looked at by further runs, given back in
any case."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from probemesh_shared.clock import Clock
from probemesh_shared.model import Measurement, Target, WatchDetail, WatchSpec
from probemesh_shared.words import Kind, Outcome

from probemesh_controller.api import Mesh
from probemesh_controller.pair.asking import Answer, Asking, ask, within

log = logging.getLogger(__name__)

#: Seconds in which an account comes, where the agent is well.
ANSWER_S = 3.0
#: Seconds in which a watch is armed. A firewall on the way that was just told to track connections takes in
#: nothing of the agent's own old one until the agent speaks; what was asked is sent again after 3 and 6.3 s.
ARM_S = 6.5
#: Seconds that giving back may take; an agent gives back by itself when its link or its budget ends.
GIVE_BACK_S = 2.0
#: The watch's own budget goes beyond the case's: it is cancelled, not outlived.
_BEYOND_S = 5.0
#: A look is a small job of its own.
_LOOK_BUDGET_S = 2.0


class Watch:
    """One agent's. ``arm`` it once; ``give_back`` it in any case."""

    def __init__(
        self, mesh: Mesh, clock: Clock, agent: str, target: Target, spec: WatchSpec, run_id: Callable[[], str]
    ) -> None:
        self.agent = agent
        self.why_not: str | None = None
        self.missed: str | None = None
        self.lost = False
        self._mesh = mesh
        self._clock = clock
        self._target = target
        self._spec = spec
        self._run_id = run_id
        self._task: asyncio.Task[Answer] | None = None
        self._first: asyncio.Future[Measurement] | None = None

    @property
    def armed(self) -> bool:
        """It was armed, and its job goes on; where that has ended, ``why_not`` says why from now on."""
        if self._task is not None and self._task.done() and self.why_not is None:
            self._fail(self._task.result())
        return self._task is not None and not self._task.done() and self.why_not is None

    async def arm(self, seconds: float) -> WatchDetail | None:
        """The account that it begins with, or None; then ``why_not`` says why. ``seconds``: how long the case
        may take."""
        self._first = asyncio.get_running_loop().create_future()
        asking = Asking(self._run_id(), self.agent, self._target, self._spec, seconds + _BEYOND_S)
        self._task = asyncio.create_task(ask(self._mesh, asking, self._on_row), name=f"watch {self.agent}")
        await within(self._clock, min(ARM_S, seconds), self._begun(self._task, self._first))
        if self._first.done():
            return self._account(self._first.result())
        self._fail(self._task.result() if self._task.done() else None)
        return None

    async def _begun(self, task: "asyncio.Task[Answer]", first: "asyncio.Future[Measurement]") -> None:
        either: set[asyncio.Future[Any]] = {task, first}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    def _on_row(self, row: Measurement) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_result(row)

    def _account(self, row: Measurement) -> WatchDetail | None:
        account = account_of(row)
        if account is None:
            self.why_not = said_of(row)
        return account

    def _fail(self, answer: Answer | None) -> None:
        if answer is None:
            self.why_not = f"it was not armed within {ARM_S:g} s"
            return
        self.why_not = answer.problem or "the agent ended it without a word"
        self.lost = answer.lost

    async def look(self, *, quiet: bool = False) -> WatchDetail | None:
        """What is new since the look before; None where nothing comes, then ``missed`` says why. ``quiet``:
        nothing was sent since then, which makes that time part of the counters' baseline; what is new is
        kept for the next look."""
        spec = WatchSpec(
            options=self._spec.options,
            token=self._spec.token,
            look=True,
            transport=self._spec.transport,
            peers=self._spec.peers,
            quiet=quiet,
        )
        asking = Asking(self._run_id(), self.agent, self._target, spec, _LOOK_BUDGET_S)
        answer = await within(self._clock, ANSWER_S, ask(self._mesh, asking))
        self.missed = None
        for row in answer.rows if answer is not None else ():
            account = account_of(row)
            if account is not None:
                return account
            self.missed = said_of(row)
        if answer is None or self.missed is None:
            self.missed = (answer and answer.problem) or "its account did not come in time"
        self.lost = self.lost or (answer is not None and answer.lost)
        return None

    async def give_back(self) -> None:
        """Ends the job; the agent closes whatever it opened."""
        if self._task is None:
            return
        self._task.cancel()
        _, pending = await asyncio.wait({self._task}, timeout=GIVE_BACK_S)
        if pending:
            log.warning("the watch at %s did not end in time; it ends with its link or budget", self.agent)


def account_of(row: Measurement) -> WatchDetail | None:
    return row.detail if row.kind is Kind.WATCH and isinstance(row.detail, WatchDetail) else None


def said_of(row: Measurement) -> str:
    """Why a row holds no account, in words for people."""
    if row.failure is not None:
        return row.failure.detail or str(row.failure.kind)
    return "it told nothing" if row.outcome is Outcome.OK else str(row.outcome)
