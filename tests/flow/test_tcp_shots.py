"""Connections on loopback: what is told of each, what is left behind."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from probemesh_agent import kernel
from probemesh_shared.model import Shot
from probemesh_shared.wire import flowtoken
from probemesh_shared.words import FailureKind, Origin, Outcome, Transport

from tests.flow.world import TOKEN, rows_of, run, seen, spec_of, target_of
from tests.ports import free_port

TCP = Transport.TCP
Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(serve: Serve, host: str = "127.0.0.1") -> Iterator[int]:
    """A port whose connections are given to ``serve`` one after another; all of them have been when the block
    ends."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener, socket.socket(family) as last:
        last.bind((host, 0))
        port = last.getsockname()[1]

        def work() -> None:
            while True:
                accepted, where = listener.accept()
                with accepted, contextlib.suppress(OSError):
                    if where[1] == port:
                        return
                    serve(accepted)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        last.connect(listener.getsockname()[:2])
        thread.join(10)
        assert not thread.is_alive()


def until_closed(accepted: socket.socket) -> None:
    while accepted.recv(65_535):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_that_stands_is_told_with_its_tcp_info(host: str) -> None:
    with server(until_closed, host) as port:
        (shot,) = run(spec_of(TCP, Shot()), host, port)
    assert shot.outcome is Outcome.OK and shot.failure is None and shot.errors == ()
    assert shot.state == kernel.TCP_ESTABLISHED and shot.retransmits == 0
    assert shot.rtt_ms is not None and shot.rtt_ms < 500
    assert shot.local_address == host and shot.local_port
    assert shot.mss and shot.pmtu
    assert shot.ttl == (64 if host == "::1" else None), "only IPv6 tells the side that connects"
    assert shot.end is None and shot.answer is None and shot.replies == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_closed_port_refuses(host: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as held:
        held.bind((host, 0))
        (shot,) = run(spec_of(TCP, Shot()), host, held.getsockname()[1])
    assert shot.outcome is Outcome.REFUSED and shot.failure is not None
    assert shot.failure.kind is FailureKind.REFUSED and shot.failure.origin is Origin.TARGET
    assert shot.failure.errno == shot.so_error == "ECONNREFUSED"
    assert shot.state == kernel.TCP_CLOSE and shot.rtt_ms is not None and shot.mss is None


def test_an_odd_mss_is_what_the_peer_reads() -> None:
    """The nonce by which the far end finds the flow: in TCP_INFO of the accepted side, less the stamps'
    twelve bytes."""
    told: list[int] = []

    def serve(accepted: socket.socket) -> None:
        told.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        until_closed(accepted)

    with server(serve) as port:
        (shot,) = run(spec_of(TCP, Shot(mss=1201)), "127.0.0.1", port)
    assert shot.outcome is Outcome.OK
    assert told and told[0] in (1201, 1189)


@pytest.mark.parametrize("mss", [0, 87, 32_768])
def test_an_mss_that_the_kernel_does_not_take_is_no_fault_of_the_network(mss: int) -> None:
    (shot,) = run(spec_of(TCP, Shot(mss=mss)), "127.0.0.1", 9)
    assert shot.outcome is Outcome.UNSUPPORTED


@pytest.mark.parametrize("ttl", [0, 256])
def test_a_ttl_that_there_is_not(ttl: int) -> None:
    (shot,) = run(spec_of(TCP, Shot(ttl=ttl)), "127.0.0.1", 9)
    assert shot.outcome is Outcome.UNSUPPORTED


def test_a_source_port_is_had_again_and_again() -> None:
    """Also at once after a connection from it stood: nothing lingers in TIME_WAIT."""
    ends: list[bytes] = []

    def serve(accepted: socket.socket) -> None:
        ends.append(accepted.recv(100))

    asked = free_port()
    shots = [Shot(at_ms=40.0 * number, source_port=asked) for number in range(5)]
    with server(serve) as port:
        told = run(spec_of(TCP, *shots), "127.0.0.1", port)
    assert [shot.outcome for shot in told] == [Outcome.OK] * 5
    assert {shot.local_port for shot in told} == {asked}
    assert ends == [b""] * 5, "the peer reads an end, and no reset"


def test_a_source_port_in_use_is_this_host_s_want() -> None:
    with socket.socket() as held, server(until_closed) as port:
        held.bind(("127.0.0.1", 0))
        held.listen()
        (shot,) = run(spec_of(TCP, Shot(source_port=held.getsockname()[1])), "127.0.0.1", port)
    assert shot.outcome is Outcome.LOCAL_RESOURCE
    assert shot.failure is not None and shot.failure.errno == "EADDRINUSE"


def test_a_source_port_under_an_own_listener_that_shares_it() -> None:
    """The reversed five-tuple: the far end's own listener stays where it is."""
    with socket.socket() as own, server(until_closed) as port:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.bind(("0.0.0.0", 0))
        own.listen()
        asked = own.getsockname()[1]
        (shot,) = run(spec_of(TCP, Shot(source_port=asked)), "127.0.0.1", port)
    assert (shot.outcome, shot.local_port) == (Outcome.OK, asked)


def test_held_until_the_time_is_over() -> None:
    with server(until_closed) as port:
        (shot,) = run(spec_of(TCP, Shot(hold_ms=80)), "127.0.0.1", port)
    assert shot.end == "held" and shot.end_ms is not None and 75 <= shot.end_ms < 1000


def test_the_peer_s_fin_ends_a_hold() -> None:
    with server(lambda accepted: None) as port:
        (shot,) = run(spec_of(TCP, Shot(hold_ms=5000)), "127.0.0.1", port)
    assert shot.outcome is Outcome.OK and shot.end == "fin"
    assert shot.end_ms is not None and shot.end_ms < 2000


def reset(accepted: socket.socket) -> None:
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))


def test_the_peer_s_reset_ends_a_hold() -> None:
    with server(reset) as port:
        (shot,) = run(spec_of(TCP, Shot(hold_ms=5000)), "127.0.0.1", port)
    assert (shot.outcome, shot.end) == (Outcome.OK, "reset"), "it stood"


def test_a_reset_after_a_payload() -> None:
    def serve(accepted: socket.socket) -> None:
        accepted.recv(100)
        reset(accepted)

    with server(serve) as port:
        (shot,) = run(spec_of(TCP, Shot(send=b"EVL!")), "127.0.0.1", port)
    assert (shot.outcome, shot.end, shot.answer) == (Outcome.OK, "reset", None)
    assert shot.so_error == "ECONNRESET"


def test_words_without_an_answer_are_silence() -> None:
    with server(until_closed) as port:
        (shot,) = run(spec_of(TCP, Shot(send=b"hello"), timeout_s=0.2), "127.0.0.1", port)
    assert (shot.outcome, shot.end, shot.answer) == (Outcome.OK, "silent", None)


def test_an_answer_is_kept_up_to_its_limit() -> None:
    def serve(accepted: socket.socket) -> None:
        accepted.sendall(accepted.recv(100) * 200)
        until_closed(accepted)

    with server(serve) as port:
        (shot,) = run(spec_of(TCP, Shot(send=b"hello")), "127.0.0.1", port)
    assert shot.answer == (b"hello" * 52)[:256] and shot.end == "held"


def test_a_connection_that_is_not_to_speak_writes_nothing() -> None:
    heard: list[bytes] = []
    with server(lambda accepted: heard.append(accepted.recv(100))) as port:
        run(spec_of(TCP, Shot(), token=TOKEN), "127.0.0.1", port)
    assert heard == [b""]


def responder(accepted: socket.socket) -> None:
    data = accepted.recv(1000)
    asked = flowtoken.read_head(data, TOKEN)
    assert asked is not None
    reply = flowtoken.pack_reply(asked, b"8 bytes!", *accepted.getpeername()[:2])
    for at in range(0, len(reply), 20):
        accepted.sendall(reply[at : at + 20])
    until_closed(accepted)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_responder_s_reply_says_who_and_from_where(host: str) -> None:
    with server(responder, host) as port:
        (shot,) = run(spec_of(TCP, Shot(send=b""), token=TOKEN), host, port)
    (reply,) = shot.replies
    assert reply.valid and reply.agent == b"8 bytes!".hex()
    assert (reply.seen_address, reply.seen_port) == (host, shot.local_port)
    assert (reply.source, reply.source_port, reply.size) == (host, port, flowtoken.REPLY_SIZE)
    assert shot.end == "held"


def test_a_stranger_s_answer_is_no_reply() -> None:
    def serve(accepted: socket.socket) -> None:
        accepted.recv(1000)
        accepted.sendall(b"SSH-2.0-stranger\r\n")
        until_closed(accepted)

    with server(serve) as port:
        (shot,) = run(spec_of(TCP, Shot(send=b""), token=TOKEN), "127.0.0.1", port)
    assert shot.replies == () and shot.answer == b"SSH-2.0-stranger\r\n" and shot.end == "held"


def test_another_shot_s_reply_is_not_valid() -> None:
    def serve(accepted: socket.socket) -> None:
        accepted.recv(1000)
        asked = flowtoken.Request(TOKEN, shot=7)
        accepted.sendall(flowtoken.pack_reply(asked, bytes(8), "192.0.2.1", 1))
        until_closed(accepted)

    with server(serve) as port:
        (shot,) = run(spec_of(TCP, Shot(send=b""), token=TOKEN), "127.0.0.1", port)
    assert [reply.valid for reply in shot.replies] == [False]


def test_a_peer_that_never_stops_talking_is_left() -> None:
    def serve(accepted: socket.socket) -> None:
        while True:
            accepted.sendall(bytes(65_536))

    with server(serve) as port:
        (shot,) = run(spec_of(TCP, Shot(hold_ms=30_000)), "127.0.0.1", port)
    assert shot.end == "held" and shot.end_ms is not None and shot.end_ms < 9000
    assert shot.answer == bytes(256)


def test_shots_leave_when_they_are_planned() -> None:
    with server(until_closed) as port:
        told = run(spec_of(TCP, Shot(at_ms=120), Shot(), Shot(at_ms=60)), "127.0.0.1", port)
    assert [shot.shot for shot in told] == [0, 1, 2]
    for shot, planned in zip(told, (120, 0, 60), strict=True):
        assert planned <= shot.at_ms < planned + 50


def test_one_row_for_a_flow_and_its_outcome_is_ok_if_any_shot_was() -> None:
    with server(until_closed) as port:
        spec = spec_of(TCP, Shot(port=free_port()), Shot())
        (row,) = asyncio.run(rows_of(spec, target_of("127.0.0.1", port)))
    assert row.outcome is Outcome.OK and row.failure is None
    assert row.log == ("shot 0: connection refused",) and row.samples == ()


async def test_a_socket_that_met_itself_is_a_refusal() -> None:
    """On loopback the kernel lets a port connect to itself."""
    asked = free_port()
    (shot,) = await seen(spec_of(TCP, Shot(source_port=asked)), "127.0.0.1", asked)
    assert shot.outcome is Outcome.REFUSED
