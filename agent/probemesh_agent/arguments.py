"""The command line of ``mesh-agent``: what can be typed, and help that opens with examples."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from probemesh_shared.words import OF_DIAGNOSIS, AuditOutcome, Kind

_WRONG_USE = 2

_TOP = """examples:
  mesh-agent join mesh.example:7400 --token-file token.txt     enrol this host, once
  mesh-agent run                                               dial the controller and take jobs
  mesh-agent run --listen 0.0.0.0:7401                         serve laptops directly as well
  mesh-agent probe db.internal:5432                            measure from here, alone
  mesh-agent doctor                                            what keeps this host from measuring well
  mesh-agent audit                                             who had this agent do what

exit codes:
  0 all well   1 measured, nobody reached it   2 wrong use   3 some failed   4 nothing could be measured
"""
_JOIN = """examples:
  mesh-agent join mesh.example:7400 --token-file token.txt
  meshctl token create --name web1 -o json | jq -r .token | mesh-agent join mesh.example:7400 --token-file -
"""
_RUN = """examples:
  mesh-agent run
  mesh-agent run --listen [::]:7401 --advertise 192.0.2.7
  mesh-agent run --policy /etc/probemesh/policy.toml --proxy http://proxy.example:3128
"""
_PROBE = """examples:
  mesh-agent probe db.internal:5432
  mesh-agent probe 192.0.2.7:22,80,8000-8100 -4
  mesh-agent probe https://shop.example/health --kind http --count 5 -o json
  mesh-agent probe dns:example.org/MX@9.9.9.9 icmp:192.0.2.7
"""
_AUDIT = """examples:
  mesh-agent audit
  mesh-agent audit --since 1d --who alice
  mesh-agent audit --outcome denied -o jsonl

Everything is in STATE/agent/audit.jsonl, one JSON object a line, and the older files beside it.
"""
_DOCTOR = """examples:
  mesh-agent doctor
  mesh-agent doctor --policy /etc/probemesh/policy.toml
  mesh-agent doctor -o json
"""
_POLICY = """examples:
  mesh-agent policy check 169.254.169.254
  mesh-agent policy check db.internal:5432 --kind tcp
  mesh-agent policy check db.internal:5432 10.0.0.0 --policy /etc/probemesh/policy.toml
"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """One is made for each option, also where no help is asked for; without a width it loads ``shutil``, and
    with that every compressor."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """As ``shutil.get_terminal_size``."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class Parser(argparse.ArgumentParser):
    """One clear line for wrong use, in place of the usage lines."""

    def error(self, message: str) -> NoReturn:
        self.exit(_WRONG_USE, f"{self.prog}: {message}\n  {self.prog} --help shows examples\n")

    def print_help(self, file: object = None) -> None:
        """Examples first, then what there is."""
        sys.stdout.write(self.format_help())

    def format_help(self) -> str:
        text = super().format_help()
        if not self.epilog:
            return text
        epilog = self.epilog.strip("\n") + "\n"
        body = text.replace(self.epilog.strip(), "").replace(f"{self.description}\n\n", "", 1).strip()
        return f"{self.description}\n\n{epilog}\n{body}\n"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Exits with 2 for wrong use, 0 after help or version."""
    return _parser().parse_args(arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="mesh-agent",
        description="The probemesh agent: measures from this host, for a controller, a laptop or you.",
        epilog=_TOP,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument(
        "--debug", action="store_true", help="more in the log; tracebacks for faults of our own"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    _join(commands)
    _run(commands)
    _probe(commands)
    doctor = _command(commands, "doctor", "What keeps this host from measuring well, with remedies.", _DOCTOR)
    doctor.add_argument("--state", type=Path, metavar="DIR", help="state directory")
    doctor.add_argument(
        "--policy", type=Path, metavar="F", help="TOML file that run is given (default: as shipped)"
    )
    doctor.add_argument("-o", "--output", choices=("table", "json"), default="table")
    _audit(commands)
    _policy(commands)
    return parser


def _command(
    commands: "argparse._SubParsersAction[Parser]", name: str, summary: str, examples: str
) -> Parser:
    command = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=examples,
        formatter_class=_Formatter,
    )
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return command


def _join(commands: "argparse._SubParsersAction[Parser]") -> None:
    join = _command(commands, "join", "Enrol this host with a token of `meshctl token create`, once.", _JOIN)
    join.add_argument("controller", metavar="HOST:PORT", help="where the controller is reached")
    join.add_argument("--token-file", required=True, metavar="F", help="file with the token; - reads stdin")
    join.add_argument("--state", type=Path, metavar="DIR", help="state directory")
    join.add_argument("--name", help="wanted name, where the token leaves it open")
    join.add_argument("--replace", action="store_true", help="take over the name of an agent that is gone")


def _run(commands: "argparse._SubParsersAction[Parser]") -> None:
    run = _command(commands, "run", "Dial the controller and take jobs, until stopped.", _RUN)
    run.add_argument("--state", type=Path, metavar="DIR", help="state directory")
    run.add_argument("--listen", metavar="HOST:PORT", help="serve laptops and controllers that dial here")
    run.add_argument(
        "--advertise",
        action="append",
        default=[],
        metavar="ADDR",
        help="address by which alone the others probe this agent (repeat for more)",
    )
    run.add_argument(
        "--source", metavar="ADDR", help="source address of probes; a loopback one: of probes to loopback"
    )
    run.add_argument("--policy", type=Path, metavar="F", help="TOML file: what may be probed from here")
    run.add_argument("--proxy", metavar="URL", help="HTTP proxy that the controller is dialled through")
    run.add_argument("--log-json", action="store_true", help="one JSON object a line on stderr")


def _probe(commands: "argparse._SubParsersAction[Parser]") -> None:
    probe = _command(commands, "probe", "Measure targets from here, alone.", _PROBE)
    probe.add_argument("targets", nargs="*", metavar="TARGET")
    kinds = [kind.value for kind in Kind if kind not in OF_DIAGNOSIS]
    probe.add_argument(
        "--kind", action="append", default=[], choices=kinds, metavar="K", help=f"one of {', '.join(kinds)}"
    )
    probe.add_argument("--count", type=int, default=3, metavar="N", help="samples (3)")
    probe.add_argument(
        "--interval", type=float, default=0.2, metavar="S", help="seconds between samples (0.2)"
    )
    probe.add_argument("--timeout", type=float, default=3.0, metavar="S", help="seconds an attempt (3)")
    probe.add_argument("--deadline", type=float, default=15.0, metavar="S", help="seconds in all (15)")
    family = probe.add_mutually_exclusive_group()
    family.add_argument("-4", dest="ipv4", action="store_true", help="IPv4 only")
    family.add_argument("-6", dest="ipv6", action="store_true", help="IPv6 only")
    probe.add_argument("--source", metavar="ADDR|IF", help="source address or interface")
    probe.add_argument("--dscp", type=int, metavar="N")
    probe.add_argument("--ttl", type=int, metavar="N")
    probe.add_argument("--size", type=int, metavar="BYTES", help="payload of icmp and udp")
    probe.add_argument("--dont-fragment", action="store_true")
    probe.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what the answer must be like; may be repeated (meshctl help expectations)",
    )
    probe.add_argument("--policy", type=Path, metavar="F", help="TOML file: what may be probed from here")
    probe.add_argument(
        "--strict", action="store_true", help="a certificate that does not verify counts as failed"
    )
    probe.add_argument("-o", "--output", choices=("table", "json", "jsonl"), default="table")
    probe.add_argument("--frames", action="store_true", help=argparse.SUPPRESS)


def _audit(commands: "argparse._SubParsersAction[Parser]") -> None:
    audit = _command(commands, "audit", "Who had this agent do what, and what came of it.", _AUDIT)
    audit.add_argument("--state", type=Path, metavar="DIR", help="state directory")
    audit.add_argument("--since", metavar="1h", help="only what is newer: 15m, 1h, 2d, or a time (UTC)")
    audit.add_argument("--who", metavar="NAME", help="only of this name, or of names like this glob")
    audit.add_argument("--event", metavar="WORD", help="only events like job-*, session-*")
    audit.add_argument("--outcome", choices=tuple(AuditOutcome), metavar="WORD", help=_one_of(AuditOutcome))
    audit.add_argument("--run", metavar="ID", help="only of this run")
    audit.add_argument("--limit", type=int, default=100, metavar="N", help="the newest N (default: 100)")
    audit.add_argument("-o", "--output", choices=("table", "json", "jsonl"), default="table")


def _one_of(words: "Iterable[str]") -> str:
    return f"only {', '.join(words)}"


def _policy(commands: "argparse._SubParsersAction[Parser]") -> None:
    policy = _command(commands, "policy", "What this host lets its agent probe.", _POLICY)
    actions = policy.add_subparsers(dest="action", metavar="ACTION", parser_class=Parser, required=True)
    check = _command(actions, "check", "Would targets be probed from here, and by which rule?", _POLICY)
    check.add_argument("targets", nargs="+", metavar="TARGET")
    kinds = [kind.value for kind in Kind if kind is not Kind.LADDER]
    check.add_argument(
        "--kind", choices=kinds, metavar="K", help=f"by a probe of this kind: {', '.join(kinds)}"
    )
    check.add_argument("--policy", type=Path, metavar="F", help="TOML file (default: as shipped)")
