"""What a header says of a run: the counts of the exit code, and one word a vantage point."""

from dataclasses import replace

from probemesh_controller.history.record import Run, header_of
from probemesh_shared.model import TargetResult, Vantage
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Kind, Outcome

from tests.cli.fakes import https_row

RUN = Run("7f3a2c1b" * 4, ("probe", "a:1", "b:1"), 9, 3, "prod", "0.1.0")


def result(target, **outcomes):
    vantages = (Vantage(name.replace("_", "-"), None, outcome) for name, outcome in outcomes.items())
    return TargetResult(parse_target(target), 1, tuple(vantages))


def test_the_worst_over_all_targets_stands_for_a_vantage_point():
    ok, lost = Outcome.OK, Outcome.AGENT_LOST
    found = [
        result("a:1", self=ok, a_1=ok, a_2=lost, a_3=Outcome.TIMEOUT),
        result("b:1", self=ok, a_1=Outcome.REFUSED, a_2=ok, a_3=lost),
    ]
    header = header_of(RUN, found)
    assert header.vantages == {"self": "reached", "a-1": "failed", "a-2": "unmeasured", "a-3": "failed"}
    assert (header.reached, header.failed, header.unmeasured, header.total) == (4, 2, 2, 8)
    assert header.failing == {"a-1", "a-3"}
    assert (header.id, header.targets, header.exit_code) == ("7f3a2c1b", ("a:1", "b:1"), 3)


def test_the_target_itself_counts_nowhere():
    own = Vantage("a-1", None, Outcome.UNMEASURED, is_target=True)
    header = header_of(RUN, [replace(result("a:1", self=Outcome.OK), vantages=(own,))])
    assert header.vantages == {"a-1": "is-target"} and header.total == 0


def test_strict_counts_a_certificate_as_the_exit_code_does():
    vantage = Vantage("a-1", None, Outcome.OK, None, (https_row(verified=False),))
    found = [replace(result("https://web/"), vantages=(vantage,))]
    assert header_of(RUN, found).failing == frozenset()
    strict = header_of(replace(RUN, strict=True), found)
    assert strict.failing == {"a-1"} and strict.failed == 1


def test_the_first_broken_rung_makes_it_failed():
    vantage = Vantage("a-1", None, Outcome.NAME_FAILS, Kind.DNS)
    assert header_of(RUN, [replace(result("a:1"), vantages=(vantage,))]).failing == {"a-1"}
