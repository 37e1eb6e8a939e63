"""What a mesh may send to one target: shares, turns, and names that are one host."""

import random

import pytest
from probemesh_controller.pacing import Budget, Claim, Ledger, PacingPlan, canonical
from probemesh_shared.model import (
    FlowSpec,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    Options,
    PortRange,
    Shot,
    Spec,
    Target,
    TcpSpec,
    UdpSpec,
    WatchSpec,
)
from probemesh_shared.words import Transport

ONCE, THRICE = Options(count=1), Options(count=3)


def target(ports: int = 1, host: str = "db") -> Target:
    return Target(f"{host}:1-{ports}", host, (PortRange(1, ports),))


def claim(
    run: str,
    spec: Spec = TcpSpec(ONCE),  # noqa: B008 (frozen)
    ports: int = 1000,
    agents: int = 1,
    deadline_s: float = 60.0,
    *,
    host: str = "db",
) -> Claim:
    return Claim(run, (spec,), (target(ports, host),), agents, deadline_s)


def granted(plan: PacingPlan | None) -> PacingPlan:
    assert plan is not None
    return plan


def rates(plan: PacingPlan | None, jobs: int = 1) -> tuple[float, float]:
    """Packets and connections a second, of all jobs."""
    pacing = granted(plan).pacing
    assert pacing.packets_per_s is not None
    assert pacing.connects_per_s is not None
    return pacing.packets_per_s * jobs, pacing.connects_per_s * jobs


@pytest.mark.parametrize(
    ("spec", "ports", "agents", "note"),
    [
        (TcpSpec(THRICE), 1, 3, None),
        (TcpSpec(ONCE), 1000, 1, "1000 connections to db at 80/s mesh-wide take at least 12 s"),
        (HttpSpec(THRICE), 1, 200, "600 connections"),
        (LadderSpec(THRICE), 1, 200, "connections"),
        (UdpSpec(ONCE), 5000, 1, "5000 packets to db at 400/s mesh-wide take at least 12 s"),
        (IcmpSpec(THRICE), 1, 100, None),
    ],
)
def test_pacing_is_announced_where_it_slows(spec: Spec, ports: int, agents: int, note: str | None) -> None:
    plan = granted(Ledger().claim(claim("r", spec, ports, agents)))
    if note is None:
        assert plan.notes == ()
    else:
        assert any(note in text for text in plan.notes)
    packets, connects = rates(plan, agents)
    assert packets <= 500.0001
    assert connects <= 100.0001


def test_a_deadline_that_is_too_short_is_said() -> None:
    plan = granted(Ledger().claim(claim("r", agents=10, deadline_s=15)))
    assert "the deadline of 15 s leaves 88% unmeasured" in plan.notes[0]


def test_loopback_is_not_counted() -> None:
    ledger = Ledger()
    for number in range(10):
        plan = granted(ledger.claim(claim(f"r{number}", ports=5000, host="127.0.0.1")))
        assert plan.notes == ()
    demo = Claim("d", (TcpSpec(ONCE),), (Target("agent:b", "b", agent="b"),), 500, 60, {"b": ("127.0.1.2",)})
    assert granted(ledger.claim(demo)).notes == ()


def test_agents_begin_spread_where_their_first_packets_would_be_too_many() -> None:
    few = granted(Ledger().claim(claim("r", TcpSpec(THRICE), 1, agents=10)))
    many = granted(Ledger().claim(claim("r", TcpSpec(THRICE), 1, agents=200)))
    assert few.spread_s == 0
    assert many.spread_s == pytest.approx(200 / 80)


def test_runs_at_the_same_time_share_the_limit_and_then_wait() -> None:
    ledger = Ledger()
    first, second = (rates(ledger.claim(claim(f"r{number}")))[1] for number in range(2))
    assert (first, second) == pytest.approx((80.0, 16.0))
    assert ledger.claim(claim("late")) is None
    assert ledger.claim(claim("later")) is None
    ((late, plan),) = ledger.release("r1")
    assert late == "late"
    assert rates(plan)[1] == pytest.approx(16.0)
    assert [run for run, _ in ledger.release("r0")] == ["later"]


def test_a_small_run_gets_what_it_wants_of_what_is_left() -> None:
    ledger = Ledger()
    ledger.claim(claim("scan"))
    small = granted(ledger.claim(claim("small", TcpSpec(THRICE), 1, agents=2)))
    assert small.notes == ()


def test_a_waiting_run_does_not_hold_up_others_to_elsewhere() -> None:
    ledger = Ledger()
    for number in range(4):
        ledger.claim(claim(f"r{number}"))
    assert ledger.claim(claim("elsewhere", host="web")) is not None
    assert ledger.release("r3") == []  # it had waited only


def test_names_of_one_host_are_one_host_once_that_is_known() -> None:
    ledger = Ledger()
    ledger.claim(claim("r1", host="a.example"))
    ledger.learn("r1", target(host="a.example"), "192.0.2.7")
    assert rates(ledger.claim(claim("r2", host="192.0.2.7")))[1] == pytest.approx(16.0)
    assert ledger.claim(claim("r3", host="::ffff:192.0.2.7")) is None
    ledger.claim(claim("r4", host="b.example"))
    ledger.learn("r4", target(host="b.example"), "192.0.2.7")
    ledger.release("r4")
    assert ledger.claim(claim("r5", host="B.example.")) is None


def test_of_many_runs_by_many_names_of_one_host_few_go_on_once_that_is_known() -> None:
    ledger = Ledger()
    for number in range(64):
        assert ledger.claim(claim(f"r{number}", host=f"n{number}.example")) is not None
    ended = 0
    for number in range(64):
        if ledger.learn(f"r{number}", target(host=f"n{number}.example"), "192.0.2.7") is not None:
            ledger.release(f"r{number}")
            ended += 1
    assert ended >= 61
    left = [ledger._taken[f"r{number}"]["192.0.2.7"] for number in range(64) if f"r{number}" in ledger._taken]
    assert sum(connects for _, connects in left) <= 200.0
    assert ledger.claim(claim("late", host="192.0.2.7")) is None


def test_two_runs_by_two_names_of_one_host_both_go_on() -> None:
    ledger = Ledger()
    for name in ("a.example", "b.example"):
        assert ledger.claim(claim(name, host=name)) is not None
        assert ledger.learn(name, target(host=name), "192.0.2.7") is None


def test_many_names_of_one_host_in_one_run_are_paced_as_one() -> None:
    ledger = Ledger()
    names = tuple(target(1, f"n{number}") for number in range(50))
    for name in names:
        ledger.learn("-", name, "192.0.2.7")
    plan = ledger.claim(Claim("r", (TcpSpec(THRICE),), names, 100, 60.0))
    assert rates(plan, 100)[1] <= 80.0001
    assert rates(ledger.claim(claim("next", host="192.0.2.7")))[1] <= 16.0001


def test_what_is_laid_out_in_time_is_counted_and_held_to_the_limit() -> None:
    shots = tuple(Shot(port=9) for _ in range(90))
    spec = FlowSpec(transport=Transport.TCP, shots=shots)
    ledger = Ledger()
    plan = ledger.claim(claim("r1", spec, 1))
    assert rates(plan)[1] > 100  # as laid out: nothing is between its shots
    plan = ledger.claim(claim("r2", spec, 1))
    assert rates(plan)[1] == pytest.approx(10.0)  # what is left
    assert ledger.claim(claim("r3", spec, 1)) is None


def test_a_watch_sends_nothing_and_takes_nothing() -> None:
    ledger = Ledger()
    for number in range(4):
        ledger.claim(claim(f"r{number}"))
    assert ledger.claim(claim("watch", WatchSpec())) is not None


def test_an_owner_may_say_more_or_less() -> None:
    more = {"db": Budget(5000.0, 1000.0), "web": Budget(10.0, 2.0)}
    ledger = Ledger(lambda key: more.get(key, Budget()))
    assert rates(ledger.claim(claim("r1", ports=5000)))[1] == pytest.approx(800.0)
    assert rates(ledger.claim(claim("r2", host="web")))[1] == pytest.approx(1.6)
    assert rates(ledger.claim(claim("r3", host="other")))[1] == pytest.approx(80.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_sum_of_all_never_exceeds_the_limit(seed: int) -> None:
    """Whatever comes and goes, to whatever name of a few hosts."""
    rng = random.Random(seed)
    ledger = Ledger()
    hosts = {f"n{number}": f"192.0.2.{number % 3}" for number in range(9)}
    for host, address in hosts.items():
        ledger.learn("-", target(host=host), address)
    running: dict[str, tuple[str, tuple[float, float]]] = {}
    jobs: dict[str, tuple[str, int]] = {}

    def began(run: str, plan: PacingPlan) -> None:
        address, agents = jobs[run]
        running[run] = address, rates(plan, agents)

    for number in range(150):
        if rng.random() < 0.6:
            host, agents = rng.choice(list(hosts)), rng.randint(1, 300)
            spec = rng.choice([TcpSpec(THRICE), IcmpSpec(THRICE), LadderSpec(THRICE), UdpSpec(ONCE)])
            run = f"r{number}"
            jobs[run] = hosts[host], agents
            ports = rng.choice([1, 10, 5000])
            if (plan := ledger.claim(claim(run, spec, ports, agents, host=host))) is not None:
                began(run, plan)
        elif jobs:
            run = rng.choice(list(jobs))
            del jobs[run]
            running.pop(run, None)
            for other, plan in ledger.release(run):
                began(other, plan)
        for address in set(hosts.values()):
            taken = ledger._taken.values()
            assert sum(mine.get(address, (0, 0))[0] for mine in taken) <= 500.001
            assert sum(mine.get(address, (0, 0))[1] for mine in taken) <= 100.001
    for run in list(jobs):  # in the end everybody has had a turn
        for other, plan in ledger.release(run):
            began(other, plan)
        jobs.pop(run)
    assert not ledger._waiting
    assert not ledger._taken


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("DB.Example.", "db.example"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("3221225985", "192.0.2.1"),
        ("0xc0000201", "192.0.2.1"),
        ("0300.0.2.1", "192.0.2.1"),
        ("B\u00fccher.example.", "xn--bcher-kva.example"),
        ("no host at all", "no host at all"),
    ],
)
def test_one_spelling(text: str, same: str) -> None:
    assert canonical(text) == same
