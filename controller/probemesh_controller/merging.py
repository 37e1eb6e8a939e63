"""Streams of events: several as one, and any as one that can be closed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
_QUEUED = 64


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


async def merge(*sources: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Everything from all ``sources`` as it comes, in bounded memory. A source that raises does not stop
    the others: the first error is raised when all have ended. Closing it closes them."""
    queue: asyncio.Queue[_Item[T] | Exception | None] = asyncio.Queue(_QUEUED)

    async def pump(source: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(source) as items:
                async for item in items:
                    await queue.put(_Item(item))
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.create_task(pump(source)) for source in sources]
    first_error: Exception | None = None
    try:
        running = len(tasks)
        while running:
            item = await queue.get()
            if isinstance(item, _Item):
                yield item.value
                continue
            running -= 1
            first_error = first_error or item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if first_error is not None:
        raise first_error


async def closing(items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Any iterator as a generator; closing it closes what is below."""
    try:
        async for item in items:
            yield item
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
