"""ICMP beyond up and down: who answered in the target's place, twice, late; sizes that do not fit; TTLs."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from probemesh_controller.diagnosis import diagnose
from probemesh_shared.model import (
    AgentInfo,
    IcmpDetail,
    IcmpSpec,
    Measurement,
    Options,
    TargetResult,
    Vantage,
)
from probemesh_shared.words import FailureKind, Kind, Outcome, Verdict

from tests.probes_packet.conftest import HERE, Lab
from tests.probes_packet.world import target

pytestmark = pytest.mark.netns

OPTIONS = Options(count=3, interval_s=0.2, timeout_s=0.4)
UNPRIVILEGED = 65534


@pytest.fixture(scope="module")
def odd(lab: Lab) -> Iterator[Lab]:
    """B answers echoes by ``odd_echo.py`` alone, at five more addresses."""
    for last in (9, 11, 12, 13, 14):
        lab.at("b", "ip", "addr", "add", f"10.77.2.{last}/24", "dev", "e0")
    lab.at("b", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    lab.at("a", "sysctl", "-qw", "net.ipv4.ping_group_range=0 65534")
    words = ["ip", "netns", "exec", lab.name("b"), sys.executable, str(HERE / "odd_echo.py"), "10.77.2.9"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            yield lab
        finally:
            child.terminate()
    lab.at("b", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0")


def ping(lab: Lab, host: str, options: Options = OPTIONS, user: int = 0) -> tuple[Measurement, IcmpDetail]:
    (row,) = lab.probe(Kind.ICMP, IcmpSpec(options), [target(host)], user=user)
    assert isinstance(row.detail, IcmpDetail)
    return row, row.detail


@pytest.mark.parametrize(("user", "method"), [(0, "ping-socket"), (UNPRIVILEGED, "ping-socket")])
def test_who_answers_in_the_targets_place_is_told_and_does_not_count(
    odd: Lab, user: int, method: str
) -> None:
    row, detail = ping(odd, "10.77.2.11", replace(OPTIONS, timeout_s=0.2), user)
    assert (row.outcome, detail.method) == (Outcome.TIMEOUT, method)
    assert detail.answered_by == ("10.77.2.9",)
    assert row.failure is not None
    assert "answered by 10.77.2.9 and not by 10.77.2.11" in row.failure.detail
    assert all(sample.rtt_ms is None for sample in row.samples)


def test_a_raw_socket_sees_who_answered_as_well(odd: Lab) -> None:
    odd.at("a", "sysctl", "-qw", "net.ipv4.ping_group_range=1 0")
    try:
        _, detail = ping(odd, "10.77.2.11", replace(OPTIONS, timeout_s=0.2))
    finally:
        odd.at("a", "sysctl", "-qw", "net.ipv4.ping_group_range=0 65534")
    assert (detail.method, detail.answered_by) == ("raw-socket", ("10.77.2.9",))


@pytest.mark.tool("ping")
def test_the_ping_program_tells_who_answered_too(odd: Lab) -> None:
    odd.at("a", "sysctl", "-qw", "net.ipv4.ping_group_range=1 1")  # for nobody but ping, which has privilege
    try:
        row, detail = ping(odd, "10.77.2.11", replace(OPTIONS, count=1), UNPRIVILEGED)
    finally:
        odd.at("a", "sysctl", "-qw", "net.ipv4.ping_group_range=0 65534")
    assert (row.outcome, detail.method) == (Outcome.TIMEOUT, "ping-program")
    assert detail.answered_by == ("10.77.2.9",)


def test_a_second_answer_is_a_duplicate(odd: Lab) -> None:
    row, detail = ping(odd, "10.77.2.12")
    assert row.outcome is Outcome.OK
    assert detail.duplicates >= 2  # the last one's may come when the row is told already
    assert (detail.late, detail.answered_by) == (0, ())


def test_an_answer_after_its_time_is_late_and_stays_lost(odd: Lab) -> None:
    row, detail = ping(odd, "10.77.2.13", replace(OPTIONS, count=5))
    assert [sample.outcome for sample in row.samples] == [Outcome.TIMEOUT, *[Outcome.OK] * 4]
    assert (row.samples[0].rtt_ms, detail.late) == (None, 1)


def test_a_target_that_always_answers_late_is_not_called_silent(odd: Lab) -> None:
    row, detail = ping(odd, "10.77.2.14", replace(OPTIONS, count=4))
    assert row.outcome is Outcome.TIMEOUT and detail.late > 1  # the last one's comes when the row is told
    assert row.failure is not None and f"; {detail.late} answers came late" in row.failure.detail
    assert f"{detail.late} answers came late" in row.log
    result = TargetResult(target("10.77.2.14"), 1, (Vantage("a", None, row.outcome, Kind.ICMP, (row,)),))
    ((finding,),) = diagnose([result], [AgentInfo("a")])
    assert "late, not silent: it answers ping after the time-out" in finding.summary
    assert Verdict.TARGET_DOWN not in finding.alternatives
    assert f"{detail.late} answers came late" in finding.evidence[0].text


def test_the_ttl_of_each_answer_is_kept(lab: Lab) -> None:
    row, _ = ping(lab, "10.77.2.1")
    assert {sample.ttl for sample in row.samples} == {64}


def test_sizes_are_swept_and_those_that_do_not_fit_say_why(lab: Lab) -> None:
    lab.at("r", "ip", "link", "set", "r2", "mtu", "1300")
    try:
        spec = IcmpSpec(
            Options(count=1, timeout_s=0.5, dont_fragment=True), sizes=(56, 1272, 1273, 1472, 1473)
        )
        rows = lab.probe(Kind.ICMP, spec, [target("10.77.2.2")])
    finally:
        lab.at("r", "ip", "link", "set", "r2", "mtu", "1500")
    by_size = {row.detail.size: row for row in rows if isinstance(row.detail, IcmpDetail)}
    assert [(size, by_size[size].outcome) for size in sorted(by_size)] == [
        (56, Outcome.OK),
        (1272, Outcome.OK),
        (1273, Outcome.UNREACHABLE),
        (1472, Outcome.UNREACHABLE),
        (1473, Outcome.UNREACHABLE),
    ]
    narrow, own = by_size[1273].failure, by_size[1473].failure
    assert narrow is not None and own is not None
    assert narrow.kind is own.kind is FailureKind.TOO_BIG
    assert narrow.icmp is not None
    assert (narrow.icmp.sender, narrow.icmp.info) == ("10.77.1.1", 1300)
    assert own.errno == "EMSGSIZE"
