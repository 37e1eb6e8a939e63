"""Servers that answer by who asks, or by which of their addresses is asked: run as a program in a namespace.

``python answers_by_asker.py PLAN`` with PLAN a JSON file: ``views`` (address to bind → name → addresses),
``tls`` (client address → PEM file with key and chain; "" for the others), ``http`` (port → client address →
``{status, body, delay_s}``; "" for the others). Serves until it is ended.
"""

import asyncio
import json
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class Names(asyncio.DatagramProtocol):
    """A resolver; the order of its answers turns with every question."""

    def __init__(self, view: dict[str, list[str]]) -> None:
        self._view = view
        self._turn = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query, recursion_available=True)
        asked = query.question[0]
        known = self._view.get(asked.name.to_text(omit_final_dot=True))
        if known is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif asked.rdtype == dns.rdatatype.A:
            self._turn += 1
            at = self._turn % len(known)
            answer.answer.append(
                dns.rrset.from_text(asked.name, self._turn, "IN", "A", *known[at:], *known[:at])
            )
        self._transport.sendto(answer.to_wire(), peer)


def context(pem: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pem)
    return made


def by_asker(table: dict[str, Any], peer: str) -> Any:
    return table.get(peer, table[""])


async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, table: dict[str, Any]) -> None:
    """One request; the answer's Date is never the same twice."""
    told = by_asker(table, writer.get_extra_info("peername")[0])
    try:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(told.get("delay_s", 0))
        body = told.get("body", "ok").encode()
        head = f"HTTP/1.1 {told.get('status', 200)} x\r\nDate: {asyncio.get_running_loop().time()}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def tls(sock: socket.socket, contexts: dict[str, ssl.SSLContext]) -> None:
    """Chooses the certificate by the peer, which has to be known before the handshake."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()
    while True:
        peer, address = await loop.sock_accept(sock)
        task = asyncio.create_task(_tls_one(peer, by_asker(contexts, address[0])))
        running.add(task)
        task.add_done_callback(running.discard)


async def _tls_one(peer: socket.socket, chosen: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, peer, ssl=chosen)
    except (OSError, ssl.SSLError):
        return
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    await speak(reader, writer, {"": {}})


async def main(plan: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    for address, view in plan["views"].items():
        await loop.create_datagram_endpoint(lambda view=view: Names(view), (address, 53))
    servers = [
        await asyncio.start_server(lambda r, w, table=table: speak(r, w, table), "0.0.0.0", int(port))
        for port, table in plan["http"].items()
    ]
    sock = socket.create_server(("0.0.0.0", 443), backlog=64)
    sock.setblocking(False)
    await tls(sock, {peer: context(pem) for peer, pem in plan["tls"].items()})
    del servers


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
