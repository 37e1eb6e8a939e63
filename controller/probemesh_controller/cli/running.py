"""One run on screen: events into an assembly, a live table or notes meanwhile, an interrupt honoured.

An interrupt closes the run's iterator, which cancels it at the agents; what was measured is kept and printed.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from probemesh_shared.errors import MeshError
from probemesh_shared.escape import escape
from probemesh_shared.targets import count_ports

from probemesh_controller.api import (
    Mesh,
    RunEnded,
    RunEvent,
    RunMeasured,
    RunPlanned,
    RunRequest,
    RunVantageEnded,
)
from probemesh_controller.cli.flags import draw, may_redraw, note, undraw, use_color
from probemesh_controller.cli.output import terminal_width, write
from probemesh_controller.cli.signals import on_signals
from probemesh_controller.cli.statusline import FIRST_NOTE_S, NEXT_NOTE_S
from probemesh_controller.render.live import Frames, frame
from probemesh_controller.render.progress import bar_text
from probemesh_controller.render.text import counted
from probemesh_controller.results import Assembly

FRAME_S = 0.1


@dataclass(slots=True)
class Progress:
    """How far a run is: (agent, spec) pairs that ended, rows that came."""

    expected: int = 0
    ended: int = 0
    rows: int = 0
    rows_expected: int = 0

    def take(self, event: RunEvent, request: RunRequest) -> None:
        match event:
            case RunPlanned(vantages=planned):
                taking_part = sum(vantage.outcome is None for vantage in planned)
                self.expected = taking_part * len(request.specs)
                ports = sum(max(1, count_ports(target.ports)) for target in request.targets)
                self.rows_expected = self.expected * ports
            case RunMeasured(measurements=measured):
                self.rows += len(measured)
            case RunVantageEnded():
                self.ended += 1

    def bar(self, elapsed_s: float) -> str:
        """For a scan, on a terminal."""
        return f"{bar_text(self.rows, self.rows_expected, elapsed_s)}  {self.text(False)}"

    def text(self, scan: bool) -> str:
        said = f"{self.ended} of {counted(self.expected, 'vantage point')} done"
        return f"{said}, {self.rows} of {counted(self.rows_expected, 'port')}" if scan else said


class Display:
    """Shows a run while it goes on. ``live`` redraws the table on stdout; else a line or notes on stderr."""

    def __init__(self, request: RunRequest, assembly: Assembly, live: bool, strict: bool, ci: bool) -> None:
        self._request, self._assembly = request, assembly
        self._strict, self._live = strict, live
        self._line = not live and may_redraw(sys.stderr, ci)
        self._color = use_color(sys.stdout, ci)
        self._frames, self._progress = Frames(), Progress()
        self._scan = any(count_ports(target.ports) > 1 for target in request.targets)
        self._started = time.monotonic()
        self._next_note = self._started + FIRST_NOTE_S
        self._said = ""

    def take(self, event: RunEvent) -> None:
        self._assembly.add(event)
        self._progress.take(event, self._request)
        if isinstance(event, RunPlanned):
            for text in event.notes:
                self._note(escape(text, 400))

    def refresh(self) -> None:
        if self._live:
            size = shutil.get_terminal_size((100, 40))
            results = self._assembly.results()
            footer = f"{self._said_so_far()} · Ctrl-C stops"
            lines = frame(results, footer, terminal_width(), size.lines, self._color, self._strict)
            write(self._frames.draw(lines))
        elif time.monotonic() >= self._next_note:
            self._next_note = time.monotonic() + (FRAME_S if self._line else NEXT_NOTE_S)
            said = self._said_so_far()
            if said == self._said:
                return
            self._said = said
            (draw if self._line else note)(said)

    def _said_so_far(self) -> str:
        """A bar for a scan where it can be drawn over, else words."""
        if self._scan and (self._live or self._line):
            return self._progress.bar(time.monotonic() - self._started)
        return self._progress.text(self._scan)

    def close(self) -> None:
        if self._live:
            write(self._frames.clear())
        elif self._line:
            undraw()

    def _note(self, text: str) -> None:
        if self._live:
            write(self._frames.clear())
        self._said = ""  # a note stands where the line was
        note(text)


async def run_shown(
    mesh: Mesh, request: RunRequest, assembly: Assembly, *, table: bool, strict: bool, ci: bool
) -> bool:
    """Runs to the end or to an interrupt; returns whether it was interrupted. Results are in ``assembly``."""
    display = Display(request, assembly, table and may_redraw(sys.stdout, ci), strict, ci)
    consumer = asyncio.ensure_future(consume(mesh, request, display.take))
    ticker = asyncio.ensure_future(_tick(display.refresh))
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if interrupted:  # asked twice: now
            raise KeyboardInterrupt
        interrupted = True
        consumer.cancel()

    try:
        with on_signals(interrupt):
            await asyncio.wait({consumer})
    finally:
        for task in (ticker, consumer):
            task.cancel()
        await asyncio.gather(ticker, return_exceptions=True)
        display.close()
    if interrupted:
        await asyncio.gather(consumer, return_exceptions=True)
        assembly.add(RunEnded(cancelled=True))
        return True
    settle(consumer, assembly)
    return False


def settle(consumer: asyncio.Future[None], assembly: Assembly, say: Callable[[str], None] = note) -> None:
    """A mesh that went away in the middle takes nothing with it: what came is shown, the rest is unmeasured.
    Raises the mesh's error where the run never began."""
    try:
        consumer.result()
    except MeshError as error:
        if not assembly.planned:
            raise
        say(f"warning: {escape(str(error), 400)}")
        if error.hint:
            say(f"hint: {escape(error.hint, 400)}")
        assembly.add(RunEnded())


async def consume(mesh: Mesh, request: RunRequest, take: Callable[[RunEvent], None]) -> None:
    """Hands over every event; cancelled, it closes the run's iterator."""
    events: AsyncIterator[RunEvent] = mesh.run(request)
    try:
        async for event in events:
            take(event)
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def _tick(refresh: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(FRAME_S)
        refresh()
