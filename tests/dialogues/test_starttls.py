"""STARTTLS dialogues, without a socket: what is said, what is refused, and that no bytes can break them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent.wire.dialogue import MOST_BYTES, Dialogue, DialogueFailed
from probemesh_agent.wire.starttls import SSL_REQUEST, dialogue
from probemesh_shared.words import FailureKind, StartTls

PROTOCOLS = [protocol for protocol in StartTls if protocol is not StartTls.AUTO]
MYSQL_REQUEST = bytes.fromhex("20000001008a0000000000012100") + bytes(22)


def mysql_greeting(flags: int = 0xFFFF) -> bytes:
    body = b"\x0a8.0.1\0" + bytes(4) + b"saltsalt\0" + flags.to_bytes(2, "little") + bytes(20)
    return len(body).to_bytes(3, "little") + b"\0" + body


LDAP_REQUEST = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
LDAP_YES = bytes.fromhex("300c02010178070a010004000400")

#: What each server says in turn, and what we say to that.
GOOD: dict[StartTls, tuple[bytes, list[tuple[bytes, bytes]]]] = {
    StartTls.SMTP: (
        b"",
        [
            (b"220-mail\r\n220 ESMTP\r\n", b"EHLO [192.0.2.9]\r\n"),
            (b"250-mail\r\n250-PIPELINING\r\n250 STARTTLS\r\n", b"STARTTLS\r\n"),
            (b"220 go\r\n", b""),
        ],
    ),
    StartTls.IMAP: (
        b"",
        [
            (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", b"a1 CAPABILITY\r\n"),
            (b"* CAPABILITY IMAP4rev1 STARTTLS\r\na1 OK done\r\n", b"a2 STARTTLS\r\n"),
            (b"a2 OK begin\r\n", b""),
        ],
    ),
    StartTls.POP3: (
        b"",
        [
            (b"+OK ready\r\n", b"CAPA\r\n"),
            (b"+OK\r\nUIDL\r\nSTLS\r\n.\r\n", b"STLS\r\n"),
            (b"+OK begin\r\n", b""),
        ],
    ),
    StartTls.FTP: (
        b"",
        [(b"220-hello\r\n free text\r\n220 ready\r\n", b"AUTH TLS\r\n"), (b"234 go\r\n", b"")],
    ),
    StartTls.LDAP: (LDAP_REQUEST, [(LDAP_YES, b"")]),
    StartTls.POSTGRES: (SSL_REQUEST, [(b"S", b"")]),
    StartTls.MYSQL: (b"", [(mysql_greeting(), MYSQL_REQUEST)]),
}


def at(protocol: StartTls, steps: int) -> Dialogue:
    """A dialogue after some good answers."""
    talk = dialogue(protocol, "192.0.2.9")
    talk.start()
    for answer, _ in GOOD[protocol][1][:steps]:
        talk.feed(answer)
    return talk


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("piecemeal", [False, True])
def test_what_a_good_server_hears(protocol: StartTls, piecemeal: bool) -> None:
    talk = dialogue(protocol, "192.0.2.9")
    hello, exchanges = GOOD[protocol]
    assert talk.start() == hello
    for answer, expected in exchanges:
        assert not talk.is_done
        pieces = [bytes((byte,)) for byte in answer] if piecemeal else [answer]
        assert b"".join(talk.feed(piece) for piece in pieces) == expected
    assert talk.is_done


REFUSALS = [
    (StartTls.SMTP, 0, b"554 go away\r\n", "greets with 554: go away"),
    (StartTls.SMTP, 1, b"500 what\r\n", "refuses EHLO with 500: what"),
    (StartTls.SMTP, 1, b"250-mail\r\n250 SIZE 10\r\n", "does not offer STARTTLS: SIZE 10"),
    (StartTls.SMTP, 2, b"454 later \x1b[2J\r\n", r"refuses STARTTLS with 454: later \x1b[2J"),
    (StartTls.IMAP, 0, b"* BYE full\r\n", "does not greet with OK"),
    (StartTls.IMAP, 0, b"* PREAUTH in\r\n", "does not greet with OK"),
    (StartTls.IMAP, 1, b"* CAPABILITY IMAP4rev1\r\na1 OK\r\n", "does not offer STARTTLS"),
    (StartTls.IMAP, 2, b"a2 NO not now\r\n", "refuses STARTTLS: NO not now"),
    (StartTls.POP3, 0, b"-ERR busy\r\n", "does not greet"),
    (StartTls.POP3, 1, b"+OK\r\nTOP\r\n.\r\n", "does not offer STLS: TOP"),
    (StartTls.POP3, 2, b"-ERR no\r\n", "refuses STLS: -ERR no"),
    (StartTls.FTP, 0, b"421 too many\r\n", "greets with 421"),
    (StartTls.FTP, 1, b"530 log in\r\n", "refuses AUTH TLS with 530: log in"),
    (StartTls.LDAP, 0, bytes.fromhex("300f020101780a0a0135040004036e6f21"), "result code 53: no!"),
    (StartTls.POSTGRES, 0, b"N", "SSLRequest: no TLS here"),
    (
        StartTls.POSTGRES,
        0,
        b"E\0\0\0\x08Mno\0",
        "refuses an SSLRequest: no",
    ),
    (StartTls.MYSQL, 0, mysql_greeting(0), "does not offer TLS; its version: 8.0.1"),
    (StartTls.MYSQL, 0, b"\x09\0\0\0\xff\x69\x04no way", "error 1129: no way"),
]


@pytest.mark.parametrize(("protocol", "steps", "answer", "words"), REFUSALS)
def test_a_server_that_says_no_is_quoted(protocol: StartTls, steps: int, answer: bytes, words: str) -> None:
    with pytest.raises(DialogueFailed) as told:
        at(protocol, steps).feed(answer)
    assert told.value.kind is FailureKind.ANSWER_UNEXPECTED
    assert words in told.value.words


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bytes_behind_the_go_ahead_are_refused(protocol: StartTls) -> None:
    """Whoever injects them wants them taken for part of the session that TLS protects (CVE-2011-0411)."""
    exchanges = GOOD[protocol][1]
    with pytest.raises(DialogueFailed, match=r"5 bytes .*in the clear|5 bytes came before") as told:
        at(protocol, len(exchanges) - 1).feed(exchanges[-1][0] + b"EVIL\n")
    assert told.value.kind is FailureKind.ANSWER_UNEXPECTED


def test_a_go_ahead_before_the_request_is_none() -> None:
    with pytest.raises(DialogueFailed, match="before they were asked for"):
        at(StartTls.SMTP, 1).feed(b"250-m\r\n250 STARTTLS\r\n220 go\r\n")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_speaks_tls_at_once(protocol: StartTls) -> None:
    with pytest.raises(DialogueFailed, match="speaks TLS from the first byte") as told:
        at(protocol, 0).feed(bytes.fromhex("15030100020246"))
    assert told.value.kind is FailureKind.BAD_ANSWER


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "endless", [b"A", b"\0", b"250-x\r\n", b"* x\r\n", b"+OK\r\n", b"220-\r\n", b"\x30\x84\xff\xff\xff\xff"]
)
def test_an_endless_answer_ends(protocol: StartTls, endless: bytes) -> None:
    """Bounded whatever comes, and whenever: a failure before the bound of a whole dialogue is passed."""
    for steps in range(len(GOOD[protocol][1])):
        talk, taken = at(protocol, steps), 0
        with pytest.raises(DialogueFailed):
            while taken <= 2 * MOST_BYTES:
                talk.feed(endless * 100)
                taken += 100 * len(endless)


def feed_all(talk: Dialogue, pieces: list[bytes]) -> None:
    for piece in pieces:
        if talk.is_done:
            return
        try:
            talk.feed(piece)
        except DialogueFailed as failed:
            assert failed.words.isprintable() and len(failed.words) < 400
            return


@given(st.sampled_from(PROTOCOLS), st.integers(0, 2), st.lists(st.binary(max_size=300), max_size=5))
def test_no_bytes_raise_anything_else(protocol: StartTls, steps: int, pieces: list[bytes]) -> None:
    feed_all(at(protocol, min(steps, len(GOOD[protocol][1]) - 1)), pieces)


@given(st.sampled_from(PROTOCOLS), st.data())
def test_mutated_and_truncated_answers(protocol: StartTls, data: st.DataObject) -> None:
    exchanges = GOOD[protocol][1]
    steps = data.draw(st.integers(0, len(exchanges) - 1))
    answer = bytearray(exchanges[steps][0])
    for _ in range(data.draw(st.integers(0, 3))):
        answer[data.draw(st.integers(0, len(answer) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(answer)))
    feed_all(at(protocol, steps), [bytes(answer[:cut]), bytes(answer[cut:])])
