"""What a step may send, what it sent, and how long it may take."""

import pytest
from probemesh_controller.pair.case import StepDone
from probemesh_controller.pair.cost import longest_s, planned_packets, sent_packets
from probemesh_shared.model import (
    FlowSpec,
    MtuSpec,
    Options,
    Shot,
    TlsSpec,
    TraceDetail,
    TraceHop,
    TraceSpec,
)
from probemesh_shared.words import Kind, Transport

from tests.pair.fakes import DENIED, row, shots, step

TCP = FlowSpec(transport=Transport.TCP, shots=(Shot(), Shot(send=b"x")))
UDP = FlowSpec(transport=Transport.UDP, shots=(Shot(),) * 5)


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        (TCP, 9),
        (UDP, 5),
        (TraceSpec(Options(count=3), max_hops=20), 60),
        (TraceSpec(Options(count=1), first_hop=5, max_hops=4), 0),
        (MtuSpec(Options(count=2)), 32),
        (TlsSpec(Options(count=1)), 8),
    ],
)
def test_the_most_that_a_step_sends(spec, most):
    assert planned_packets(spec) == most


def test_what_was_sent_is_what_the_rows_tell():
    trace = step(1, spec=TraceSpec(max_hops=30))
    told = TraceDetail(hops=(TraceHop(1, 3), TraceHop(2, 2)))
    assert sent_packets(StepDone(trace, (row(Kind.TRACE, told),))) == 5
    assert sent_packets(StepDone(step(1, spec=UDP), (shots(),))) == 5


def test_nothing_was_sent_where_nothing_was_done():
    assert sent_packets(StepDone(step(1, spec=TCP), problem="b was lost")) == 0
    assert sent_packets(StepDone(step(1, spec=TCP), (row(Kind.FLOW, None, DENIED),))) == 0


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        (FlowSpec(Options(timeout_s=1.0), shots=(Shot(at_ms=500.0), Shot(hold_ms=2000.0))), 4.5),
        (FlowSpec(Options(timeout_s=1.0), listen_ms=3000.0), 5.5),
        (TlsSpec(Options(count=2, timeout_s=1.0, interval_s=0.5)), 4.5),
    ],
)
def test_a_step_has_the_time_that_it_needs(spec, seconds):
    assert longest_s(spec) == pytest.approx(seconds)


def test_an_mtu_search_and_a_trace_end_too():
    assert longest_s(MtuSpec(Options(timeout_s=0.5))) < 15
    assert longest_s(TraceSpec(Options(timeout_s=1.0, count=2))) < 15
