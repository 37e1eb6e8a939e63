"""One authoritative server and one validating resolver on loopback, with zones that are well and not."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.servers.dns_daemons import Certificate, Server, named, unbound
from tests.servers.dns_zones import break_record, sign, write_zone

RECORDS = (
    "ns A 127.0.0.1",
    "www 120 A 192.0.2.1",
    "www 120 A 192.0.2.2",
    "www 60 AAAA 2001:db8::1",
    "alias CNAME www",
    "outside CNAME www.elsewhere.example.",
    "mail MX 10 www",
    'txt TXT "v=spf1 -all"',
    "svc HTTPS 1 . alpn=h2,h3",
    "odd TYPE65400 \\# 4 0a000001",
    "xn--bcher-kva A 192.0.2.7",
    "*.wild A 192.0.2.9",
    "sub NS ns.sub",
    "ns.sub A 192.0.2.53",
    *(f"many A 198.51.100.{n}" for n in range(1, 100)),
)
NAMES = ("plain.example", "signed.example", "bogus.example", "expired.example")


@dataclass(frozen=True)
class DnsLab:
    authority: Server
    resolver: Server


@contextlib.contextmanager
def dns_lab(folder: Path, ca: trustme.CA) -> Iterator[DnsLab]:
    """Certificates are for 127.0.0.1 and dns.lab.example, issued by ``ca``."""
    certificate = issue(folder, ca, "127.0.0.1", "dns.lab.example")
    plain, signed, bogus, expired = (write_zone(folder, name, *RECORDS) for name in NAMES)
    signed, bogus = sign(signed), break_record(sign(bogus), "192.0.2.1", "192.0.2.66")
    expired = sign(expired, since="now-30d", until="now-1d")
    zones = (plain, signed, bogus, expired)
    files = {zone.name: zone.file for zone in zones}
    with named(folder / "named", files, identity="lab-authority", tls=certificate) as authority:
        stubs = {zone.name: (authority.address, authority.port) for zone in zones}
        anchors = [zone.anchor for zone in zones if zone.anchor]
        with unbound(
            folder / "unbound", stubs, anchors=anchors, identity="lab-resolver", tls=certificate
        ) as resolver:
            yield DnsLab(authority, resolver)


def issue(folder: Path, ca: trustme.CA, *names: str) -> Certificate:
    folder.mkdir(parents=True, exist_ok=True)
    issued = ca.issue_cert(*names)
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    return Certificate(chain, key)
