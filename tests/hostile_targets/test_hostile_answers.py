"""Servers that mean harm, against every kind that reads what they say: the deadline is kept, memory is
bounded, what is told fits into a message, and whatever they say is no fault of ours."""

from collections.abc import Iterator

import pytest
from probemesh_agent.kit import all_probes
from probemesh_agent.runner import KINDS

from tests.hostile_targets.harness import Victim, judge, module, program, victim
from tests.hostile_targets.meetings import MEETINGS, Servers

WAYS = ("clear: ", "secure: ", "bloated: ", "datagrams: ")
WARMING = [next(name for name in MEETINGS if name.startswith(way)) for way in WAYS]


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    folder = tmp_path_factory.mktemp("foe")
    with program(*module("foe", "127.0.0.1", str(folder)), log=folder / "foe.log") as foe:
        assert foe.stdout is not None
        ports = foe.stdout.readline()
        assert ports, (folder / "foe.log").read_text()
        with victim(folder, ports, warming=WARMING * 2) as made:
            yield made


@pytest.mark.parametrize("name", MEETINGS)
def test_a_hostile_server_does_no_harm(met: Victim, name: str) -> None:
    judge(met.meet(name), met.log)


def test_the_good_answer_wins_though_it_comes_last(met: Victim) -> None:
    """By another id, to another question, from another port, no answer at all; then the one that is meant."""
    for _ in range(4):  # who forges may still be busy with an earlier meeting
        (job,) = met.meet("forged")["jobs"].values()
        if job["outcomes"] == ["ok"]:
            return
    assert job["waited_s"] > 0.3, job


class _Every(dict[str, int]):
    def __missing__(self, name: str) -> int:
        return 1


def test_every_kind_meets_somebody() -> None:
    servers = Servers("192.0.2.1", b"", _Every(), _Every())
    kinds = {KINDS[type(spec)] for one in MEETINGS.values() for spec, _ in one.jobs(servers).values()}
    assert kinds == set(all_probes())
