"""What the ladder may do above an open TCP port: by its number, or by what its server says first. Pure.

Do no harm decides every row. Bytes are sent only where the number makes the protocol plain, or after a
banner; printers (9100), FastCGI (9000) and the like print or run what they are sent, so they are left alone.
"""

from enum import StrEnum

from probemesh_shared.words import Kind, StartTls, UdpRequest


class Manner(StrEnum):
    """How one talks to a port."""

    TLS = "tls"
    HTTP = "http"
    HTTPS = "https"
    POSTGRES = "postgres"  # asks for TLS in the clear, by an SSLRequest
    SPEAKS_FIRST = "speaks-first"  # the server greets; we only listen
    ONCE = "once"  # greets, and locks out clients that connect and leave: one connection, no more
    QUIET = "quiet"  # unknown: listen for a moment, send nothing


_TLS = (465, 563, 636, 853, 989, 990, 992, 993, 995, 3269, 5061, 5671, 6514, 6697, 8883)
_HTTP = (80, 81, 591, 3000, 5000, 5601, 8000, 8008, 8080, 8081, 8088, 8888, 9090, 9200, 15672)
_HTTPS = (443, 832, 4443, 5986, 6443, 8443, 9443, 10250)
_POSTGRES = (5432, 5433, 6432)
_SPEAKS_FIRST = (21, 22, 23, 25, 110, 119, 143, 587, 2222, 2525, 5900)
_ONCE = (3306, 33060)

_MANNERS: dict[int, Manner] = {
    port: manner
    for manner, ports in (
        (Manner.TLS, _TLS),
        (Manner.HTTP, _HTTP),
        (Manner.HTTPS, _HTTPS),
        (Manner.POSTGRES, _POSTGRES),
        (Manner.SPEAKS_FIRST, _SPEAKS_FIRST),
        (Manner.ONCE, _ONCE),
    )
    for port in ports
}

#: What a server that greets may say first, and its name. More than one protocol says "220".
_GREETINGS: tuple[tuple[bytes, str], ...] = (
    (b"SSH-", "ssh"),
    (b"+OK", "pop3"),
    (b"* OK", "imap"),
    (b"* PREAUTH", "imap"),
    (b"* BYE", "imap"),
    (b"RFB ", "vnc"),
    (b"HTTP/1.", "http"),
    (b"AMQP", "amqp"),
    (b"\xff\xfb", "telnet"),
    (b"\xff\xfd", "telnet"),
    (b"@RSYNCD:", "rsync"),
)
#: Where TLS is asked for in the clear.
_STARTTLS: dict[int, StartTls] = {
    port: protocol
    for protocol, ports in (
        (StartTls.SMTP, (25, 587, 2525)),
        (StartTls.IMAP, (143,)),
        (StartTls.POP3, (110,)),
        (StartTls.FTP, (21,)),
        (StartTls.LDAP, (389, 3268)),
        (StartTls.POSTGRES, _POSTGRES),
        (StartTls.MYSQL, (3306,)),
    )
    for port in ports
}
#: What a UDP port is asked, where nothing else was said.
_UDP_REQUESTS: dict[int, UdpRequest] = {
    53: UdpRequest.DNS,
    123: UdpRequest.NTP,
    161: UdpRequest.SNMP,
    443: UdpRequest.QUIC,
    853: UdpRequest.QUIC,
    3478: UdpRequest.STUN,
    5060: UdpRequest.SIP,
    19302: UdpRequest.STUN,
}
_MYSQL_PROTOCOLS = (0x0A, 0x09, 0xFF)  # handshake v10, v9, or an error instead of one


def manner_of(port: int) -> Manner:
    """The manner by number alone; unknown ports are ``quiet``."""
    return _MANNERS.get(port, Manner.QUIET)


def starttls_of(port: int) -> StartTls | None:
    """The protocol by which a server on this port is asked for TLS, by number alone."""
    return _STARTTLS.get(port)


def udp_request_of(port: int) -> UdpRequest | None:
    """The ready-made datagram for a UDP port, by number alone."""
    return _UDP_REQUESTS.get(port)


def rungs_above(manner: Manner, said: str | None) -> tuple[Kind, ...]:
    """Which kinds follow an open port: by its manner, or by the protocol of what the server ``said`` unasked.

    PostgreSQL is not here: whether TLS follows is the server's answer.
    """
    if manner is Manner.TLS:
        return (Kind.TLS,)
    if manner is Manner.HTTP:
        return (Kind.HTTP,)
    if manner is Manner.HTTPS:
        return (Kind.TLS, Kind.HTTP)
    if said == "http":
        return (Kind.HTTP,)
    return ()


def protocol_of(banner: bytes, port: int) -> str | None:
    """The protocol that greets so, or None. ``port`` settles what the words leave open ("220 ready")."""
    for prefix, name in _GREETINGS:
        if banner.startswith(prefix):
            return name
    if banner[:3] in (b"220", b"421", b"554"):
        return _two_twenty(banner.upper(), port)
    if len(banner) > 4 and banner[3] == 0 and banner[4] in _MYSQL_PROTOCOLS:
        length = int.from_bytes(banner[:3], "little")
        return "mysql" if 0 < length < 4096 else None
    return None


def _two_twenty(banner: bytes, port: int) -> str | None:
    if b"SMTP" in banner or port in (25, 587, 2525):
        return "smtp"
    if b"FTP" in banner or port == 21:
        return "ftp"
    return None
