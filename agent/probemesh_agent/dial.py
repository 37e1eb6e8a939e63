"""Dials the controller, for ever: with full jitter while it is away, slowly while it refuses us."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from probemesh_shared.errors import CertificateRefused, NotAllowed, VersionMismatch
from probemesh_shared.session.driver import LinkEnd, Wake
from probemesh_shared.session.frames import ErrorCode

from probemesh_agent.env import Clock

logger = logging.getLogger(__name__)

CAP_S = 15.0
HEALTHY_S = 60.0
SLOW_S = (60.0, 300.0)


class Prospect(StrEnum):
    """What another attempt may come to."""

    SOON = "soon"  # the network or the controller may be back at any time
    SLOW = "slow"  # somebody has to do something first
    NOW = "now"  # we closed the link ourselves, to dial with a new certificate


@dataclass(frozen=True, slots=True)
class Verdict:
    prospect: Prospect
    text: str


def judge(end: LinkEnd, *, redial: bool) -> Verdict:
    """Why a link ended, in words, and what that means for the next attempt. Pure."""
    if redial:
        return Verdict(Prospect.NOW, "dialling again with the new certificate")
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
        if prospect is Prospect.NOW:
            return 0.0
        if prospect is Prospect.SLOW:
            return self._jitter(*SLOW_S)
        self._attempts = 1 if healthy_s >= HEALTHY_S else self._attempts + 1
        return _wait_s(self._attempts)


def _wait_s(attempt: int) -> float:
    from tenacity import RetryCallState, Retrying, wait_random_exponential  # only once a link was lost

    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return wait_random_exponential(multiplier=0.5, max=CAP_S)(state)


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
        self._wake: Wake | None = None
        self._redial = asyncio.Event()
        self._ready_at: float | None = None
        self._last = False

    def stop(self) -> None:
        """No further attempt once the present link has ended."""
        self._last = True

    def redial(self) -> None:
        """Dial again at once: the certificate is a new one."""
        self._redial.set()
        if self._wake is not None:
            self._wake.close()

    async def run(self) -> None:
        """Until stopped or cancelled. The same trouble is logged once, not at every attempt."""
        told = ""
        while True:
            self._redial.clear()
            self._ready_at = None
            self._wake = Wake()
            end = await self._attempt(self._wake, self._ready)
            self._wake = None
            if self._last:
                return
            verdict = judge(end, redial=self._redial.is_set())
            healthy_s = 0.0 if self._ready_at is None else self._clock.monotonic() - self._ready_at
            pause = self._backoff.after(verdict.prospect, healthy_s)
            if verdict.text != told or self._ready_at is not None:
                logger.log(_level(verdict), "%s; next attempt in %.1f s", verdict.text, pause)
            told = verdict.text
            await self._pause(pause)

    def _ready(self) -> None:
        self._ready_at = self._clock.monotonic()

    async def _pause(self, seconds: float) -> None:
        """Shorter where a new certificate comes meanwhile."""
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        renewed = asyncio.create_task(self._redial.wait())
        try:
            await asyncio.wait({sleeping, renewed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            renewed.cancel()


def _level(verdict: Verdict) -> int:
    return {Prospect.SLOW: logging.ERROR, Prospect.SOON: logging.WARNING}.get(verdict.prospect, logging.INFO)


def _hint(hint: str | None) -> str:
    return f" ({hint})" if hint else ""
