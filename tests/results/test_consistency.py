"""Who was told what: groups, agreement, and what must not count as a difference."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared.consistency import AspectView, consistency, pools
from probemesh_shared.model import (
    Detail,
    DnsDetail,
    DnsRecord,
    Failure,
    HttpDetail,
    HttpHop,
    Measurement,
    Sample,
    SystemLookup,
    TargetResult,
    TcpDetail,
    TlsDetail,
    UdpDetail,
    Vantage,
)
from probemesh_shared.steady import banner_line, steady
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Aspect, DnsSource, FailureKind, Kind, Origin, Outcome, Stage

NAME = parse_target("web.internal:443")


def row(
    kind: Kind, detail: Detail | None = None, address: str | None = "192.0.2.7", **more: Any
) -> Measurement:
    rtts = more.pop("rtts", (1.0, 1.0, 1.0))
    outcome = more.pop("outcome", Outcome.OK)
    samples = tuple(Sample(i, 0.0, rtt, outcome) for i, rtt in enumerate(rtts))
    port = None if kind in (Kind.DNS, Kind.ICMP) else 443
    return Measurement(kind, 0, NAME.text, address, port, outcome, 1, samples, detail=detail, **more)


def views(*told: list[Measurement], target: Any = NAME) -> dict[Aspect, AspectView]:
    vantages = tuple(Vantage(f"v{i}", None, Outcome.OK, None, tuple(rows)) for i, rows in enumerate(told))
    return {view.aspect: view for view in consistency(TargetResult(target, 1, vantages))}


def groups(view: AspectView) -> dict[str, tuple[str, ...]]:
    return {group.value: group.vantages for group in view.groups}


def resolved(*addresses: str, by: str = "10.0.0.53", **more: Any) -> list[Measurement]:
    detail = DnsDetail(
        "web.internal", "A+AAAA", system=True, system_addresses=addresses, resolvers=(by,), **more
    )
    return [row(Kind.DNS, detail, None)]


def test_addresses_are_grouped_with_their_resolver() -> None:
    view = views(resolved("192.0.2.7"), resolved("192.0.2.7"), resolved("10.9.9.9", by="10.1.1.1"))[
        Aspect.IPV4_ADDRESSES
    ]
    assert groups(view) == {
        "192.0.2.7 (resolver 10.0.0.53)": ("v0", "v1"),
        "10.9.9.9 (resolver 10.1.1.1)": ("v2",),
    }
    assert not view.agreed


def test_an_own_nameserver_that_is_asked_directly_speaks_for_the_resolver() -> None:
    def asked(server: str, value: str) -> list[Measurement]:
        records = (DnsRecord("web.internal", "A", 60, value),)
        told = ("web.internal", "A", True, server, None, "NOERROR", (), records, ("192.0.2.7",))
        return [row(Kind.DNS, DnsDetail(*told, resolvers=("10.0.0.53",)))]

    def values(*told: list[Measurement]) -> set[str]:
        return set(groups(views(*told)[Aspect.IPV4_ADDRESSES]))

    assert values(asked("10.0.0.53", "192.0.2.7")) == {"192.0.2.7 (server 10.0.0.53)"}
    both = {"192.0.2.7 (resolver 10.0.0.53)"}
    assert values(asked("10.0.0.53", "10.9.9.9")) == both | {"10.9.9.9 (server 10.0.0.53)"}
    assert values(asked("8.8.8.8", "192.0.2.7")) == both | {"192.0.2.7 (server 8.8.8.8)"}


def test_the_hosts_file_is_no_resolver() -> None:
    told = resolved("192.0.2.7", lookup=SystemLookup(source=DnsSource.HOSTS_FILE))
    assert groups(views(told)[Aspect.IPV4_ADDRESSES]) == {"192.0.2.7 (its /etc/hosts)": ("v0",)}


def test_sets_that_overlap_agree_and_families_are_apart() -> None:
    seen = views(resolved("192.0.2.7", "192.0.2.8", "2001:db8::1"), resolved("192.0.2.8", "2001:db8::2"))
    assert seen[Aspect.IPV4_ADDRESSES].agreed
    assert not seen[Aspect.IPV6_ADDRESSES].agreed


def test_no_such_name_is_an_answer_and_a_silent_resolver_is_none() -> None:
    absent = Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.TARGET, "")
    silent = replace(absent, kind=FailureKind.TIMEOUT)
    told = [resolved("192.0.2.7"), resolved(system_failure=absent), resolved(system_failure=silent)]
    view = views(*told)[Aspect.IPV4_ADDRESSES]
    assert groups(view) == {
        "192.0.2.7 (resolver 10.0.0.53)": ("v0",),
        "no such name (resolver 10.0.0.53)": ("v1",),
    }


def test_without_a_row_of_resolving_the_addresses_dialled_stand_for_it() -> None:
    tcp = [row(Kind.TCP)]
    assert groups(views(tcp)[Aspect.IPV4_ADDRESSES]) == {"192.0.2.7": ("v0",)}
    assert Aspect.IPV4_ADDRESSES not in views(tcp, target=parse_target("192.0.2.7:443"))
    assert Aspect.IPV4_ADDRESSES not in views([row(Kind.TCP, outcome=Outcome.DENIED)])


def answers(
    *values: str, server: str = "192.0.2.53", ttl: int = 60, rcode: str = "NOERROR"
) -> list[Measurement]:
    records = tuple(DnsRecord("web.internal", "MX", ttl, value) for value in values)
    signature = DnsRecord("web.internal", "RRSIG", ttl, f"MX 13 {ttl}")
    detail = DnsDetail("web.internal", "MX", server=server, rcode=rcode, answers=(*records, signature))
    return [row(Kind.DNS, detail)]


def test_ttl_order_and_signatures_of_records_do_not_count() -> None:
    view = views(answers("10 a.", "20 b.", ttl=60), answers("20 b.", "10 a.", ttl=3))[Aspect.RECORDS]
    assert view.agreed
    assert groups(view) == {"MX: 10 a., 20 b. (server 192.0.2.53)": ("v0", "v1")}
    assert not views(answers("10 a."), answers("10 b."))[Aspect.RECORDS].agreed
    assert not views(answers("10 a."), answers(rcode="NXDOMAIN"))[Aspect.RECORDS].agreed
    assert Aspect.RECORDS not in views(answers(rcode="SERVFAIL"))


def http(body: bytes = b"hello", **more: Any) -> list[Measurement]:
    truncated = more.pop("body_truncated", False)
    size = more.pop("body_size", len(body))
    headers = (("Date", str(random.random())), ("Server", "nginx"))
    detail = HttpDetail(
        status=more.pop("status", 200),
        headers=headers,
        body=body,
        body_size=size,
        body_truncated=truncated,
        **more,
    )
    return [row(Kind.HTTP, detail)]


def test_volatile_headers_do_not_count_and_the_server_does() -> None:
    seen = views(http(), http())
    assert seen[Aspect.STATUS].agreed and seen[Aspect.BODY].agreed
    assert groups(seen[Aspect.SERVER]) == {"nginx": ("v0", "v1")}


def test_a_redirect_is_compared_without_its_query() -> None:
    told = [http(status=302, location=f"https://sso/login?state={n}") for n in range(2)]
    assert views(*told)[Aspect.LOCATION].agreed
    assert not views(told[0], http(status=302, location="https://other/login"))[Aspect.LOCATION].agreed


def test_redirects_that_were_followed_are_compared_by_where_they_lead() -> None:
    def led(where: str, leaf: bytes) -> list[Measurement]:
        return http(redirects=(HttpHop(),), effective_url=where, tls=TlsDetail(chain=(leaf,)))

    seen = views(led("https://a/?x=1", b"one"), led("https://a/?x=2", b"other"))
    assert seen[Aspect.LOCATION].agreed
    assert Aspect.CERTIFICATE not in seen  # it is that of another server
    assert not views(led("https://a/", b""), led("https://b/", b""))[Aspect.LOCATION].agreed


def test_bodies_are_compared_only_where_wholly_read() -> None:
    assert not views(http(b"a"), http(b"b"))[Aspect.BODY].agreed
    for cut in ({"body_truncated": True}, {"body_size": 9000}):
        assert Aspect.BODY not in views(http(b"a", **cut), http(b"b", **cut))


def test_a_page_made_anew_for_everybody_says_nothing() -> None:
    told = [http(f"page {word}".encode()) for word in ("one", "two", "three")]
    assert Aspect.BODY in views(*told[:2])
    assert Aspect.BODY not in views(*told)
    assert Aspect.BODY in views(*told, told[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"at 2026-11-26 22:03:01", b"at 2026-11-27 09:11:59.123"),
        (b"you are 192.0.2.7", b"you are 198.51.100.200"),
        (b'<input value="Q29udHJvbGxlcg1x">', b'<input value="aGVsbG8gd29ybGQh23">'),
        (b"hits: 1234567", b"hits: 1234599"),
    ],
)
def test_what_changes_by_itself_is_set_aside(one: bytes, other: bytes) -> None:
    assert steady(one) == steady(other)


def test_words_and_versions_stay() -> None:
    for text in (b"version 1.2.3", b"hello from berlin", b"backend-3", b"it works, whatever it is"):
        assert steady(text) == text


@given(st.binary(max_size=8192))
def test_any_body_is_made_steady_in_bounds(data: bytes) -> None:
    assert len(steady(data)) <= 4096
    assert len(banner_line(data, None)) <= 200


def test_banners_without_what_is_made_for_one_connection() -> None:
    assert banner_line(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "ssh") == "SSH-2.0-OpenSSH_9.2p1 Debian-2"
    pop = [banner_line(b"+OK ready <%d.%d@mx>\r\n" % (n, n), "pop3") for n in (17, 18)]
    smtp = [banner_line(b"220 mx ESMTP %s, 26 Nov 2026\r\n" % day, "smtp") for day in (b"Thu", b"Fri")]
    assert pop[0] == pop[1] and smtp[0] == smtp[1]
    assert banner_line(b"\r\n", None) == ""


def test_certificates_by_fingerprint_from_tls_and_from_http() -> None:
    one, other = TlsDetail(chain=(b"one",)), TlsDetail(chain=(b"other",))
    told = [[row(Kind.TLS, one)], [row(Kind.HTTP, HttpDetail(tls=one))], [row(Kind.TLS, other)]]
    view = views(*told)[Aspect.CERTIFICATE]
    assert [group.vantages for group in view.groups] == [("v0", "v1"), ("v2",)]
    assert not view.agreed
    both = [row(Kind.TLS, one), row(Kind.TLS, other, "192.0.2.8")]
    assert not views(both, both)[Aspect.CERTIFICATE].agreed


def test_datagrams_need_two_who_were_told_the_same() -> None:
    told = [[row(Kind.UDP, UdpDetail("open", bytes([n])))] for n in (1, 2)]
    assert Aspect.DATAGRAM not in views(*told)
    assert not views(*told, told[0])[Aspect.DATAGRAM].agreed


def test_ready_made_requests_are_compared_by_what_their_answers_say() -> None:
    def ntp(offset: str, stratum: int = 2) -> list[Measurement]:
        text = f"stratum {stratum}, refid 192.0.2.1, offset {offset} ms"
        return [row(Kind.UDP, UdpDetail("open", b"x", protocol="ntp", answer_text=text))]

    assert views(ntp("+0.1"), ntp("-3.2"))[Aspect.DATAGRAM].agreed
    assert not views(ntp("+0.1"), ntp("-3.2"), ntp("0", stratum=16))[Aspect.DATAGRAM].agreed
    stun = UdpDetail("open", b"x", protocol="stun", answer_text="mapped address 192.0.2.7:9")
    assert Aspect.DATAGRAM not in views([row(Kind.UDP, stun)])


def test_what_tcp_was_answered_is_compared_without_what_is_of_the_moment() -> None:
    told = [[row(Kind.TCP, TcpDetail(answer=b"PONG at 12:00:0%d" % n))] for n in (1, 2)]
    assert views(*told)[Aspect.ANSWER].agreed
    assert not views(*told, [row(Kind.TCP, TcpDetail(answer=b"-ERR unknown"))])[Aspect.ANSWER].agreed


def tried(address: str, *rtts: float, outcome: Outcome = Outcome.OK) -> Measurement:
    return row(Kind.TCP, TcpDetail(), address, rtts=rtts, outcome=outcome)


@pytest.mark.parametrize(
    ("four", "six", "word"),
    [
        ((1.0,) * 3, (2.0,) * 3, "alike"),  # twice as much, and nobody would notice
        ((30.0,) * 3, (45.0,) * 3, "alike"),
        ((5.0,) * 3, (40.0,) * 3, "ipv6 slower"),
        ((40.0,) * 3, (5.0,) * 3, "ipv4 slower"),
        ((5.0,) * 2, (40.0,) * 3, None),
    ],
)
def test_families_are_compared_by_latency(
    four: tuple[float, ...], six: tuple[float, ...], word: str | None
) -> None:
    seen = views([tried("192.0.2.7", *four), tried("2001:db8::7", *six)])
    assert (list(groups(seen[Aspect.FAMILY_RTT])) if Aspect.FAMILY_RTT in seen else None) == (word and [word])


def test_a_family_is_as_fast_as_its_fastest_address_and_may_fail() -> None:
    far = [
        tried("192.0.2.7", *(5.0,) * 3),
        tried("2001:db8::7", *(90.0,) * 3),
        tried("2001:db8::8", *(5.0,) * 3),
    ]
    assert views(far)[Aspect.FAMILY_RTT].agreed
    dead = [far[0], tried("2001:db8::7", 0.0, outcome=Outcome.TIMEOUT)]
    view = views(dead)[Aspect.FAMILY_RTT]
    assert groups(view) == {"ipv6 fails": ("v0",)} and not view.agreed
    assert Aspect.FAMILY_RTT not in views([tried("192.0.2.7", 0.0, outcome=Outcome.TIMEOUT), dead[1]])


def test_the_target_s_own_end_is_not_asked() -> None:
    own = Vantage("own", None, Outcome.OK, None, tuple(resolved("127.0.0.1")), is_target=True)
    assert consistency(TargetResult(NAME, 1, (own,))) == ()


@given(st.lists(st.frozensets(st.integers(0, 6), min_size=1), max_size=8), st.randoms())
def test_pools_partition_and_do_not_depend_on_order(sets: list[frozenset[int]], mixed: random.Random) -> None:
    parts = {n: frozenset(map(str, values)) for n, values in enumerate(sets)}
    found = pools(parts)
    assert sorted(key for pool in found for key in pool) == sorted(parts)
    for pool in found:
        mine = frozenset().union(*(parts[key] for key in pool))
        assert all(not mine & parts[key] for key in parts if key not in pool)
    keys = list(parts)
    mixed.shuffle(keys)
    again = pools({key: parts[key] for key in keys})
    assert {frozenset(pool) for pool in again} == {frozenset(pool) for pool in found}


@given(st.permutations(range(4)))
def test_the_order_of_vantage_points_changes_nothing(order: list[int]) -> None:
    told = [resolved("192.0.2.7"), resolved("192.0.2.8"), resolved("192.0.2.7", "192.0.2.9"), http()]
    vantages = [Vantage(f"v{i}", None, Outcome.OK, None, tuple(rows)) for i, rows in enumerate(told)]
    mixed = TargetResult(NAME, 1, tuple(vantages[i] for i in order))
    assert consistency(mixed) == consistency(TargetResult(NAME, 1, tuple(vantages)))
