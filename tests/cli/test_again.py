"""``--watch`` and ``--until`` on a virtual clock: when rounds begin, what ends them, what is shown."""

import asyncio
import io
import re
from dataclasses import dataclass, field

import pytest
from probemesh_controller.api import RunRequest
from probemesh_controller.cli import screens
from probemesh_controller.cli.again import Again, Plan, Until, plan_of, tally
from probemesh_controller.cli.changes import changes, changes_text, states
from probemesh_controller.cli.output import Format
from probemesh_controller.cli.repeating import Repetition, Rounds, repeat
from probemesh_controller.results import Assembly
from probemesh_shared.clock import VirtualClock
from probemesh_shared.errors import CertificateRefused, InvalidRequest, NotAllowed, Unreachable
from probemesh_shared.model import TargetResult, TcpSpec, Vantage
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Kind, Outcome

from tests.cli.fakes import NOW_NS, FakeMesh, agent, https_row, tcp_row

OK, TIMEOUT, REFUSED, LOST = Outcome.OK, Outcome.TIMEOUT, Outcome.REFUSED, Outcome.AGENT_LOST
WATCH = Plan(None, 5.0, None, 1, None)


def vantage(name, outcome, **more):
    failed_at = None if outcome in (OK, LOST, Outcome.UNMEASURED) else Kind.TCP
    rows = () if outcome is LOST else (tcp_row(outcome),) if outcome in (OK, TIMEOUT, REFUSED) else ()
    return Vantage(name, "x", outcome, failed_at, more.pop("measurements", rows), **more)


def result(*outcomes, target="db:5432"):
    return TargetResult(
        parse_target(target), NOW_NS, tuple(vantage(f"a-{i}", one) for i, one in enumerate(outcomes))
    )


# --- the options


def test_once_is_no_plan():
    assert plan_of(Again(), Format.JSON, share=False) is None


def test_defaults():
    assert plan_of(Again(watch=True), Format.TABLE, False) == Plan(None, 5.0, None, 1, None)
    assert plan_of(Again(until="reachable"), Format.JSON, False) == Plan(Until.REACHABLE, 5.0, None, 1, 300.0)
    asked = Again(until="unreachable", every=1, hold=3, within=60)
    assert plan_of(asked, Format.TABLE, True) == Plan(Until.UNREACHABLE, 1, None, 3, 60)


@pytest.mark.parametrize("output", [form for form in Format if form not in (Format.TABLE, Format.JSONL)])
def test_what_has_an_end_is_refused_for_a_watch_with_a_hint(output):
    with pytest.raises(InvalidRequest) as caught:
        plan_of(Again(watch=True), output, False)
    assert "-o jsonl" in caught.value.hint


# --- what counts


@pytest.mark.parametrize(
    ("outcomes", "reachable", "unreachable"),
    [
        ((OK, OK), (True, 0), (False, 1)),
        ((OK, REFUSED), (False, 3), (False, 3)),
        ((REFUSED, TIMEOUT), (False, 1), (True, 0)),
        ((OK, LOST), (False, 3), (False, 1)),
        ((REFUSED, LOST), (False, 1), (False, 3)),
        ((LOST, LOST), (False, 4), (False, 4)),
        ((), (False, 4), (False, 4)),
    ],
)
def test_unmeasured_is_neither(outcomes, reachable, unreachable):
    for until, (holds, code) in ((Until.REACHABLE, reachable), (Until.UNREACHABLE, unreachable)):
        counts = tally([result(*outcomes)], until)
        assert counts.holds is holds
        assert holds or counts.exit_code == code


def test_every_target_counts_and_the_target_itself_does_not():
    own = TargetResult(parse_target("a:1"), 1, (vantage("a-1", Outcome.UNMEASURED, is_target=True),))
    assert tally([result(OK), own], Until.REACHABLE).holds
    assert not tally([result(OK), result(REFUSED, target="b:1")], Until.REACHABLE).holds
    assert not tally([own], Until.REACHABLE).holds


def test_a_list_of_ports_is_unreachable_where_none_of_them_is():
    rows = (tcp_row(port=80), tcp_row(REFUSED, port=81))
    some = TargetResult(parse_target("db:80-81"), 1, (vantage("a", REFUSED, measurements=rows),))
    none = TargetResult(parse_target("db:80-81"), 1, (vantage("a", REFUSED, measurements=rows[1:]),))
    assert not tally([some], Until.UNREACHABLE).holds and not tally([some], Until.REACHABLE).holds
    assert tally([none], Until.UNREACHABLE).holds


def test_strict_holds_here_too():
    tls = (https_row(verified=False),)
    found = [TargetResult(parse_target("https://web/"), 1, (vantage("a", OK, measurements=tls),))]
    assert tally(found, Until.REACHABLE).holds and not tally(found, Until.REACHABLE, strict=True).holds
    assert tally(found, Until.UNREACHABLE, strict=True).holds


# --- what changed


def test_what_changed_is_how_it_came_out_and_not_how_fast():
    before, after = [result(OK, TIMEOUT)], [result(OK, OK)]
    assert changes(states(before), states(before)) == []
    found = changes(states(before), states(after))
    assert changes_text(found) == "a-1: timeout (tcp) → ok"
    faster = TargetResult(
        before[0].target, 2, (vantage("a-0", OK, measurements=(tcp_row(rtts=(9,)),)), before[0].vantages[1])
    )
    assert changes(states(before), states([faster])) == []
    assert changes({}, states(after)) == []


def test_ports_of_a_list_are_told_apart():
    def scan(*outcomes):
        rows = tuple(tcp_row(one, port=80 + i) for i, one in enumerate(outcomes))
        return states(
            [TargetResult(parse_target("db:80-99"), 1, (vantage("a", REFUSED, measurements=rows),))]
        )

    assert changes_text(changes(scan(OK, REFUSED), scan(REFUSED, OK))) == (
        "a: port 80 ok → refused, port 81 refused → ok"
    )
    assert changes_text(changes(scan(*[OK] * 9), scan(*[REFUSED] * 9))).endswith(
        "port 85 ok → refused and 3 more"
    )


def test_with_several_targets_each_is_named():
    both = [result(OK), result(OK, target="b:1")], [result(REFUSED), result(REFUSED, target="b:1")]
    text = changes_text(changes(*map(states, both)))
    assert text == "db:5432 from a-0: ok → refused (tcp); b:1 from a-0: ok → refused (tcp)"


# --- the loop


@dataclass
class Script:
    """Rounds as scripted, the last one for ever; each takes ``takes`` seconds."""

    clock: VirtualClock
    rounds: list
    takes: float = 0.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    began: list = field(default_factory=list)
    left: list = field(default_factory=list)
    running: int = 0

    async def __call__(self, left):
        assert self.running == 0, "rounds overlap"
        self.running += 1
        self.began.append(self.clock.monotonic() - 1000)
        self.left.append(left)
        found = self.rounds[min(len(self.began), len(self.rounds)) - 1]
        cut = await self._wait()
        self.running -= 1
        return (found,), f"run-{len(self.began)}", cut

    async def _wait(self):
        sleeping = asyncio.ensure_future(self.clock.sleep(self.takes))
        stopping = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        stopping.cancel()
        return self.stop.is_set()


class Seen:
    def __init__(self):
        self.rounds = []

    def begin(self):
        assert self.rounds == []

    def round(self, number, wall_ns, results):
        self.rounds.append(number)

    def say(self, text):
        raise AssertionError(text)

    def close(self):
        pass


async def run(plan, rounds, takes=0.0, seconds=1000.0, stop_at=None):
    clock, done, seen = VirtualClock(), Repetition(), Seen()
    script = Script(clock, rounds, takes)
    task = asyncio.ensure_future(repeat(plan, script, clock, script.stop, seen, False, done))
    if stop_at is not None:
        await clock.advance(stop_at)
        script.stop.set()
    await clock.advance(seconds)
    over = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen.rounds == list(range(1, done.rounds + 1))
    return script, done, over


async def test_rounds_begin_by_the_clock():
    script, done, over = await run(WATCH, [result(OK)], takes=2.0, seconds=21.0)
    assert (script.began, over) == ([0, 5, 10, 15, 20], False)
    assert done.rounds == 4


async def test_a_round_that_takes_longer_is_waited_for():
    script, _, _ = await run(WATCH, [result(OK)], takes=7.0, seconds=20.0)
    assert script.began == [0, 7, 14]


@pytest.mark.parametrize(("last", "code"), [(OK, 0), (REFUSED, 1), (LOST, 4)])
async def test_a_number_of_rounds_ends_a_watch_with_the_code_of_the_last(last, code):
    plan = Plan(None, 5.0, 3, 1, None)
    script, done, over = await run(plan, [result(OK), result(REFUSED), result(last)])
    assert over and script.began == [0, 5, 10]
    assert (done.code, done.rounds, done.run_id, done.cut) == (code, 3, "run-3", False)


async def test_an_interrupt_between_rounds_is_130_and_the_last_round_stays():
    _, done, over = await run(WATCH, [result(OK), result(REFUSED)], takes=1.0, stop_at=7.0, seconds=0)
    assert over and (done.code, done.rounds, done.cut) == (130, 2, False)
    assert done.results == (result(REFUSED),)


async def test_an_interrupt_in_a_round_leaves_the_one_before():
    _, done, over = await run(WATCH, [result(OK), result(REFUSED)], takes=3.0, stop_at=6.0, seconds=0)
    assert over and (done.code, done.rounds, done.cut, done.run_id) == (130, 1, False, "run-1")


async def test_an_interrupt_in_the_first_round_leaves_what_there_is():
    _, done, over = await run(WATCH, [result(OK)], takes=3.0, stop_at=1.0, seconds=0)
    assert over and (done.code, done.rounds, done.cut) == (130, 1, True)
    assert done.results == (result(OK),)


UNTIL = Plan(Until.REACHABLE, 5.0, None, 1, 60.0)


async def test_until_ends_with_0_as_soon_as_it_is_so():
    script, done, over = await run(UNTIL, [result(REFUSED), result(OK, LOST), result(OK, OK)], takes=1.0)
    assert over and (done.code, script.began) == (0, [0, 5, 10])


async def test_until_unreachable():
    plan = Plan(Until.UNREACHABLE, 5.0, None, 1, 60.0)
    script, done, _ = await run(plan, [result(OK), result(LOST), result(REFUSED)])
    assert (done.code, script.began) == (0, [0, 5, 10])


async def test_it_may_have_to_hold_for_several_rounds_in_a_row():
    plan = Plan(Until.REACHABLE, 5.0, None, 2, 60.0)
    script, done, over = await run(plan, [result(OK), result(REFUSED), result(OK), result(OK)])
    assert over and (done.code, done.rounds) == (0, 4)
    assert script.began == [0, 5, 10, 15]


@pytest.mark.parametrize(
    ("until", "outcomes", "code"),
    [
        (Until.REACHABLE, (REFUSED, TIMEOUT), 1),
        (Until.REACHABLE, (OK, TIMEOUT), 3),
        (Until.REACHABLE, (LOST, LOST), 4),
        (Until.UNREACHABLE, (OK, OK), 1),
        (Until.UNREACHABLE, (OK, TIMEOUT), 3),
    ],
)
async def test_when_its_time_has_passed_it_is_1_or_3(until, outcomes, code):
    script, done, over = await run(Plan(until, 5.0, None, 1, 12.0), [result(*outcomes)])
    assert over and (done.code, script.began) == (code, [0, 5, 10])


async def test_held_too_short_when_its_time_has_passed():
    _, done, over = await run(Plan(Until.REACHABLE, 5.0, None, 9, 12.0), [result(OK)])
    assert over and done.code == 3


async def test_a_round_has_no_more_than_the_time_that_is_left():
    script, _, _ = await run(Plan(Until.REACHABLE, 5.0, None, 1, 12.0), [result(REFUSED)])
    assert script.left == [12.0, 7.0, 2.0]
    script, _, _ = await run(Plan(Until.REACHABLE, 5.0, None, 1, 5.5), [result(REFUSED)])
    assert script.left == [5.5, 1.0]


async def test_where_nobody_but_the_target_itself_was_asked_there_is_nothing_to_wait_for():
    own = TargetResult(parse_target("a:1"), 1, (vantage("a-1", Outcome.UNMEASURED, is_target=True),))
    script, done, over = await run(UNTIL, [own])
    assert over and (done.code, script.began) == (4, [0])


async def test_an_interrupt_of_until_is_130():
    _, done, over = await run(UNTIL, [result(REFUSED)], stop_at=2.0, seconds=0)
    assert over and done.code == 130


# --- one round


class Said(Seen):
    def __init__(self):
        super().__init__()
        self.texts = []

    def say(self, text):
        self.texts.append(text)


def rounds_on(mesh, deadline_s=15.0):
    request = RunRequest("", (parse_target("db:5432"),), (TcpSpec(),), ("berlin-1", "tokyo-1"), deadline_s)
    screen, stop = Said(), asyncio.Event()
    measure = Rounds(
        mesh, request, mesh.fleet, VirtualClock(), stop, screen, Assembly, lambda assembly: assembly.results()
    )
    return measure, screen, stop


@pytest.fixture
def two():
    return FakeMesh([agent("berlin-1", "berlin"), agent("tokyo-1", "tokyo")], {"berlin-1": (tcp_row(),)})


class Away(FakeMesh):
    """``away`` is raised before a run begins."""

    away = None

    async def run(self, request):
        if self.away is not None:
            raise self.away
        async for event in super().run(request):
            yield event


async def test_each_round_is_a_run_of_its_own_and_never_longer_than_what_is_left(two):
    measure, _, _ = rounds_on(two)
    ids = [(await measure(left))[1] for left in (None, 7.0, 60.0)]
    assert ids == [request.run_id for request in two.requests] and len(set(ids)) == 3
    assert [request.deadline_s for request in two.requests] == [15.0, 7.0, 15.0]


async def test_without_a_mesh_the_first_round_fails_and_a_later_one_is_unmeasured():
    mesh = Away([agent("berlin-1", "berlin"), agent("tokyo-1", "tokyo")], {"berlin-1": (tcp_row(),)})
    measure, screen, _ = rounds_on(mesh)
    mesh.away = Unreachable("the controller\x1b is away")
    with pytest.raises(Unreachable):
        await measure(None)
    for _ in range(3):
        ((found,), _, cut) = await measure(None)
        assert not cut
        told = [(one.agent, one.site, one.outcome, one.reason) for one in found.vantages]
        why = "the controller\x1b is away"
        assert told == [
            ("berlin-1", "berlin", Outcome.UNMEASURED, why),
            ("tokyo-1", "tokyo", Outcome.UNMEASURED, why),
        ]
    assert screen.texts == ["warning: the controller\\x1b is away"]
    mesh.away = None
    ((found,), _, _) = await measure(None)
    assert found.vantages[0].outcome is OK
    mesh.away = Unreachable("the controller\x1b is away")
    await measure(None)
    assert len(screen.texts) == 2, "it is news again"


@pytest.mark.parametrize("refused", [CertificateRefused, NotAllowed])
async def test_who_is_let_in_no_more_asks_no_more(refused):
    mesh = Away([agent("berlin-1", "berlin"), agent("tokyo-1", "tokyo")], {"berlin-1": (tcp_row(),)})
    measure, _, _ = rounds_on(mesh)
    await measure(None)
    mesh.away = refused("revoked")
    with pytest.raises(refused):
        await measure(None)


async def test_an_interrupt_cuts_a_round_short_and_keeps_what_came(two):
    two.block = True
    measure, _, stop = rounds_on(two)
    task = asyncio.ensure_future(measure(None))
    await asyncio.sleep(0)
    stop.set()
    ((found,), _, cut) = await task
    assert cut and two.cancelled
    assert [one.outcome for one in found.vantages] == [OK, Outcome.CANCELLED]


async def test_notes_of_the_mesh_are_said_once(two):
    two.notes = ("paced to 100 a second",)
    measure, screen, _ = rounds_on(two)
    for _ in range(3):
        await measure(None)
    assert screen.texts == ["paced to 100 a second"]


# --- what is shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(home, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")

    def appear():
        monkeypatch.setattr("sys.stdout", stream := Terminal())
        return stream

    return appear


def drawn(stream, play):
    stream.seek(0)
    stream.truncate()
    play()
    return stream.getvalue()


def test_on_a_terminal_the_frame_is_redrawn_and_changed_rows_marked(terminal):
    terminal = terminal()
    screen = screens.screen_for(WATCH, Format.TABLE, strict=False, ci=False)
    second = 1_000_000_000
    before = drawn(terminal, screen.begin)
    assert "round 1 …" in before and before.count("\n") == 1
    first = drawn(terminal, lambda: screen.round(1, NOW_NS, [result(OK, OK)]))
    assert "round 1 · 18:22:03Z · every 5 s · so since 18:22:03Z (round 1)" in first
    assert "»" not in first and "changed" not in first
    then = drawn(terminal, lambda: screen.round(2, NOW_NS + 5 * second, [result(OK, TIMEOUT)]))
    assert first.startswith("\x1b[1F\x1b[J")
    assert then.startswith(f"\x1b[{first.count(chr(10))}F\x1b[J")
    (marked,) = [line for line in then.splitlines() if "»" in line]
    assert "a-1" in marked and "timeout" in marked
    assert "changed now: a-1: ok → timeout (tcp)" in then and "so since 18:22:08Z (round 2)" in then
    later = drawn(terminal, lambda: screen.round(3, NOW_NS + 10 * second, [result(OK, TIMEOUT)]))
    assert "»" not in later and "last change, round 2: a-1: ok → timeout (tcp)" in later
    assert "round 3 · 18:22:13Z" in later and "so since 18:22:08Z (round 2)" in later
    screen.close()


def test_a_frame_fits_the_terminal(terminal):
    terminal = terminal()
    screen = screens.screen_for(WATCH, Format.TABLE, strict=False, ci=False)
    results = [result(*[OK] * 40), result(*[OK] * 40, target="very-long-name." * 8 + "x:1")]
    shown = drawn(terminal, lambda: screen.round(1, NOW_NS, results))
    lines = [re.sub(r"\x1b\[[0-9]*m", "", line) for line in shown.splitlines()]
    assert len(lines) <= 22 and "more lines" in lines[-1]
    assert max(map(len, lines)) < 80


def test_off_a_terminal_a_block_for_each_change(home, capsys):
    screen = screens.screen_for(WATCH, Format.TABLE, strict=False, ci=False)
    rounds = [result(OK), result(OK), result(REFUSED), result(REFUSED), result(OK)]
    for number, found in enumerate(rounds, 1):
        screen.round(number, NOW_NS, [found])
    out = capsys.readouterr().out
    heads = [line for line in out.splitlines() if line.startswith("2026-11-22T18:22:03Z")]
    assert heads == [
        "2026-11-22T18:22:03Z  round 1",
        "2026-11-22T18:22:03Z  round 3  changed: a-0: ok → refused (tcp)",
        "2026-11-22T18:22:03Z  round 5  changed: a-0: refused (tcp) → ok",
    ]
    assert out.count("FROM ") == 3 and "\x1b" not in out


def test_in_ci_a_terminal_is_none(terminal):
    terminal()
    assert isinstance(screens.screen_for(WATCH, Format.TABLE, strict=False, ci=True), screens.Blocks)


def test_until_says_on_stderr_how_far_it_is_and_nothing_twice(home, capsys):
    screen = screens.screen_for(UNTIL, Format.JSON, strict=False, ci=False)
    for number, found in enumerate([result(REFUSED, OK), result(REFUSED, OK), result(OK, OK)], 1):
        screen.round(number, NOW_NS, [found])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "18:22:03Z round 1: 1 of 2 reached, 1 failed",
        "18:22:03Z round 3: 2 of 2 reached",
    ]
