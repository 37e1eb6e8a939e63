"""What the system's ``ping`` prints, names of strangers in it."""

from probemesh_agent.wire.pingtext import PingError, PingReply, read_line

from tests.fuzz.checks import pick

SEEDS = (
    b"\0[1790000000.123456] 64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.123 ms",
    b"\0" + b"64 bytes from 192.0.2.1: icmp_seq=2 ident=7 ttl=64 time=1.5 ms (DUP!)",
    b"\x0064 bytes from 192.0.2.1: icmp_seq=2 ttl=64 time=1.2.3 ms",
    b"\0From 192.0.2.9 icmp_seq=3 Destination Host Unreachable",
    b"\0From 192.0.2.9: icmp_seq=3 Frag needed and DF set (mtu = 1400)",
    b"\1From 2001:db8::9 icmp_seq=3 Time exceeded: Hop limit",
    b"\1no answer yet for icmp_seq=4",
)


def read(data: bytes) -> None:
    ipv6, rest = pick(data, (False, True))
    said = read_line(rest.decode("ascii", "replace"), ipv6)
    if isinstance(said, PingReply):
        assert said.rtt_ms is None or said.rtt_ms >= 0
    elif isinstance(said, PingError):
        assert len(said.words) <= 500 and len(said.sender) <= 500
