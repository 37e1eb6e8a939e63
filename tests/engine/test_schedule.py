"""When attempts start and end, on a clock that only the test moves."""

from collections.abc import Sequence

import pytest
from probemesh_agent.engine.item import Item, Source
from probemesh_agent.engine.pace import Pace
from probemesh_agent.engine.schedule import SHORTAGE_PATIENCE_S, Schedule, cut_or_silent
from probemesh_agent.net.allowance import Rate
from probemesh_shared import failures
from probemesh_shared.model import Failure, Options, Sample
from probemesh_shared.words import Outcome, Stage


class Attempt:
    def __init__(self, driver: "Driver", item: Item, seq: int, key: int, now: float) -> None:
        self.driver, self.item, self.seq, self.key = driver, item, seq, key
        self.full_expiry = now + driver.schedule.options.timeout_s
        self.expires = driver.schedule.expiry(now)

    def expire(self, waited_s: float, cut: bool) -> None:
        outcome, failure = cut_or_silent(Stage.CONNECT, waited_s, cut)
        del self.driver.schedule.waiting[self.key]
        self.driver.schedule.sample(self.item, Sample(self.seq, 0.0, None, outcome, failure))

    def answer(self) -> None:
        del self.driver.schedule.waiting[self.key]
        self.driver.schedule.sample(self.item, Sample(self.seq, 0.0, 1.0, Outcome.OK))

    def drop(self) -> None:
        del self.driver.schedule.waiting[self.key]


class Driver:
    most_open = None
    burst = 128
    is_stalled = False
    schedule: Schedule

    def __init__(self) -> None:
        self.started: list[tuple[float, str, int]] = []
        self.short = False
        self.keys = 0

    def start(self, items: Sequence[Item], seq: int, now: float) -> list[tuple[Item, Failure]]:
        if self.short:
            return [(item, failures.from_errno(Stage.CONNECT, 24)) for item in items]
        for item in items:
            self.started.append((round(now, 3), item.host, seq))
            self.keys += 1
            self.schedule.waiting[self.keys] = Attempt(self, item, seq, self.keys, now)
        return []

    def flush(self, now: float) -> None: ...

    def close(self) -> None: ...


class Stage0:
    """A schedule, its driver, and what it emitted."""

    def __init__(self, options: Options, deadline: float = 100.0, rate: float | None = None) -> None:
        self.out: list[Item] = []
        self.driver = Driver()
        self.schedule = Schedule(options, deadline, deadline, rate, Pace(), self.out.append)
        self.driver.schedule = self.schedule

    def feed(self, *hosts: str, ports: int = 1) -> None:
        for host in hosts:
            items = [Item(0, host, host, port, (host, port), False) for port in range(ports)]
            self.schedule.feed([Source(iter(items))])
        self.schedule.is_fed = True

    def step(self, now: float) -> None:
        self.schedule.expire(now)
        while self.schedule.pump(self.driver, now, 128):
            pass

    def until(self, end: float) -> None:
        """Runs as the loop does, from wake to wake."""
        now = 0.0
        for _ in range(10_000):
            self.schedule.expire(now)
            if now >= self.schedule.deadline:
                self.schedule.finish(now)
            else:
                while self.schedule.pump(self.driver, now, 128):
                    pass
            wake = self.schedule.next_wake(True)
            if wake is None or wake > end:
                return
            now = max(wake, now)
        pytest.fail("the schedule never rests")


def test_samples_of_one_target_are_spaced_whether_or_not_they_are_answered():
    stage = Stage0(Options(count=3, interval_s=0.2, timeout_s=3))
    stage.feed("a")
    stage.until(10)
    assert stage.driver.started == [(0.0, "a", 0), (0.2, "a", 1), (0.4, "a", 2)]
    assert [sample.outcome for sample in stage.out[0].samples] == [Outcome.TIMEOUT] * 3
    assert stage.schedule.is_done


def test_an_item_is_emitted_when_its_last_sample_is_in():
    stage = Stage0(Options(count=1, timeout_s=3))
    stage.feed("a", "b")
    stage.schedule.pump(stage.driver, 0.0, 10)
    next(a for a in stage.schedule.waiting.values() if a.item.host == "b").answer()  # type: ignore[attr-defined]
    assert [item.host for item in stage.out] == ["b"]


def test_targets_take_turns():
    stage = Stage0(Options(count=1))
    stage.feed("a", "b", ports=3)
    stage.schedule.pump(stage.driver, 0.0, 10)
    assert [host for _, host, _ in stage.driver.started] == ["a", "b", "a", "b", "a", "b"]


def test_pacing_spaces_attempts_to_one_address_and_holds_up_no_other():
    stage = Stage0(Options(count=1, timeout_s=0.5), rate=10.0)
    stage.feed("a", ports=4)
    stage.feed("b")
    stage.until(10)
    assert [at for at, host, _ in stage.driver.started if host == "a"] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [at for at, host, _ in stage.driver.started if host == "b"] == [0]


def test_samples_are_paced_too():
    stage = Stage0(Options(count=4, interval_s=0.0, timeout_s=0.5), rate=10.0)
    stage.feed("a")
    stage.until(10)
    assert [at for at, _, _ in stage.driver.started] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_runs_share_the_limit_of_an_address():
    pace = Pace()
    assert [pace.reserve("a", 10, 0.0), pace.reserve("a", 10, 0.0), pace.reserve("b", 10, 0.0)] == [0, 0.1, 0]
    assert pace.reserve("a", 10, 5.0) == 5.0


def test_pace_forgets_what_is_over():
    pace = Pace(most_keys=10)
    for number in range(100):
        pace.reserve(str(number), 1000.0, float(number))
    assert len(pace) <= 11


@pytest.mark.parametrize(("deadline", "outcome"), [(2.5, Outcome.TIMEOUT), (100.2, Outcome.UNMEASURED)])
def test_the_deadline_cuts_an_attempt_and_only_a_fair_wait_counts_as_silence(deadline, outcome):
    """2.5 s of a timeout of 3 s is fair; 0.2 s is not, unless the whole run was that short."""
    stage = Stage0(Options(count=2, interval_s=100.0, timeout_s=3), deadline=deadline)
    stage.feed("a")
    stage.until(deadline)
    (item,) = stage.out
    assert item.samples[-1].outcome is outcome
    assert stage.schedule.is_done


def test_what_was_never_started_is_told_at_the_deadline():
    stage = Stage0(Options(count=1, timeout_s=0.5), deadline=1.0, rate=1.0)
    stage.feed("a", ports=5)
    stage.until(1.0)
    assert len(stage.out) == 5
    assert sum(not item.samples for item in stage.out) == 4


def test_a_shortage_is_tried_again_and_then_told():
    stage = Stage0(Options(count=1))
    stage.feed("a")
    stage.driver.short = True
    stage.until(SHORTAGE_PATIENCE_S / 2)
    assert stage.out == []
    stage.driver.short = False
    stage.until(SHORTAGE_PATIENCE_S)
    assert len(stage.driver.started) == 1

    stage = Stage0(Options(count=1))
    stage.feed("a")
    stage.driver.short = True
    stage.until(10)
    assert [sample.outcome for sample in stage.out[0].samples] == [Outcome.LOCAL_RESOURCE]


# --- the host owner's cap on one address -------------------------------------------------------------------


def capped_stage(options: Options, rate: Rate, deadline: float = 100.0) -> Stage0:
    stage = Stage0(options, deadline)
    stage.schedule._to_one = lambda: rate
    return stage


def host(number: int) -> str:
    return f"192.0.2.{number}"


def test_one_address_gets_no_more_than_the_owner_lets_it_have_however_much_is_asked():
    """Two runs that heed no pacing, at one address; a third target beside them is not held up."""
    rate = Rate(10.0, "10 packets a second to one address")
    options = Options(count=3, interval_s=0.001, timeout_s=0.01)
    first, second = capped_stage(options, rate), capped_stage(options, rate)
    first.feed(host(1), host(2), ports=10)
    second.feed(host(1), ports=10)
    for step in range(1, 800):
        first.step(step * 0.01)
        second.step(step * 0.01)
    sent = [(at, where) for at, where, _ in (*first.driver.started, *second.driver.started)]
    at_first = sorted(at for at, where in sent if where == host(1))
    assert len(at_first) == 60 and max(at for at, where in sent if where == host(2)) < 3.5
    assert all(later - at >= 0.99 for at, later in zip(at_first, at_first[11:], strict=False))


def test_what_the_owner_leaves_no_room_for_says_so():
    rate = Rate(2.0, "2 packets a second to one address")
    stage = capped_stage(Options(count=1, timeout_s=0.1), rate, deadline=2.0)
    stage.feed(host(1), ports=9)
    stage.until(10)
    assert len(stage.out) == 9 and stage.schedule.is_done
    told = [item.failure for item in stage.out if not item.samples]
    assert len(stage.driver.started) == 4 and len(told) == 5
    assert {failure.detail for failure in told if failure is not None} == {
        "this agent's own cap: 2 packets a second to one address are allowed, and no more"
    }


def test_loopback_is_not_held_up():
    stage = capped_stage(Options(count=1), Rate(1.0, ""))
    stage.feed("127.0.0.1", "::1", ports=50)
    stage.until(0.5)
    assert len(stage.driver.started) == 100
