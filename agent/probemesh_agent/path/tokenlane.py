"""Datagrams to a responder of ours, which says whose they are: several may be on their way at once."""

from probemesh_shared.model import Options
from probemesh_shared.wire.flowtoken import LEAST, PLAIN, Asked, Request, pack_request, read_reply

from probemesh_agent import kernel
from probemesh_agent.env import Address, Clock
from probemesh_agent.path.lane import Tell
from probemesh_agent.path.udplane import UdpLane


class TokenLane(UdpLane):
    """``large``: the responder answers with as many bytes as came, so that the way back is measured too."""

    window = 8

    def __init__(
        self,
        address: Address,
        port: int,
        options: Options,
        clock: Clock,
        tell: Tell,
        token: bytes,
        large: bool,
    ) -> None:
        super().__init__(address, port, options, clock, tell)
        self._token, self._asked = token, Asked.LARGE if large else PLAIN

    def _payload(self, number: int) -> bytes:
        length = max(LEAST, self.size or LEAST)
        return pack_request(Request(self._token, number, length, self._asked))

    def _answered(self, data: bytes) -> int | None:
        reply = read_reply(data, self._token)
        return reply.shot if reply is not None and reply.shot in self._out else None

    def _guessed(self, entry: kernel.QueueEntry) -> int | None:
        """Too big is said of the largest one first, whoever else it may hold for."""
        sizes = {number: len(out.payload) for number, out in self._out.items() if not out.answered}
        fitting = {number: size for number, size in sizes.items() if size + self.headers > entry.info > 0}
        return max(fitting, key=lambda number: fitting[number], default=None)
