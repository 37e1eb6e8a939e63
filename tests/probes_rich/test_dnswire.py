"""The parser at the door: whatever bytes come, an answer to the question or None."""

import dns.message
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent.probes.dnswire import Answer, Question, question, read_answer, reverse_name
from probemesh_shared.model import Failure

ASKED = question("a.example", "TXT")
assert isinstance(ASKED, Question)


def good() -> bytes:
    assert isinstance(ASKED, Question)
    made = dns.message.make_response(ASKED.message)
    made.answer.append(dns.rrset.from_text("a.example.", 5, "IN", "TXT", '"x" "y"', '"z"'))
    made.answer.append(dns.rrset.from_text("a.example.", 5, "IN", "MX", "10 m.a.example."))
    return made.to_wire()


GOOD = good()


@given(st.binary(max_size=600))
def test_any_bytes_after_our_header(tail: bytes) -> None:
    assert isinstance(ASKED, Question)
    for data in (tail, GOOD[:12] + tail, GOOD[: len(ASKED.wire) - 11] + tail):
        found = read_answer(ASKED, data)
        assert found is None or isinstance(found, Answer)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_bytes_changed(changes: list[tuple[int, int]]) -> None:
    assert isinstance(ASKED, Question)
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    found = read_answer(ASKED, bytes(data))
    if found is not None:
        assert data[:2] == GOOD[:2] and data[2] & 0x80, "another id, or no answer at all"
        assert all(len(record.value) <= 2048 for record in found.records)


@given(st.integers(0, len(GOOD) - 1))
def test_cut_short(size: int) -> None:
    assert isinstance(ASKED, Question)
    assert read_answer(ASKED, GOOD[:size]) is None


def test_the_good_one_is_read() -> None:
    assert isinstance(ASKED, Question)
    found = read_answer(ASKED, GOOD)
    assert found is not None and found.has_type and [r.type for r in found.records] == ["TXT", "TXT", "MX"]


@given(st.text(max_size=300), st.sampled_from(["A", "TXT", "TYPE65400", "*", "", "AXFR"]))
def test_any_name_and_type_is_a_question_or_a_failure(name: str, kind: str) -> None:
    assert isinstance(question(name, kind), Question | Failure)


def test_ids_are_not_to_be_guessed() -> None:
    ids = {made.message.id for _ in range(50) if isinstance(made := question("a.example", "A"), Question)}
    assert len(ids) > 40


def test_reverse_names() -> None:
    assert reverse_name("192.0.2.9") == "9.2.0.192.in-addr.arpa"
    assert reverse_name("::ffff:192.0.2.9") == "9.2.0.192.in-addr.arpa"
    assert (reverse_name("fe80::1%lo") or "").endswith(".8.e.f.ip6.arpa")
    assert reverse_name("a.example") is None
