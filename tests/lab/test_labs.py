"""Every lab once: is it what it says, and does ``meshctl diagnose`` say what is true, by unprivileged agents?

All labs are played in the background, several at once; each test waits for its own. A verdict that is not
the first time what it should be may come right at a second look, as chance is part of networks; a healthy
network that is accused, one verdict where only a set is true, and a truth that is not even named may not.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from tests.conftest import wanting
from tests.lab.beside import nat
from tests.lab.judge import judge_nat
from tests.lab.labs import Case, Lab, library
from tests.lab.mesh import Mesh
from tests.lab.play import Played, Player, play_all
from tests.lab.programs import for_nobody

pytestmark = [pytest.mark.netns, pytest.mark.tool("setpriv"), pytest.mark.slow, pytest.mark.timeout(900)]

JOBS = 4
#: Labs that are looked at again where nothing listens on the port.
BARE = ("L01", "L02", "L03", "L06a", "M20")
#: Labs that are looked at again without saying which family is meant.
BOTH = ("L01", "L02", "L03", "M10")
#: Labs that are looked at again as a kernel without the newer counters sees them: it has to say less of some
#: of them, and of none what is untrue.
MASKED = ("L01", "L02", "L03", "L06a", "L06b", "L07a", "L07b", "L08a", "M02", "M14c", "M05", "M19")
#: Labs that are looked at again by agents that may read packets: what that changes, and what it must not.
RAW = ("L01", "L02", "L06a", "M04", "M04b", "M15b", "L25", "M17")


def looks(lab: Lab) -> Iterable[Case]:
    """One of each transport: TCP and ping by the lab's first family, UDP by its last."""
    for transport in lab.once:
        family = lab.families[-1] if transport == "udp" else lab.families[0]
        yield Case(lab, transport, family)
    if lab.id in BARE:
        yield Case(lab, "tcp", lab.families[-1], bare=True)
    if lab.id in BOTH:
        yield from (Case(lab, transport, "both") for transport in ("tcp", "udp"))
    if lab.id in MASKED:
        yield Case(lab, *by_turns(lab, MASKED), masked=True)
    if lab.id in RAW:
        yield Case(lab, *by_turns(lab, RAW), raw=True)


def by_turns(lab: Lab, among: Sequence[str]) -> tuple[str, str]:
    """One transport and one family: by the place ``among`` them every combination has its turn."""
    turn = among.index(lab.id)
    return lab.transports[turn % len(lab.transports)], lab.families[turn // 2 % len(lab.families)]


NATS = [Case(lab, "udp", lab.families[0]) for lab in library().labs.values() if lab.nat]
CASES = [case for lab in library().labs.values() for case in looks(lab)]


class Plays:
    """``case`` → what came of it, in its own time."""

    def __init__(self, cases: list[Case], player: Player) -> None:
        self._results: dict[Case, Future[Played]] = {case: Future() for case in cases}
        self._player = player
        self._thread = threading.Thread(target=self._work, args=(cases,))
        self._thread.start()

    def _work(self, cases: list[Case]) -> None:
        try:
            play_all(self._player, cases, JOBS, self._told)
        except BaseException as fault:
            for result in self._results.values():
                if not result.done():
                    result.set_exception(fault)

    def _told(self, played: Played) -> None:
        self._results[played.case].set_result(played)

    def of(self, case: Case) -> Played:
        return self._results[case].result()

    def close(self) -> None:
        self._thread.join()


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    with for_nobody() as program:
        if program is None:
            wanting("wants an interpreter of this version that uid 65534 can read")
        yield Player(program, beside=_nat, proving=True)


def _nat(mesh: Mesh, case: Case) -> dict[str, Any] | None:
    return nat(mesh, case) if case in NATS else None


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest, player: Player) -> Iterator[Plays]:
    """Of the cases that were chosen to be tested, all are started at once."""
    ours = (test_what_is_said_of_a_lab_is_true, test_what_is_said_of_a_nat_is_true)
    chosen = [
        item.callspec.params["case"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function in ours
    ]
    started = Plays(list(dict.fromkeys(chosen)), player)
    yield started
    started.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_of_a_lab_is_true(plays: Plays, player: Player, case: Case) -> None:
    played = plays.of(case)
    assert not played.unlike, f"the lab itself is not what it says: {'; '.join(played.unlike)}"
    if played.faults and not played.grave:
        (played,) = player.play([case])
    assert not played.faults, "\n".join([*played.faults, str(played.said)])


@pytest.mark.parametrize("case", NATS, ids=lambda case: case.lab.id)
def test_what_is_said_of_a_nat_is_true(plays: Plays, case: Case) -> None:
    said = plays.of(case).beside
    assert said is not None, plays.of(case).problem
    wrong = judge_nat(case.lab.nat["a"], said)
    assert not wrong, "\n".join([*wrong, str(said)])
