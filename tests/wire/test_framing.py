"""Length-prefixed messages, cut anywhere."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared.convert import MAX_MESSAGE, BadMessage, Unpacker
from probemesh_shared.wire import framing


@given(messages=st.lists(st.binary(max_size=50), max_size=8), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_messages_come_out_whole_wherever_the_stream_is_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(framing.pack, messages))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    unpacker = Unpacker()
    out = [m for a, b in itertools.pairwise(edges) for m in unpacker.feed(stream[a:b])]
    unpacker.close()
    assert out == messages


def test_a_length_over_the_limit_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(BadMessage):
        Unpacker().feed((MAX_MESSAGE + 1).to_bytes(4, "big"))
    with pytest.raises(ValueError, match="larger"):
        framing.pack(bytes(MAX_MESSAGE + 1))


def test_a_stream_that_ends_inside_a_message_is_told() -> None:
    for piece in (b"\0", framing.pack(b"abc")[:-1]):
        unpacker = Unpacker()
        assert unpacker.feed(piece) == []
        with pytest.raises(BadMessage):
            unpacker.close()
    with pytest.raises(BadMessage):
        framing.unpack_length(b"\0\0")
