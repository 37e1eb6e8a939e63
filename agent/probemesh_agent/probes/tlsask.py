"""Hellos of our own to one server, one connection each: what it takes, and what it staples.

Every connection waits for this agent's share of the address and ends within the run. Nothing is answered to
what comes back: the connection is left as soon as enough is known.
"""

import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from probemesh_shared.words import FailureKind, Stage

from probemesh_agent.env import ProbeEnv, ProbeFailed
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.probes.handshake import Handshaker
from probemesh_agent.wire.ocsp import Staple, read_staple
from probemesh_agent.wire.tlsciphers import CHUNK, TLS12, VERSION_NAMES, suites
from probemesh_agent.wire.tlsflight import Flight, FlightReader
from probemesh_agent.wire.tlshello import Hello, client_hello, goodbye

_CHUNK = 16 * 1024


class NoMore(Exception):
    """No further connection can be had: the deadline came, or the server takes none. Says which."""


@dataclass(slots=True)
class Asker:
    """``turn`` waits until one more connection may be opened; False: not within the run."""

    handshaker: Handshaker
    env: ProbeEnv
    turn: Callable[[], Awaitable[bool]]
    connections: int = 0

    async def ask(self, hello: Hello, *, whole: bool = False) -> Flight:
        """The answer up to its ServerHello, or the ``whole`` flight. Raises :class:`NoMore`, and
        :class:`ProbeFailed` where a connection that stood was cut or stayed silent."""
        if not await self.turn():
            raise NoMore("the run's deadline came first")
        deadline = min(self.env.clock.monotonic() + self.handshaker.options.timeout_s, self.env.deadline)
        self.connections += 1
        try:
            stream = await self.handshaker.connected(deadline)
        except ProbeFailed as failed:
            raise NoMore(f"connection {self.connections} of these failed: {failed.failure.detail}") from None
        reader = FlightReader()
        flight = reader.flight
        try:
            await stream.write(client_hello(hello), deadline)
            while not flight.over and (whole or flight.hello is None):
                data = await stream.read(_CHUNK, deadline)
                if not data:
                    flight.fault = "it closes the connection without a word"
                reader.feed(data)
            with contextlib.suppress(ProbeFailed):
                await stream.write(goodbye(hello.version), deadline)
        except ProbeFailed as failed:
            self._in_time(failed)
            raise
        finally:
            await stream.close()
        return flight

    def _in_time(self, failed: ProbeFailed) -> None:
        if failed.failure.kind is FailureKind.TIMEOUT and self.env.clock.monotonic() >= self.env.deadline:
            raise NoMore("the run's deadline came first") from None

    def hello(self, version: int, ciphers: list[int], *, status_request: bool = False) -> Hello:
        return Hello(version, ciphers, os.urandom(64), self.server_name, status_request=status_request)

    @property
    def server_name(self) -> str | None:
        """As OpenSSL would ask for it: no address, and letters of ASCII only."""
        name = self.handshaker.server_name
        if parse_literal(name) is not None:
            return None
        with contextlib.suppress(UnicodeError):
            return name.encode("idna" if not name.isascii() else "ascii").decode("ascii")
        return None


async def stapled(asker: Asker) -> tuple[Staple | None, str | None]:
    """What the server staples, and what there is to say about that; None where it cannot be seen: with TLS
    1.3 it is encrypted."""
    try:
        hello = asker.hello(TLS12, list(suites(TLS12)[:CHUNK]), status_request=True)
        flight = await asker.ask(hello, whole=True)
    except NoMore as no_more:
        return None, f"stapled OCSP response: not seen, {no_more}"
    except ProbeFailed as failed:
        return None, f"stapled OCSP response: not seen, {failed.failure.detail}"
    if flight.hello is None or flight.hello.version != TLS12:
        return None, f"stapled OCSP response: not seen, with {VERSION_NAMES[TLS12]} {refusal(flight, TLS12)}"
    if flight.fault is not None and flight.staple is None:
        return None, f"stapled OCSP response: not seen, {flight.fault}"
    if flight.staple is None:
        return Staple("none"), None
    read = read_staple(flight.staple, flight.chain[0] if flight.chain else None)
    return read, read.note


def refusal(flight: Flight, version: int) -> str:
    """How a server said no to a version, for people."""
    if flight.alert is not None:
        return f"it answers with the alert {alert_name(flight.alert)}"
    if flight.hello is not None and flight.hello.version != version:
        return f"it answers with {VERSION_NAMES.get(flight.hello.version, hex(flight.hello.version))}"
    return flight.fault or "it does not answer as asked"


def alert_name(number: int) -> str:
    """By the registry "TLS Alerts"."""
    return _ALERTS.get(number, str(number))


def is_cut(failed: ProbeFailed) -> bool:
    """The server ended the connection: as much a refusal as an alert, and no silence."""
    return failed.failure.kind in (FailureKind.RESET, FailureKind.CLOSED) and (
        failed.failure.stage is not Stage.CONNECT
    )


_ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    116: "certificate_required",
    120: "no_application_protocol",
}
