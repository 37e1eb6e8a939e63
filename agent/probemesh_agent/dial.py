"""Dials the controller, for ever: with full jitter while it is away, slowly while it refuses us."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from probemesh_shared.errors import CertificateRefused, NotAllowed, VersionMismatch
from probemesh_shared.session.driver import LinkEnd, Wake
from probemesh_shared.session.frames import ErrorCode

from probemesh_agent.env import Clock

T = TypeVar("T")
logger = logging.getLogger(__name__)

CAP_S = 15.0
HEALTHY_S = 60.0
SLOW_S = (60.0, 300.0)


class Prospect(StrEnum):
    """What another attempt may come to."""

    SOON = "soon"  # the network or the controller may be back at any time
    SLOW = "slow"  # somebody has to do something first


@dataclass(frozen=True, slots=True)
class Verdict:
    prospect: Prospect
    text: str


def judge(end: LinkEnd) -> Verdict:
    """Why a link ended, in words, and what that means for the next attempt. Pure."""
    error = end.error
    if isinstance(error, CertificateRefused):
        return Verdict(Prospect.SLOW, f"certificate refused: {error}{_hint(error.hint)}")
    if isinstance(error, NotAllowed):
        return Verdict(Prospect.SLOW, f"not allowed: {error}{_hint(error.hint)}")
    if isinstance(error, VersionMismatch) or end.code is ErrorCode.VERSION:
        return Verdict(Prospect.SLOW, f"no protocol version in common: {error or end.detail}")
    if end.code is ErrorCode.REVOKED:
        return Verdict(Prospect.SLOW, f"this agent's certificate is revoked: {end.detail}")
    if end.code is ErrorCode.REPLACED:
        return Verdict(Prospect.SLOW, "another process took over with this agent's identity; is it copied?")
    if error is not None:
        return Verdict(Prospect.SOON, f"the controller is away: {error}")
    who = "the controller" if end.by_peer else "this side"
    said = f"{end.code}: {end.detail}" if end.code is not None else end.detail
    return Verdict(Prospect.SOON, f"the link ended ({end.why}), by {who}{': ' + said if said else ''}")


class Backoff:
    """Full jitter under a growing limit (tenacity's), which a healthy link resets."""

    def __init__(self, jitter: Callable[[float, float], float] = random.uniform) -> None:
        self._attempts = 0
        self._jitter = jitter

    def after(self, prospect: Prospect, healthy_s: float) -> float:
        """Seconds to wait; ``healthy_s`` is how long the link that ended had been up."""
        if prospect is Prospect.SLOW:
            return self._jitter(*SLOW_S)
        self._attempts = 1 if healthy_s >= HEALTHY_S else self._attempts + 1
        return _wait_s(self._attempts)


def _wait_s(attempt: int) -> float:
    from tenacity import RetryCallState, Retrying, wait_random_exponential  # only once a link was lost

    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return wait_random_exponential(multiplier=0.5, max=CAP_S)(state)


@dataclass(eq=False, slots=True)
class _Attempt:
    """One link, from dialling to its end. ``ready_at``: monotonic, once its session was up."""

    task: asyncio.Task[LinkEnd]
    wake: Wake
    ready: asyncio.Event
    ready_at: float | None = None


class Dialler:
    """``attempt`` dials once and runs that link to its end; it calls back when the session is ready."""

    def __init__(
        self,
        attempt: Callable[[Wake, Callable[[], None]], Awaitable[LinkEnd]],
        clock: Clock,
        backoff: Backoff | None = None,
    ) -> None:
        self._attempt = attempt
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._redial = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last = False

    def stop(self) -> None:
        """No further attempt once the present link has ended."""
        self._last = True

    def redial(self) -> None:
        """Dial again at once, the certificate is a new one: beside the present link, which is closed when the
        other is up."""
        self._redial.set()

    async def run(self) -> None:
        """Until stopped or cancelled. The same trouble is logged once, not at every attempt."""
        told = ""
        try:
            while True:
                self._redial.clear()
                end, link = await self._follow(self._begin())
                if self._last:
                    return
                verdict = judge(end)
                healthy_s = 0.0 if link.ready_at is None else self._clock.monotonic() - link.ready_at
                pause = self._backoff.after(verdict.prospect, healthy_s)
                if verdict.text != told or link.ready_at is not None:
                    logger.log(_level(verdict), "%s; next attempt in %.1f s", verdict.text, pause)
                told = verdict.text
                await self._pause(pause)
        finally:
            await self._end_tasks()

    # --- links ------------------------------------------------------------------------------------------

    def _begin(self) -> _Attempt:
        wake, ready = Wake(), asyncio.Event()

        def on_ready() -> None:
            link.ready_at = self._clock.monotonic()
            ready.set()

        link = _Attempt(self._task(self._attempt(wake, on_ready)), wake, ready)
        return link

    async def _follow(self, link: _Attempt) -> tuple[LinkEnd, _Attempt]:
        """To the end of a link, or of the last of those that took each other's place."""
        while True:
            await self._first(link.task, self._redial.wait())
            if link.task.done():
                return link.task.result(), link
            self._redial.clear()
            if not self._last:
                link = await self._beside(link)

    async def _beside(self, first: _Attempt) -> _Attempt:
        """The link that goes on. A session's owner has one link at a time: the first ends by itself once the
        second one's hello is there (:class:`probemesh_agent.lanes.Lanes`)."""
        second = self._begin()
        await self._first(second.task, second.ready.wait())
        if not second.ready.is_set():
            logger.warning("no second link with the new certificate: %s", judge(second.task.result()).text)
            if first.task.done():
                return second
            self._task(self._again())
            return first
        first.wake.close()
        await asyncio.wait({first.task})
        logger.info("the link was taken over by one with the new certificate")
        return second

    async def _again(self) -> None:
        """The present link is good for weeks yet: no hurry."""
        await self._clock.sleep(self._backoff.after(Prospect.SLOW, 0.0))
        self._redial.set()

    async def _pause(self, seconds: float) -> None:
        """Shorter where a new certificate comes meanwhile."""
        await self._first(self._task(self._clock.sleep(seconds)), self._redial.wait())

    # --- tasks ------------------------------------------------------------------------------------------

    def _task(self, work: Awaitable[T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(_awaited(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _first(self, task: asyncio.Task[Any], event: Awaitable[Any]) -> None:
        """Until ``task`` is done or ``event`` has come."""
        waiting = asyncio.ensure_future(event)
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _level(verdict: Verdict) -> int:
    return {Prospect.SLOW: logging.ERROR, Prospect.SOON: logging.WARNING}.get(verdict.prospect, logging.INFO)


def _hint(hint: str | None) -> str:
    return f" ({hint})" if hint else ""
