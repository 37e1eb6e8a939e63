"""The measuring process of ``self``: started ahead of its job, because it takes as long to load as we do.

Imports next to nothing, so that it can come before everything else.
"""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

_ahead: list[Process] = []


@contextlib.asynccontextmanager
async def ahead(wanted: bool = True) -> AsyncIterator[None]:
    """Within, one process waits for its job. One that cannot be started is no error yet, one that nobody took
    is ended."""
    if wanted:
        with contextlib.suppress(OSError):
            _ahead.append(await _start())
    try:
        yield
    finally:
        await _dismiss()


async def take() -> Process:
    """A process for one job: one that was started ahead and still lives, else a new one. Raises OSError."""
    while _ahead:
        process = _ahead.pop()
        if process.returncode is None:
            return process
    return await _start()


async def _dismiss() -> None:
    while _ahead:
        process = _ahead.pop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it has measured nothing: there is nothing to lose
        await process.communicate()


async def _start() -> Process:
    # a session of its own: Ctrl-C is for us, and we tell the child
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "probemesh_agent", "probe", "--frames"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
