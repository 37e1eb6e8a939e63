"""Run as a program inside a namespace: the servers of a target, which do what :data:`PORTS` says.

Arguments: an address to serve on, files with a certificate and its key."""

import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable

PORTS = {
    "http": 80,  # /200, /500
    "tls": 443,
    "dns": 53,  # NXDOMAIN under .test, SERVFAIL for broken.example, else 192.0.2.1
    "junk-dns": 54,  # bytes that are no answer
    "echo": 7,  # udp
    "reset": 90,  # accepts, reads, and resets
    "plain": 91,  # answers everything with a line of text
    "mute": 92,  # accepts and says nothing
}


def served(port: int, handler: Callable[[socket.socket], None]) -> None:
    listener = socket.create_server((sys.argv[1], port), backlog=64)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=guarded, args=(handler, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def guarded(handler: Callable[[socket.socket], None], connection: socket.socket) -> None:
    try:
        with connection:
            handler(connection)
    except OSError:
        pass


def http(connection: socket.socket) -> None:
    status = b"500 Broken" if b" /500 " in connection.recv(4096) else b"200 OK"
    connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def tls(connection: socket.socket) -> None:
    with context.wrap_socket(connection, server_side=True) as wrapped:
        wrapped.recv(10)


def reset(connection: socket.socket) -> None:
    connection.recv(10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def plain(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"this is neither TLS nor HTTP\r\n")


def mute(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def answer(query: bytes) -> bytes:
    """An A record for everything but what :data:`PORTS` says."""
    end = query.index(b"\0", 12) + 5
    name, wants_a = query[12:end].lower(), query[end - 4 : end - 2] == b"\0\1"
    rcode = 3 if b"\x04test\0" in name else 2 if b"\x06broken" in name else 0
    found = int(not rcode and wants_a)
    head = query[:2] + struct.pack("!HHHHH", 0x8180 | rcode, 1, found, 0, 0) + query[12:end]
    return head + found * (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton("192.0.2.1"))


def datagrams(port: int, reply: Callable[[bytes], bytes]) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((sys.argv[1], port))

    def loop() -> None:
        while True:
            data, sender = sock.recvfrom(65535)
            sock.sendto(reply(data), sender)

    threading.Thread(target=loop, daemon=True).start()


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    for name, handler in {"http": http, "tls": tls, "reset": reset, "plain": plain, "mute": mute}.items():
        served(PORTS[name], handler)
    datagrams(PORTS["dns"], answer)
    datagrams(PORTS["junk-dns"], lambda data: b"junk")
    datagrams(PORTS["echo"], lambda data: data)
    print("ready", flush=True)
    threading.Event().wait()
