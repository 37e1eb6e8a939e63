"""What is written can be read, whatever it holds; what cannot be read is one error and nothing else."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probemesh_controller.history.codec import BadRecord, decode, encode
from probemesh_controller.history.record import Header
from probemesh_shared.model import (
    Measurement,
    Sample,
    Target,
    TargetResult,
    TcpDetail,
    Vantage,
)
from probemesh_shared.words import Kind, Outcome

from tests.wire.strategies import instances

RESULT = TargetResult(
    Target("db:1", "db"),
    7,
    (
        Vantage(
            "a",
            None,
            Outcome.OK,
            measurements=(
                Measurement(Kind.TCP, 0, "db:1", None, 1, Outcome.OK, 5, detail=TcpDetail(banner=b"\xff")),
            ),
        ),
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def through(value):
    return decode(type(value), json.loads(json.dumps(encode(value), allow_nan=False)))


@given(instances(TargetResult))
@settings(max_examples=60, deadline=None)
def test_any_result_comes_back_as_it_was(result):
    assert through(result) == result


@given(instances(Header))
def test_any_header_comes_back_as_it_was(header):
    assert through(header) == header


def test_what_holds_its_default_takes_no_room():
    row = encode(RESULT)["vantages"][0]["measurements"][0]
    assert "failure" not in row and "samples" not in row
    assert row["detail"] == {"is": "TcpDetail", "banner": "/w=="}


def test_an_unknown_key_is_passed_over_and_an_absent_one_has_its_default():
    data = encode(RESULT)
    data["later"] = {"x": 1}
    data["vantages"][0]["measurements"][0]["detail"]["later"] = [1]
    del data["vantages"]
    assert decode(TargetResult, data) == replace(RESULT, vantages=())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), []),
        ((), None),
        (("target",), 7),
        (("target", "text"), None),
        (("started_ns",), "7"),
        (("started_ns",), True),
        (("started_ns",), 7.5),
        (("vantages",), {}),
        (("vantages", 0, "outcome"), "splendid"),
        (("vantages", 0, "outcome"), ["ok"]),
        (("vantages", 0, "measurements", 0, "detail", "is"), "SmellDetail"),
        (("vantages", 0, "measurements", 0, "detail", "is"), ["TcpDetail"]),
        (("vantages", 0, "measurements", 0, "detail"), "TcpDetail"),
        (("vantages", 0, "measurements", 0, "detail", "banner"), "no base64!"),
        (("vantages", 0, "measurements", 0, "detail", "banner"), "é"),
        (("vantages", 0, "measurements", 0, "detail", "banner"), 7),
    ],
)
def test_what_cannot_be_is_one_error(path, value):
    data = encode(RESULT)
    if not path:
        data = value
    else:
        place = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    with pytest.raises(BadRecord):
        decode(TargetResult, data)


def test_what_is_required_must_be_there():
    data = encode(RESULT)
    del data["target"]
    with pytest.raises(BadRecord, match="incomplete"):
        decode(TargetResult, data)


@given(JSON)
def test_foreign_values_raise_nothing_else(value):
    for cls in (TargetResult, Header, Sample):
        try:
            decode(cls, value)
        except BadRecord:
            continue
