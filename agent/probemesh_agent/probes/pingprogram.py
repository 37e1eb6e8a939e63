"""The last resort where no ICMP socket is allowed: the system's ``ping``, which has the privilege we lack.

One process an address, a few at once; killed at the deadline, and when the run is cancelled.
"""

import asyncio
import contextlib
import shutil
from dataclasses import dataclass, field

from probemesh_shared import failures
from probemesh_shared.model import Failure, IcmpDetail, IcmpError, Options, Sample
from probemesh_shared.words import FailureKind, Family, Kind, Origin, Outcome, Stage, Timing

from probemesh_agent.engine.item import Item
from probemesh_agent.env import Address, ProbeEnv, ProbeFailed
from probemesh_agent.net.allowance import asking
from probemesh_agent.wire.pingtext import PingError, PingReply, read_line

PING_PROGRAM = "ping-program"
_AT_ONCE = 16
_LEAST_INTERVAL_S = 0.2  # what ping allows those without privilege
_MOST_STRANGERS = 8  # addresses kept that answered in the target's place
_MOST_LINES = 10_000


def is_available() -> bool:
    """True where the program is installed."""
    return shutil.which("ping") is not None


@dataclass(slots=True)
class PingRuns:
    """The pings of one run, ``_AT_ONCE`` at a time."""

    options: Options
    env: ProbeEnv
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def measure(self, item: Item) -> None:
        """Puts samples (or a failure) and a detail into ``item``; never raises for what the network did."""
        async with self._slots:
            left_s = self.env.deadline - self.env.clock.monotonic()
            item.failure, item.samples = None, []
            if left_s <= 0:
                item.failure = failures.past_deadline()
                return
            try:
                await self._paced(item)
            except ProbeFailed as failed:
                item.failure = failed.failure
                return
            await self._run(item, self.env.deadline - self.env.clock.monotonic())

    async def _paced(self, item: Item) -> None:
        """The program sends all by itself: it begins when the last of its packets might have left."""
        asking.set(Kind.ICMP)
        address = Address(item.host, Family.IPV6 if ":" in item.host else Family.IPV4)
        for _ in range(self.options.count):
            await self.env.network.sending(address, self.options, self.env.deadline)

    async def _run(self, item: Item, left_s: float) -> None:
        options = self.options
        item.started_ns = self.env.clock.wall_ns()
        process = await asyncio.create_subprocess_exec(
            *arguments(item.host, options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        assert process.stdout is not None and process.stderr is not None
        reader = Reading(item, options, ":" in item.host)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    for _ in range(_MOST_LINES):
                        if not (line := await process.stdout.readline()):
                            break
                        reader.read(line.decode("ascii", "replace"))
                    complaint = (await process.stderr.read(500)).decode("ascii", "replace").strip()
                    await process.wait()
                    reader.finish(complaint)
                    return
            reader.finish("", is_cut=True)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


@dataclass(slots=True)
class Reading:
    """Lines of one ping as they come, and the samples they make."""

    item: Item
    options: Options
    ipv6: bool
    answers: dict[int, PingReply | PingError] = field(default_factory=dict)
    duplicates: int = 0
    strangers: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        """One line. The first word on a sequence number stands."""
        found = read_line(line, self.ipv6)
        if found is None or not 1 <= found.sequence <= self.options.count:
            return
        if isinstance(found, PingReply) and not self._is_target(found.sender):
            if found.sender not in self.strangers and len(self.strangers) < _MOST_STRANGERS:
                self.strangers.append(found.sender)
        elif isinstance(found, PingReply) and found.is_duplicate:
            self.duplicates += 1
        elif not isinstance(self.answers.get(found.sequence), PingReply):
            self.answers[found.sequence] = found

    def _is_target(self, sender: str) -> bool:
        return sender.partition("%")[0] == self.item.host.partition("%")[0]

    def finish(self, complaint: str, *, is_cut: bool = False) -> None:
        """What is missing was silence (``is_cut``: or not waited for); with nothing but a complaint the
        program could not be used."""
        if complaint and not self.answers:
            words = complaint.splitlines()[-1][:200]
            self.item.failure = failures.unsupported(Stage.SEND, f"the ping program says: {words}")
            return
        size = 56 if self.options.size is None else self.options.size
        self.item.detail = IcmpDetail(PING_PROGRAM, size, self.duplicates, answered_by=tuple(self.strangers))
        self.item.launched = self.options.count
        spacing_ms = max(self.options.interval_s, _LEAST_INTERVAL_S) * 1e3
        for seq in range(self.options.count):
            answer = self.answers.get(seq + 1)
            if answer is not None or not is_cut:
                self.item.samples.append(self._sample(seq, seq * spacing_ms, answer))

    def _sample(self, seq: int, offset_ms: float, answer: PingReply | PingError | None) -> Sample:
        if isinstance(answer, PingReply):
            timing = Timing.USER if answer.rtt_ms is not None else None
            return Sample(seq, offset_ms, answer.rtt_ms, Outcome.OK, None, timing, answer.ttl)
        if answer is None:
            failure = failures.timed_out(Stage.RECEIVE, self.options.timeout_s)
        else:
            failure = _failure(answer, self.ipv6, self.item.host)
        return Sample(seq, offset_ms, None, failures.outcome_of(failure), failure)


def _failure(error: PingError, ipv6: bool, target: str) -> Failure:
    if error.type is not None and error.code is not None:
        family = Family.IPV6 if ipv6 else Family.IPV4
        icmp = IcmpError(family, error.type, error.code, error.sender)
        found = failures.from_icmp(Stage.RECEIVE, icmp, target=target)
        if found is not None:
            return found
    detail = f"an ICMP error from {error.sender[:60]}"
    return Failure(Stage.RECEIVE, FailureKind.UNREACHABLE, Origin.PATH, detail)


def arguments(host: str, options: Options) -> list[str]:
    """The command line: numeric, one address; ends by itself after the last attempt's timeout."""
    interval = max(options.interval_s, _LEAST_INTERVAL_S)
    words = ["ping", "-n", "-O", "-6" if ":" in host else "-4"]
    words += ["-c", str(options.count), "-i", f"{interval:g}", "-W", f"{options.timeout_s:g}"]
    if options.size is not None:
        words += ["-s", str(options.size)]
    if options.ttl is not None:
        words += ["-t", str(options.ttl)]
    if options.dscp is not None:
        words += ["-Q", str(options.dscp << 2)]
    if options.dont_fragment:
        words += ["-M", "probe"]
    if options.source is not None:
        words += ["-I", options.source]
    return [*words, "--", host]
