"""``mesh-agent probe TARGET…``: this host as the one vantage point, with nobody else."""

import argparse
import asyncio
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from probemesh_shared import jsonout, outcomes
from probemesh_shared.clock import SystemClock
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.expectations import belongs, of_kind, parse_expectations
from probemesh_shared.jsonshape import CertificateJson
from probemesh_shared.model import (
    DnsSpec,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    Measurement,
    MtuSpec,
    Options,
    Spec,
    Target,
    TargetResult,
    TcpSpec,
    TlsSpec,
    TraceSpec,
    UdpSpec,
    Vantage,
)
from probemesh_shared.specs import KINDS
from probemesh_shared.targets import check_family, parse_target
from probemesh_shared.words import Family, Kind

from probemesh_agent.env import ProbeEnv
from probemesh_agent.expecting import measured
from probemesh_agent.kit import all_probes, typed_policy
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.prepare import Preparation
from probemesh_agent.rows import refused_all
from probemesh_agent.showing import show_results

NAME = "self"
INTERRUPTED = 130

_SPECS: dict[Kind, Callable[[Options], Spec]] = {
    Kind.ICMP: IcmpSpec,
    Kind.DNS: DnsSpec,
    Kind.TCP: TcpSpec,
    Kind.UDP: UdpSpec,
    Kind.TLS: TlsSpec,
    Kind.HTTP: HttpSpec,
    Kind.LADDER: LadderSpec,
    Kind.TRACE: TraceSpec,
    Kind.MTU: MtuSpec,
}


async def probe(args: argparse.Namespace) -> int:
    """Measures, prints, returns the exit code. Raises :class:`InvalidRequest` for wrong use."""
    targets = tuple(parse_target(text) for text in args.targets)
    if not targets:
        raise InvalidRequest("no target was given", "write mesh-agent probe HOST:PORT")
    if named := next((target for target in targets if target.agent is not None), None):
        raise InvalidRequest(f"{named.text}: only a mesh knows its agents", "use meshctl probe")
    options = read_options(args)
    specs = specs_of(args.kind, options)
    for target in targets:
        # of a host whose names alone are asked for it is that of the way to a server
        if target.kind is Kind.DNS or any(not isinstance(spec, DnsSpec) for spec in specs):
            check_family(options.family, target)
    if not 0.1 <= args.deadline <= 3600:
        raise InvalidRequest(f"--deadline {args.deadline:g} is out of range", "give 0.1 to 3600 seconds")
    policy = typed_policy(args.policy)
    clock = SystemClock()
    network = SystemNetwork(clock, policy)
    started_ns = clock.wall_ns()
    try:
        env = ProbeEnv(network, clock, clock.monotonic() + args.deadline)
        rows, interrupted = await measure(specs, targets, env)
    finally:
        network.close()
    ladder = any(isinstance(spec, LadderSpec) for spec in specs)
    results = assemble(targets, rows, started_ns, ladder=ladder)
    sys.stdout.write(show(results, args.output, strict=args.strict))
    return outcomes.exit_code(results, args.strict, interrupted)


def read_options(args: argparse.Namespace) -> Options:
    """Bounds as ``meshctl probe`` has them. Raises :class:`InvalidRequest`."""
    limits: tuple[tuple[str, float | None, float, float], ...] = (
        ("--count", args.count, 1, 1000),
        ("--interval", args.interval, 0.01, 60),
        ("--timeout", args.timeout, 0.05, 60),
        ("--dscp", args.dscp, 0, 63),
        ("--ttl", args.ttl, 1, 255),
        ("--size", args.size, 0, 65507),
    )
    for name, value, low, high in limits:
        if value is not None and not low <= value <= high:
            raise InvalidRequest(f"{name} {value:g} is out of range", f"give {low:g} to {high:g}")
    family = Family.IPV4 if args.ipv4 else Family.IPV6 if args.ipv6 else Family.BOTH
    return Options(
        family=family,
        count=args.count,
        interval_s=args.interval,
        timeout_s=args.timeout,
        source=args.source,
        dscp=args.dscp,
        ttl=args.ttl,
        size=args.size,
        dont_fragment=args.dont_fragment,
        expect=parse_expectations(args.expect),
    )


def specs_of(kinds: Sequence[str], options: Options) -> tuple[Spec, ...]:
    """The ladder where no kind is named."""
    wanted = tuple(dict.fromkeys(map(Kind, kinds))) or (Kind.LADDER,)
    for one in options.expect:
        if Kind.LADDER not in wanted and not set(wanted).intersection(belongs(one.key)):
            kinds_of = " or --kind ".join(belongs(one.key))
            raise InvalidRequest(
                f"the expectation {one.key} belongs to no kind asked for", f"--kind {kinds_of}"
            )
    return tuple(_SPECS[kind](replace(options, expect=of_kind(options.expect, kind))) for kind in wanted)


async def measure(
    specs: Sequence[Spec], targets: tuple[Target, ...], env: ProbeEnv
) -> tuple[list[Measurement], bool]:
    """All rows, and whether SIGINT cut them short."""
    probes = all_probes()
    rows: list[Measurement] = []

    async def run(spec: Spec) -> None:
        kind = KINDS[type(spec)]
        if (refused := env.network.refused_kind(kind)) is not None:
            rows.extend(refused_all(kind, targets, refused, env.clock.wall_ns()))
            return
        async for batch in measured(probes[kind], kind, spec, targets, env):
            rows.extend(batch)

    async def everything() -> None:
        prepare = Preparation(probes)
        for spec in specs:  # all before the first packet
            await prepare(KINDS[type(spec)], spec, targets)
        async with asyncio.TaskGroup() as group:
            for spec in specs:
                group.create_task(run(spec))

    loop = asyncio.get_running_loop()
    task = asyncio.create_task(everything())
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return rows, True
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    return rows, False


def assemble(
    targets: tuple[Target, ...], rows: Sequence[Measurement], started_ns: int, *, ladder: bool
) -> tuple[TargetResult, ...]:
    """One result a target, with this host as its only vantage point. Pure."""
    by_target: defaultdict[int, list[Measurement]] = defaultdict(list)
    for row in rows:
        by_target[row.target_index].append(row)
    results = []
    for index, target in enumerate(targets):
        found = tuple(by_target[index])
        ported = bool(target.ports) if ladder else None
        outcome, failed_at, is_target = outcomes.vantage_outcome(found, ladder, ported=ported)
        vantage = Vantage(NAME, None, outcome, failed_at, found, is_target)
        results.append(TargetResult(target, started_ns, (vantage,)))
    return tuple(results)


def show(results: tuple[TargetResult, ...], output: str, *, strict: bool) -> str:
    """``table``, ``json`` (one object for one TARGET, an array for several) or ``jsonl``."""
    if output == "table":
        return show_results(results)
    objects = [jsonout.result_to_json(result, _certificate, strict) for result in results]
    if output == "jsonl":
        return "".join(jsonout.dumps(one, None) + "\n" for one in objects)
    return jsonout.dumps(objects[0] if len(objects) == 1 else objects) + "\n"


def _certificate(der: bytes) -> CertificateJson:
    """Loads ``cryptography``, which is why ``run`` never comes here."""
    from probemesh_shared.certificates import parse_certificate

    return parse_certificate(der)
