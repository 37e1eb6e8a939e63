"""Every kind, against real sockets: an expectation that holds and one that does not, through the agent's
one judge. Rows keep their samples; a failure explains itself."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

import dns.message
import dns.rrset
import pytest
import trustme
from probemesh_agent.capabilities import ping_method
from probemesh_agent.expecting import measured
from probemesh_agent.ladder import LadderProbe
from probemesh_shared.expectations import KEYS, parse_expectations
from probemesh_shared.model import (
    DnsSpec,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    Measurement,
    Options,
    Spec,
    Target,
    TargetResult,
    TcpSpec,
    TlsSpec,
    UdpSpec,
    Vantage,
)
from probemesh_shared.outcomes import exit_code, vantage_outcome
from probemesh_shared.targets import parse_target
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome

from tests.conftest import wanting
from tests.probes_rich.rich_bench import QUICK, Bench, at, authority, bench, server_context, serving, trusted

__all__ = ["authority", "bench", "trusted"]

BODY = b'{"status": {"ready": true, "n": 3}, "note": "all is well"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s" % (len(BODY), BODY)
)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where each kind finds what it asks."""

    tcp: int
    udp: int
    dns: int
    tls: int
    http: int
    closed: int


async def _web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    moved = b"HTTP/1.1 302 Found\r\nLocation: https://there.example/x\r\nContent-Length: 0\r\n\r\n"
    gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    path = head.split()[1]
    writer.write({b"/moved": moved, b"/gone": gone}.get(path, ANSWER))
    await writer.drain()


async def _ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-Test_1\r\n")
    await writer.drain()
    await reader.read()


def _name_server(data: bytes) -> bytes:
    asked = dns.message.from_wire(data)
    answer = dns.message.make_response(asked)
    if asked.question[0].name.to_text().startswith("nowhere"):
        answer.set_rcode(3)
    else:
        answer.answer = [dns.rrset.from_text(asked.question[0].name, 60, "IN", "A", "192.0.2.7", "192.0.2.8")]
    return answer.to_wire()


@contextmanager
def _datagrams(answering):
    """The port of a UDP server in this loop."""
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)

        def read() -> None:
            data, peer = server.recvfrom(4096)
            server.sendto(answering(data), peer)

        loop.add_reader(server, read)
        try:
            yield server.getsockname()[1]
        finally:
            loop.remove_reader(server)


@asynccontextmanager
async def _started(trusted: trustme.CA) -> AsyncIterator[Servers]:
    context = server_context(trusted, "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    async with AsyncExitStack() as stack:
        yield Servers(
            tcp=await stack.enter_async_context(serving(_ssh)),
            udp=stack.enter_context(_datagrams(lambda data: b"pong " + data)),
            dns=stack.enter_context(_datagrams(_name_server)),
            tls=await stack.enter_async_context(serving(_web, context)),
            http=await stack.enter_async_context(serving(_web)),
            closed=closed,
        )


@pytest.fixture
async def servers(trusted: trustme.CA) -> AsyncIterator[Servers]:
    async with _started(trusted) as started:
        yield started


def asked_of(kind: Kind, servers: Servers, options: Options) -> tuple[Spec, Target]:
    match kind:
        case Kind.ICMP:
            return IcmpSpec(options), Target("127.0.0.1", "127.0.0.1")
        case Kind.DNS:
            server = f"127.0.0.1:{servers.dns}"
            return DnsSpec(options), Target("dns:x", "x.example", record_type="A", server=server)
        case Kind.TCP:
            return TcpSpec(options), at(servers.tcp)
        case Kind.UDP:
            return UdpSpec(options, b"ping"), at(servers.udp)
        case Kind.TLS:
            return TlsSpec(options), at(servers.tls)
        case _:
            return HttpSpec(options), at(servers.http, path="/")


async def expecting(bench: Bench, spec: Spec, target: Target, *texts: str) -> list[Measurement]:
    kind = Kind(type(spec).__name__.removesuffix("Spec").lower())
    probe = LadderProbe(bench.registry) if kind is Kind.LADDER else bench.registry[kind]
    spec = replace(spec, options=replace(spec.options, expect=parse_expectations(texts)))
    rows = measured(probe, kind, spec, (target,), bench.env())
    return [row async for batch in rows for row in batch]


JUDGED = [
    (Kind.ICMP, "rtt-max=1s", "rtt-min=1s"),
    (Kind.ICMP, "loss-max=0%", "reply-ttl-min=255"),
    (Kind.DNS, "answer=192.0.2.8", "answer=192.0.2.9"),
    (Kind.DNS, "answers-min=2", "answers-max=1"),
    (Kind.DNS, "rcode=NOERROR", "rcode=SERVFAIL"),
    (Kind.DNS, "ttl-min=60s", "ttl-min=1h"),
    (Kind.DNS, "flag=rd", "flag=aa"),
    (Kind.TCP, "state=open", "state=closed"),
    (Kind.TCP, "banner=SSH-2.0", "banner=SSH-1"),
    (Kind.TCP, "answer=hex:5353482d", "answer=hex:00"),
    (Kind.UDP, "answer=pong ping", "answer=pang"),
    (Kind.UDP, "answer=hex:706f6e67", "answer=hex:00"),
    (Kind.UDP, "state=open", "state=closed"),
    (Kind.TLS, "tls-version=1.2+", "tls-version=1.0"),
    (Kind.TLS, "verified=yes", "verified=no"),
    (Kind.TLS, "expires-in=1d", "expires-in=999999d"),
    (Kind.HTTP, "status=200-299", "status=201"),
    (Kind.HTTP, "body=all is well", "body=all is ill"),
    (Kind.HTTP, "body-not=ill", "body-not=well"),
    (Kind.HTTP, "header=content-type: JSON", "header=Content-Type: html"),
    (Kind.HTTP, "json=status.ready=true", "json=status.n=4"),
    (Kind.HTTP, "http-version=1.1", "http-version=2"),
    (Kind.HTTP, "size-max=1kB", "size-max=10"),
    (Kind.HTTP, "rtt-max=5s", "redirect=*"),
]


@pytest.mark.parametrize(("kind", "met", "unmet"), JUDGED, ids=lambda one: str(one).replace(" ", "-"))
async def test_what_is_expected_holds_and_what_is_not_is_told(
    bench: Bench, servers: Servers, kind: Kind, met: str, unmet: str
) -> None:
    if kind is Kind.ICMP and ping_method() is None:
        wanting("wants a ping socket, a raw socket or the program ping")
    spec, target = asked_of(kind, servers, QUICK)
    (good,) = await expecting(bench, spec, target, met)
    assert (good.outcome, good.failure) == (Outcome.OK, None), good.failure
    (bad,) = await expecting(bench, spec, target, unmet)
    assert bad.outcome is Outcome.ANSWER_UNEXPECTED and bad.failure is not None
    assert bad.failure.origin is Origin.TARGET and "expected" in bad.failure.detail
    assert bad.failure.detail in " ".join(bad.log) and len(bad.samples) == len(good.samples) == 1


def test_every_kind_and_every_judge_but_those_of_answers_not_given_here_is_held() -> None:
    assert {kind for kind, _, _ in JUDGED} == {kind for key in KEYS.values() for kind in key.kinds}
    shown = {text.partition("=")[0] for _, *pair in JUDGED for text in pair}
    assert set(KEYS) - shown == {
        *(
            "ocsp",
            "answer-not",
            "address",
            "authority",
            "additional",
            "dnssec",
            "cipher",
            "alpn",
            "fingerprint",
        )
    }


async def test_failures_that_were_expected(bench: Bench, servers: Servers) -> None:
    server = f"127.0.0.1:{servers.dns}"
    nowhere = Target("dns:n", "nowhere.example", record_type="A", server=server)
    for spec, target, met, unmet in (
        (DnsSpec(QUICK), nowhere, "rcode=NXDOMAIN", "rcode=NOERROR"),
        (TcpSpec(QUICK), at(servers.closed), "state=closed", "state=open"),
        (UdpSpec(QUICK, b"x"), at(servers.closed), "state=closed", "state=open"),
        (HttpSpec(QUICK), at(servers.http, path="/gone"), "status=404", "status=410"),
    ):
        (good,) = await expecting(bench, spec, target, met)
        assert (good.outcome, good.failure) == (Outcome.OK, None)
        (bad,) = await expecting(bench, spec, target, unmet)
        assert bad.outcome is not Outcome.OK and bad.failure is not None
        if target.path != "/gone":
            assert bad.failure.kind in (FailureKind.NO_SUCH_NAME, FailureKind.REFUSED)
    (moved,) = await expecting(
        bench, HttpSpec(QUICK), at(servers.http, path="/moved"), "redirect=https://there*"
    )
    assert moved.outcome is Outcome.OK


async def test_a_wall_has_to_stand_at_every_address(bench: Bench, servers: Servers) -> None:
    """The port is open at 127.0.0.1 and closed at 127.0.0.2: an alternative for who wants it open only."""
    both = replace(at(servers.tcp), host="db.example", addresses=("127.0.0.1", "127.0.0.2"))
    shut = replace(at(servers.closed), host="db.example", addresses=("127.0.0.1", "127.0.0.2"))
    for spec, ladder in ((TcpSpec(QUICK), False), (LadderSpec(QUICK), True)):
        for target, text, outcome in (
            (both, "state=closed", Outcome.ANSWER_UNEXPECTED),
            (both, "state=closed,filtered", Outcome.ANSWER_UNEXPECTED),
            (both, "state=open", Outcome.OK),
            (shut, "state=closed", Outcome.OK),
        ):
            rows = await expecting(bench, spec, target, text)
            assert len({row.address for row in rows if row.kind is Kind.TCP}) == 2
            told, _, _ = vantage_outcome(rows, ladder, ported=True)
            assert told is outcome, (text, rows)
            code = exit_code([TargetResult(target, 0, (Vantage("a", None, told, None, tuple(rows)),))])
            assert code == (0 if outcome is Outcome.OK else 1)


async def test_what_must_not_be_there_must_be_nowhere(bench: Bench, servers: Servers) -> None:
    async def clean(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")

    async with serving(clean) as port:
        (good,) = await expecting(bench, HttpSpec(QUICK), at(port), "body-not=all is well")
        (bad,) = await expecting(bench, HttpSpec(QUICK), at(servers.http), "body-not=all is well")
        assert vantage_outcome((good, replace(bad, port=port)), False)[0] is Outcome.ANSWER_UNEXPECTED
        (other,) = await expecting(bench, HttpSpec(QUICK), at(servers.http), "body=fine")
        assert vantage_outcome((good, replace(other, port=port)), False)[0] is Outcome.OK
    asked = Target("dns:n", "n.example", record_type="A", server=f"127.0.0.1:{servers.dns}")
    (without,) = await expecting(bench, DnsSpec(QUICK), asked, "answer-not=192.0.2.9")
    (answered,) = await expecting(bench, DnsSpec(QUICK), asked, "answer-not=192.0.2.8")
    assert vantage_outcome((without, answered), False)[0] is Outcome.ANSWER_UNEXPECTED


async def test_a_climb_that_nothing_could_be_judged_on_has_reached_nothing(
    bench: Bench, servers: Servers
) -> None:
    rows = await expecting(bench, LadderSpec(QUICK), at(servers.tcp), "verified=yes")
    outcome, failed_at, _ = vantage_outcome(rows, True, ported=True)
    assert (outcome, failed_at) == (Outcome.UNSUPPORTED, Kind.TLS)
    told = Vantage("a", None, outcome, failed_at, tuple(rows))
    assert exit_code([TargetResult(at(servers.tcp), 0, (told,))]) == 4


async def climbed(bench: Bench, text: str, *texts: str) -> dict[Kind, Measurement]:
    rows = await expecting(bench, LadderSpec(QUICK), parse_target(text), *texts)
    return {row.kind: row for row in rows}


async def test_a_climb_is_judged_rung_by_rung(bench: Bench, servers: Servers) -> None:
    url = f"https://127.0.0.1:{servers.tls}/"
    good = await climbed(bench, url, "status=200", "tls-version=1.2+", "rtt-max=5s", "json=status.n=3")
    assert {row.outcome for kind, row in good.items() if kind is not Kind.ICMP} == {Outcome.OK}
    assert Kind.HTTP in good
    bad = await climbed(bench, url, "status=200", "expires-in=999999d")
    assert bad[Kind.TLS].outcome is Outcome.ANSWER_UNEXPECTED and Kind.HTTP not in bad
    wrong = await climbed(bench, url, "body=nothing of it")
    assert wrong[Kind.HTTP].outcome is Outcome.ANSWER_UNEXPECTED
    ssh = await climbed(bench, f"127.0.0.1:{servers.tcp}", "banner=SSH-2.0-Test")
    assert ssh[Kind.TCP].outcome is Outcome.OK
    missing = await climbed(bench, f"127.0.0.1:{servers.tcp}", "status=200")
    assert missing[Kind.HTTP].outcome is Outcome.UNSUPPORTED
    closed = await climbed(bench, f"127.0.0.1:{servers.closed}", "state=closed")
    assert closed[Kind.TCP].outcome is Outcome.OK
