"""UDP shots: requests of our own responder, what a real service is asked, or nothing at all."""

import socket

from probemesh_shared.model import Reply
from probemesh_shared.wire import flowtoken
from probemesh_shared.words import Family

from probemesh_agent import kernel
from probemesh_agent.flow.line import KEPT_ANSWER, Arrived, Line
from probemesh_agent.flow.record import Record
from probemesh_agent.flow.tcpshot import request


class UdpLine(Line):
    """See :class:`Line`. ``token``: replies that carry it count, from wherever they come."""

    def __init__(self, sock: socket.socket, family: Family, own: frozenset[str], token: bytes | None) -> None:
        self._token = token
        self._by_index: dict[int, Record] = {}
        super().__init__(sock, family, own)

    def packet(self, record: Record, size: int | None) -> bytes:
        self._by_index[record.index] = record
        shot = record.shot
        if shot.send is not None:
            return shot.send
        if self._token is not None:
            return request(self._token, record, size or 0)
        return bytes(size or 0)

    def arrived(self, came: Arrived) -> None:
        """A reply with the token counts, from wherever it is; another only from where the shot went, and only
        where the shot speaks to somebody who has no token."""
        answer = flowtoken.read_reply(came.data, self._token) if self._token is not None else None
        if answer is not None and (known := self._by_index.get(answer.shot)) is not None:
            told = Reply(valid=True, agent=answer.agent, seen_address=answer.address, seen_port=answer.port)
            self.replied(known, came, told, counts=True)
            return
        record = self.latest(came.source, came.port)
        if record is not None:
            counts = self._token is None or record.shot.send is not None
            if counts and record.answer is None:
                record.answer = came.data[:KEPT_ANSWER]
            self.replied(record, came, Reply(), counts=counts)
        elif self.shots:
            self.replied(self.shots[-1], came, Reply(), counts=False)

    def quoted(self, entry: kernel.QueueEntry) -> Record | None:
        """By the request in what the error quotes; routers may quote no more than ports, which are the
        socket's own: then by where it went."""
        if self._token is not None:
            asked = flowtoken.read_head(entry.payload, self._token)
            if asked is not None and (known := self._by_index.get(asked.shot)) is not None:
                return known
        bare = entry.destination.partition("%")[0] if entry.destination else None
        return self.latest(bare, entry.port)
