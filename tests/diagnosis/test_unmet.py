"""An unmet expectation is an answer all the same: the name resolves, the port is reached."""

import dataclasses

from probemesh_controller.diagnosis import diagnose
from probemesh_shared.expectations import unexpected
from probemesh_shared.model import DnsDetail, Measurement, Sample, TargetResult, TcpDetail, Vantage
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Kind, Outcome, Verdict

TARGET = parse_target("web:443")
WORDS = "median RTT 31.2 ms, expected at most 20 ms"


def row(kind, words=None, detail=None, address="192.0.2.7", port=443):
    failure = unexpected(kind, words) if words else None
    outcome = Outcome.ANSWER_UNEXPECTED if words else Outcome.OK
    samples = (Sample(0, 0.0, 31.2, Outcome.OK),)
    return Measurement(kind, 0, "web:443", address, port, outcome, 1, samples, failure, detail)


def findings(*vantages):
    (found,) = diagnose([TargetResult(TARGET, 0, vantages)])
    return found


def test_a_port_that_is_slower_than_expected_is_reached_all_the_same():
    slow = Vantage("a", None, Outcome.ANSWER_UNEXPECTED, Kind.TCP, (row(Kind.TCP, WORDS, TcpDetail()),))
    also = Vantage("b", None, Outcome.ANSWER_UNEXPECTED, Kind.TCP, (row(Kind.TCP, WORDS, TcpDetail()),))
    (found,) = findings(slow, also)
    assert found.verdict is Verdict.ANSWER_UNEXPECTED
    assert "is reached" in found.summary and WORDS in found.summary
    assert found.next_test == "meshctl probe web:443 --from a -o json  # shows all that came"


def test_a_name_with_other_addresses_than_expected_does_resolve():
    detail = DnsDetail(name="web", record_type="A", system=True, system_addresses=("192.0.2.7",))
    words = "the name has 192.0.2.7, expected 192.0.2.8 among it"
    other = Vantage(
        "a", None, Outcome.ANSWER_UNEXPECTED, Kind.DNS, (row(Kind.DNS, words, detail, None, None),)
    )
    assert Verdict.NAME_FAILS not in {found.verdict for found in findings(other)}


def test_a_failure_that_was_expected_is_nobody_s_reach_and_no_fault():
    lost = Sample(0, 0.0, None, Outcome.REFUSED)
    closed = dataclasses.replace(row(Kind.TCP, None, TcpDetail(state="closed")), samples=(lost,))
    assert findings(Vantage("a", None, Outcome.OK, None, (closed,))) == ()
    opened = row(Kind.TCP, "the port is open, expected closed", TcpDetail(state="open"))
    both = (
        Vantage("a", None, Outcome.OK, None, (closed,)),
        Vantage("b", None, Outcome.ANSWER_UNEXPECTED, Kind.TCP, (opened,)),
    )
    (found,) = findings(*both)
    assert found.verdict is Verdict.ANSWER_UNEXPECTED and found.scope.sources == ("b",)
