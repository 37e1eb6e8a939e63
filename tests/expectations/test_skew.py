"""What an agent does not know is told as unsupported, and never silently left out."""

import pytest
from probemesh_agent.capabilities import gather
from probemesh_agent.expecting import measured
from probemesh_controller.api import RunRequest
from probemesh_controller.planning import plan
from probemesh_shared.expectations import parse_expectations
from probemesh_shared.model import (
    AgentInfo,
    Expectation,
    HttpSpec,
    LadderSpec,
    Measurement,
    Options,
    TcpSpec,
)
from probemesh_shared.session.frames import EXPECT
from probemesh_shared.targets import parse_target
from probemesh_shared.words import AgentState, Kind, Outcome

TARGETS = (parse_target("db:1"), parse_target("web:80"))
ASKED = Options(expect=parse_expectations(["rtt-max=1s"]))


class Nobody:
    """A probe that must not be asked."""

    kind = Kind.TCP

    async def run(self, spec, targets, env):
        raise AssertionError("something was sent")
        yield


class Env:
    class clock:
        @staticmethod
        def wall_ns():
            return 5


async def rows(kind, spec) -> list[Measurement]:
    return [row async for batch in measured(Nobody(), kind, spec, TARGETS, Env()) for row in batch]


@pytest.mark.parametrize(
    ("kind", "spec_type", "expectation", "words"),
    [
        (Kind.TCP, TcpSpec, Expectation("colour", "blue"), "there is no expectation 'colour'"),
        (Kind.TCP, TcpSpec, Expectation("rtt-max", "soon"), "cannot be read"),
        (Kind.TCP, TcpSpec, Expectation("status", "200"), "cannot be judged on tcp"),
        (Kind.LADDER, LadderSpec, Expectation("colour", "blue"), "there is no expectation 'colour'"),
        (Kind.HTTP, HttpSpec, Expectation("json", "x" * 2000), "longer than 1024 bytes"),
    ],
)
async def test_an_agent_answers_unsupported_to_what_it_cannot_judge(kind, spec_type, expectation, words):
    told = await rows(kind, spec_type(Options(expect=(expectation,))))
    assert [(row.target_index, row.outcome, row.started_ns) for row in told] == [
        (0, Outcome.UNSUPPORTED, 5),
        (1, Outcome.UNSUPPORTED, 5),
    ]
    assert all(words in row.failure.detail for row in told)


async def test_too_many_are_refused_too():
    many = tuple(Expectation("rtt-max", f"{number}ms") for number in range(1, 34))
    assert {row.outcome for row in await rows(Kind.TCP, TcpSpec(Options(expect=many)))} == {
        Outcome.UNSUPPORTED
    }


def request(options):
    return RunRequest("r", TARGETS, (TcpSpec(options), LadderSpec(options)), ("new", "old"), 5.0)


FLEET = (
    AgentInfo("new", state=AgentState.CONNECTED, version="0.2", id="1", capabilities=(EXPECT, "kind:tcp")),
    AgentInfo("old", state=AgentState.CONNECTED, version="0.1", id="2", capabilities=("kind:tcp",)),
)


def test_an_agent_from_before_is_sent_no_expectations():
    planned = plan(request(ASKED), FLEET, 7)
    new, old = ([part for part in planned.parts if part.agent == name] for name in ("new", "old"))
    assert all(part.targets == TARGETS and not part.refused for part in new)
    assert all(not part.targets for part in old)
    for part in old:
        assert [row.target_index for row in part.refused] == [0, 1]
        assert {row.outcome for row in part.refused} == {Outcome.UNSUPPORTED}
        assert "old runs 0.1, which knows no expectations: upgrade it" in part.refused[0].failure.detail


def test_without_expectations_everybody_takes_part():
    assert all(part.targets == TARGETS for part in plan(request(Options()), FLEET, 7).parts)


def test_this_agent_says_that_it_judges():
    assert EXPECT in gather([Kind.TCP])
