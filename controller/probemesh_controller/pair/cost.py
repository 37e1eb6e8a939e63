"""What a diagnosis costs: packets and seconds, before a step is sent and after. Pure.

Packets are those that the agents send on purpose: attempts, handshakes, tokens, ends. What a kernel repeats
by itself, and what the other side answers, is not counted.
"""

from collections.abc import Iterable

from probemesh_shared.model import FlowSpec, MtuDetail, MtuSpec, TlsSpec, TraceDetail, TraceSpec
from probemesh_shared.words import NOT_MEASURED, Transport

from probemesh_controller.pair.case import Case, StepDone, StepSpec

#: Of a connection: SYN, ACK, FIN and the ACK of the other's FIN.
_CONNECTION = 4
#: Of a TLS handshake beside these.
_HANDSHAKE = 4
#: Sizes that a search for a path's MTU tries.
_HALVINGS = 16
#: Seconds that an agent, a controller and their links may take beside the probe itself.
_OVERHEAD_S = 1.5


def planned_packets(spec: StepSpec) -> int:
    """The most that a step sends."""
    match spec:
        case FlowSpec(transport=Transport.TCP, shots=shots):
            return sum(_CONNECTION + (shot.send is not None) for shot in shots)
        case FlowSpec(shots=shots):
            return len(shots)
        case TraceSpec(options=options, first_hop=first, max_hops=last):
            return options.count * max(0, last - first + 1)
        case MtuSpec(options=options):
            return options.count * _HALVINGS
        case TlsSpec(options=options):
            return options.count * (_CONNECTION + _HANDSHAKE)


def sent_packets(done: StepDone) -> int:
    """What a step sent, as far as its rows tell; what was planned where they do not."""
    if not done.rows or all(row.outcome in NOT_MEASURED and row.detail is None for row in done.rows):
        return 0
    traces = [row.detail for row in done.rows if isinstance(row.detail, TraceDetail)]
    if traces:
        return sum(hop.sent for trace in traces for hop in trace.hops)
    searches = [row for row in done.rows if isinstance(row.detail, MtuDetail) and row.samples]
    if searches:
        return sum(len(row.samples) for row in searches)
    return planned_packets(done.step.spec)


def packets(case: Case) -> int:
    """All that was sent so far, by all agents together."""
    return sum(sent_packets(step) for done in case.rounds for step in done.steps)


def all_planned(specs: Iterable[StepSpec]) -> int:
    return sum(planned_packets(spec) for spec in specs)


def longest_s(spec: StepSpec) -> float:
    """Seconds in which a step ends by itself; later than that something is wrong with whoever runs it."""
    options = spec.options
    match spec:
        case FlowSpec(shots=shots, listen_ms=listen):
            last = max((shot.at_ms + (shot.hold_ms or 0.0) for shot in shots), default=0.0)
            return (last + listen) / 1000 + options.timeout_s + _OVERHEAD_S
        case TraceSpec(first_hop=first, max_hops=last_hop):
            hops = max(1, last_hop - first + 1)
            return min(hops, 8) * options.timeout_s + options.count * options.interval_s + _OVERHEAD_S
        case MtuSpec():
            return _HALVINGS * options.timeout_s + _OVERHEAD_S
        case TlsSpec():
            return options.count * (options.timeout_s + options.interval_s) + _OVERHEAD_S
