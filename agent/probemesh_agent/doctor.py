"""``mesh-agent doctor``: what keeps this host from measuring well, one line each with its remedy.

Each check looks at one thing and is a function of what it is given, so that tests can hand in a sick host.
"""

import os
import resource
import socket
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from probemesh_shared.errors import MeshError, StateError, VersionMismatch
from probemesh_shared.identity.files import Identity, load_identity

from probemesh_agent import capabilities, kernelclock
from probemesh_agent.enrol import load_agent
from probemesh_agent.net.policy import Policy

if TYPE_CHECKING:
    from probemesh_shared.jsonshape import DoctorJson

_DAY_NS = 86_400_000_000_000
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


class Level(StrEnum):
    OK = "ok"
    WARN = "warning"
    FAIL = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """``fix`` is what to do about it; None where there is nothing to do."""

    name: str
    level: Level
    text: str
    fix: str | None = None


def to_json(checks: tuple[Check, ...]) -> "DoctorJson":
    """The shape that ``meshctl doctor -o json`` has too; ``fix`` stands only where something is wrong."""
    return {
        "schema": 1,
        "checks": [
            {"name": check.name, "status": check.level.value, "text": check.text, "fix": _fix(check)}
            for check in checks
        ],
    }


def _fix(check: Check) -> str | None:
    return None if check.level is Level.OK else check.fix


def healthy(checks: tuple[Check, ...]) -> bool:
    """Warnings do not count."""
    return all(check.level is not Level.FAIL for check in checks)


async def examine(
    state: Path, environ: Mapping[str, str] = os.environ, policy: Path | None = None
) -> tuple[Check, ...]:
    """Everything; ``policy`` is the file that ``run`` is given. The controller is asked last, which takes at
    most about eleven seconds."""
    checks = [
        clock(kernelclock.read()),
        ping(capabilities.ping_method(), group_range(), os.getegid()),
        descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        resolver(),
        ipv6(),
        proxies(environ),
        state_folder(state),
        policy_file(policy),
    ]
    try:
        identity = load_identity(state / "agent")
    except StateError as error:
        return (*checks, Check("certificate", Level.FAIL, str(error), error.hint or "mesh-agent join"))
    checks.append(certificate(identity, time.time_ns()))
    checks.append(await controller(state, identity))
    return tuple(checks)


def clock(seen: kernelclock.ClockState | None) -> Check:
    if seen is None:
        return Check("clock", Level.WARN, "the kernel does not say whether the clock is synchronised")
    if not seen.synchronised:
        text = "the clock is not synchronised: certificates and one-way delays depend on it"
        return Check("clock", Level.WARN, text, "run chrony, ntpd or systemd-timesyncd")
    return Check("clock", Level.OK, f"synchronised, at most {seen.max_error_ms:.0f} ms off")


def group_range(path: Path = Path("/proc/sys/net/ipv4/ping_group_range")) -> tuple[int, int] | None:
    """Which groups may open ping sockets; ``(1, 0)`` means none."""
    try:
        low, high = path.read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return None


def ping(method: str | None, groups: tuple[int, int] | None, gid: int) -> Check:
    fix = f'sysctl -w net.ipv4.ping_group_range="0 2147483647" (it is {groups}, our group is {gid})'
    if method is None:
        return Check(
            "ping", Level.FAIL, "no way to ping: no ping socket, no raw socket, no ping program", fix
        )
    if method == "ping-program":
        return Check("ping", Level.WARN, "only the system's ping program: slow, and less is seen", fix)
    return Check("ping", Level.OK, f"by {method}")


def descriptors(limit: int) -> Check:
    if limit != resource.RLIM_INFINITY and limit < 4096:
        text = f"{limit} file descriptors: large scans will run short"
        return Check("descriptors", Level.WARN, text, "raise LimitNOFILE= or ulimit -n to 65536")
    return Check("descriptors", Level.OK, "unlimited" if limit == resource.RLIM_INFINITY else str(limit))


def resolver(path: Path = Path("/etc/resolv.conf")) -> Check:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        return Check("resolver", Level.WARN, f"{path}: {error.strerror}", "names will not resolve: write one")
    servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    if not servers:
        return Check("resolver", Level.WARN, f"{path} names no server", "add a nameserver line")
    return Check("resolver", Level.OK, ", ".join(servers))


def ipv6() -> Check:
    if capabilities.has_family(socket.AF_INET6):
        return Check("ipv6", Level.OK, "there is a route")
    return Check("ipv6", Level.WARN, "no route: IPv6 targets will be 'unreachable' from here")


def proxies(environ: Mapping[str, str]) -> Check:
    found = sorted(name for name in environ if name.lower() in PROXY_VARIABLES and environ[name])
    if not found:
        return Check("proxy", Level.OK, "no proxy variable is set")
    text = f"{', '.join(found)} set, and ignored: the agent dials directly"
    return Check("proxy", Level.WARN, text, "give mesh-agent run --proxy URL where the way out is a proxy")


def state_folder(state: Path) -> Check:
    folder = state / "agent"
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        return Check(
            "state", Level.FAIL, f"{folder}: {error.strerror}", "mesh-agent join, or another --state"
        )
    if mode & 0o077:
        return Check("state", Level.FAIL, f"{folder} is open to others ({mode:04o})", f"chmod 700 {folder}")
    if not os.access(folder, os.W_OK):
        return Check("state", Level.FAIL, f"{folder} cannot be written: renewal will fail", f"chown {folder}")
    return Check("state", Level.OK, str(folder))


def policy_file(path: Path | None) -> Check:
    """What of it is most often forgotten: how much may be sent."""
    try:
        policy = Policy.shipped() if path is None else Policy.load(path)
    except StateError as error:
        return Check("policy", Level.FAIL, str(error), "mend it; until then nothing is probed from here")
    own = "".join(f"; {kind}: {policy.limits.in_words(kind)}" for kind in sorted(policy.limits.kinds))
    return Check("policy", Level.OK, f"{policy.source}: {policy.limits.in_words()}{own}")


def certificate(identity: Identity, now_ns: int) -> Check:
    left = (identity.not_after_ns - now_ns) / _DAY_NS
    who = f"{identity.name} of mesh {identity.mesh}"
    if now_ns < identity.not_before_ns:
        return Check("certificate", Level.FAIL, f"{who}: not valid yet", "set this host's clock")
    if left <= 0:
        fix = "join again: meshctl token create, then mesh-agent join … --replace"
        return Check("certificate", Level.FAIL, f"{who}: expired {-left:.1f} days ago", fix)
    if now_ns > identity.renew_at_ns + (identity.not_after_ns - identity.renew_at_ns) // 2:
        text = f"{who}: expires in {left:.1f} days and was not renewed"
        return Check(
            "certificate", Level.WARN, text, "is mesh-agent run running, and the controller reachable?"
        )
    return Check("certificate", Level.OK, f"{who}: valid for {left:.1f} days")


async def controller(state: Path, identity: Identity) -> Check:
    """Asks, beside whatever session there is: a handshake alone does not tell a revocation."""
    from probemesh_shared.rpc.standing import ask_standing  # grpc, for this one check

    try:
        address = load_agent(state).controller
        standing = await ask_standing(address, identity)
    except VersionMismatch:
        text = f"{address} answers and accepts our certificate; it is too old to say whether it was revoked"
        return Check("controller", Level.WARN, text, "update the controller")
    except MeshError as error:
        return Check("controller", Level.FAIL, str(error), error.hint)
    said = f"{address} answers and accepts our certificate"
    if not standing.attached:
        text = f"{said}; it has no session of this agent"
        return Check("controller", Level.WARN, text, "mesh-agent run, or start its service")
    return Check("controller", Level.OK, said)
