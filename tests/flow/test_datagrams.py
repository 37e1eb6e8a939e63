"""UDP and ICMP shots on loopback: whose answer counts, sockets that several shots share, what is too big."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from probemesh_shared.model import Shot
from probemesh_shared.wire import flowtoken
from probemesh_shared.words import FailureKind, Origin, Outcome, Transport

from tests.flow.world import TOKEN, run, spec_of

UDP, ICMP = Transport.UDP, Transport.ICMP
Answer = Callable[[socket.socket, bytes, tuple[str, int]], None]
NONCE = b"8 bytes!"


@contextlib.contextmanager
def server(answer: Answer, host: str = "127.0.0.1") -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        own = sock.getsockname()

        def work() -> None:
            while True:
                data, where = sock.recvfrom(65_535)
                if where == own:
                    return
                answer(sock, data, where)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield own[1]
        sock.sendto(b"", own)
        thread.join(10)
        assert not thread.is_alive()


def reply_to(data: bytes, where: tuple[str, int]) -> bytes:
    asked = flowtoken.read_request(data, TOKEN)
    assert asked is not None, data
    return flowtoken.pack_reply(asked, NONCE, *where[:2])


def responder(sock: socket.socket, data: bytes, where: tuple[str, int]) -> None:
    sock.sendto(reply_to(data, where), where)


def mute(sock: socket.socket, data: bytes, where: tuple[str, int]) -> None:
    """Says nothing."""


def echo(sock: socket.socket, data: bytes, where: tuple[str, int]) -> None:
    sock.sendto(data, where)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_responder_s_reply_says_who_and_from_where(host: str) -> None:
    with server(responder, host) as port:
        first, second = run(spec_of(UDP, Shot(), Shot(size=1200), token=TOKEN), host, port)
    for shot in (first, second):
        assert shot.outcome is Outcome.OK and shot.failure is None and shot.rtt_ms is not None
        assert (shot.scheduled, shot.sent, shot.ttl) == (True, True, 64)
        (reply,) = shot.replies
        assert reply.valid and reply.agent == NONCE.hex() and reply.size == flowtoken.REPLY_SIZE
        assert (reply.seen_address, reply.seen_port) == (host, shot.local_port)
        assert (reply.source, reply.source_port) == (host, port)
        assert reply.at_ms >= shot.at_ms
    assert first.local_port != second.local_port


def test_the_wishes_of_a_shot_are_in_its_request() -> None:
    asked: list[flowtoken.Request | None] = []
    with server(lambda sock, data, where: asked.append(flowtoken.read_request(data, TOKEN))) as port:
        shot = Shot(size=700, delay_ms=250, large_reply=True, other_port=True)
        run(spec_of(UDP, Shot(), shot, token=TOKEN, timeout_s=0.2), "127.0.0.1", port)
    both = flowtoken.Asked.LARGE | flowtoken.Asked.OTHER_PORT
    assert asked == [
        flowtoken.Request(TOKEN, 0, flowtoken.LEAST),
        flowtoken.Request(TOKEN, 1, 700, both, 250),
    ]


def test_silence() -> None:
    with server(mute) as port:
        (shot,) = run(spec_of(UDP, Shot(), token=TOKEN, timeout_s=0.2), "127.0.0.1", port)
    assert shot.outcome is Outcome.TIMEOUT and shot.failure is not None
    assert shot.failure.kind is FailureKind.TIMEOUT and shot.rtt_ms is None and shot.sent is True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_closed_port_refuses_by_icmp(host: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind((host, 0))
        port = held.getsockname()[1]
    (shot,) = run(spec_of(UDP, Shot()), host, port)
    assert shot.outcome is Outcome.REFUSED and shot.failure is not None
    assert shot.failure.origin is Origin.TARGET and shot.so_error == "ECONNREFUSED"
    assert [(error.type, error.code) for error in shot.errors] == [(1, 4) if ":" in host else (3, 3)]


def test_strangers_answers_do_not_count_for_a_request_with_a_token() -> None:
    def stranger(sock: socket.socket, data: bytes, where: tuple[str, int]) -> None:
        sock.sendto(b"who are you", where)
        sock.sendto(flowtoken.pack_reply(flowtoken.Request(bytes(16)), NONCE, "192.0.2.1", 1), where)

    with server(stranger) as port:
        (shot,) = run(spec_of(UDP, Shot(), token=TOKEN, timeout_s=0.3), "127.0.0.1", port)
    assert shot.outcome is Outcome.TIMEOUT
    assert [reply.valid for reply in shot.replies] == [False, False]


@pytest.mark.parametrize("token", [TOKEN, None])
def test_a_foreign_service_s_answer_counts_where_it_was_spoken_to(token: bytes | None) -> None:
    with server(echo) as port:
        (shot,) = run(spec_of(UDP, Shot(send=b"ping?"), token=token), "127.0.0.1", port)
    assert shot.outcome is Outcome.OK and shot.answer == b"ping?"
    assert [reply.valid for reply in shot.replies] == [False]


def test_an_answer_from_elsewhere_counts_only_with_the_token() -> None:
    def elsewhere(sock: socket.socket, data: bytes, where: tuple[str, int]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.2", 0))
            is_ours = flowtoken.read_request(data, TOKEN) is not None
            other.sendto(reply_to(data, where) if is_ours else data, where)

    with server(elsewhere) as port:
        shots = (Shot(), Shot(send=b"ping?"))
        ours, foreign = run(spec_of(UDP, *shots, token=TOKEN, timeout_s=0.3), "127.0.0.1", port)
    assert ours.outcome is Outcome.OK and foreign.outcome is Outcome.TIMEOUT
    for shot in (ours, foreign):
        assert [reply.source for reply in shot.replies] == ["127.0.0.2"]


def test_without_token_and_words_a_datagram_is_empty() -> None:
    heard: list[bytes] = []
    with server(lambda sock, data, where: heard.append(data)) as port:
        run(spec_of(UDP, Shot(), Shot(size=5), timeout_s=0.2), "127.0.0.1", port)
    assert heard == [b"", bytes(5)]


def test_shots_of_one_socket_share_its_port_and_get_their_own_replies() -> None:
    with server(responder) as one, server(responder, "127.0.0.2") as other:
        shots = (
            Shot(socket=0),
            Shot(socket=0, port=other, address="127.0.0.2", at_ms=20),
            Shot(socket=0, at_ms=40),
            Shot(socket=1, at_ms=60),
        )
        told = run(spec_of(UDP, *shots, token=TOKEN), "127.0.0.1", one)
    assert [shot.outcome for shot in told] == [Outcome.OK] * 4
    ports = [shot.local_port for shot in told]
    assert len(set(ports[:3])) == 1 and ports[3] != ports[0]
    assert [shot.replies[0].source for shot in told] == ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.1"]
    assert all(len(shot.replies) == 1 for shot in told)


def test_a_closed_port_does_not_spoil_the_next_send_of_a_shared_socket() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        closed = held.getsockname()[1]
    with server(responder) as port:
        shots = [Shot(socket=0, port=0 if number % 2 else closed) for number in range(20)]
        told = run(spec_of(UDP, *shots, token=TOKEN), "127.0.0.1", port)
    assert [shot.outcome for shot in told] == [Outcome.REFUSED, Outcome.OK] * 10
    assert all(shot.sent for shot in told)


def test_listening_on_tells_what_comes_late_and_unasked() -> None:
    asking: list[tuple[bytes, tuple[str, int]]] = []

    def late(sock: socket.socket, data: bytes, where: tuple[str, int]) -> None:
        asking.append((data, where))
        if len(asking) == 2:
            for one in asking:
                sock.sendto(reply_to(*one), one[1])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"unasked", asking[0][1])

    with server(late) as port:
        shots = (Shot(socket=0), Shot(socket=0, at_ms=300))
        spec = spec_of(UDP, *shots, token=TOKEN, timeout_s=0.2, listen_ms=200)
        first, second = run(spec, "127.0.0.1", port)
    assert first.outcome is Outcome.TIMEOUT, "it came, too late to count"
    assert [reply.valid for reply in first.replies] == [True] and first.replies[0].at_ms >= 300
    assert second.outcome is Outcome.OK
    assert [reply.valid for reply in second.replies] == [True, False], "whose it is nobody knows: the last"


def test_what_is_too_big_to_be_sent_is_data() -> None:
    with server(mute) as port:
        shots = (Shot(send=bytes(65_508)), Shot(size=65_000, dont_fragment=True))
        too_big, _ = run(spec_of(UDP, *shots, timeout_s=0.2), "127.0.0.1", port)
    assert too_big.failure is not None and too_big.failure.errno == "EMSGSIZE"
    assert too_big.failure.kind is FailureKind.TOO_BIG and too_big.failure.origin is Origin.AGENT
    assert too_big.sent is False


def test_a_source_port_that_is_asked_for() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        asked = held.getsockname()[1]
    with server(responder) as port:
        (shot,) = run(spec_of(UDP, Shot(source_port=asked), token=TOKEN), "127.0.0.1", port)
    assert (shot.outcome, shot.local_port, shot.replies[0].seen_port) == (Outcome.OK, asked, asked)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_echo_requests(host: str) -> None:
    """As root a raw socket does where no ping socket is allowed."""
    first, second, third = run(spec_of(ICMP, Shot(), Shot(size=0), Shot(size=3000, ttl=3)), host)
    for shot, size in ((first, 56), (second, 0), (third, 3000)):
        assert shot.outcome is Outcome.OK and shot.ttl == 64 and shot.rtt_ms is not None
        assert [(reply.valid, reply.size, reply.source) for reply in shot.replies] == [(True, size, host)]
        assert (shot.local_address, shot.sent) == (host, True)
