"""Hostile servers, run as a program: every behaviour on a TCP port of its own, in the clear and within TLS,
and every flood of datagrams on a UDP port. Prints the ports as JSON, and serves until its end.

``foe.py HOST FOLDER``: ``FOLDER`` gets the authority that its certificates are by."""

import contextlib
import json
import random
import selectors
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.hostile_targets.behaviours import FLOODS, QUIET, Behaviour
from tests.hostile_targets.datagrams import DATAGRAMS, Answers

HOST = sys.argv[1]
#: So long a client may take to speak first; most that is read of it.
FIRST_S, FIRST = 0.15, 8192

Wrap = Callable[[socket.socket], socket.socket]


def serve(sock: socket.socket, behaviour: Behaviour, wrap: Wrap | None) -> None:
    with contextlib.suppress(OSError, ValueError), sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(5.0)
        stream = wrap(sock) if wrap is not None else sock
        stream.settimeout(FIRST_S)
        heard = b""
        with contextlib.suppress(TimeoutError):
            heard = stream.recv(FIRST)
        stream.settimeout(10.0)
        for data in behaviour.say(heard):
            stream.sendall(data)
            if behaviour.pause_s:
                time.sleep(behaviour.pause_s)
        if behaviour.closes:
            stream.close()
            return
        while stream.recv(FIRST):
            pass
        stream.close()


def context_of(authority: trustme.CA, *alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    context.set_alpn_protocols(list(alpn))
    return context


def bloated(folder: Path) -> dict[str, ssl.SSLContext]:
    """Servers whose certificates, chains and wishes are as large as OpenSSL takes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = folder / "bloated-key.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )

    def issued(name: str, names: int, extra: int = 0) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        organisations = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "\x1b[2J" * 12)] * extra
        alternative = [x509.DNSName(f"n{number}.{'x' * 40}.example") for number in range(names)]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([*subject, *organisations]))
            .issuer_name(x509.Name([*subject, *organisations]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        )
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def context(leaf: bytes, *more: bytes) -> ssl.SSLContext:
        chain = folder / "chain.pem"
        chain.write_bytes(leaf + b"".join(more))
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(chain, pem)
        return made

    leaf = issued("leaf", 1)
    authorities = context(leaf)
    authorities.verify_mode = ssl.CERT_OPTIONAL
    ca = "".join(issued(f"ca {number}", 0, extra=40).decode() for number in range(20))
    authorities.load_verify_locations(cadata=ca)
    return {
        "large certificate": context(issued("large", 1_450)),
        "long chain": context(leaf, *(issued(f"link {number}", 50) for number in range(25))),
        "many names": context(issued("many", 900, extra=40)),
        "many authorities": authorities,
    }


def wrapper(context: ssl.SSLContext) -> Wrap:
    return lambda sock: context.wrap_socket(sock, server_side=True)


def listen(ways: dict[str, tuple[Behaviour, Wrap | None]]) -> dict[str, int]:
    """A port for each; connections are served in threads."""
    selector, ports = selectors.DefaultSelector(), {}
    for name, way in ways.items():
        listener = socket.create_server((HOST, 0), backlog=64)
        ports[name] = listener.getsockname()[1]
        selector.register(listener, selectors.EVENT_READ, way)

    def accept() -> None:
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                with contextlib.suppress(OSError):
                    sock, _ = key.fileobj.accept()
                    threading.Thread(target=serve, args=(sock, *key.data), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return ports


def answer(sock: socket.socket, answers: Answers, heard: bytes, sender: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        until = time.monotonic() + 4.0
        for data in answers(heard):
            if time.monotonic() > until:
                return
            if data is None:
                time.sleep(0.2)
            elif data.startswith(b"elsewhere:"):
                with socket.socket(type=socket.SOCK_DGRAM) as other:
                    other.sendto(data.removeprefix(b"elsewhere:"), sender)
            else:
                sock.sendto(data, sender)


def datagrams() -> dict[str, int]:
    """Who sends something is flooded for four seconds."""
    ports = {}
    for name, answers in DATAGRAMS.items():
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind((HOST, 0))
        ports[name] = sock.getsockname()[1]

        def loop(sock: socket.socket = sock, answers: Answers = answers) -> None:
            while True:
                with contextlib.suppress(OSError):
                    heard, sender = sock.recvfrom(65_535)
                    threading.Thread(target=answer, args=(sock, answers, heard, sender), daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()
    return ports


def main() -> None:
    random.seed(1)
    authority = trustme.CA()
    folder = Path(sys.argv[2])
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    one, both = (
        wrapper(context_of(authority, *alpn)) for alpn in (("http/1.1", "dot"), ("h2", "http/1.1", "dot"))
    )
    clear: dict[str, tuple[Behaviour, Wrap | None]] = {n: (b, None) for n, b in {**QUIET, **FLOODS}.items()}
    secure = {
        **{f"tls {n}": (b, one) for n, b in {**QUIET, **FLOODS}.items()},
        **{f"tls2 {n}": (b, both) for n, b in {**QUIET, **FLOODS}.items()},
        **{f"tls {n}": (QUIET["closes"], wrapper(context)) for n, context in bloated(folder).items()},
    }
    print(json.dumps({"tcp": listen({**clear, **secure}), "udp": datagrams()}), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
