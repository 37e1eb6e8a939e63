"""An interrupt as somebody's affair."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def on_signals(handler: Callable[[], None]) -> Iterator[None]:
    """Within, an interrupt is ``handler``'s affair."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def until_interrupted(work: Coroutine[Any, Any, T]) -> tuple[T | None, bool]:
    """What ``work`` comes to, and False; or None and True where an interrupt cancelled it first, once it has
    given back what it held. A second interrupt is a KeyboardInterrupt. Raises what ``work`` raises."""
    task = asyncio.ensure_future(work)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if interrupted:  # asked twice: now
            raise KeyboardInterrupt
        interrupted = True
        task.cancel()

    try:
        with on_signals(interrupt):
            await asyncio.wait({task})
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return (None, True) if interrupted else (task.result(), False)
