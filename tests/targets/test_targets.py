"""TARGET: every spelling, its canonical text, and what is refused with which words."""

import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.hosts import address_of_reverse, read_ipv4, reverse_name
from probemesh_shared.model import PortRange, Target
from probemesh_shared.targets import (
    count_ports,
    expand_ports,
    parse_ports,
    parse_server,
    parse_target,
    row_text,
    server_text,
    unparse,
)
from probemesh_shared.words import Kind


def P(*pairs):
    return tuple(PortRange(first, last) for first, last in pairs)


GOOD = [
    ("db", Target("db", "db")),
    ("DB.Internal.", Target("db.internal", "db.internal")),
    ("db.internal:5432", Target("db.internal:5432", "db.internal", P((5432, 5432)))),
    ("_sip._tcp.example.org", Target("_sip._tcp.example.org", "_sip._tcp.example.org")),
    ("192.0.2.1:22", Target("192.0.2.1:22", "192.0.2.1", P((22, 22)))),
    ("[2001:DB8:0::1]:443", Target("[2001:db8::1]:443", "2001:db8::1", P((443, 443)))),
    ("[2001:db8::1]", Target("2001:db8::1", "2001:db8::1")),
    ("2001:db8::1:80", Target("2001:db8::1:80", "2001:db8::1:80")),
    ("::1", Target("::1", "::1")),
    ("::ffff:192.0.2.1", Target("::ffff:192.0.2.1", "::ffff:192.0.2.1")),
    ("fe80::1%eth0", Target("fe80::1%eth0", "fe80::1%eth0")),
    ("[fe80::1%eth0]:22", Target("[fe80::1%eth0]:22", "fe80::1%eth0", P((22, 22)))),
    ("h:22,80,8000-8100", Target("h:22,80,8000-8100", "h", P((22, 22), (80, 80), (8000, 8100)))),
    ("h:443,80,80,81", Target("h:80-81,443", "h", P((80, 81), (443, 443)))),
    ("h:0080", Target("h:80", "h", P((80, 80)))),
    ("tcp://h:22-23", Target("tcp://h:22-23", "h", P((22, 23)), Kind.TCP)),
    ("TCP://h:22", Target("tcp://h:22", "h", P((22, 22)), Kind.TCP)),
    ("tcp://dns:53", Target("tcp://dns:53", "dns", P((53, 53)), Kind.TCP)),
    ("udp://[::1]:53", Target("udp://[::1]:53", "::1", P((53, 53)), Kind.UDP)),
    ("icmp:h", Target("icmp:h", "h", kind=Kind.ICMP)),
    ("icmp:[::1]", Target("icmp:::1", "::1", kind=Kind.ICMP)),
    ("icmp:::1", Target("icmp:::1", "::1", kind=Kind.ICMP)),
    ("agent:tokyo-1", Target("agent:tokyo-1", "tokyo-1", agent="tokyo-1")),
    ("agent:tokyo-1:22,23", Target("agent:tokyo-1:22-23", "tokyo-1", P((22, 23)), agent="tokyo-1")),
    ("http://h", Target("http://h/", "h", P((80, 80)), Kind.HTTP, "/")),
    ("https://H:443/a?b=c#d", Target("https://h/a?b=c", "h", P((443, 443)), Kind.HTTP, "/a?b=c", True)),
    ("https://h:8443?q", Target("https://h:8443/?q", "h", P((8443, 8443)), Kind.HTTP, "/?q", True)),
    ("http://[::1]:80/", Target("http://[::1]/", "::1", P((80, 80)), Kind.HTTP, "/")),
    (
        "http://[fe80::1%25eth0]/",
        Target("http://[fe80::1%25eth0]/", "fe80::1%eth0", P((80, 80)), Kind.HTTP, "/"),
    ),
    (
        "http://[fe80::1%eth0]/",
        Target("http://[fe80::1%25eth0]/", "fe80::1%eth0", P((80, 80)), Kind.HTTP, "/"),
    ),
    (
        'http://h/grün"<>',
        Target("http://h/gr%C3%BCn%22%3C%3E", "h", P((80, 80)), Kind.HTTP, "/gr%C3%BCn%22%3C%3E"),
    ),
    ("dns:Example.ORG", Target("dns:example.org", "example.org", kind=Kind.DNS)),
    ("dns:example.org/mx", Target("dns:example.org/MX", "example.org", kind=Kind.DNS, record_type="MX")),
    ("dns:.", Target("dns:.", ".", kind=Kind.DNS)),
    (
        "dns:*.example.org/TYPE65",
        Target("dns:*.example.org/TYPE65", "*.example.org", kind=Kind.DNS, record_type="TYPE65"),
    ),
    ("dns:a.b@192.0.2.53", Target("dns:a.b@192.0.2.53", "a.b", kind=Kind.DNS, server="192.0.2.53")),
    ("dns:a.b@ns:53", Target("dns:a.b@ns", "a.b", kind=Kind.DNS, server="ns")),
    (
        "dns:a.b/A@[::1]:5353",
        Target("dns:a.b/A@[::1]:5353", "a.b", kind=Kind.DNS, record_type="A", server="[::1]:5353"),
    ),
    ("dns:a.b@[::1]", Target("dns:a.b@::1", "a.b", kind=Kind.DNS, server="::1")),
    (
        "dns:192.0.2.1",
        Target("dns:192.0.2.1/PTR", "1.2.0.192.in-addr.arpa", kind=Kind.DNS, record_type="PTR"),
    ),
    (
        "dns:1.2.0.192.in-addr.arpa",
        Target("dns:192.0.2.1/PTR", "1.2.0.192.in-addr.arpa", kind=Kind.DNS, record_type="PTR"),
    ),
    ("dns:::1/PTR", Target("dns:::1/PTR", "1." + "0." * 31 + "ip6.arpa", kind=Kind.DNS, record_type="PTR")),
    (
        "dns:0.192.in-addr.arpa/PTR",
        Target("dns:0.192.in-addr.arpa/PTR", "0.192.in-addr.arpa", kind=Kind.DNS, record_type="PTR"),
    ),
    ("müller.example:80", Target("xn--mller-kva.example:80", "xn--mller-kva.example", P((80, 80)))),
    ("straße.example", Target("xn--strae-oqa.example", "xn--strae-oqa.example")),
    ("_dmarc.Bücher。example", Target("_dmarc.xn--bcher-kva.example", "_dmarc.xn--bcher-kva.example")),
    ("１９２.0.2.1", Target("192.0.2.1", "192.0.2.1")),
    ("0x7f.1", Target("127.0.0.1", "127.0.0.1")),
    ("0X7F000001:80", Target("127.0.0.1:80", "127.0.0.1", P((80, 80)))),
    ("2130706433", Target("127.0.0.1", "127.0.0.1")),
    ("127.1:22", Target("127.0.0.1:22", "127.0.0.1", P((22, 22)))),
    ("010.0.0.1", Target("8.0.0.1", "8.0.0.1")),
    ("http://0300.0.0.0x9/", Target("http://192.0.0.9/", "192.0.0.9", P((80, 80)), Kind.HTTP, "/")),
    ("[::ffff:7f00:1]:80", Target("[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", P((80, 80)))),
]


NUMBER = st.one_of(
    st.integers(0, 1 << 33).map(str),
    st.integers(0, 1 << 33).map(hex),
    st.integers(0, 1 << 33).map(lambda n: f"0{n:o}"),
    st.integers(0, 300).map(str),
    st.sampled_from(["0x", "08", "00", "0x0g", "", "1e3", "+1", "0b1"]),
)


@given(st.lists(NUMBER, min_size=1, max_size=5).map(".".join))
def test_an_ipv4_literal_is_read_as_the_system_reads_it(text):
    try:
        rows = socket.getaddrinfo(
            text.encode(), None, socket.AF_INET, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST
        )
        expected = rows[0][4][0] if text else None
    except OSError:
        expected = None
    found = read_ipv4(text)
    assert (str(found) if found else None) == expected


@pytest.mark.parametrize(("text", "expected"), GOOD, ids=[text for text, _ in GOOD])
def test_reads(text, expected):
    assert parse_target(text) == expected
    assert parse_target(expected.text) == expected
    assert unparse(expected) == expected.text


BAD = [
    ("", "empty"),
    ("h:0", "no port 0"),
    ("h:70000", "no port 70000"),
    ("h:99999999999999999999", "no port"),
    ("h:", "port is missing"),
    (":80", "host is missing"),
    ("h:80-22", "wrong way round"),
    ("h:80,", "port is missing"),
    ("h:http", "'http' is not a port"),
    ("h:８０", "is not a port"),
    ("h:-1", "port is missing"),
    ("h:1:2", "neither an IPv6 address nor HOST:PORT"),
    ("h 80", "blank"),
    (" h", "blank"),
    ("h\n", "blank"),
    ("h\x1b[2J", "control"),
    ("h\u202e", "control"),
    ("ssh://h", "scheme ssh://"),
    ("htp://h", "scheme htp://"),
    ("tls://h:443", "no tls:// targets"),
    ("dns://h", "without slashes"),
    ("tcp://h", "no port"),
    ("udp://h", "no port"),
    ("tcp://h:80/x", "contains a /"),
    ("h/x", "contains a /"),
    ("user@h", "contains an @"),
    ("http://user:pw@h/", "user name"),
    ("http://", "host is empty"),
    ("http:///x", "host is empty"),
    ("http://h:1-2/", "one port"),
    ("http://h:/", "port is missing"),
    ("icmp:h:80", "ICMP has none"),
    ("icmp:80", "no host"),
    ("dns:53", "name or a port"),
    ("dns:", "no name"),
    ("dns:a/", "no record type"),
    ("dns:a@", "no server"),
    ("dns:a@https://h/dns-query", "a URL does not stand in the target"),
    ("dns:a/QQ", "no DNS record type"),
    ("dns:a/TYPE65536", "no DNS record type"),
    ("dns:192.0.2.1/MX", "PTR"),
    ("dns:a@ns:1,2", "more than one port"),
    ("dns:a..b", "empty part"),
    ("agent:", "empty"),
    ("agent:Tokyo", "may hold only"),
    ("agent:t:", "no port"),
    ("agent:all", "another meaning"),
    ("-oProxy", "no host name can have"),
    ("a" * 64, "longer than 63"),
    ("a." * 127 + "aa", "longer than 253"),
    ("a" * 3000, "longer than 2048"),
    ("80", "a port or the address 0.0.0.80"),
    ("4294967296", "not an IPv4"),
    ("08.0.0.1", "not an IPv4"),
    ("0x.1", "not an IPv4"),
    ("1.2.3.4.5", "not an IPv4"),
    ("1.2.65536", "not an IPv4"),
    ("256.0.0.1", "not an IPv4"),
    ("[::1", "cannot be read"),
    ("[h]:80", "cannot be read"),
    ("[::1]x", "cannot be read"),
    ("[::1]:", "port is missing"),
    ("fe80::1%", "interface"),
    ("fe80::1%a/b", "contains a /"),
    ("☃.example", "IDNA 2008"),
    ("-é.example", "IDNA 2008"),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=[repr(text[:30]) for text, _ in BAD])
def test_refuses_and_says_why(text, words):
    with pytest.raises(InvalidRequest) as caught:
        parse_target(text)
    message = str(caught.value)
    assert words in message
    assert message.isprintable() and len(message) < 300
    assert caught.value.hint is None or caught.value.hint.isprintable()


@given(st.text(max_size=60))
@example("http://[::1%25%25a]/")
@example("xn--\u0130:1")
@example("\ud800")
@example("http://h/\ud800")
def test_any_text_is_read_or_refused_and_canonical_text_is_a_fixed_point(text):
    _check(text)


_WORDS = (
    "tcp:// udp:// http:// https:// dns: icmp: agent: h.example 192.0.2.1 ::1 1.2.3.4.in-addr.arpa"
    " in-addr.arpa fe80::1 %25 eth0 22 80-90 0 70000 MX .."
)
_PIECES = st.sampled_from([*_WORDS.split(), *"[]%:,/?#@.-*üß１。A"])


@given(st.lists(_PIECES, max_size=8).map("".join))
def test_any_joining_of_the_pieces_of_targets(text):
    _check(text)


def _check(text):
    try:
        target = parse_target(text)
    except InvalidRequest:
        return
    assert target.text.isascii() and target.text.isprintable()
    assert parse_target(target.text) == target
    assert unparse(target) == target.text


def test_ports_expand_in_order_and_are_counted():
    ports = parse_ports("8000-8002,22")
    assert expand_ports(ports) == (22, 8000, 8001, 8002)
    assert count_ports(ports) == 4
    assert count_ports(parse_ports("1-65535")) == 65535


def test_a_row_names_its_one_port():
    assert row_text(parse_target("[::1]:22,80"), 80) == "[::1]:80"
    assert row_text(parse_target("udp://h:1-9"), 3) == "udp://h:3"
    assert row_text(parse_target("agent:t:1-9"), 3) == "agent:t:3"
    assert row_text(parse_target("icmp:h"), None) == "icmp:h"
    assert row_text(parse_target("h"), None) == "h"


@pytest.mark.parametrize("host,port", [("192.0.2.1", 53), ("::1", 53), ("::1", 5353), ("ns.example", 54)])
def test_name_servers_read_back(host, port):
    assert parse_server(server_text(host, port)) == (host, port)


@given(st.ip_addresses().map(lambda a: a.compressed))
def test_reverse_names_read_back(text):
    host = parse_target(text).host
    assert address_of_reverse(reverse_name(host)) == host


@pytest.mark.parametrize("name", ["in-addr.arpa", "1.in-addr.arpa", "01.0.0.10.in-addr.arpa", "x.ip6.arpa"])
def test_other_names_are_no_reverse_names(name):
    assert address_of_reverse(name) is None
