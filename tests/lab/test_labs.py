"""Every lab is what it says: ordinary sockets see what its truth demands, and its rules count packets."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.lab.labs import Case, library
from tests.lab.netlab import NetLab
from tests.lab.stage import Stage, prove

pytestmark = pytest.mark.netns

CASES = [case for lab in library().labs.values() for case in lab.cases()]


class Stages:
    """One of each topology, built when it is first wanted."""

    def __init__(self, held: ExitStack) -> None:
        self._held = held
        self._built: dict[str, Stage] = {}

    def __getitem__(self, name: str) -> Stage:
        if name not in self._built:
            net = self._held.enter_context(NetLab())
            self._built[name] = Stage(net, library().topologies[name])
            self._held.callback(self._built[name].close)
        return self._built[name]


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    with ExitStack() as held:
        yield Stages(held)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_lab_is_what_it_says(stages: Stages, case: Case) -> None:
    stage = stages[case.lab.topology]
    with stage.playing(case):
        wrong = prove(stage, case)
    assert not wrong, "\n".join(wrong)
    stage.check_clean()
