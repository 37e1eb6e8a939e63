"""What the engine works on: one address (and port) with its samples, and where such items come from."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any, Protocol

from probemesh_shared.model import Detail, Failure, Sample
from probemesh_shared.words import Family

SockAddr = tuple[Any, ...]


class Item:
    """One measurement in the making. The engine thread owns it until it is delivered, then the consumer
    does."""

    __slots__ = (
        "address",
        "base_ns",
        "cleared",
        "detail",
        "failure",
        "host",
        "index",
        "is_loopback",
        "is_scan",
        "launched",
        "name",
        "open",
        "packed",
        "port",
        "route",
        "samples",
        "started_ns",
        "text",
    )

    def __init__(
        self,
        index: int,
        text: str,
        host: str | None,
        port: int | None,
        address: SockAddr,
        is_loopback: bool,
        is_scan: bool = False,
    ) -> None:
        self.index = index  # of the target in the job
        self.text = text  # the row's canonical spelling
        self.host = host or ""  # the canonical literal, empty where no address is known
        self.port = port
        self.address = address  # as socket.connect takes it
        self.name = b""  # the same as a packed sockaddr, and
        self.packed = b""  # the address in that, where a driver wants them
        self.route = 0  # which of its sockets a driver uses
        self.is_loopback = is_loopback
        self.is_scan = is_scan  # one port of many: only the answer is kept
        self.failure: Failure | None = None  # why nothing was sent
        self.samples: list[Sample] = []
        self.detail: Detail | None = None
        self.started_ns = 0  # wall clock, a label
        self.base_ns = 0  # perf clock at the first attempt
        self.launched = 0  # attempts begun
        self.open = 0  # of these not yet ended
        self.cleared = False  # the owner's cap lets the next one leave


class Source:
    """Items of one target, made when they are wanted: a scan of 65,000 ports is one iterator."""

    __slots__ = ("head", "items")

    def __init__(self, items: Iterator[Item]) -> None:
        self.items = items
        self.head: Item | None = None  # taken already, waiting for its slot

    def take(self) -> Item | None:
        """The next item, or None at the end."""
        if self.head is not None:
            item, self.head = self.head, None
            return item
        return next(self.items, None)


class Attempt(Protocol):
    """One packet or connection under way, or several that wait equally long."""

    expires: float  # when it is ended: its timeout or the deadline, whichever is first
    full_expiry: float  # its timeout alone

    def expire(self, waited_s: float, cut: bool) -> None:
        """Its time is up: ends the attempt with a sample. ``cut``: by the run's deadline, too early to
        tell."""

    def drop(self) -> None:
        """Ends it without a sample and closes what it holds."""


def socket_address(host: str, family: Family, port: int) -> tuple[SockAddr, bool]:
    """``(sockaddr, is_loopback)`` of a canonical literal; the scope of link-local IPv6 becomes an interface
    index.

    Raises :class:`OSError` where the interface does not exist.
    """
    if family is not Family.IPV6:
        return (host, port), host.startswith("127.")
    bare, _, scope = host.partition("%")
    index = 0
    if scope:
        index = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
    return (bare, port, 0, index), ipaddress.IPv6Address(bare).is_loopback
