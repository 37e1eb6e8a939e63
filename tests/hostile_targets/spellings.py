"""Places that nobody may be sent to from a host with the policy as shipped: loopback, metadata services, the
host's own addresses and what is reserved, in every spelling that somebody may try."""

from ipaddress import IPv6Address

from probemesh_agent.net.literals import parse_literal

from tests.net.test_policy import DENIED

#: This host's own addresses in the namespace of :mod:`tests.hostile_targets.world`, and its broadcast
#: address.
OWN = (
    "10.9.0.1",
    "0xa090001",
    "168361985",
    "012.011.0.1",
    "10.9.1",
    "::ffff:10.9.0.1",
    "::ffff:a09:1",
    "::10.9.0.1",
    "64:ff9b::10.9.0.1",
    "2002:a09:1::1",
    "fd09::1",
    "[fd09:0:0:0::1]",
    "fd09::0.0.0.1",
    "10.9.0.255",
)
DENIED_PLACES = tuple(DENIED)
PLACES = (*DENIED_PLACES, *OWN)

#: What the hosts file of the namespace knows.
HOSTS = {
    "localhost": "127.0.0.1",
    "ip6-localhost": "::1",
    "metadata.google.internal": "169.254.169.254",
    "instance-data": "fd00:ec2::254",
    "me.test": "10.9.0.1",
    "me6.test": "fd09::1",
    "ip6-allnodes": "ff02::1",
}
NAMES = (*HOSTS, "LOCALHOST", "localhost.", "Metadata.Google.Internal.")


def packed(spelling: str) -> bytes:
    """The record that holds it: AAAA wherever it is spelled with colons, mapped IPv4 too."""
    if ":" in spelling:
        return IPv6Address(spelling.strip("[]").partition("%")[0]).packed
    address = parse_literal(spelling)
    assert address is not None
    return address.packed


def named(spelling: str, number: int, zone: str) -> str:
    """A name of ``zone`` that the hostile name server turns into it (:mod:`tests.hostile_targets.peer`)."""
    return f"n{number}.x{packed(spelling).hex()}.{zone}.test"


def bracketed(spelling: str) -> str:
    """As it stands in a URL."""
    return f"[{spelling.replace('%', '%25')}]" if ":" in spelling and "[" not in spelling else spelling
