"""``--expect KEY=VALUE``: every key's spelling, its canonical text, and what is refused with which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.expectations import (
    KEYS,
    MAX_EXPECTATIONS,
    MAX_VALUE,
    HttpExpected,
    Judge,
    Needle,
    belongs,
    bytes_expected,
    checked,
    http_expectations,
    of_kind,
    parse_expectation,
    parse_expectations,
)
from probemesh_shared.expectations.values import JsonExpected, version_word
from probemesh_shared.model import Expectation, PortRange
from probemesh_shared.words import Kind

CANONICAL = [
    ("rtt-max=20ms", "20ms"),
    ("rtt-max=0.5s", "500ms"),
    ("RTT-MAX= 1500ms ", "1.5s"),
    ("rtt-min=250us", "0.25ms"),
    ("rtt-max=999.9999999ms", "1s"),
    ("rtt-max=527040min", "31622400s"),
    ("loss-max=10%", "10%"),
    ("reply-ttl-min=50", "50"),
    ("answer=HEX", "HEX"),
    ("answer=hex:0A 0b", "hex:0a0b"),
    ("address=2001:DB8:0:0::1", "2001:db8::1"),
    ("rcode=nxdomain,SERVFAIL", "NXDOMAIN,SERVFAIL"),
    ("answers-min=02", "2"),
    ("ttl-min=300", "300s"),
    ("ttl-min=5min", "300s"),
    ("flag=AA, ad", "aa,ad"),
    ("state=closed,filtered", "closed,filtered"),
    ("tls-version=TLSv1.2+", "1.2+"),
    ("tls-version=TLSv1", "1.0"),
    ("tls-version=1.2,1.3", "1.2,1.3"),
    ("alpn=h2,http/1.1", "h2,http/1.1"),
    ("expires-in=4w", "28d"),
    ("expires-in=36h", "36h"),
    ("expires-in=3652500d", "3652500d"),
    ("verified=YES", "yes"),
    ("fingerprint=SHA256:" + ":".join(["AB"] * 32), "ab" * 32),
    ("status=404,200-299", "200-299,404"),
    ("header=Content-Type:   text/html", "Content-Type: text/html"),
    ("header=ETag", "ETag"),
    ("json=$.items.0.name=a=b", "items.0.name=a=b"),
    ("json=items[0].name[12]=[1]", "items.0.name.12=[1]"),
    ("json=$[0]=a", "0=a"),
    ("json=$$a=1", "$.$a=1"),
    ("json=$.$.a=1", "$.$.a=1"),
    ("json=.$a=1", "$.$a=1"),
    ("json=$. a=1", "$. a=1"),
    ("json=$$=1", "$.$=1"),
    ("http-version=HTTP/2", "2"),
    ("http-version=2.0", "2"),
    ("size-max=64KiB", "65536"),
    ("redirect=https://example.org/*", "https://example.org/*"),
]


@pytest.mark.parametrize(("text", "value"), CANONICAL)
def test_a_value_has_one_canonical_spelling(text, value):
    found = parse_expectation(text)
    assert found == Expectation(text.partition("=")[0].strip().lower(), value)
    assert checked(found) == found
    assert parse_expectation(f"{found.key}={found.value}") == found


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_an_example_that_reads(key):
    found = parse_expectation(KEYS[key].example)
    assert found.key == key
    assert checked(found) == found
    assert belongs(key) and KEYS[key].help
    assert "  " not in KEYS[key].help and len(KEYS[key].help) < 100


REFUSED = [
    ("rtt-max", "has no value", "for example rtt-max=20ms"),
    ("pong", "has no value", "KEY=VALUE"),
    ("rtt_max=3ms", "there is no expectation 'rtt_max'", "did you mean 'rtt-max'?"),
    ("qwertz=1", "there is no expectation", "meshctl help expectations"),
    ("=1", "there is no expectation ''", "meshctl help expectations"),
    ("status=", "has no value", "status=200-299,404"),
    ("status=99", "'99' is no HTTP status", "status=200-299,404"),
    ("status=299-200", "no HTTP status", None),
    ("status=200,,300", "no list", None),
    ("status=²²²", "no HTTP status", None),
    ("rtt-max=20", "is no duration (units: us, ms, s, min)", "rtt-max=20ms"),
    ("rtt-max=nans", "is no duration", None),
    ("rtt-max=999999999999min", "more than a year", "rtt-max=20ms"),
    ("expires-in=999999999999w", "more than ten thousand years", "expires-in=30d"),
    ("ttl-min=999999999999h", "more than ten thousand years", None),
    ("rtt-max=-1ms", "is no duration", None),
    ("loss-max=101%", "more than everything", None),
    ("loss-max=0.1", "no percentage", None),
    ("rcode=NXDOMIAN", "there is no 'NXDOMIAN', only NOERROR", None),
    ("flag=zz", "there is no 'zz', only aa", None),
    ("state=shut", "there is no 'shut', only open", None),
    ("tls-version=1.4", "there is no version '1.4'", None),
    ("tls-version=1.2,1.3+", "a list and a minimum", None),
    ("size-max=2MiB", "more than 1 MiB, and no more of a body is read", "size-max=64KiB"),
    ("verified=maybe", "neither yes nor no", None),
    ("fingerprint=abcd", "no SHA-256 fingerprint", None),
    ("address=example.org", "no IP address", None),
    ("answer=hex:0", "not hexadecimal", None),
    ("answer=hex:", "not hexadecimal", None),
    ("header=a b: c", "no name of a header", None),
    ("json=status", "no PATH=VALUE", None),
    ("json=a..b=1", "no PATH=VALUE", None),
    ("json=a.[0]=1", "no PATH=VALUE", None),
    ("body=" + "x" * (MAX_VALUE + 1), "longer than 1024 bytes", None),
    ("header=X:" + "v" * (MAX_VALUE - 2), "longer than 1024 bytes", None),  # with the blank that is written
    ("json=$" + "$" * (MAX_VALUE - 3) + "=1", "longer than 1024 bytes", None),
    ("body=a\nb", "cannot be shown", "hex:0d0a"),
    ("body=a\udcffb", "cannot be shown", None),
]


@pytest.mark.parametrize(("text", "words", "hint"), REFUSED)
def test_what_cannot_be_read_is_refused_in_words(text, words, hint):
    with pytest.raises(InvalidRequest) as refused:
        parse_expectation(text)
    assert words in str(refused.value)
    assert refused.value.hint
    assert hint is None or hint in refused.value.hint
    assert str(refused.value).isprintable() and len(str(refused.value)) < 300


_VALUES = st.one_of(
    st.text(max_size=60),
    st.text("0123456789.,-+:%=hexsmdwKiB ", max_size=40),
    st.sampled_from([text.partition("=")[2] for text, _ in CANONICAL]),
    st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{1,9})? ?(us|ms|s|min|h|d|w|%|B|KiB)\Z"),
    st.text("$.[]0a é", min_size=1, max_size=8).map(lambda path: f"{path}=1"),
    st.integers(MAX_VALUE - 4, MAX_VALUE).map(lambda length: "X:".ljust(length, "v")),
)


@given(st.one_of(st.sampled_from(list(KEYS)), st.text(max_size=20)), _VALUES)
def test_a_reader_raises_invalid_request_or_nothing_and_its_spelling_is_stable(key, value):
    try:
        found = parse_expectation(f"{key}={value}")
    except InvalidRequest as refused:
        assert str(refused)
    else:
        assert checked(found) == found
        assert parse_expectation(f"{found.key}={found.value}") == found
        assert len(found.value.encode()) <= MAX_VALUE


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    try:
        parse_expectation(text)
    except InvalidRequest as refused:
        assert refused.hint


@given(st.builds(Expectation, st.one_of(st.sampled_from(list(KEYS)), st.text(max_size=9)), _VALUES))
def test_an_agent_refuses_what_it_cannot_read(expectation):
    try:
        Judge((expectation,))
    except InvalidRequest as refused:
        assert str(refused)


def test_each_is_taken_once_and_no_more_than_32():
    assert len(parse_expectations(["status=200", "status=200", "body=a", "body=b"])) == 3
    with pytest.raises(InvalidRequest, match="33 expectations are too many"):
        parse_expectations([f"answers-min={number}" for number in range(MAX_EXPECTATIONS + 1)])
    with pytest.raises(InvalidRequest, match="too many"):
        Judge([Expectation("rtt-max", f"{number}ms") for number in range(MAX_EXPECTATIONS + 1)])


def test_kinds_take_what_belongs_to_them_and_a_climb_takes_all():
    asked = parse_expectations(["status=200", "rtt-max=1s", "answer=x"])
    assert [one.key for one in of_kind(asked, Kind.HTTP)] == ["status", "rtt-max"]
    assert [one.key for one in of_kind(asked, Kind.UDP)] == ["rtt-max", "answer"]
    assert of_kind(asked, Kind.LADDER) == asked


def test_the_forms_for_kinds_that_judge_themselves():
    asked = parse_expectations(["status=200-299", "body=ok", "body-not=hex:00", "json=a.b=1", "size-max=1kB"])
    assert http_expectations(asked) == HttpExpected(
        (PortRange(200, 299),),
        (Needle(b"ok", "ok"),),
        (Needle(b"\0", "hex:00"),),
        (JsonExpected(("a", "b"), "1"),),
        1000,
    )
    assert http_expectations(()) == HttpExpected()
    assert bytes_expected(parse_expectations(["answer=a", "answer=hex:62"])) == (
        Needle(b"a", "a"),
        Needle(b"b", "hex:62"),
    )


JSON = json.loads('{"status": {"ready": true, "n": 2, "name": "a"}, "items": [{"id": null}, 1.5]}')


@pytest.mark.parametrize(
    ("path", "met"),
    [
        ("status.ready=true", True),
        ("status.ready=1", False),
        ("status.n=2", True),
        ("status.n=2.0", True),
        ("status.n=3", False),
        ("status.name=a", True),
        ("status.name.x=a", False),
        ("items.0.id=null", True),
        ("items.1=1.5", True),
        ("items.2=1", False),
        ("items.99999999999=1", False),
        ("items.²=1", False),
        ("missing=1", False),
        ("items=a list of 2", False),
        ("status=an object", False),
        ("status.n=nan", False),
    ],
)
def test_json_at_a_path(path, met):
    (expected,) = http_expectations([parse_expectation(f"json={path}")]).json
    assert (expected.unmet(JSON) is None) is met


def test_what_is_deeper_than_a_stack_is_no_fault():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    (expected,) = http_expectations([parse_expectation("json=a=1")]).json
    assert expected.unmet({"a": deep}) == "a is a list of 1 in the JSON of the answer, expected 1"


def test_versions_as_openssl_and_http_spell_them():
    spelled = ["TLSv1", "TLSv1.3", "HTTP/1.1", "HTTP/2", "2.0", "1.0", "SSLv3"]
    assert [version_word(text) for text in spelled] == ["1.0", "1.3", "1.1", "2", "2", "1.0", "sslv3"]
