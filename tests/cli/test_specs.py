"""Options to specs: each where it fits, refused where it does not."""

from dataclasses import fields

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from probemesh_controller.cli.specs import (
    Asked,
    DnsAsked,
    HttpAsked,
    IcmpAsked,
    TcpAsked,
    TlsAsked,
    UdpAsked,
    build_specs,
    default_deadline,
)
from probemesh_controller.cli.specs.values import parse_bytes, read_bytes
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import (
    DnsSpec,
    Expectation,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    Options,
    PortRange,
    TcpSpec,
    TlsSpec,
    UdpSpec,
)
from probemesh_shared.targets import parse_target
from probemesh_shared.words import DnsTransport, Family, StartTls, UdpRequest

from tests.servers.tls_pki import make

OF_A_KIND = {
    "icmp": IcmpAsked,
    "dns": DnsAsked,
    "tcp": TcpAsked,
    "udp": UdpAsked,
    "tls": TlsAsked,
    "http": HttpAsked,
}


def build(target, **options):
    """Each option goes where it belongs: to one kind, or to all."""
    own = {
        kind: cls(**{f.name: options.pop(f.name) for f in fields(cls) if f.name in options})
        for kind, cls in OF_A_KIND.items()
    }
    return build_specs(Asked(**options, **own), [parse_target(target)])


@pytest.mark.parametrize(
    ("target", "asked", "spec"),
    [
        ("db:5432", {}, LadderSpec()),
        ("udp://h:53", {}, LadderSpec()),
        (
            "db",
            {"kinds": ["icmp"], "size": "100", "dont_fragment": True},
            IcmpSpec(Options(size=100, dont_fragment=True)),
        ),
        ("db:1", {"kinds": ["tcp"], "ipv6": True, "count": 1}, TcpSpec(Options(family=Family.IPV6, count=1))),
        (
            "udp://h:53",
            {"payload": "hex:00ff", "expect": ["ok"]},
            UdpSpec(Options(expect=(Expectation("answer", "ok"),)), b"\x00\xff"),
        ),
        (
            "dns:a.b",
            {"server": "[::1]:53", "record_type": "mx", "transport": "tcp"},
            DnsSpec(record_type="MX", server="::1", transport=DnsTransport.TCP),
        ),
        (
            "dns:a.b",
            {"server": "https://dns.example:8443/q", "server_name": "other.example"},
            DnsSpec(
                server="dns.example:8443",
                transport=DnsTransport.DOH,
                doh_path="/q",
                server_name="other.example",
            ),
        ),
        (
            "dns:a.b",
            {"server": "https://[2001:db8::53]"},
            DnsSpec(server="2001:db8::53", transport=DnsTransport.DOH),
        ),
        (
            "dns:a.b",
            {"server": "192.0.2.1:53", "record_type": "mx"},
            DnsSpec(record_type="MX", server="192.0.2.1"),
        ),
        (
            "dns:a@192.0.2.1",
            {"ipv6": True, "all_servers": True},
            DnsSpec(Options(family=Family.IPV6), all_servers=True),
        ),
        (
            "dns:a",
            {"dnssec": True, "cd": True, "no_recurse": True, "all_servers": True, "edns_size": 512},
            DnsSpec(dnssec=True, checking_disabled=True, no_recurse=True, all_servers=True, edns_size=512),
        ),
        ("h:443", {"kinds": ["tls"], "sni": "web"}, TlsSpec(server_name="web")),
        ("https://h/x", {"kinds": ["tls"]}, TlsSpec()),
        ("h:25", {"kinds": ["tls"], "starttls": "SMTP"}, TlsSpec(starttls=StartTls.SMTP)),
        (
            "h:1",
            {"kinds": ["tcp"], "send": "hex:0d0a", "half_close": True, "source_port": "4000-4010"},
            TcpSpec(Options(source_ports=PortRange(4000, 4010)), b"\r\n", half_close=True),
        ),
        ("tcp://h:1", {"banner": True}, TcpSpec(banner=True)),
        ("udp://h:9", {"request": "quic"}, UdpSpec(request=UdpRequest.QUIC)),
        (
            "udp://h:9",
            {"request": "none", "source_port": "53"},
            UdpSpec(Options(source_ports=PortRange(53, 53)), request=UdpRequest.NONE),
        ),
        (
            "h:443",
            {"kinds": ["tls"], "tls_min": "1.2", "tls_max": "tlsv1.3", "ciphers": "ECDHE+AESGCM:!aNULL"},
            TlsSpec(min_version="TLSv1.2", max_version="TLSv1.3", ciphers="ECDHE+AESGCM:!aNULL"),
        ),
        (
            "h:443",
            {"kinds": ["tls"], "alpn": "h2,imap", "enumerate": True, "ocsp": True},
            TlsSpec(alpn=("h2", "imap"), enumerate=True, ocsp=True),
        ),
        (
            "http://h/",
            {"method": "head", "headers": ["X-A: b"], "expect_status": "301-308,200", "expect_body": "x"},
            HttpSpec(
                Options(expect=(Expectation("status", "200,301-308"), Expectation("body", "x"))),
                method="HEAD",
                headers=(("X-A", "b"),),
            ),
        ),
    ],
)
def test_specs(target, asked, spec):
    assert build(target, **asked) == (spec,)


def test_several_kinds_are_several_specs_each_once():
    assert build("h:443", kinds=["tls", "icmp", "tls"], sni="x") == (TlsSpec(server_name="x"), IcmpSpec())


@pytest.mark.parametrize(
    ("target", "asked", "words"),
    [
        ("db:1", {"payload": "x"}, "--payload belongs to the kind udp"),
        ("db:1", {"kinds": ["tcp"], "size": "1"}, "--size belongs to the kind icmp and udp"),
        ("db:1", {"sni": "x"}, "--sni belongs"),
        ("db:25", {"starttls": "smtp"}, "--starttls belongs to the kind tls"),
        ("db:25", {"kinds": ["tls"], "starttls": "smpt"}, "--starttls does not know 'smpt'"),
        ("db:1", {"send": "x"}, "--send belongs to the kind tcp"),
        ("db:1", {"kinds": ["tls"], "source_port": "1"}, "--source-port belongs to the kind tcp and udp"),
        ("tcp://db:1", {"source_port": "0"}, "no port or range"),
        ("tcp://db:1", {"source_port": "9-8"}, "no port or range"),
        ("tcp://db:1", {"source_port": "70000"}, "no port or range"),
        ("tcp://db:1", {"send": "@/no/such/file"}, "no such file"),
        ("udp://h:1", {"payload": "hex:" + "00" * 65508}, "longer than 65507 bytes"),
        ("udp://h:1", {"request": "http"}, "--request does not know 'http'"),
        ("udp://h:1", {"request": "ntp", "payload": "x"}, "exclude each other"),
        ("udp://h:1", {"payload": "x", "size": "100"}, "--payload and --size exclude"),
        ("udp://h:1", {"request": "ntp", "size": "9"}, "--size and --request exclude"),
        ("db", {"kinds": ["tcp"]}, "tcp needs a port"),
        ("db", {"kinds": ["http"]}, "http needs a URL or a port"),
        ("dns:a", {"kinds": ["tcp"]}, "--kind tcp does not fit dns:a"),
        ("udp://h:1", {"kinds": ["tls"]}, "--kind tls does not fit"),
        ("db:1", {"kinds": ["ladder"]}, "no probe kind 'ladder'"),
        ("udp://h:1", {"payload": "hex:0"}, "not hexadecimal"),
        ("dns:a", {"transport": "doq"}, "no DNS transport"),
        ("dns:a", {"server": "https://h/", "transport": "tcp"}, "URL is not asked by tcp"),
        ("dns:a", {"server": "http://h/q"}, "cannot be asked"),
        ("dns:a", {"server": "https://u:p@h/q"}, "no user name"),
        ("dns:a", {"server": "https://h/q?dns=x"}, "asked by POST"),
        ("dns:a", {"server": "https://h/q\u200b"}, "characters that no URL has"),
        ("dns:a", {"server": "https://"}, "empty|missing|cannot be read"),
        ("dns:a", {"server_name": "h"}, "no.*certificate|certificate"),
        ("dns:a", {"dnssec": True, "edns_size": 0}, "--dnssec needs EDNS"),
        ("dns:a", {"edns_size": 65536}, "--edns-size 65536 is out of range"),
        ("dns:a/A", {"record_type": "AAAA"}, "asks for A, and --type AAAA was given"),
        ("dns:a@192.0.2.1", {"server": "192.0.2.2"}, "asks 192.0.2.1, and --server 192.0.2.2 was given"),
        ("dns:a@192.0.2.1", {"server": "192.0.2.1:54"}, "--server 192.0.2.1:54 was given"),
        ("dns:a", {"server": "192.0.2.1", "ipv6": True}, "name server 192.0.2.1 is an IPv4 .* -6 was given"),
        ("dns:a@[::1]:54", {"ipv4": True}, "name server ::1 is an IPv6 .* -4 was given"),
        ("dns:a", {"all_servers": True, "transport": "dot"}, "not asked by dot"),
        ("db:1", {"all_servers": True}, "--all-servers belongs to the kind dns"),
        ("dns:a", {"record_type": "QQ"}, "no DNS record type"),
        ("db:1", {"kinds": ["tcp"], "enumerate": True}, "--enumerate belongs to the kind tls"),
        ("db:1-17", {"kinds": ["tls"], "enumerate": True}, "too many ports for --enumerate"),
        ("h", {"kinds": ["tls"]}, "tls needs a port"),
        ("db:1", {"kinds": ["tls"], "tls_min": "SSLv3"}, "'SSLv3' is no version of TLS"),
        ("db:1", {"kinds": ["tls"], "tls_min": "1.3", "tls_max": "1.0"}, "TLSv1.3 is above --tls-max TLSv1"),
        ("db:1", {"kinds": ["tls"], "ciphers": "A B"}, "is no cipher list"),
        ("db:1", {"kinds": ["tls"], "ciphers": "TLS_AES_128_GCM_SHA256"}, "1.3 cannot be chosen"),
        ("db:1", {"kinds": ["tls"], "alpn": "h2,,x"}, "names no protocols"),
        ("db:1", {"kinds": ["tls"], "ca": "/no/such"}, "--ca /no/such cannot be read: No such file"),
        ("db:1", {"kinds": ["tls"], "ca": "/etc/hostname"}, "holds no certificates in PEM form"),
        ("db:1", {"kinds": ["tls"], "client_key": "/etc/hostname"}, "--client-key needs a certificate"),
        ("db:1", {"kinds": ["tls"], "client_cert": "/etc/hostname"}, "holds no certificate"),
        ("http://h/", {"headers": ["nocolon"]}, "header 'nocolon'"),
        ("http://h/", {"headers": ["A: b\r\nC: d"]}, "control characters"),
        ("http://h/", {"method": "G T"}, "no HTTP method"),
        ("http://h/", {"expect_status": "99"}, "no HTTP status"),
        ("http://h/", {"expect_status": "300-200"}, "no HTTP status"),
        ("db:1", {"count": 0}, "--count 0 is out of range"),
        ("db:1", {"dscp": 64}, "--dscp 64"),
        ("db:1", {"ttl": 0}, "--ttl 0"),
        ("db:1", {"timeout": float("nan")}, "--timeout nan"),
        ("db:1", {"interval": 0.0}, "--interval 0"),
    ],
)
def test_refuses(target, asked, words):
    with pytest.raises(InvalidRequest, match=words):
        build(target, **asked)


def test_a_client_certificate_is_read_with_its_key_and_shown_to_nobody(tmp_path):
    ours, other = make("client"), make("other")
    (tmp_path / "c.pem").write_bytes(ours.pem)
    (tmp_path / "k.pem").write_bytes(ours.key_pem)
    (tmp_path / "both.pem").write_bytes(ours.pem + ours.key_pem)
    (tmp_path / "other.pem").write_bytes(other.key_pem)
    locked = ours.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))
    (tmp_path / "locked.pem").write_bytes(locked)

    def of(cert, key=None):
        return build(
            "h:443",
            kinds=["tls"],
            client_cert=str(tmp_path / cert),
            client_key=None if key is None else str(tmp_path / key),
        )

    (spec,) = of("c.pem", "k.pem")
    assert (spec.client_cert, spec.client_key) == (ours.pem, ours.key_pem)
    assert "PRIVATE" not in repr(spec) and ours.key_pem[40:60].decode() not in repr(spec)
    assert of("both.pem")[0].client_cert == ours.pem + ours.key_pem
    for files, words in (
        (("c.pem",), "without its key"),
        (("c.pem", "other.pem"), "do not belong together"),
        (("c.pem", "locked.pem"), "the client key is encrypted"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            of(*files)


def test_authorities_judge_a_name_server_too(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(make("ours").pem)
    (dot,) = build("dns:a", transport="dot", ca=str(path))
    assert dot.ca == path.read_bytes() and "CERTIFICATE" in dot.ca.decode()
    plain, tls = build("h:443", kinds=["dns", "tls"], ca=str(path))
    assert (plain.ca, tls.ca) == (None, path.read_bytes()), "no certificate comes by udp"
    with pytest.raises(InvalidRequest, match="--ca judges a certificate, and there is none"):
        build("dns:a", ca=str(path))


def test_files_are_bounded(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 300_000)
    with pytest.raises(InvalidRequest, match="larger than 256 KiB"):
        build("h:443", kinds=["tls"], ca=str(tmp_path / "big"))


def test_the_deadline_grows_with_what_is_asked():
    assert default_deadline(Asked(tls=TlsAsked(enumerate=True))) == 60
    assert default_deadline(Asked()) == 15
    assert default_deadline(Asked(count=100, interval=1)) == 106


def test_payloads():
    assert parse_bytes("hex: 00 0a", "--payload") == b"\x00\n"
    assert parse_bytes("grün", "--payload") == "grün".encode()


def test_several_sizes_are_a_sweep():
    assert build("db", kinds=["icmp"], size="56,1000-1500:200") == (
        IcmpSpec(sizes=(56, 1000, 1200, 1400, 1500)),
    )
    assert build("db", kinds=["icmp"], size="0-100") == (IcmpSpec(sizes=tuple(range(0, 101, 10))),)


@pytest.mark.parametrize("size", ["", "x", "-1", "65508", "9-5", "5:2", "1-2:x", "0-65507:1", "1,,2", "٣"])
def test_sizes_that_cannot_be(size):
    with pytest.raises(InvalidRequest, match="--size"):
        build("db", kinds=["icmp"], size=size)


def test_udp_takes_one_size():
    with pytest.raises(InvalidRequest, match="belong to the kind icmp"):
        build("udp://h:9", size="10,20")


EXPECTED = [
    ("https://h/", {}, ["status=200", "rtt-max=20ms"], LadderSpec, ["status", "rtt-max"]),
    ("h:22", {}, ["banner=SSH"], LadderSpec, ["banner"]),
    ("web", {}, ["address=192.0.2.1"], LadderSpec, ["address"]),
    ("dns:a.b", {}, ["rcode=NXDOMAIN"], LadderSpec, ["rcode"]),
    ("h:443", {"kinds": ["tls"]}, ["tls-version=1.2+"], TlsSpec, ["tls-version"]),
    ("udp://h:53", {}, ["pong"], LadderSpec, ["answer"]),
    ("udp://h:53", {}, ["state=open"], LadderSpec, ["state"]),
    ("udp://h:53", {}, ["a=b"], LadderSpec, ["answer"]),
]


@pytest.mark.parametrize(("target", "options", "texts", "spec", "keys"), EXPECTED)
def test_what_is_expected_travels_in_the_spec_and_names_no_kind(target, options, texts, spec, keys):
    (built,) = build(target, expect=texts, **options)
    assert type(built) is spec
    assert [one.key for one in built.options.expect] == keys


def test_each_of_several_kinds_is_given_what_belongs_to_it():
    tls, icmp = build("h:443", kinds=["tls", "icmp"], expect=["alpn=h2", "rtt-max=1s"])
    assert [one.key for one in tls.options.expect] == ["alpn", "rtt-max"]
    assert [one.key for one in icmp.options.expect] == ["rtt-max"]


@pytest.mark.parametrize(
    ("target", "options", "text", "words", "hint"),
    [
        ("h:443", {"kinds": ["tcp"]}, "status=200", "belongs to the kind http", "add --kind http"),
        ("h:443", {}, "rcode=NXDOMAIN", "belongs to the kind dns", "add --kind dns"),
        ("web", {}, "status=200", "belongs to the kind http", "add --kind http"),
        ("web", {}, "tls-version=1.3", "kind tls and http", "add --kind tls or --kind http"),
        ("dns:a", {}, "banner=x", "belongs to the kind tcp", "add --kind tcp"),
        ("h:443", {}, "pong", "has no value", "KEY=VALUE"),
        ("h:443", {}, "stauts=200", "no expectation 'stauts'", "did you mean 'status'?"),
        ("udp://h:53", {}, "stat=open", "no expectation 'stat'", "did you mean 'state'?"),
        ("udp://h:53", {}, "state=shut", "there is no 'shut'", "state=closed"),
    ],
)
def test_an_expectation_that_nothing_could_be_judged_by_is_refused(target, options, text, words, hint):
    with pytest.raises(InvalidRequest, match=words) as refused:
        build(target, expect=[text], **options)
    assert hint in refused.value.hint


def test_payloads_from_files(tmp_path):
    path = tmp_path / "payload"
    path.write_bytes(b"\0\1@")
    assert read_bytes(f"@{path}", "--send") == b"\0\1@"
    with pytest.raises(InvalidRequest, match="is a directory"):
        read_bytes(f"@{tmp_path}", "--send")
    with pytest.raises(InvalidRequest, match="longer than"):
        read_bytes("@/dev/zero", "--send")


@pytest.mark.parametrize(
    ("target", "flag"),
    [
        ("[::1]:8444", "ipv4"),
        ("127.0.0.1:80", "ipv6"),
        ("icmp:192.0.2.1", "ipv6"),
        ("http://[2001:db8::1]/", "ipv4"),
    ],
)
def test_an_address_of_the_other_family_is_wrong_use(target, flag):
    with pytest.raises(InvalidRequest, match=r"is an IPv[46] address, and -[46] was given"):
        build(target, **{flag: True})
    assert build(target, **{"ipv6" if flag == "ipv4" else "ipv4": True})


def test_of_a_dns_question_the_family_is_that_of_the_way():
    assert build("dns:192.0.2.1", ipv6=True)
    assert build("192.0.2.1", kinds=["dns"], ipv6=True)
    assert build("http://192.0.2.1/", ipv6=True, proxy="http://proxy.example:3128")
