"""Whatever comes on a shot's socket or in its error queue: nothing raises, and nothing counts that is not the
answer."""

import asyncio
import socket
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent import kernel
from probemesh_agent.env import Address
from probemesh_agent.flow.line import Arrived
from probemesh_agent.flow.record import MOST_REPLIES, Record
from probemesh_agent.flow.udpline import UdpLine
from probemesh_shared.model import Shot
from probemesh_shared.wire import flowtoken
from probemesh_shared.words import Family, Outcome

from tests.flow.world import TOKEN

HOST, PORT = "192.0.2.1", 5001
REPLY = flowtoken.pack_reply(flowtoken.Request(TOKEN, 0), bytes(8), "198.51.100.7", 4242)

datagrams = st.binary(max_size=200)
#: The true reply with one byte changed, cut short, or grown.
spoiled = st.one_of(
    st.tuples(st.integers(0, len(REPLY) - 1), st.integers(1, 255)).map(
        lambda change: bytes(b ^ change[1] if i == change[0] else b for i, b in enumerate(REPLY))
    ),
    st.integers(0, len(REPLY) - 1).map(lambda size: REPLY[:size]),
)
sources = st.tuples(st.sampled_from([HOST, "192.0.2.2", "203.0.113.9"]), st.sampled_from([PORT, 1, 65_535]))


def with_line(shots: list[Shot], token: bytes | None, act: Callable[[UdpLine, list[Record]], None]) -> None:
    """A line whose shots are sent, as far as it knows."""

    async def main() -> None:
        line = UdpLine(socket.socket(type=socket.SOCK_DGRAM), Family.IPV4, frozenset(), token)
        try:
            line.sock.setblocking(False)
            records = [
                Record(index, shot, Address(HOST, Family.IPV4), PORT) for index, shot in enumerate(shots)
            ]
            for record in records:
                line.packet(record, None)
                line.shots.append(record)
            act(line, records)
        finally:
            line.close()

    asyncio.run(main())


def came(data: bytes, source: str = HOST, port: int = PORT) -> Arrived:
    return Arrived(data, source, port, None, 64, 1)


@given(st.lists(st.tuples(datagrams, sources), max_size=80))
def test_noise_answers_no_request(noise: list[tuple[bytes, tuple[str, int]]]) -> None:
    def act(line: UdpLine, records: list[Record]) -> None:
        for data, where in noise:
            line.arrived(came(data, *where))
        assert all(record.outcome is None for record in records)
        assert all(len(record.replies) <= MOST_REPLIES for record in records)
        assert not any(reply.valid for record in records for reply in record.replies)
        assert sum(len(record.replies) for record in records) == min(len(noise), MOST_REPLIES)

    with_line([Shot()], TOKEN, act)


@given(spoiled)
def test_a_spoiled_reply_is_valid_only_where_it_still_says_what_a_reply_says(data: bytes) -> None:
    def act(line: UdpLine, records: list[Record]) -> None:
        line.arrived(came(data))
        read = flowtoken.read_reply(data, TOKEN)
        is_ours = read is not None and read.shot == 0
        assert (records[0].outcome is Outcome.OK) is is_ours
        assert [reply.valid for reply in records[0].replies] == [is_ours]
        if data[:20] != REPLY[:20] or len(data) < len(REPLY):
            assert not is_ours, "token and magic must be whole"

    with_line([Shot()], TOKEN, act)


@given(st.integers(0, (1 << 32) - 1), sources)
def test_a_reply_goes_to_the_shot_it_answers(number: int, where: tuple[str, int]) -> None:
    """A token with a shot that was never sent is some other flow's."""

    def act(line: UdpLine, records: list[Record]) -> None:
        data = flowtoken.pack_reply(flowtoken.Request(TOKEN, number), bytes(8), "198.51.100.7", 1)
        line.arrived(came(data, *where))
        answered = [record.index for record in records if record.outcome is Outcome.OK]
        assert answered == ([number] if number < 3 else [])

    with_line([Shot(), Shot(), Shot()], TOKEN, act)


@given(
    st.one_of(datagrams, st.just(REPLY)),
    st.one_of(st.none(), st.text(max_size=20), st.just(HOST)),
    st.integers(0, 65_535),
)
def test_an_error_s_quotation_may_be_anything(payload: bytes, destination: str | None, port: int) -> None:
    def act(line: UdpLine, records: list[Record]) -> None:
        entry = kernel.QueueEntry(
            kernel.ORIGIN_ICMP,
            113,
            3,
            1,
            offender="192.0.2.9",
            payload=payload,
            destination=destination,
            port=port,
        )
        owner = line.quoted(entry)
        asked = flowtoken.read_head(payload, TOKEN)
        if asked is None or asked.shot > 1:
            assert (owner is not None) is ((destination, port) == (HOST, PORT))
        else:
            assert owner is records[asked.shot]

    with_line([Shot(), Shot()], TOKEN, act)


@given(st.integers(0, 3))
def test_a_quoted_request_names_its_shot(number: int) -> None:
    def act(line: UdpLine, records: list[Record]) -> None:
        request = flowtoken.pack_request(flowtoken.Request(TOKEN, number))
        entry = kernel.QueueEntry(
            kernel.ORIGIN_ICMP, 113, 11, 0, payload=request[:32], destination=HOST, port=PORT
        )
        assert line.quoted(entry) is records[number]

    with_line([Shot() for _ in range(4)], TOKEN, act)
