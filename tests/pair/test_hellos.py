"""What a UDP service is told is what servers of its port answer."""

import dns.message
import dns.rdatatype
import pytest
from probemesh_controller.pair.case import Asked, Case, End, EndRole
from probemesh_controller.pair.flow.steps import flow_shots
from probemesh_controller.pair.hellos import PLAIN, hello
from probemesh_controller.pair.view import View
from probemesh_shared.words import Direction, Transport

from tests.pair.fakes import A, B


def view(transport: Transport, port: int) -> View:
    ends = (End(EndRole.SOURCE, A, ("10.1.0.2",)), End(EndRole.TARGET, B, ("203.0.113.2",)))
    return View(Case(Asked("a", "b", transport, port, 7001), 1, ends), Direction.FORWARD)


def test_a_name_server_is_asked_for_the_root():
    query = dns.message.from_wire(hello(53))
    assert query.to_wire() == hello(53) and not query.flags
    assert [(one.name.to_text(), one.rdtype) for one in query.question] == [(".", dns.rdatatype.NS)]


def test_a_stun_server_is_asked_for_a_binding():
    assert len(hello(3478)) == 20
    assert hello(3478)[:8] == b"\x00\x01\x00\x00\x21\x12\xa4\x42"


def test_a_time_server_is_asked_for_the_time():
    assert len(hello(123)) == 48 and hello(123)[0] == 0x23
    assert not any(hello(123)[1:40]) and any(hello(123)[40:])


@pytest.mark.parametrize("port", [53, 123, 161, 3478, 514])
def test_the_flow_says_it(port: int):
    assert {shot.send for shot in flow_shots(view(Transport.UDP, port), 3, 10.0)} == {hello(port)}
    assert (hello(port) == PLAIN) == (port == 514)


def test_nothing_is_said_over_tcp():
    assert {shot.send for shot in flow_shots(view(Transport.TCP, 53), 3, 10.0)} == {None}
