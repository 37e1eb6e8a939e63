"""How long to wait before the next attempt, and what is said about the last."""

import asyncio
from collections.abc import Callable

import pytest
from probemesh_agent.dial import CAP_S, SLOW_S, Backoff, Dialler, Prospect, judge
from probemesh_shared.clock import VirtualClock
from probemesh_shared.errors import CertificateRefused, MeshError, NotAllowed, Unreachable, VersionMismatch
from probemesh_shared.session.driver import LinkEnd, Wake, Why
from probemesh_shared.session.frames import ErrorCode


def ended(error: MeshError | None = None, code: ErrorCode | None = None) -> LinkEnd:
    return LinkEnd(
        Why.BROKEN if error else Why.SESSION, False, str(error or ""), code, by_peer=True, error=error
    )


@pytest.mark.parametrize(
    ("end", "prospect", "word"),
    [
        (ended(Unreachable("x cannot be reached")), Prospect.SOON, "away"),
        (ended(CertificateRefused("expired", "join again")), Prospect.SLOW, "join again"),
        (ended(NotAllowed("role agent may not")), Prospect.SLOW, "not allowed"),
        (ended(VersionMismatch("no such method")), Prospect.SLOW, "version"),
        (ended(code=ErrorCode.VERSION), Prospect.SLOW, "version"),
        (ended(code=ErrorCode.REVOKED), Prospect.SLOW, "revoked"),
        (ended(code=ErrorCode.REPLACED), Prospect.SLOW, "another process"),
        (ended(code=ErrorCode.BUSY), Prospect.SOON, "busy"),
        (ended(code=ErrorCode.INTERNAL), Prospect.SOON, "internal"),
        (ended(), Prospect.SOON, "ended"),
    ],
)
def test_what_an_end_means(end: LinkEnd, prospect: Prospect, word: str) -> None:
    verdict = judge(end)
    assert verdict.prospect is prospect
    assert word in verdict.text


def test_backoff_jitters_under_a_growing_limit_that_health_resets() -> None:
    def longest(attempts: int, healthy_s: float = 0.0) -> float:
        seen = []
        for _ in range(200):
            backoff = Backoff()
            for _ in range(attempts - 1):
                backoff.after(Prospect.SOON, 0.0)
            seen.append(backoff.after(Prospect.SOON, healthy_s))
        return max(seen)

    assert 0.2 < longest(1) <= 0.5
    assert 2.0 < longest(4) <= 4.0
    assert 10.0 < longest(12) <= CAP_S
    assert longest(12, healthy_s=61.0) <= 0.5
    slow = [Backoff().after(Prospect.SLOW, 0.0) for _ in range(50)]
    assert SLOW_S[0] <= min(slow) < max(slow) <= SLOW_S[1]


async def test_dials_for_ever_says_the_same_once_and_redials_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, attempts = VirtualClock(), 0

    async def attempt(wake: Wake, ready: Callable[[], None]) -> LinkEnd:
        nonlocal attempts
        attempts += 1
        return ended(CertificateRefused("expired"))

    dialler = Dialler(attempt, clock)
    task = asyncio.create_task(dialler.run())
    await clock.advance(SLOW_S[1] * 3)
    assert 3 <= attempts <= 15
    assert caplog.text.count("expired") == 1
    seen = attempts
    dialler.redial()
    await clock.settle()
    assert attempts == seen + 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Links:
    """Attempts that the test holds: each is up when told, and ends when told or when its wake closes."""

    def __init__(self) -> None:
        self.wakes: list[Wake] = []
        self.readies: list[Callable[[], None]] = []
        self.ends: list[asyncio.Future[LinkEnd]] = []

    async def attempt(self, wake: Wake, ready: Callable[[], None]) -> LinkEnd:
        self.wakes.append(wake)
        self.readies.append(ready)
        mine: asyncio.Future[LinkEnd] = asyncio.get_running_loop().create_future()
        self.ends.append(mine)

        async def closed() -> LinkEnd:
            while not wake.closing:
                await wake.wait()
            return LinkEnd(Why.CLOSED, True)

        closing = asyncio.create_task(closed())
        try:
            done, _ = await asyncio.wait({mine, closing}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            closing.cancel()


async def test_a_new_certificate_dials_beside_the_live_link() -> None:
    clock, links = VirtualClock(), Links()
    dialler = Dialler(links.attempt, clock)
    task = asyncio.create_task(dialler.run())
    await clock.settle()
    links.readies[0]()
    dialler.redial()
    await clock.settle()
    assert len(links.wakes) == 2
    assert not links.wakes[0].closing, "closed before the other was up"
    links.readies[1]()
    await clock.settle()
    assert links.wakes[0].closing and not links.wakes[1].closing
    await clock.advance(3600)
    assert len(links.wakes) == 2, "a link that took over is not dialled again"
    links.ends[1].set_result(ended(Unreachable("away")))
    await clock.advance(20)
    assert len(links.wakes) == 3
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_second_link_that_fails_leaves_the_first_and_is_tried_again() -> None:
    clock, links = VirtualClock(), Links()
    dialler = Dialler(links.attempt, clock)
    task = asyncio.create_task(dialler.run())
    await clock.settle()
    links.readies[0]()
    dialler.redial()
    await clock.settle()
    links.ends[1].set_result(ended(CertificateRefused("not yet valid")))
    await clock.settle()
    assert not links.wakes[0].closing
    await clock.advance(SLOW_S[1] + 1)
    assert len(links.wakes) == 3
    links.readies[2]()
    await clock.settle()
    assert links.wakes[0].closing and not links.wakes[2].closing
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_replaced_the_first_link_is_not_taken_for_another_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The controller ends the first one as replaced, before the second one's session is up."""
    clock, links = VirtualClock(), Links()
    dialler = Dialler(links.attempt, clock)
    task = asyncio.create_task(dialler.run())
    await clock.settle()
    links.readies[0]()
    dialler.redial()
    await clock.settle()
    links.ends[0].set_result(ended(code=ErrorCode.REPLACED))
    await clock.settle()
    links.readies[1]()
    await clock.advance(3600)
    assert len(links.wakes) == 2 and not links.wakes[1].closing
    assert "another process" not in caplog.text
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
