"""One link of one agent, as the fleet holds it: the session, and the handle on the task that drives it."""

import asyncio
from collections.abc import Awaitable, Callable

from probemesh_shared.clock import Clock
from probemesh_shared.session.driver import FrameStream, LinkEnd, Wake, drive
from probemesh_shared.session.events import Event
from probemesh_shared.session.frames import ErrorCode, Hello
from probemesh_shared.session.inbox import Inbox
from probemesh_shared.session.machine import Session, Side


class Link:
    """Made when a stream is there; :meth:`run` lasts as long as the stream. Event loop's own thread only."""

    def __init__(
        self, hello: Hello, inbox: Inbox, stream: FrameStream, clock: Clock, takes_over: bool = False
    ) -> None:
        self._takes_over = takes_over
        self.misnamed = False  # the hello was in another's name
        self.session = Session(Side.CONTROLLER, hello, clock.monotonic(), inbox=inbox)
        self._stream = stream
        self._clock = clock
        self._wake = Wake()
        self._ended = asyncio.Event()

    @property
    def ready(self) -> bool:
        return self.session.ready

    @property
    def takes_over(self) -> bool:
        """It is in the place of a link that was up, and its hellos are on their way."""
        return self._takes_over and self.session.peer is None and not self.session.ended

    @property
    def was_ready(self) -> bool:
        """Hellos were exchanged, whatever came after."""
        return self.session.peer is not None

    @property
    def settled(self) -> bool:
        """Nothing waits to be said on either side, or the link is over."""
        return self.session.ended or self.session.settled

    async def run(self, handle: Callable[[Event], Awaitable[None]]) -> LinkEnd:
        try:
            return await drive(self.session, self._stream, self._clock, handle, self._wake)
        finally:
            self._ended.set()

    async def wait_ended(self, seconds: float, clock: Clock) -> None:
        """Until the link is over, or ``seconds`` are."""
        waits = [asyncio.create_task(self._ended.wait()), asyncio.create_task(clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def do(self, action: Callable[[Session], None]) -> None:
        """Any call on the session, then a look at what is to be written."""
        action(self.session)
        self._wake.poke()

    def poke(self) -> None:
        """The inbox changed: look at what is to be written."""
        self._wake.poke()

    def fail(self, code: ErrorCode, detail: str) -> None:
        self.do(lambda session: session.fail(code, detail))

    def goodbye(self, reason: str) -> None:
        self.do(lambda session: session.goodbye(reason))

    def close(self) -> None:
        """Writes what waits and ends the link."""
        self._wake.close()
