"""What is expected, asked of agents that are real programs: outcomes, exit codes, a module."""

import socket

import pytest

from tests.demo.test_history import QUICK, Demo, demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

__all__ = ["demo"]

MODULE = """
[modules.page]
description = "the page of the demo"
kind = "http"
count = 1
timeout = 5
expect = ["status=200-299", "rtt-max=5s"]
"""


def outcomes(said) -> dict[str, tuple[str, str | None]]:
    return {one["agent"]: (one["outcome"], one["failed_at"]) for one in said["vantages"]}


def test_agents_judge_and_the_exit_code_follows(demo: Demo) -> None:
    here = ("--from", "berlin-1,virginia-1", *QUICK)
    good = demo.value("probe", demo.target, *here, "--expect", "status=200", "--expect", "rtt-max=5s")
    assert outcomes(good) == {"berlin-1": ("ok", None), "virginia-1": ("ok", None)}
    bad = demo.value("probe", demo.target, *here, "--expect", "status=204", code=1)
    assert set(outcomes(bad).values()) == {("answer-unexpected", "http")}
    http = next(row for row in bad["vantages"][0]["measurements"] if row["kind"] == "http")
    assert http["failure"]["detail"] == "status 200, expected 204"
    slow = demo.value("probe", demo.target, *here, "--expect", "rtt-max=1us", code=1)
    assert {outcome for outcome, _ in outcomes(slow).values()} == {"answer-unexpected"}
    assert "median RTT" in slow["vantages"][0]["measurements"][0]["failure"]["detail"]


def test_what_must_fail(demo: Demo) -> None:
    tokyo = demo.value("probe", demo.target, "--from", "tokyo-1", *QUICK, "--expect-fail")
    (vantage,) = tokyo["vantages"]
    assert (vantage["outcome"], vantage["expect_fail"]) == ("ok", True)
    assert vantage["reason"].startswith("as expected: timeout")
    assert (
        demo.value("probe", demo.target, "--from", "all", *QUICK, "--expect-fail", code=3)["findings"] == []
    )
    demo.run("probe", demo.target, "--from", "berlin-1", *QUICK, "--expect-fail", code=1)


def test_a_closed_port_may_be_what_is_wanted(demo: Demo) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = ("probe", f"127.0.0.1:{port}", "--from", "berlin-1", *QUICK)
    demo.run(*asked, code=1)
    demo.run(*asked, "--expect", "state=closed")
    demo.run(*asked, "--expect", "state=filtered", code=1)


def test_a_module_of_the_configuration(demo: Demo) -> None:
    config = demo.state / "config.toml"
    before = config.read_text()
    try:
        config.write_text(before + MODULE)
        here = ("--from", "berlin-1", "--module", "page")
        good = demo.value("probe", demo.target, *here)
        assert [row["kind"] for row in good["vantages"][0]["measurements"]] == ["http"]
        demo.run("probe", demo.target, *here, "--expect", "status=500", code=1)
        assert "the page of the demo" in demo.run("modules")
    finally:
        config.write_text(before)
