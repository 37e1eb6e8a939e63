"""Names, labels and HOST:PORT of our own services."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.names import (
    check_name,
    dial_address,
    did_you_mean,
    join_host_port,
    parse_label,
    split_host_port,
    suggest_name,
)


@pytest.mark.parametrize("name", ["a", "berlin-1", "db.eu-1", "1", "a" * 63])
def test_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "a_b", "-a", "a-", ".a", "a..b", "a.-b", "a" * 64, "ü", "a\n", "self", "all"]
)
def test_bad_names_are_refused_in_one_printable_line(name):
    with pytest.raises(InvalidRequest) as caught:
        check_name(name, "agent name")
    assert str(caught.value).isprintable()


@given(st.text(max_size=80))
def test_a_suggested_name_is_allowed(text):
    better = suggest_name(text)
    assert better is None or check_name(better) == better


def test_a_host_name_becomes_a_name():
    assert suggest_name("Web_01.Example") == "web-01.example"


def test_labels():
    assert parse_label("role=DB_1") == ("role", "DB_1")


@pytest.mark.parametrize("text", ["role", "=x", "role=", "role=a b", "Role=x", "site=x", "role=" + "x" * 64])
def test_bad_labels(text):
    with pytest.raises(InvalidRequest):
        parse_label(text)


@pytest.mark.parametrize("host,port", [("h", 1), ("::1", 65535), ("10.0.0.1", 0)])
def test_addresses_read_back(host, port):
    assert split_host_port(join_host_port(host, port)) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "h", ":1", "h:", "h:x", "h:65536", "::1:80", "[::1:80", "a/b:1", "u@h:1", "h:８0"]
)
def test_bad_addresses(text):
    with pytest.raises(InvalidRequest):
        split_host_port(text)


def test_port_0_can_be_listened_on_and_not_dialled():
    with pytest.raises(InvalidRequest, match="port 0"):
        dial_address("h:0")


def test_did_you_mean():
    assert did_you_mean("porbe", ["probe", "join"]) == "did you mean 'probe'?"
    assert did_you_mean("xyz", ["probe"]) is None
