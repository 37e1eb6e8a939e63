"""The whole engine against a world with a known fault in it, while packets get lost by chance."""

from dataclasses import replace

import pytest
from probemesh_controller.pair.conclude import conclude
from probemesh_controller.pair.flow import listeners
from probemesh_shared.outcomes import diagnosis_exit_code
from probemesh_shared.words import Confidence, Transport, Verdict

from tests.pair.staged import PORT
from tests.pair.world import Fault, World

FAULTS = {
    "healthy": (Fault(), {Verdict.REACHABLE}),
    "drop at the first hop": (Fault(there=1), {Verdict.FORWARD_DROP}),
    "drop at the last hop": (Fault(there=2), {Verdict.FORWARD_DROP, Verdict.TARGET_INPUT_DROP}),
    "drop at the target": (Fault(there=3), {Verdict.TARGET_INPUT_DROP}),
    "reject at the second hop": (Fault(there=2, rejects=True), {Verdict.FORWARD_REJECT}),
    "drop on the way back": (Fault(back=True), {Verdict.RETURN_DROP}),
    "closed": (Fault(closed=True), {Verdict.PORT_CLOSED}),
}

_BY_THE_TARGET = {
    Verdict.TARGET_INPUT_DROP,
    Verdict.TARGET_OUTPUT_FILTER,
    Verdict.TARGET_REVERSE_PATH_FILTER,
    Verdict.ACCEPT_OVERLOAD,
    Verdict.SILENT_SERVICE,
    Verdict.SERVICE_UNRESPONSIVE,
}


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_found(name: str, transport: Transport):
    fault, expected = FAULTS[name]
    found = conclude(World(fault, 0.0, 1, transport).diagnosed())
    told = found.forward
    if len(expected) > 1:
        assert told.verdict is Verdict.UNDETERMINED
        assert set(told.alternatives) == expected
    else:
        assert {told.verdict} == expected, told.alternatives
        assert told.confidence is Confidence.CERTAIN
    assert found.reverse.verdict is Verdict.REACHABLE


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
def test_what_hops_before_the_target_no_longer_had_its_own_host_did_not_do(transport: Transport):
    """Even where the far end tells nothing: its agent was killed."""
    case = World(Fault(there=1), 0.0, 1, transport).diagnosed()
    untold = tuple(replace(one, looks=()) for one in case.rounds)
    told = conclude(replace(case, rounds=untold)).forward
    assert Verdict.FORWARD_DROP in {told.verdict, *told.alternatives}
    assert _BY_THE_TARGET.isdisjoint({told.verdict, *told.alternatives})
    no_ladder = tuple(
        replace(one, steps=tuple(s for s in one.steps if "ladder" not in s.step.purpose)) for one in untold
    )
    without = conclude(replace(case, rounds=no_ladder)).forward
    assert _BY_THE_TARGET & set(without.alternatives), "it is the ladder that says so"


def test_a_service_that_was_told_no_request_of_its_protocol_may_be_silent():
    found = conclude(World(Fault(mute=True), 0.0, 1, Transport.UDP).diagnosed())
    told = found.forward
    assert (told.verdict, told.confidence) == (Verdict.UNDETERMINED, Confidence.POSSIBLE)
    assert set(told.alternatives) == {Verdict.SILENT_SERVICE, Verdict.SERVICE_UNRESPONSIVE}
    assert (told.path_verdict, told.service_verdict) == (Verdict.REACHABLE, Verdict.UNDETERMINED)
    assert diagnosis_exit_code(found) == 0


def test_one_that_was_asked_what_its_port_answers_ought_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listeners, "is_request", lambda port: port == PORT)
    found = conclude(World(Fault(mute=True), 0.0, 1, Transport.UDP).diagnosed())
    assert (found.forward.verdict, found.forward.confidence) == (
        Verdict.SERVICE_UNRESPONSIVE,
        Confidence.CERTAIN,
    )
    assert diagnosis_exit_code(found) == 3


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
@pytest.mark.parametrize("name", FAULTS)
def test_chance_makes_no_wrong_certainty(name: str, transport: Transport):
    """Two of a hundred packets are lost each way: the answer is the fault or a set that holds it."""
    fault, expected = FAULTS[name]
    for seed in range(6):
        found = conclude(World(fault, 0.02, seed, transport).diagnosed())
        for told, true in ((found.forward, expected), (found.reverse, {Verdict.REACHABLE})):
            assert {told.verdict, *told.alternatives} & true, (seed, told)
            if told.confidence is Confidence.CERTAIN:
                assert told.verdict in true, (seed, told)


@pytest.mark.parametrize("loss", [0.02, 0.1])
def test_a_healthy_path_that_loses_packets_has_no_fault_of_its_own(loss: float):
    for seed in range(15):
        found = conclude(World(Fault(), loss, seed).diagnosed())
        assert found.forward.verdict in (Verdict.REACHABLE, Verdict.LOSS), (seed, found.forward)
        assert found.reverse.verdict in (Verdict.REACHABLE, Verdict.LOSS), (seed, found.reverse)


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("away", ["a", "b"])
def test_an_agent_that_cannot_is_asked_for_each_thing_once(away: str, name: str, transport: Transport):
    case = World(FAULTS[name][0], 0.0, 1, transport, away).diagnosed()
    steps = [done.step for one in case.rounds for done in one.steps if done.step.sender == away]
    asked = [(step.purpose, step.address, step.port) for step in steps]
    assert asked and len(asked) == len(set(asked))
