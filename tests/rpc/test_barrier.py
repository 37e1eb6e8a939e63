"""Who is barred does not get through to a real listening socket, and everybody else does."""

import ipaddress
import socket
import struct
from collections.abc import Iterator

import pytest
from probemesh_shared.rpc.barrier import MOST, bar, program

BARRED, OTHER = "127.0.0.66", "127.0.0.67"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def dial(listener: socket.socket, source: str) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], 0.2, (source, 0))


def test_an_address_is_barred_and_no_other(listener: socket.socket) -> None:
    with dial(listener, BARRED) as stands:
        bar(listener, [BARRED])
        with pytest.raises(TimeoutError):
            dial(listener, BARRED)
        dial(listener, OTHER).close()
        server, _ = listener.accept()
        with server:
            stands.sendall(b"still here")
            assert server.recv(64) == b"still here"
    bar(listener, [])
    dial(listener, BARRED).close()


def test_as_many_as_may_be(listener: socket.socket) -> None:
    many = [f"10.0.{number >> 8}.{number & 255}" for number in range(MOST // 2)]
    prefixes = [f"2001:db8:0:{number:x}::/64" for number in range(MOST // 2 - 1)]
    bar(listener, [*many, *prefixes, BARRED])
    with pytest.raises(TimeoutError):
        dial(listener, BARRED)
    dial(listener, OTHER).close()


def test_ipv6_by_its_prefix_also_where_both_families_are_listened_to() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        bar(listener, ["::/64", BARRED])
        for address, source in (("::1", "::1"), ("127.0.0.1", BARRED)):
            with pytest.raises(TimeoutError):
                socket.create_connection((address, port), 0.2, (source, 0))
        socket.create_connection(("127.0.0.1", port), 0.2, (OTHER, 0)).close()
        bar(listener, ["2001:db8::/64", "192.0.2.1"])
        socket.create_connection(("::1", port), 0.2).close()


@pytest.mark.parametrize("word", ["", "nowhere", "192.0.2.0/24", "2001:db8::/32", "2001:db8::1"])
def test_what_is_neither_an_address_nor_a_64_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        program([word])


def test_the_words_of_a_program() -> None:
    code = program([BARRED])
    steps = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    assert (0x15, 0, 1, int(ipaddress.ip_address(BARRED))) in steps
    assert [step[3] for step in steps if step[0] == 0x06] == [0, 0xFFFFFFFF, 0xFFFFFFFF]
