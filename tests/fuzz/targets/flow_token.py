"""What a prober and the far responder say to each other on the path."""

from ipaddress import ip_address

from probemesh_shared.wire import flowtoken
from probemesh_shared.wire.flowtoken import LEAST, Asked, Request

from tests.fuzz.checks import pick

TOKEN = b"sixteen bytes it"
_REQUEST = flowtoken.pack_request(Request(TOKEN, 3, LEAST, Asked.LARGE, 20))
_REPLY = flowtoken.pack_reply(Request(TOKEN, 3), b"the nonc", "192.0.2.1", 4711)
SEEDS = (
    b"\0" + _REQUEST[16:],
    b"\1" + _REPLY[16:],
    b"\1" + flowtoken.pack_reply(Request(TOKEN, 3, 90, Asked.LARGE), b"the nonc", "2001:db8::1", 1)[16:],
    b"\2" + _REQUEST,
)


def read(data: bytes) -> None:
    """The token is right, but for the last way: strangers do not have it."""
    way, rest = pick(data, (_asked, _said, _stranger))
    way(rest)


def _asked(rest: bytes) -> None:
    data = TOKEN + rest
    request = flowtoken.read_request(data, TOKEN)
    if request is None:
        return
    assert flowtoken.read_head(data, TOKEN) == request
    reply = flowtoken.pack_reply(request, b"the nonc", "192.0.2.1", 4711)
    assert len(reply) <= len(data), "a reply is never larger than its request"
    answer = flowtoken.read_reply(reply, TOKEN)
    assert answer is not None and answer.shot == request.shot


def _said(rest: bytes) -> None:
    answer = flowtoken.read_reply(TOKEN + rest, TOKEN)
    if answer is not None:
        ip_address(answer.address)
        assert 0 <= answer.port <= 65_535 and len(answer.agent) == 16


def _stranger(data: bytes) -> None:
    if data[:16] != TOKEN:
        assert flowtoken.read_request(data, TOKEN) is None
        assert flowtoken.read_head(data, TOKEN) is None
        assert flowtoken.read_reply(data, TOKEN) is None
