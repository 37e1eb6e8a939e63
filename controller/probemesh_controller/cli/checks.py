"""The checks of ``meshctl doctor``, in the order a connection needs them."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from probemesh_shared.errors import CertificateRefused, MeshError, Unreachable
from probemesh_shared.escape import escape
from probemesh_shared.jsonout import bare_version
from probemesh_shared.jsonshape import CheckJson, DoctorJson
from probemesh_shared.moments import time_text
from probemesh_shared.words import AgentState

from probemesh_controller import config
from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import FLAGS, use_color
from probemesh_controller.cli.output import Format, print_value, terminal_width, write
from probemesh_controller.render.text import paint, wrap

Status = Literal["ok", "warning", "failed", "skipped"]
_SIGNS = {"ok": ("✓", "good"), "warning": ("▲", "warn"), "failed": ("✕", "bad"), "skipped": ("–", "dim")}
MOST_SKEW_S = 5.0


def check(name: str, status: Status, text: str, fix: str | None = None) -> CheckJson:
    return {"name": name, "status": status, "text": text, "fix": fix}


async def run_checks() -> list[CheckJson]:
    """Never raises: what goes wrong is what it reports."""
    found = [check_proxies(os.environ), check_self(), check_ping(Path("/proc/sys/net/ipv4/ping_group_range"))]
    try:
        settings = config.load(config.config_path(FLAGS.config, os.environ)[0])
        context, source = config.choose(settings, FLAGS.context, os.environ)
    except MeshError as error:
        return [*found, check("configuration", "failed", str(error), error.hint)]
    if context is None:
        text = f"no mesh in {settings.path}; meshctl probe measures from this machine only"
        return [*found, check("configuration", "warning", text, config.NO_CONTEXT_HINT)]
    found.append(check("configuration", "ok", f"context {context.name} ({source})"))
    with contextlib.suppress(MeshError):
        from probemesh_controller.renewing import usable

        await usable(context.identity, context.controller)
    identity = check_identity(context.identity, time.time_ns())
    found.append(identity)
    if identity["status"] == "failed":
        return [*found, check("controller", "skipped", "needs the identity")]
    return [*found, *await check_mesh(context)]


def check_proxies(environ: Mapping[str, str]) -> CheckJson:
    names = {name for proxy in connect.PROXIES for name in (proxy, proxy.upper())}
    present = sorted(name for name in names if environ.get(name))
    if present:
        return check("proxy", "ok", f"{', '.join(present)} set, and ignored: connections are direct")
    return check("proxy", "ok", "no proxy variables")


def check_self() -> CheckJson:
    if not connect.self_available():
        return check("self", "warning", "this is not Linux: only agents measure, self is left out")
    beside = Path(sys.executable).with_name("mesh-agent")
    if beside.exists() or shutil.which("mesh-agent"):
        return check("self", "ok", "this machine can be a vantage point")
    return check("self", "failed", "mesh-agent is not installed beside meshctl", "pip install probemesh")


def check_ping(path: Path) -> CheckJson:
    """Ping sockets need no privilege where the kernel lets our group; else raw sockets or the program."""
    try:
        low, high = (int(word) for word in path.read_text().split())
    except (OSError, ValueError):
        return check("ping", "skipped", f"{path} cannot be read")
    if low <= os.getegid() <= high:
        return check("ping", "ok", "unprivileged ping sockets are allowed")
    if os.geteuid() == 0:
        return check("ping", "ok", "by raw sockets (root)")
    if shutil.which("ping"):
        return check("ping", "warning", "by the ping program, which is slower", _PING_FIX)
    return check("ping", "failed", "not possible", _PING_FIX)


_PING_FIX = "sysctl -w net.ipv4.ping_group_range='0 2147483647'"


def check_identity(folder: Path, now_ns: int) -> CheckJson:
    from probemesh_shared.identity.files import load_identity, renewing_identity

    try:
        identity = load_identity(folder)
    except MeshError as error:
        return check("identity", "failed", str(error), error.hint or "meshctl join, or meshctl init")
    who = f"{identity.name} ({identity.role}) of mesh {identity.mesh}"
    until = time_text(identity.not_after_ns)[:16] + "Z"
    if now_ns >= identity.not_after_ns:
        text = f"{who}: expired {until}, and was not renewed"
        fix = f"ask for a new token: meshctl operator create {identity.name}; then meshctl join"
        return check("identity", "failed", text, fix)
    if now_ns < identity.not_before_ns:
        text = f"{who}: not valid before {time_text(identity.not_before_ns)[:16]}Z"
        return check("identity", "failed", text, "is the clock of this machine right?")
    renewable_ns = renewing_identity(identity).not_after_ns
    if renewable_ns > identity.not_after_ns:
        last = f", renewable until {time_text(renewable_ns)[:16]}Z"
        return check("identity", "ok", f"{who}, until {until}{last}")
    return check("identity", "ok", f"{who}, until {until}, renewed by itself before")


async def check_mesh(context: config.MeshContext) -> list[CheckJson]:
    """The controller's lines, if the context has one, and one for each listening agent."""
    if context.controller is None and not context.agents:
        fix = "meshctl controller run, or meshctl agents add NAME HOST:PORT"
        return [check("controller", "failed", "the context has neither a controller nor agents", fix)]
    if context.controller is None:
        return await check_dialled(context)
    if not context.agents:
        return await check_controller(context, context.controller)
    dialled = await check_dialled(context)
    asked = await check_controller(context, context.controller)
    away = asked[0]["name"] == "controller" and asked[0]["status"] == "failed"
    if away and any(one["status"] == "ok" for one in dialled):
        text = f"{asked[0]['text']}; the listening agents are dialled from here"
        fix = "start it, or do without it: meshctl controller forget"
        return [check("controller", "warning", text, fix), *dialled]
    if asked[0]["status"] == "ok":  # then they only stand by
        dialled = [one if one["status"] == "ok" else {**one, "status": "warning"} for one in dialled]
    return [*asked, *dialled]


async def check_dialled(context: config.MeshContext) -> list[CheckJson]:
    """An agent that is away while others answer is a warning; one that refuses us never is."""
    async with connect.dialled(context) as mesh:
        agents = await mesh.agents()
        why = {agent.name: mesh.why_not(agent.name) for agent in agents}
    some = any(agent.state is AgentState.CONNECTED for agent in agents)
    found = []
    for agent in sorted(agents, key=lambda one: one.name):
        error, where = why[agent.name], context.agents[agent.name].address
        name = f"agent {agent.name}"
        if agent.state is AgentState.CONNECTED:
            found.append(check(name, "ok", f"{where} answers, {bare_version(agent.version)}"))
            continue
        status: Status = "warning" if some and isinstance(error, Unreachable) else "failed"
        hint = error.hint if error is not None else None
        text = str(error) if error is not None else f"{where} does not answer"
        found.append(check(name, status, text, hint or "is mesh-agent run with --listen there?"))
    return found


async def check_controller(context: config.MeshContext, address: str) -> list[CheckJson]:
    try:
        async with connect.opened(connect.controlled(context)) as mesh:
            status = await mesh.status()
            now_ns = time.time_ns()
            agents = await mesh.agents()
    except MeshError as error:
        name = "certificate" if isinstance(error, CertificateRefused) else "controller"
        return [check(name, "failed", str(error), error.hint or f"is it running at {address}?")]
    lost = sorted(agent.name for agent in agents if agent.state is AgentState.LOST)
    return [
        check("controller", "ok", f"{address} answers for mesh {status.mesh}"),
        _versions(status.software),
        _clock((status.now_ns - now_ns) / 1e9),
        _agents(status.agents_connected, status.agents_known, lost),
    ]


def _versions(theirs: str) -> CheckJson:
    ours = version("probemesh")
    if ours in theirs:
        return check("version", "ok", f"{ours} at both ends")
    return check("version", "warning", f"meshctl is {ours}, the controller {theirs}", "update the older one")


def _clock(offset_s: float) -> CheckJson:
    if abs(offset_s) < MOST_SKEW_S:
        return check("clock", "ok", f"within {MOST_SKEW_S:g} s of the controller's")
    text = f"{abs(offset_s):.0f} s {'behind' if offset_s > 0 else 'ahead of'} the controller's"
    return check("clock", "warning", text, "set the clock, by NTP for example")


def _agents(connected: int, known: int, lost: list[str]) -> CheckJson:
    if known == 0:
        return check(
            "agents", "warning", "none has joined", "meshctl token create prints the line that joins one"
        )
    text = f"{connected} of {known} connected"
    if lost:
        return check(
            "agents", "warning", f"{text}; lost: {', '.join(lost[:8])}", "is mesh-agent running there?"
        )
    return check("agents", "ok", text)


def show(checks: list[CheckJson], wanted: Format) -> None:
    if wanted not in (Format.TABLE, Format.WIDE):
        value: DoctorJson = {"schema": 1, "checks": checks}
        print_value(value, wanted)
        return
    color, width = use_color(sys.stdout), terminal_width()
    longest = max(len(one["name"]) for one in checks)
    for one in checks:
        sign, style = _SIGNS[one["status"]]
        indent = " " * (longest + 4)
        lines = wrap(one["text"], width, indent)
        head = f"{paint(sign, style, color)} {escape(one['name']).ljust(longest)}  "
        write(head + "\n".join(lines).lstrip(" ") + "\n")
        if one["fix"] and one["status"] != "ok":
            write("\n".join(wrap(f"→ {one['fix']}", width, indent)) + "\n")
