"""Two ends of a link in memory, with the faults that a test wants: a break, a full pipe, bad bytes."""

import asyncio
from collections import deque

from probemesh_shared.convert import BadMessage
from probemesh_shared.errors import Unreachable
from probemesh_shared.session.frames import Frame
from probemesh_shared.session.machine import Side

from tests.session.simulated import over_the_wire


class Pipe:
    """One direction: at most ``room`` frames wait in it."""

    def __init__(self, room: int = 1000) -> None:
        self.frames: deque[Frame | BadMessage | None] = deque()
        self.room = room
        self.broken = False
        self.changed = asyncio.Condition()

    async def put(self, item: Frame | BadMessage | None) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.broken or len(self.frames) < self.room)
            if self.broken:
                raise Unreachable("the link broke")
            self.frames.append(item)
            self.changed.notify_all()

    async def get(self) -> Frame | None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.broken or self.frames)
            if self.broken:
                raise Unreachable("the link broke")
            item = self.frames.popleft()
            self.changed.notify_all()
        if isinstance(item, BadMessage):
            raise item
        return item

    async def snap(self) -> None:
        async with self.changed:
            self.broken = True
            self.changed.notify_all()


class MemoryStream:
    """A FrameStream over two pipes; frames cross as protobuf."""

    def __init__(self, side: Side, inward: Pipe, outward: Pipe) -> None:
        self.side = side
        self.inward = inward
        self.outward = outward
        self.closed = 0

    async def read(self) -> Frame | None:
        return await self.inward.get()

    async def write(self, frame: Frame) -> None:
        await self.outward.put(over_the_wire(frame, self.side))

    async def close(self) -> None:
        self.closed += 1
        if not self.outward.broken:
            self.outward.frames.append(None)
            async with self.outward.changed:
                self.outward.changed.notify_all()


def stream_pair(room: int = 1000) -> tuple[MemoryStream, MemoryStream]:
    """The agent's end and the controller's."""
    to_controller, to_agent = Pipe(room), Pipe(room)
    return (
        MemoryStream(Side.AGENT, to_agent, to_controller),
        MemoryStream(Side.CONTROLLER, to_controller, to_agent),
    )
