"""What this agent can do, found out at start and told in hello: kinds, ping method, families, privileges.

Words: ``kind:icmp``, ``ping:ping-socket`` (or ``raw-socket``, ``ping-program``), ``ipv4``, ``ipv6``,
``cap:net-raw``, ``expect`` (it judges expectations), ``http-ways`` (it follows redirects and goes by
proxies), ``narrows`` (it keeps to what a job narrows), ``advertised`` (its addresses were configured), and
the kernel's signals that :mod:`probemesh_agent.signals` names. A capability that is missing means
"not checked", never "broken".
"""

import os
import socket
from collections.abc import Iterable
from pathlib import Path

from probemesh_shared.session.frames import ADVERTISED, EXPECT, HTTP_WAYS, NARROWS
from probemesh_shared.words import Kind

from probemesh_agent import signals

#: Bits of CapEff (linux/capability.h) that change what can be measured.
_CAPABILITIES = {12: "net-admin", 13: "net-raw", 10: "net-bind-service"}


def gather(kinds: Iterable[Kind], advertised: bool = False) -> frozenset[str]:
    """Everything at once; opens and closes a few sockets, sends nothing. ``advertised``: the addresses in
    hello are those of ``--advertise``."""
    found = (
        {f"kind:{kind}" for kind in kinds}
        | {EXPECT, HTTP_WAYS, NARROWS}
        | ({ADVERTISED} if advertised else set())
    )
    if (method := ping_method()) is not None:
        found.add(f"ping:{method}")
    found |= {f"cap:{name}" for name in effective()}
    found.update(signals.present())
    if has_family(socket.AF_INET):
        found.add("ipv4")
    if has_family(socket.AF_INET6):
        found.add("ipv6")
    return frozenset(found)


def in_order(words: Iterable[str]) -> tuple[str, ...]:
    """As they stand in hello. A controller may keep only the first so many: the many counters come last."""
    return tuple(sorted(words, key=lambda word: (word.startswith("counter:"), word)))


def ping_method() -> str | None:
    """The first of ping socket, raw socket and the system's ``ping`` that may be used here."""
    if _opens(socket.SOCK_DGRAM):
        return "ping-socket"
    if _opens(socket.SOCK_RAW):
        return "raw-socket"
    return "ping-program" if _has_program("ping") else None


def has_family(family: socket.AddressFamily) -> bool:
    """True where a route to the wide world exists; connecting a datagram socket asks, and sends nothing."""
    far = ("192.0.2.1", 9) if family == socket.AF_INET else ("2001:db8::1", 9)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(far)
    except OSError:
        return False
    return True


def effective(status: Path = Path("/proc/self/status")) -> tuple[str, ...]:
    """Names of the effective capabilities that matter here."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return ()
    bits = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return tuple(name for bit, name in sorted(_CAPABILITIES.items()) if bits >> bit & 1)


def _has_program(name: str) -> bool:
    """As ``shutil.which``, which brings three compressors into every idle agent."""
    return any(os.access(Path(folder, name), os.X_OK) for folder in os.get_exec_path())


def _opens(kind: socket.SocketKind) -> bool:
    try:
        socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
    except OSError:
        return False
    return True
