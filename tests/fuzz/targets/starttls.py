"""Dialogues in the clear before TLS, of every protocol there is one for."""

from probemesh_agent.wire import starttls
from probemesh_agent.wire.dialogue import MOST_BYTES, DialogueFailed
from probemesh_shared.words import StartTls

from tests.fuzz.checks import cut, is_line, pick

#: ``auto`` is told apart by the port, before there is a dialogue.
PROTOCOLS = tuple(one for one in StartTls if one is not StartTls.AUTO)
_SAID = {
    StartTls.SMTP: b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n",
    StartTls.IMAP: b"* OK hi\r\n* CAPABILITY IMAP4 STARTTLS\r\na1 OK\r\na2 OK\r\n",
    StartTls.POP3: b"+OK hi\r\n+OK\r\nSTLS\r\n.\r\n+OK\r\n",
    StartTls.FTP: b"120 wait\r\n220-hi\r\n there\r\n220 hi\r\n234 go\r\n",
    StartTls.LDAP: bytes.fromhex("300c02010178070a010004000400"),
    StartTls.POSTGRES: b"S",
    StartTls.MYSQL: b"\x20\0\0\0\x0a8.0\0" + bytes(13) + b"\xff\xff" + bytes(12),
}
_REFUSED = {
    StartTls.LDAP: bytes.fromhex("301402010178 0f0a01020400040877656c6c206e6f".replace(" ", "")),
    StartTls.POSTGRES: b"E\0\0\0\x12SFATAL\0Mno\0\0\0",
    StartTls.MYSQL: b"\x0a\0\0\0\xff\x10\4go away",
    StartTls.SMTP: b"554 no\r\n",
}
SEEDS = tuple(
    bytes((PROTOCOLS.index(protocol), step)) + said
    for table in (_SAID, _REFUSED)
    for protocol, said in table.items()
    for step in (1, 0)
)


def read(data: bytes) -> None:
    protocol, rest = pick(data, PROTOCOLS)
    dialogue = starttls.dialogue(protocol, "192.0.2.1")
    taken, sent = 0, len(dialogue.start())
    try:
        for piece in cut(rest):
            if dialogue.is_done:
                break
            taken += len(piece)
            sent += len(dialogue.feed(piece))
    except DialogueFailed as failed:
        is_line(failed.words)
    assert sent <= 1024, "no answer makes us talk without end"
    assert taken <= MOST_BYTES + (1 << 16)
