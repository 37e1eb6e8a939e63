"""Builds a lab and drops a person into it.

::

    make lab                          what labs there are
    make lab LAB=L02                  builds it, shows it, lets meshctl diagnose it, and keeps it until Ctrl-C
    python -m tests.lab.run L02 --once            … without staying
    python -m tests.lab.run L02 --shell           a shell in it: $A, $R, $S, $B, $C are namespaces,
                                                  meshctl is there, and so is what it talks to
    python -m tests.lab.run L02 --no-mesh --shell    the network alone: no controller, no agents
    python -m tests.lab.run L02 --udp -6 --bare --raw --prove     other looks at it; is it what it says?
    python -m tests.lab.run L02 --exec 'ip netns exec $A ping -c1 203.0.113.2'    one command, then it is over

Needs root, ``ip`` and ``nft``. Everything is gone afterwards, also on Ctrl-C.
"""

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.lab.labs import Case, Lab, library
from tests.lab.mesh import BIN, Mesh
from tests.lab.netlab import NetLab
from tests.lab.programs import TREE, for_nobody
from tests.lab.stage import Stage, prove


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _arguments(arguments)
    labs = library().labs
    if asked.lab is None:
        sys.stdout.write(_listing(list(labs.values())))
        return 0
    if asked.lab not in labs:
        near = [name for name in labs if name.lower() == asked.lab.lower()]
        if not near:
            sys.stderr.write(f"there is no lab {asked.lab}; make lab lists them\n")
            return 2
        asked.lab = near[0]
    if os.geteuid() != 0:
        sys.stderr.write("a lab wants root: it makes network namespaces\n")
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _play(asked, _case(asked, labs[asked.lab]))
    except KeyboardInterrupt:
        return 130


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.run", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("lab", nargs="?", help="its id; none: lists them")
    parser.add_argument("--tcp", dest="transport", action="store_const", const="tcp")
    parser.add_argument("--udp", dest="transport", action="store_const", const="udp")
    parser.add_argument("--icmp", dest="transport", action="store_const", const="icmp")
    parser.add_argument("-4", dest="family", action="store_const", const="v4")
    parser.add_argument("-6", dest="family", action="store_const", const="v6")
    parser.add_argument("--both", dest="family", action="store_const", const="both", help="either family")
    parser.add_argument("--bare", action="store_true", help="nothing listens on the port")
    parser.add_argument("--raw", action="store_true", help="agents have CAP_NET_RAW")
    parser.add_argument("--masked", action="store_true", help="agents do without the newer counters")
    parser.add_argument("--once", action="store_true", help="diagnose, then take it down")
    parser.add_argument("--shell", action="store_true", help="a shell in place of the diagnosis")
    parser.add_argument("--exec", metavar="COMMAND", help="one shell command in place of the diagnosis")
    parser.add_argument("--no-mesh", action="store_true", help="no controller, no agents")
    parser.add_argument("--prove", action="store_true", help="is the lab what it says, by ordinary sockets?")
    return parser.parse_args(arguments)


def _case(asked: argparse.Namespace, lab: Lab) -> Case:
    return Case(
        lab,
        asked.transport or lab.transports[0],
        asked.family or lab.families[0],
        bare=asked.bare,
        raw=asked.raw,
        masked=asked.masked,
    )


def _listing(labs: Sequence[Lab]) -> str:
    lines = [
        f"{lab.id:<8} {'/'.join(lab.transports):<13} {'/'.join(lab.families):<6} {lab.about}" for lab in labs
    ]
    return "\n".join([*lines, "", "make lab LAB=L02 builds one\n"])


def _play(asked: argparse.Namespace, case: Case) -> int:
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="probemesh-lab-")))
        folder.chmod(0o755)
        net = held.enter_context(NetLab())
        stage = Stage(net, library().topologies[case.lab.topology])
        held.callback(stage.close)
        mesh = None
        if not asked.no_mesh:
            program = held.enter_context(for_nobody())
            if program is None:
                sys.stderr.write("no interpreter here that uid 65534 could use\n")
                return 4
            mesh = held.enter_context(Mesh(stage, folder, program, case.raw, case.masked).running())
        held.enter_context(stage.playing(case))
        sys.stdout.write(describe(stage, case))
        sys.stdout.flush()
        return _act(asked, stage, case, mesh)


def _act(asked: argparse.Namespace, stage: Stage, case: Case, mesh: Mesh | None) -> int:
    if asked.prove:
        wrong = prove(stage, case)
        print("\n".join(wrong) or "the lab is what it says, as far as ordinary sockets can tell")
    if asked.shell or asked.exec:
        return _shell(stage, mesh, asked.exec)
    if mesh is None:
        return 0 if asked.prove else _stay(asked.once)
    told = mesh.diagnose(case)
    print(f"{told.out}{told.errors}\n({told.seconds:.1f} s, exit code {told.code})")
    return told.code if asked.once else _stay(False)


def _stay(once: bool) -> int:
    if not once:
        print("\nstays until Ctrl-C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


def _shell(stage: Stage, mesh: Mesh | None, command: str | None) -> int:
    names = {name.upper(): host.namespace for name, host in stage.hosts.items()}
    environment = {
        **(mesh.environment if mesh else os.environ),
        **names,
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    shell = os.environ.get("SHELL", "/bin/sh")
    home = stage.controller[0].command() if mesh else []
    words = [shell, "-c", command] if command else [shell]
    return subprocess.run([*home, *words], env=environment, cwd=TREE, check=False).returncode


def describe(stage: Stage, case: Case) -> str:
    """The drawing, what is broken, what is true, and the commands to try."""
    lab, topology = case.lab, stage.topology
    lines = [f"{lab.id}: {lab.about}", "", topology.drawing, ""]
    lines += [
        f"    {host}: {hook}: {rule}"
        for host, hooks in lab.rules.items()
        for hook, rules in hooks.items()
        for rule in rules
    ]
    lines += [f"    {host}: {line}" for host, text in lab.nft.items() for line in text.strip().splitlines()]
    lines += [f"    {host}: {command}" for host, commands in lab.run.items() for command in commands]
    lines += [
        f"    {host}: {name} = {value}"
        for host, settings in lab.sysctl.items()
        for name, value in settings.items()
    ]
    lines += [
        f"    {host} serves {', '.join(services)}" for host, services in case.services().items() if services
    ]
    lines.append("")
    for direction, way in (("forward", "{0} to {1}"), ("reverse", "{1} to {0}")):
        truth = case.truth(direction)
        words = " or ".join((truth.verdict, *truth.others))
        words += f", not to be told from {', '.join(truth.set)}" if truth.set else ""
        words += f", at {truth.at}" if truth.at else ""
        lines.append(f"    truth {way.format(*lab.ends)}: {words}")
    spaces = " ".join(f"{name}={host.namespace}" for name, host in stage.hosts.items())
    lines += ["", f"    namespaces: {spaces}"]
    lines += [f"    try: meshctl {shlex.join(case.command())}", ""]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
