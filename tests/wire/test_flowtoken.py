"""The words of a flow: round trips, and no reply to (nor from) anybody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared.wire.flowtoken import (
    HEAD_SIZE,
    LEAST,
    LONGEST,
    MOST_DELAY_MS,
    REPLY_SIZE,
    Asked,
    Request,
    pack_reply,
    pack_request,
    read_head,
    read_reply,
    read_request,
)

TOKEN = bytes(range(16))
requests = st.builds(
    Request,
    token=st.binary(min_size=16, max_size=16),
    shot=st.integers(0, 2**32 - 1),
    length=st.integers(LEAST, 3000),
    asked=st.sampled_from([Asked(0), Asked.LARGE, Asked.OTHER_PORT, Asked.LARGE | Asked.OTHER_PORT]),
    delay_ms=st.integers(0, MOST_DELAY_MS),
)


@given(requests)
def test_a_request_is_read_as_it_was_packed_and_begins_with_its_token(request_: Request) -> None:
    packed = pack_request(request_)
    assert len(packed) == request_.length
    assert packed.startswith(request_.token)
    assert read_request(packed, request_.token) == request_
    assert read_head(packed[:HEAD_SIZE], request_.token) == request_


@given(requests, st.ip_addresses(), st.integers(0, 65535))
def test_a_reply_tells_who_and_where_and_is_never_larger(
    request_: Request, address: object, port: int
) -> None:
    packed = pack_reply(request_, b"\x01" * 8, str(address), port)
    assert len(packed) == (request_.length if Asked.LARGE in request_.asked else REPLY_SIZE)
    assert len(packed) <= len(pack_request(request_))
    answer = read_reply(packed, request_.token)
    assert answer is not None
    mapped = getattr(address, "ipv4_mapped", None)
    assert (answer.shot, answer.agent, answer.address, answer.port) == (
        request_.shot,
        "01" * 8,
        str(mapped or address),
        port,
    )


def test_what_was_cut_or_grew_or_is_anothers_is_no_request() -> None:
    packed = pack_request(Request(TOKEN, 3, 100))
    assert read_request(packed, TOKEN) is not None
    for wrong in (packed[:-1], packed + b"\0", packed[:HEAD_SIZE], b"", b"\xff" * 100):
        assert read_request(wrong, TOKEN) is None
    assert read_request(packed, bytes(16)) is None
    assert read_request(packed, b"") is None
    reply = pack_reply(Request(TOKEN, 3, 100), bytes(8), "192.0.2.1", 7)
    assert read_request(reply, TOKEN) is None
    assert read_reply(packed, TOKEN) is None
    assert read_reply(reply[:-1], TOKEN) is None
    assert read_reply(reply, bytes(16)) is None


@given(st.binary(max_size=200))
def test_hostile_bytes_are_read_without_a_fault(data: bytes) -> None:
    for prefix in (b"", TOKEN, TOKEN + b"pmQ1", TOKEN + b"pmR1"):
        read_head(prefix + data, TOKEN)
        read_request(prefix + data, TOKEN)
        read_reply(prefix + data, TOKEN)


def test_a_flag_that_is_not_known_is_no_request() -> None:
    packed = bytearray(pack_request(Request(TOKEN)))
    packed[HEAD_SIZE - 2] = 0x80
    assert read_request(bytes(packed), TOKEN) is None


@pytest.mark.parametrize(
    "wrong",
    [
        Request(b"short"),
        Request(TOKEN, length=LEAST - 1),
        Request(TOKEN, length=LONGEST + 1),
        Request(TOKEN, delay_ms=MOST_DELAY_MS + 1),
    ],
)
def test_a_request_that_is_none_is_our_own_fault(wrong: Request) -> None:
    with pytest.raises(ValueError, match="has"):
        pack_request(wrong)
