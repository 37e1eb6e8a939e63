"""Which versions and ciphers a server takes, in its own order of preference: hellos of one version each, from
which the cipher that was taken is left out the next time, until none is taken any more.

As many connections as there are ciphers, and a few: off unless asked for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from probemesh_shared.model import TlsEnumeration, TlsVersionTaken

from probemesh_agent.env import ProbeFailed
from probemesh_agent.probes.tlsask import Asker, NoMore, is_cut, refusal
from probemesh_agent.wire.tlsciphers import (
    CHUNK,
    SSL3,
    TLS10,
    TLS11,
    TLS12,
    TLS13,
    VERSION_NAMES,
    cipher_name,
    suites,
)

_VERSIONS = (TLS13, TLS12, TLS11, TLS10, SSL3)
_PROTOCOL_VERSION = 70


async def enumerate_all(asker: Asker) -> TlsEnumeration:
    """Every version, one after the other. Never raises but for cancellation."""
    taken: list[TlsVersionTaken] = []
    stopped: str | None = None
    for version in _VERSIONS:
        if stopped is None:
            told = _Version(asker, version)
            stopped = await told.run()
            taken.append(told.taken())
        else:
            taken.append(TlsVersionTaken(VERSION_NAMES[version], reason=stopped))
    return TlsEnumeration(tuple(taken), all(one.complete for one in taken), asker.connections)


@dataclass(slots=True)
class _Version:
    asker: Asker
    version: int
    found: list[int] = field(default_factory=list)
    preference: str | None = None
    complete: bool = False
    reason: str | None = None
    _refused: bool = False  # the version itself, whatever the ciphers
    _spread: int = 0  # hellos in which something was found

    async def run(self) -> str | None:
        """Why nothing more can be asked of the server at all; else None."""
        try:
            for chunk in _chunks(suites(self.version)):
                if self._refused:
                    break
                self._spread += await self._drain(chunk)
            await self._prefer()
            self.complete = True
        except NoMore as no_more:
            self.reason = str(no_more)
            return self.reason
        except ProbeFailed as failed:
            self.reason = failed.failure.detail
        return None

    def taken(self) -> TlsVersionTaken:
        told = TlsVersionTaken(
            VERSION_NAMES[self.version],
            accepted=True if self.found else False if self.complete else None,
            ciphers=tuple(cipher_name(one) for one in self.found),
            preference=self.preference,
            complete=self.complete,
            reason=self.reason,
        )
        return replace(told, reason=None) if self.found and self.complete else told

    async def _drain(self, chunk: list[int]) -> bool:
        """All of ``chunk`` that the server takes; whether there was any."""
        left, before = list(chunk), len(self.found)
        while left and (taken := await self._choice(left)) is not None:
            self.found.append(taken)
            left.remove(taken)
        return len(self.found) > before

    async def _choice(self, ciphers: list[int]) -> int | None:
        try:
            flight = await self.asker.ask(self.asker.hello(self.version, ciphers))
        except ProbeFailed as failed:
            if not is_cut(failed):
                raise
            self.reason = f"it ends the connection: {failed.failure.detail}"
            return None
        hello = flight.hello
        if hello is not None and hello.version == self.version and hello.cipher in ciphers:
            return hello.cipher
        self.reason = refusal(flight, self.version)
        self._refused = flight.alert == _PROTOCOL_VERSION or hello is not None
        return None

    async def _prefer(self) -> None:
        """Whose order counts: the same ciphers, with another one first than the server took. It may put
        ChaCha20 first for clients that do, whatever its order: such a suite is no test."""
        found = self.found[:CHUNK]
        if len(found) < 2:
            return
        best = found[0] if self._spread == 1 else await self._choice(_chacha_last(found))
        orders = (_chacha_last(reversed(found)), _chacha_last(found))
        offered = next((order for order in orders if order[0] != best), None)
        if best is None or offered is None or (other := await self._choice(offered)) is None:
            return
        self.preference = "server" if other == best else "client"
        if self.preference == "server" and self._spread > 1 and len(self.found) <= CHUNK:
            await self._sort()

    async def _sort(self) -> None:
        """Found in several hellos, they have no common order yet."""
        left, order = list(self.found), list[int]()
        while len(left) > 1 and (taken := await self._choice(left)) is not None:
            order.append(taken)
            left.remove(taken)
        self.found = order + left


def _chacha_last(ciphers: Iterable[int]) -> list[int]:
    return sorted(ciphers, key=lambda one: "CHACHA20" in cipher_name(one))


def _chunks(ciphers: tuple[int, ...]) -> Iterator[list[int]]:
    for first in range(0, len(ciphers), CHUNK):
        yield list(ciphers[first : first + CHUNK])
