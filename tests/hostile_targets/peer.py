"""The far end, run as a program in its namespace: a name server and a web server that lead astray.

Zones (the label ``xHEX`` holds an address): ``fix.test`` is always that address; ``mix.test`` is it and ours;
``alias.test`` is a CNAME to it; ``reb.test`` is ours when first asked, and it ever after; ``ns.test`` is a
zone whose servers are there. The web server redirects to what stands in the query, with the status in the
path."""

import asyncio
import sys
from collections import Counter
from typing import cast
from urllib.parse import unquote_to_bytes

import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

OURS = {dns.rdatatype.A: sys.argv[1], dns.rdatatype.AAAA: sys.argv[2]}
LEADING = (b"Location", b"Content-Location", b"Refresh", b"Alt-Svc")
END = b"Content-Length: 0\r\nConnection: close\r\n\r\n"
asked: Counter[tuple[str, int]] = Counter()


def theirs(name: dns.name.Name) -> tuple[dns.rdatatype.RdataType, str] | None:
    """The type and text of the address in a name."""
    for label in name.labels:
        if label[:1] == b"x" and len(label) in (9, 33):
            packed = bytes.fromhex(label[1:].decode())
            kind = dns.rdatatype.A if len(packed) == 4 else dns.rdatatype.AAAA
            rdata = dns.rdata.from_wire(dns.rdataclass.IN, kind, packed, 0, len(packed))
            return kind, rdata.to_text()
    return None


def addresses(zone: str, name: dns.name.Name, kind: int) -> list[str]:
    found = theirs(name)
    text = found[1] if found is not None and found[0] == kind else None
    ours = OURS.get(dns.rdatatype.RdataType(kind))
    if zone == "friend":
        return [ours] if ours else []
    if zone == "reb":
        asked[str(name), kind] += 1
        if asked[str(name), kind] == 1:
            return [ours] if text and ours else []
    if zone == "mix":
        return [one for one in (ours, text) if one]
    return [text] if text else []


def answer(data: bytes) -> bytes:
    query = dns.message.from_wire(data)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.RA | dns.flags.AA
    question = query.question[0]
    name, kind = question.name, question.rdtype
    zone = name.labels[-3].decode().lower() if len(name.labels) > 2 else ""
    if zone == "alias" and name.labels[0] != b"to":
        there = dns.name.Name((b"to", *name.labels))
        reply.answer.append(dns.rrset.from_text(name, 0, "IN", "CNAME", there.to_text()))
        name = there
    if zone == "ns" and kind == dns.rdatatype.NS and name.labels[0][:1] == b"x":
        servers = [f"ns{n}.{name.to_text()}" for n in (1, 2)]
        reply.answer.append(dns.rrset.from_text(name, 0, "IN", "NS", *servers))
        found = theirs(name)
        if found is not None:
            reply.additional.append(dns.rrset.from_text(servers[0], 0, "IN", found[0], found[1]))
    elif kind in OURS and (texts := addresses(zone, name, kind)):
        reply.answer.append(dns.rrset.from_text(name, 0, "IN", kind, *texts))
    return reply.to_wire()


class Datagrams(asyncio.DatagramProtocol):
    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        self.transport.sendto(answer(data), sender)


async def by_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        size = int.from_bytes(await reader.readexactly(2), "big")
        reply = answer(await reader.readexactly(size))
        writer.write(len(reply).to_bytes(2, "big") + reply)
        await writer.drain()
    except (OSError, EOFError):
        pass
    finally:
        writer.close()


async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """``GET /307?LOCATION``; what has no query is answered with headers that lead on where nobody may follow
    them."""
    try:
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        path, _, query = target.partition(b"?")
        status, there = path.rpartition(b"/")[2], unquote_to_bytes(query)
        if not there:
            status = b"200"
        lead = b"".join(name + b": " + there + b"\r\n" for name in LEADING)
        writer.write(b"HTTP/1.1 " + status + b" x\r\n" + lead + END)
        await writer.drain()
    except (OSError, EOFError, IndexError):
        pass
    finally:
        writer.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    for host in OURS.values():
        await loop.create_datagram_endpoint(Datagrams, local_addr=(host, 53))
        await asyncio.start_server(by_stream, host, 53)
        for port in (80, 8081):
            await asyncio.start_server(redirect, host, port)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
