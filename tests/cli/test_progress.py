"""What is said while a run goes on: never the same twice off a terminal, no redraw and no colour in CI."""

import io

import pytest
from probemesh_controller.api import PlannedVantage, RunMeasured, RunPlanned, RunRequest, RunVantageEnded
from probemesh_controller.cli import running
from probemesh_controller.cli.flags import in_ci, may_redraw, use_color
from probemesh_controller.results import Assembly
from probemesh_shared.model import TcpSpec
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.targets import parse_target

from tests.cli.fakes import NOW_NS, tcp_row

NOT_CI = ["", "0", "false", "False", " no "]


class Screen(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 10.0  # past every pause between two notes
        return self.now


@pytest.fixture
def display(home, monkeypatch):
    """A run of one agent, with ``stream`` as standard error."""

    def make(stream, target="db:5432", ci=False):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr(running, "time", Clock())
        request = RunRequest("r", (parse_target(target),), (TcpSpec(),), ("berlin-1",), 15.0)
        shown = running.Display(request, Assembly(request, NOW_NS), False, False, ci)
        shown.take(RunPlanned((PlannedVantage("berlin-1", "berlin"),), ()))
        return shown

    return make


def test_off_a_terminal_a_line_is_said_once_and_again_when_it_changed(display):
    shown = display(stream := io.StringIO())
    for _ in range(3):
        shown.refresh()
    assert stream.getvalue() == "0 of 1 vantage point done\n"
    shown.take(RunVantageEnded("berlin-1", 0, JobStatus.DONE))
    shown.refresh()
    shown.refresh()
    assert stream.getvalue().splitlines()[1:] == ["1 of 1 vantage point done"]


def test_a_scan_counts_its_ports(display):
    shown = display(stream := io.StringIO(), "db:1-9")
    shown.take(RunMeasured("berlin-1", 0, (tcp_row(port=1), tcp_row(port=2))))
    shown.refresh()
    assert stream.getvalue() == "0 of 1 vantage point done, 2 of 9 ports\n"


def test_on_a_terminal_the_line_is_drawn_over(display):
    shown = display(stream := Screen())
    shown.refresh()
    assert stream.getvalue() == "\r\x1b[K0 of 1 vantage point done"


def test_a_scan_has_a_bar_on_a_terminal(display):
    shown = display(stream := Screen(), "db:1-4")
    shown.take(RunMeasured("berlin-1", 0, (tcp_row(port=1), tcp_row(port=2))))
    shown.refresh()
    assert stream.getvalue().startswith(f"\r\x1b[K[{'█' * 12}{'░' * 12}] 2/4 ports  0.1/s  ")
    assert stream.getvalue().endswith(" left  0 of 1 vantage point done")
    shown.close()
    assert stream.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("variable", "flag"), [("1", False), ("true", False), ("", True)])
def test_in_ci_nothing_is_drawn_over(display, monkeypatch, variable, flag):
    monkeypatch.setenv("CI", variable)
    shown = display(stream := Screen(), ci=flag)
    shown.refresh()
    shown.close()
    assert stream.getvalue() == "0 of 1 vantage point done\n"


@pytest.mark.parametrize("value", ["1", "true", "yes", "woodpecker"])
def test_ci_in_the_environment_is_as_its_option(home, monkeypatch, value):
    monkeypatch.setenv("CI", value)
    assert in_ci() and not may_redraw(Screen()) and not use_color(Screen())


@pytest.mark.parametrize("value", NOT_CI)
def test_an_empty_or_negative_ci_is_none(home, monkeypatch, value):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("CI", value)
    assert not in_ci() and may_redraw(Screen()) and use_color(Screen())
    assert in_ci(True) and not may_redraw(Screen(), True) and not use_color(Screen(), True)
