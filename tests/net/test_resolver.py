"""Names by getaddrinfo: told apart by EAI code, never waited for beyond the deadline."""

import asyncio
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest
from probemesh_agent.env import Resolution
from probemesh_agent.net.nameservers import ResolvConf, candidates, parse_resolv_conf
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.own import Routes
from probemesh_agent.net.policy import Policy
from probemesh_agent.net.ranges import IPAddress, Way
from probemesh_agent.net.resolver import SystemResolver
from probemesh_shared.failures import outcome_of
from probemesh_shared.model import Options, Target
from probemesh_shared.words import FailureKind, Family, Origin, Outcome, Stage


class Elsewhere(Routes):
    def way(self, address: IPAddress) -> Way:
        return Way.NO_ROUTE if str(address).startswith("2001:db8:dead:") else Way.ELSEWHERE


def row(host: str) -> tuple[Any, ...]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return (family, socket.SOCK_STREAM, 6, "", (host, 0, 0, 0) if ":" in host else (host, 0))


def answering(*hosts: str):
    def lookup(name: bytes, port: None, family: int, kind: int) -> list[tuple[Any, ...]]:
        return [row(host) for host in hosts]

    return lookup


def failing(error: Exception):
    def lookup(*_: object) -> list[tuple[Any, ...]]:
        raise error

    return lookup


def made(clock, lookup, **more) -> SystemNetwork:
    resolver = SystemResolver(lookup=lookup, **more)
    return SystemNetwork(clock, Policy.shipped(), resolver=resolver, routes=Elsewhere())


async def ask(network: SystemNetwork, host: str, clock) -> Resolution:
    return await network.resolve(target(host), Options(), clock.monotonic() + 5)


def target(host: str, **more: Any) -> Target:
    return Target(host, host, **more)


@pytest.mark.parametrize(
    ("error", "kind", "origin"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), FailureKind.NO_SUCH_NAME, Origin.TARGET),
        (socket.gaierror(socket.EAI_NODATA, "x"), FailureKind.NO_ADDRESS, Origin.TARGET),
        (socket.gaierror(socket.EAI_ADDRFAMILY, "x"), FailureKind.NO_ADDRESS, Origin.TARGET),
        (socket.gaierror(socket.EAI_AGAIN, "x"), FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER),
        (socket.gaierror(socket.EAI_FAIL, "x"), FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER),
        (socket.gaierror(socket.EAI_MEMORY, "x"), FailureKind.LOCAL_RESOURCE, Origin.AGENT),
        (socket.gaierror(-12345, "x"), FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER),
        (OSError(24, "x"), FailureKind.LOCAL_RESOURCE, Origin.AGENT),
        (KeyError("x"), FailureKind.INTERNAL, Origin.AGENT),
    ],
)
async def test_failures_by_code(clock, error: Exception, kind: FailureKind, origin: Origin) -> None:
    found = await ask(made(clock, failing(error)), "a.example", clock)
    assert found.failure is not None
    assert (found.failure.stage, found.failure.kind, found.failure.origin) == (Stage.RESOLVE, kind, origin)
    assert found.names_asked and found.elapsed_ms is not None and found.failure.detail


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "é" * 200, "a.b\0c"])
async def test_what_is_no_name_is_not_asked_for(clock, host: str) -> None:
    network = made(clock, failing(AssertionError("asked")))
    found = await network.resolve(target(host), Options(), clock.monotonic() + 5)
    assert found.failure is not None and found.failure.kind is FailureKind.NO_SUCH_NAME


async def test_idna(clock) -> None:
    asked: list[bytes] = []

    def lookup(name: bytes, *_: object) -> list[tuple[Any, ...]]:
        asked.append(name)
        return [row("10.0.0.1")]

    await made(clock, lookup).resolve(target("bücher.example"), Options(), clock.monotonic() + 5)
    assert asked == [b"xn--bcher-kva.example"]


async def test_eight_a_family_in_the_system_s_order(clock) -> None:
    four, six = [f"10.0.0.{n}" for n in range(1, 11)], [f"2001:db8::{n}" for n in range(1, 11)]
    mixed = [host for pair in zip(six, four, strict=True) for host in pair]
    network = made(clock, answering(*mixed, *mixed))
    found = await network.resolve(target("a.example"), Options(), clock.monotonic() + 5)
    assert [one.host for one in found.addresses] == mixed[:16]
    only = await network.resolve(target("a.example"), Options(family=Family.IPV6), clock.monotonic() + 5)
    assert [one.host for one in only.addresses] == six[:8]


async def test_each_address_is_judged(clock) -> None:
    network = made(clock, answering("10.0.0.1", "127.0.0.1", "::ffff:169.254.169.254", "2001:db8:dead::1"))
    found = await network.resolve(target("rebound.example"), Options(), clock.monotonic() + 5)
    assert [one.host for one in found.addresses] == ["10.0.0.1"]
    kinds = {one.host: one.failure.kind for one in found.refused}
    assert kinds == {
        "127.0.0.1": FailureKind.DENIED,
        "169.254.169.254": FailureKind.DENIED,
        "2001:db8:dead::1": FailureKind.NO_ROUTE,
    }
    assert found.failure is None


async def test_all_refused_is_a_failure(clock) -> None:
    found = await made(clock, answering("127.0.0.1")).resolve(
        target("x.example"), Options(), clock.monotonic() + 5
    )
    assert found.failure is not None and found.failure.kind is FailureKind.DENIED and not found.addresses


async def test_given_addresses_replace_the_name(clock) -> None:
    network = made(clock, failing(AssertionError("asked")))
    given = target("b", addresses=("10.0.0.9", "0x7f.1", "2001:db8::9"))
    found = await network.resolve(given, Options(), clock.monotonic() + 5)
    assert [one.host for one in found.addresses] == ["10.0.0.9", "2001:db8::9"]
    assert [one.host for one in found.refused] == ["127.0.0.1"]


async def test_literal_of_the_other_family_is_no_address(clock) -> None:
    network = made(clock, failing(AssertionError("asked")))
    found = await network.resolve(target("10.0.0.1"), Options(family=Family.IPV6), clock.monotonic() + 5)
    assert (
        found.failure is not None and found.failure.kind is FailureKind.NO_ADDRESS and not found.names_asked
    )


async def test_hanging_resolver_holds_up_neither_literals_nor_deadlines(clock) -> None:
    release = threading.Event()
    before = set(threading.enumerate())

    def lookup(name: bytes, *_: object) -> list[tuple[Any, ...]]:
        release.wait(20)
        return [row("10.0.0.1")]

    network = made(clock, lookup, threads=2)
    try:
        began = clock.monotonic()
        names = [f"n{n % 4}.example" for n in range(20)]
        hanging = [network.resolve(target(name), Options(), began + 0.2) for name in names]
        literal = network.resolve(target("10.0.0.7"), Options(), began + 0.2)
        *late, quick = await asyncio.gather(*hanging, literal)
        assert clock.monotonic() - began < 2
        assert quick.addresses[0].host == "10.0.0.7"
        for one in late:
            assert one.failure is not None
            assert (one.failure.kind, one.failure.origin) == (FailureKind.TIMEOUT, Origin.RESOLVER)
        threads = [t for t in threading.enumerate() if t not in before]
        assert 1 <= len(threads) <= 2 and all(t.daemon for t in threads)
    finally:
        release.set()
    # what was given up no longer stands in the way
    again = await network.resolve(target("m.example"), Options(), clock.monotonic() + 5)
    assert again.addresses


async def test_one_name_asked_for_at_once_takes_one_call(clock) -> None:
    calls = []

    def lookup(name: bytes, *_: object) -> list[tuple[Any, ...]]:
        calls.append(name)
        gate.wait(5)
        return [row("10.0.0.1")]

    gate = threading.Event()
    network = made(clock, lookup)
    asking = [
        asyncio.ensure_future(network.resolve(target("a.example"), Options(), clock.monotonic() + 5))
        for _ in range(9)
    ]
    await asyncio.sleep(0)
    gate.set()
    assert all(one.addresses for one in await asyncio.gather(*asking))
    assert calls == [b"a.example"]


def test_hanging_resolver_does_not_hold_the_process() -> None:
    program = """
import asyncio, threading
from probemesh_agent.net.resolver import SystemResolver
from probemesh_shared.words import Family
resolver = SystemResolver(lookup=lambda *_: threading.Event().wait())
answer = asyncio.run(resolver.resolve("a.example", Family.BOTH, 0.05))
print(answer.failure.kind)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.strip() == "timeout"


async def test_real_getaddrinfo_knows_localhost(clock) -> None:
    network = SystemNetwork(clock, Policy.typed_by_user())
    found = await network.resolve(target("localhost"), Options(), clock.monotonic() + 5)
    assert {one.host for one in found.addresses} <= {"127.0.0.1", "::1"} and found.addresses
    never = await network.resolve_host("localhost", Options(), clock.monotonic() + 5)
    assert not never.addresses and {one.failure.kind for one in never.refused} == {FailureKind.DENIED}


def test_resolv_conf() -> None:
    conf = parse_resolv_conf(
        "# x\nnameserver 127.0.0.53 ; y\nnameserver fe80::1%lo\nnameserver bad\nnameserver 10.0.0.2\n"
        "nameserver 10.0.0.3\nsearch a.example b.example.\noptions edns0 ndots:2 timeout:1\n"
    )
    assert [str(one) for one in conf.servers] == ["127.0.0.53", "fe80::1%lo", "10.0.0.2"]
    assert (conf.search, conf.ndots) == (("a.example", "b.example."), 2)
    assert [str(one) for one in parse_resolv_conf("").servers] == ["127.0.0.1"]


def test_search_list() -> None:
    conf = ResolvConf(search=("corp.example.",), ndots=2)
    assert candidates("db", conf) == ("db.corp.example", "db")
    assert candidates("db.eu.x", conf) == ("db.eu.x", "db.eu.x.corp.example")
    assert candidates("db.", conf) == ("db",)
    assert candidates("db", ResolvConf()) == ("db",)


async def test_own_nameservers_are_the_owner_s_choice(clock, tmp_path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.53\nnameserver 10.0.0.2\n")
    plain = SystemNetwork(clock, Policy.shipped(), routes=Elsewhere(), resolv_conf=path)
    assert [one.host for one in plain.nameservers(Options()).addresses] == ["127.0.0.53", "10.0.0.2"]
    from ipaddress import ip_network

    strict = Policy(deny=(ip_network("10.0.0.0/8"),))
    denying = SystemNetwork(clock, strict, routes=Elsewhere(), resolv_conf=path)
    found = denying.nameservers(Options())
    assert [one.host for one in found.addresses] == ["127.0.0.53"]
    assert [one.failure.kind for one in found.refused] == [FailureKind.DENIED]
    missing = SystemNetwork(clock, strict, resolv_conf=tmp_path / "none")
    assert [one.host for one in missing.nameservers(Options()).addresses] == ["127.0.0.1"]


def test_the_kernel_knows_its_own() -> None:
    from ipaddress import ip_address

    routes = Routes()
    assert routes.way(ip_address("127.8.8.8")) is Way.OWN
    assert routes.way(ip_address("203.0.113.77")) in (Way.ELSEWHERE, Way.NO_ROUTE)


def of_one_family(host: str):
    """As glibc: whoever is in the hosts file by one family, and in no DNS, is EAI_NONAME for the other."""

    def lookup(name: bytes, port: None, family: int, kind: int) -> list[tuple[Any, ...]]:
        found = row(host)
        if family in (socket.AF_UNSPEC, found[0]):
            return [found]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    return lookup


@pytest.mark.parametrize(("host", "other"), [("127.0.0.1", Family.IPV6), ("2001:db8::1", Family.IPV4)])
async def test_a_name_without_an_address_of_the_family_asked_for_exists(
    clock, host: str, other: Family
) -> None:
    network = made(clock, of_one_family(host))
    told = await network.resolve(target("only.test"), Options(family=other), clock.monotonic() + 5)
    assert told.failure is not None
    assert (told.failure.kind, told.failure.errno) == (FailureKind.NO_ADDRESS, "EAI_ADDRFAMILY")


async def test_a_name_that_no_family_has_does_not_exist(clock) -> None:
    asked = []

    def lookup(name: bytes, port: None, family: int, kind: int) -> list[tuple[Any, ...]]:
        asked.append(family)
        raise socket.gaierror(socket.EAI_NONAME if len(asked) == 1 else socket.EAI_AGAIN, "x")

    network = made(clock, lookup)
    told = await network.resolve(target("no.test"), Options(family=Family.IPV6), clock.monotonic() + 5)
    assert told.failure is not None and told.failure.kind is FailureKind.NAME_SERVER_FAILED
    assert asked == [socket.AF_INET6, socket.AF_UNSPEC]
    network = made(clock, failing(socket.gaierror(socket.EAI_NONAME, "x")))
    told = await network.resolve(target("no.test"), Options(family=Family.IPV6), clock.monotonic() + 5)
    assert told.failure is not None and told.failure.kind is FailureKind.NO_SUCH_NAME


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("fe80::1%nosuch", "there is no interface nosuch here"),
        ("ff02::1%nosuch", "there is no interface nosuch here"),
        ("2001:db8::1%lo", "only a link-local address has an interface"),
    ],
)
async def test_an_interface_that_this_host_lacks_is_no_name_of_the_target(
    clock, host: str, said: str
) -> None:
    found = await ask(made(clock, failing(AssertionError("nobody is asked"))), host, clock)
    failure = found.failure
    assert failure is not None and failure.detail == f"{host}: {said}"
    assert (failure.kind, failure.origin) == (FailureKind.UNSUPPORTED, Origin.AGENT)
    assert outcome_of(failure) is Outcome.UNSUPPORTED
