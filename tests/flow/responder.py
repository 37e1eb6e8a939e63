"""A far responder for tests: answers the requests of one token, by TCP and UDP, on one port, both families.

::

    python responder.py PORT TOKEN_HEX [REPLY_FROM]

Says ``ready`` once it listens. With REPLY_FROM (an IPv4 address of this host) replies to datagrams leave from
that address and some port, whatever was asked."""

import selectors
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from probemesh_shared.wire import flowtoken

NONCE = bytes(range(8))


def plain(address: str) -> str:
    return address.removeprefix("::ffff:")


def main(port: int, token: bytes, reply_from: str | None) -> None:
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.bind(("::", port))
    other = None
    if reply_from:  # from a port of its own, lest it take datagrams of the other
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind((reply_from, 0))
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(datagrams, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is listener:
                accepted, _ = listener.accept()
                selector.register(accepted, selectors.EVENT_READ)
            elif sock is datagrams:
                data, where = datagrams.recvfrom(65_535)
                request = flowtoken.read_request(data, token)
                if request is None:
                    continue
                reply = flowtoken.pack_reply(request, NONCE, plain(where[0]), where[1])
                if other is not None:
                    other.sendto(reply, (plain(where[0]), where[1]))
                else:
                    datagrams.sendto(reply, where)
            else:
                answer(sock, selector, token)


def answer(sock: socket.socket, selector: selectors.BaseSelector, token: bytes) -> None:
    try:
        data = sock.recv(65_535)
    except OSError:
        data = b""
    request = flowtoken.read_head(data, token)
    if request is not None:
        where = sock.getpeername()
        sock.sendall(flowtoken.pack_reply(request, NONCE, plain(where[0]), where[1]))
    if not data:
        selector.unregister(sock)
        sock.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), bytes.fromhex(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
