"""Files that say what may be probed, the owner's and the mesh's, and what a policy says of an address in any
spelling. What is not understood is no policy."""

import os
from ipaddress import ip_address
from pathlib import Path

from probemesh_agent.net.policy import Policy
from probemesh_agent.net.ranges import embedded
from probemesh_controller.limits import Said, read_limits
from probemesh_shared.errors import StateError

from tests.fuzz.checks import pick, raises_only

#: A file that is in nobody's way, and gone with the process.
_FILE = os.memfd_create("policy.toml")
_PATH = Path(f"/proc/self/fd/{_FILE}")
_POLICIES = (
    Policy.shipped(),
    Policy.typed_by_user(),
    Policy(deny=(), loopback=True),
)
SEEDS = (
    b'\0[allow]\ncidrs = ["10.0.0.0/8", "2001:db8::/32"]\nloopback = true\n[deny]\ncidrs = ["10.1.0.0/16"]\n',
    b"\0[limits]\npackets_per_s = 7.5\nconcurrent = 3\n[allow]\nunicast = false\nlisten = false\n",
    b"\0[allow]\ncidr = []\n",
    b'\0[deny]\nnames = ["*.internal"]\nports = [22, "8000-8100"]\nkinds = ["http"]\n',
    b"\0[limits]\nconcurrent = " + b"9" * 5000,
    b"\0[limits]\ntarget_packets_per_s = 20\n[limits.icmp]\npackets_per_s = 2.5\nconcurrent = 4\n",
    b'\2[[budget]]\nnetworks = ["10.1.0.0/16", "::ffff:a02:0/112"]\npackets-per-s = 9\n[runs]\nat-once = 3\n',
    b"\0[allow]\nports = [0x" + b"f" * 4000 + b"]",
    b'\2[[limit]]\nfor = "site=lisbon"\nnetworks = ["10.0.0.0/8"]\nports = [443]\n',
    b"\2a = " + b"9" * 5000,
    b"\0[deny]\nnames = [0x" + b"f" * 4000 + b"]",
    b"\1\0\x7f\0\0\1",
    b"\1\1" + bytes.fromhex("0064ff9b0000000000000000a9fea9fe"),
    b"\1\1" + bytes.fromhex("2002a9fea9fe00000000000000000000"),
    b"\1\1" + bytes.fromhex("00000000000000000000ffff7f000001"),
)


def read(data: bytes) -> None:
    way, rest = pick(data, (_file, _address, _limits))
    way(rest)


def _file(data: bytes) -> None:
    os.ftruncate(_FILE, 0)
    os.pwrite(_FILE, data, 0)
    policy = raises_only(StateError, lambda: Policy.load(_PATH))
    if policy is not None:
        assert policy.limits.concurrent > 0 and policy.limits.packets_per_s > 0
        assert all(own.packets_per_s > 0 for own in policy.limits.kinds.values()) and policy.limits.in_words()
        policy.explain("192.0.2.1")


def _limits(data: bytes) -> None:
    """What the mesh takes away, by selector."""
    os.ftruncate(_FILE, 0)
    os.pwrite(_FILE, data, 0)
    found = raises_only(StateError, lambda: read_limits(_PATH))
    if isinstance(found, Said):
        assert 1 <= found.at_once <= 256 and found.in_words
        for entry in found.budgets.entries:
            assert entry.networks and 0.1 <= entry.budget.packets_per_s <= 1e6 and entry.in_words
            assert 0.1 <= entry.budget.connects_per_s <= 1e6


def _address(data: bytes) -> None:
    version, rest = pick(data, (4, 16))
    try:
        address = ip_address(rest[:version])
    except ValueError:
        return
    for policy in _POLICIES:
        decision = policy.explain(address)
        assert decision.text.isprintable()
        for _, inner in embedded(address):
            assert not decision.allowed or policy.explain(inner).allowed, "hidden in another address"
