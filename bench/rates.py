"""Rates of tcp and icmp probes from one agent, through the real kinds, beside nmap, fping and
blackbox_exporter.

All on loopback: connects to 4,000 listening ports, ten echoes to each of 2,000 addresses of 127/8. Both
sides start from nothing in each round and take turns; the ratio is the median of the rounds', so that a busy
machine hurts both alike and no lucky round decides.

fping runs with ``-i 0`` (no pause between packets), ``-p 1`` (no wait between the rounds over the
addresses, as ours has an interval of 1 ms) and ``-q``, which prints a summary for each address. Before that,
``-c`` 1, 5, 10 and 20 were tried with some of ``-p`` 1, 10, 20 and 25, three runs each: ``-c 1`` was slowest
(21,000 to 51,000 a second, its start counts more), the others lay between 58,000 and 134,000, and the
machine's own ups and downs hid which is best. Ours keeps every sample. ``--json`` prints rows for
``bench/run.py``; else a table. A peer that is not installed makes a row without a budget.
"""

import asyncio
import http.client
import json
import multiprocessing
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probemesh_agent.engine.loop import Engine
from probemesh_agent.env import Address, ProbeEnv, Resolution
from probemesh_agent.probes.icmp import IcmpProbe
from probemesh_agent.probes.tcp import TcpProbe
from probemesh_shared.model import Failure, IcmpSpec, Options, PortRange, Spec, Target, TcpSpec
from probemesh_shared.words import Family, Outcome

FIRST_PORT, PORTS = 20_000, 4_000
ADDRESSES, ECHOES = 2_000, 10
SCRAPES = 600
ROUNDS = 5
_IPV4, _OK = Family.IPV4, Outcome.OK


@dataclass(frozen=True)
class Rate:
    """``per_cpu_s``: probes for each second of processor time, of user and system."""

    per_s: float
    per_cpu_s: float


class _Clock:
    monotonic = staticmethod(time.monotonic)
    perf_ns = staticmethod(time.perf_counter_ns)
    wall_ns = staticmethod(time.time_ns)
    sleep = staticmethod(asyncio.sleep)


class _Permissive:
    """Every literal is allowed: what is measured is probing, not policy."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def resolve(self, target: Target, options: Options, deadline: float) -> Resolution:
        return Resolution(target.host, (Address(target.host, _IPV4),))

    def refused_ports(self, _: Sequence[PortRange]) -> dict[int, Failure]:
        return {}


def ours(probe: Any, spec: Spec, targets: Sequence[Target], expected: int) -> Rate:
    """One run of a kind; every sample has to be answered."""

    async def run() -> int:
        engine = Engine()
        env = ProbeEnv(_Permissive(engine), _Clock(), time.monotonic() + 30)  # type: ignore[arg-type]
        answered = 0
        async for batch in probe.run(spec, targets, env):
            answered += sum(sample.outcome is _OK for row in batch for sample in row.samples)
        engine.close()
        return answered

    began, cpu = time.perf_counter(), time.process_time()
    answered = asyncio.run(run())
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    if answered != expected:
        raise SystemExit(f"{probe.kind}: {answered} of {expected} answered")
    return Rate(expected / took, expected / cpu)


def program(words: Sequence[str], probes: int) -> Rate:
    """A peer's whole run, its start included as ours is."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=30)
    took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Rate(probes / took, probes / cpu)


def in_turns(turns: Sequence[Callable[[], Rate]]) -> tuple[list[Rate], float]:
    """The median rate of each over rounds in which they take turns, and the median of the rounds' ratios of
    the first to the last."""
    rounds = [[turn() for turn in turns] for _ in range(ROUNDS)]
    ratio = statistics.median(rates[0].per_s / rates[-1].per_s for rates in rounds)
    return [
        Rate(statistics.median(r.per_s for r in column), statistics.median(r.per_cpu_s for r in column))
        for column in zip(*rounds, strict=True)
    ], ratio


def listen(ready: Any, stop: Any) -> None:
    """Holds the ports open in a process of its own; nobody accepts, the kernel completes the handshakes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, PORTS + 100), hard), hard))
    held = []
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
            server.listen(1024)
        except OSError:
            server.close()
            continue
        held.append(server)
    ready.put([server.getsockname()[1] for server in held])
    stop.wait()


def tcp_rows(ports: Sequence[int]) -> list[dict[str, Any]]:
    spans = tuple(PortRange(port, port) for port in ports)
    target = Target("127.0.0.1:many", "127.0.0.1", spans)
    spec = TcpSpec(Options(count=1, timeout_s=3))
    turns = [lambda: ours(TcpProbe(), spec, [target], len(ports))]
    if shutil.which("nmap"):
        listed = ",".join(map(str, ports))
        words = ["nmap", "-sT", "-Pn", "-n", "-T5", "--min-rate", "100000", "--max-retries", "0", "-oG", "-"]
        words += ["-p", listed, "127.0.0.1"]
        turns.append(lambda: program(words, len(ports)))
    rates, ratio = in_turns(turns)
    rows = [row("tcp connects", rates[0].per_s, "/s", peer=f"{rates[0].per_cpu_s:,.0f} a CPU second")]
    if len(rates) > 1:
        rows.append(row("tcp connects ÷ nmap -sT", ratio, "×", 0.7, peer_rate(rates[1])))
    else:
        rows.append(row("tcp connects ÷ nmap -sT", None, "×", peer="nmap is not installed"))
    return rows + blackbox_rows(rates[0], ports[0])


def icmp_rows() -> list[dict[str, Any]]:
    hosts = [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(ADDRESSES)]
    targets = [Target(host, host) for host in hosts]
    spec = IcmpSpec(Options(count=ECHOES, interval_s=0.001, timeout_s=3))
    total = ADDRESSES * ECHOES
    turns = [lambda: ours(IcmpProbe(), spec, targets, total)]
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "hosts"
        listed.write_text("\n".join(hosts) + "\n")
        if shutil.which("fping"):
            words = ["fping", "-q", "-c", str(ECHOES), "-i", "0", "-p", "1", "-f", str(listed)]
            turns.append(lambda: program(words, total))
        rates, ratio = in_turns(turns)
    rows = [row("icmp echoes", rates[0].per_s, "/s", peer=f"{rates[0].per_cpu_s:,.0f} a CPU second")]
    if len(rates) > 1:
        rows.append(row("icmp echoes ÷ fping -i 0", ratio, "×", 1.2, peer_rate(rates[1])))
    else:
        rows.append(row("icmp echoes ÷ fping -i 0", None, "×", peer="fping is not installed"))
    return rows


def blackbox_rows(tcp: Rate, port: int) -> list[dict[str, Any]]:
    what = "tcp per CPU second ÷ blackbox_exporter"
    exporter = shutil.which("prometheus-blackbox-exporter") or shutil.which("blackbox_exporter")
    if exporter is None:
        return [row(what, None, "×", peer="blackbox_exporter is not installed")]
    theirs = blackbox(exporter, port)
    return [row(what, tcp.per_cpu_s / theirs, "×", 5.0, f"{theirs:,.0f} a CPU second")]


def blackbox(exporter: str, port: int) -> float:
    """Probes a CPU second of the exporter, scraped over one kept connection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        web = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "b.yml"
        config.write_text("modules:\n  tcp:\n    prober: tcp\n    timeout: 3s\n")
        words = [
            exporter,
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{web}",
            "--log.level=error",
        ]
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            scraped = connected(web)
            before = cpu_of(child.pid)
            for _ in range(SCRAPES):
                scraped.request("GET", f"/probe?module=tcp&target=127.0.0.1:{port}")
                if b"\nprobe_success 1" not in scraped.getresponse().read():
                    raise SystemExit("blackbox_exporter did not reach its target")
            return SCRAPES / (cpu_of(child.pid) - before)
        finally:
            child.terminate()
            child.wait()


def connected(port: int) -> http.client.HTTPConnection:
    """A kept connection to the exporter, once it listens."""
    until = time.monotonic() + 10
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
            continue
        return connection


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peer_rate(rate: Rate) -> str:
    return f"{rate.per_s:,.0f}/s, {rate.per_cpu_s:,.0f} a CPU second"


def row(
    what: str, value: float | None, unit: str, budget: float | None = None, peer: str = ""
) -> dict[str, Any]:
    made: dict[str, Any] = {"what": what, "ours": value, "unit": unit, "peer": peer}
    if budget is not None:
        made["budget"] = budget
    return made


def main() -> None:
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Queue(), context.Event()
    holder = context.Process(target=listen, args=(ready, stop), daemon=True)
    holder.start()
    try:
        rows = tcp_rows(ready.get(timeout=20))
    finally:
        stop.set()
        holder.join(5)
    rows += icmp_rows()
    if "--json" in sys.argv:
        print(json.dumps(rows))
        return
    for each in rows:
        value = (
            "—"
            if each["ours"] is None
            else f"{each['ours']:,.2f}"
            if each["ours"] < 100
            else f"{each['ours']:,.0f}"
        )
        budget = f"≥ {each['budget']:g}" if "budget" in each else ""
        print(f"{each['what']:<42} {value:>10} {each['unit']:<3} {budget:<7} {each['peer']}")


if __name__ == "__main__":
    main()
