"""From errno and ICMP code to :class:`Failure`, and from a failure to the outcome it stands for. Pure.

The one table that every probe kind uses: nobody else decides what ``EHOSTUNREACH`` means, or which outcome a
``no-address`` is. Evidence is read in this order: the ICMP error, where the queue held one; then errno, with
the knowledge of whether the system call failed at once (our own host) or later (somebody answered).
"""

import errno as _errno
import os
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from probemesh_shared.icmpcodes import meaning
from probemesh_shared.model import Failure, IcmpError, Sample
from probemesh_shared.words import FailureKind, Family, Origin, Outcome, Stage

_K, _O = FailureKind, Outcome

#: What a failure of each kind is called where its stage says nothing more particular.
OUTCOME_OF: Mapping[FailureKind, Outcome] = MappingProxyType(
    {
        _K.TIMEOUT: _O.TIMEOUT,
        _K.REFUSED: _O.REFUSED,
        _K.RESET: _O.RESET,
        _K.CLOSED: _O.ANSWER_UNEXPECTED,
        _K.UNREACHABLE: _O.UNREACHABLE,
        _K.PROHIBITED: _O.PROHIBITED,
        _K.NO_ROUTE: _O.UNREACHABLE,
        _K.TOO_BIG: _O.UNREACHABLE,
        _K.NO_SUCH_NAME: _O.NAME_FAILS,
        _K.NO_ADDRESS: _O.NAME_FAILS,
        _K.NAME_SERVER_FAILED: _O.NAME_FAILS,
        _K.TLS_ALERT: _O.TLS_FAILS,
        _K.TLS_PROTOCOL: _O.TLS_FAILS,
        _K.BAD_ANSWER: _O.ANSWER_UNEXPECTED,
        _K.STATUS_UNEXPECTED: _O.ANSWER_UNEXPECTED,
        _K.BODY_UNEXPECTED: _O.ANSWER_UNEXPECTED,
        _K.ANSWER_UNEXPECTED: _O.ANSWER_UNEXPECTED,
        _K.DENIED: _O.DENIED,
        _K.OWN_ADDRESS: _O.UNMEASURED,
        _K.NOT_ADDRESSABLE: _O.UNMEASURED,
        _K.UNSUPPORTED: _O.UNSUPPORTED,
        _K.LOCAL_FILTER: _O.PROHIBITED,
        _K.LOCAL_RESOURCE: _O.LOCAL_RESOURCE,
        _K.AGENT_STARVED: _O.VOID,
        _K.AGENT_LOST: _O.AGENT_LOST,
        _K.CANCELLED: _O.CANCELLED,
        _K.DEADLINE: _O.UNMEASURED,
        _K.INTERNAL: _O.UNMEASURED,
    }
)

#: What the network did; only these are read differently by stage.
_OF_THE_NETWORK = frozenset(
    {_K.TIMEOUT, _K.REFUSED, _K.RESET, _K.CLOSED, _K.UNREACHABLE, _K.PROHIBITED, _K.NO_ROUTE, _K.BAD_ANSWER}
)

_BY_STAGE: Mapping[Stage, Outcome] = MappingProxyType({Stage.RESOLVE: _O.NAME_FAILS, Stage.TLS: _O.TLS_FAILS})

#: errno that came from the network, or while waiting for it.
_LATER: Mapping[str, tuple[FailureKind, Origin]] = MappingProxyType(
    {
        "ECONNREFUSED": (_K.REFUSED, Origin.TARGET),
        "ECONNRESET": (_K.RESET, Origin.UNKNOWN),
        "ECONNABORTED": (_K.RESET, Origin.UNKNOWN),
        "EPIPE": (_K.RESET, Origin.UNKNOWN),
        "ETIMEDOUT": (_K.TIMEOUT, Origin.UNKNOWN),
        "ENETUNREACH": (_K.UNREACHABLE, Origin.PATH),
        "EHOSTUNREACH": (_K.UNREACHABLE, Origin.PATH),
        "EHOSTDOWN": (_K.UNREACHABLE, Origin.PATH),
        "ENONET": (_K.UNREACHABLE, Origin.PATH),
        "ENOPROTOOPT": (_K.UNREACHABLE, Origin.PATH),
        "EOPNOTSUPP": (_K.UNREACHABLE, Origin.PATH),
        "EPROTO": (_K.UNREACHABLE, Origin.PATH),
        "EACCES": (_K.PROHIBITED, Origin.PATH),
        "EMSGSIZE": (_K.TOO_BIG, Origin.PATH),
        "ENETDOWN": (_K.NO_ROUTE, Origin.AGENT),
        "EPERM": (_K.LOCAL_FILTER, Origin.AGENT),
        "EMFILE": (_K.LOCAL_RESOURCE, Origin.AGENT),
        "ENFILE": (_K.LOCAL_RESOURCE, Origin.AGENT),
        "ENOBUFS": (_K.LOCAL_RESOURCE, Origin.AGENT),
        "ENOMEM": (_K.LOCAL_RESOURCE, Origin.AGENT),
        "EAGAIN": (_K.LOCAL_RESOURCE, Origin.AGENT),
        "EADDRNOTAVAIL": (_K.LOCAL_RESOURCE, Origin.AGENT),
        "EADDRINUSE": (_K.LOCAL_RESOURCE, Origin.AGENT),
        "EAFNOSUPPORT": (_K.UNSUPPORTED, Origin.AGENT),
        "EPROTONOSUPPORT": (_K.UNSUPPORTED, Origin.AGENT),
        "ENODEV": (_K.UNSUPPORTED, Origin.AGENT),
    }
)

#: The same from a system call that failed at once with nothing in the error queue: our own routing table
#: (missing, ``unreachable``, ``prohibit`` and ``blackhole`` routes, in this order) or our own interface.
_AT_ONCE: Mapping[str, tuple[FailureKind, Origin]] = MappingProxyType(
    {
        "ENETUNREACH": (_K.NO_ROUTE, Origin.AGENT),
        "EHOSTUNREACH": (_K.NO_ROUTE, Origin.AGENT),
        "EACCES": (_K.NO_ROUTE, Origin.AGENT),
        "EINVAL": (_K.NO_ROUTE, Origin.AGENT),
        "EMSGSIZE": (_K.TOO_BIG, Origin.AGENT),
    }
)

#: Errors of this host's own supply: the attempt says nothing about the target and may be tried again.
RESOURCE_ERRNOS = frozenset(
    getattr(_errno, name) for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL", "EADDRINUSE")
)

_WORDS: Mapping[FailureKind, str] = MappingProxyType(
    {
        _K.REFUSED: "connection refused",
        _K.RESET: "connection reset",
        _K.TIMEOUT: "no answer",
        _K.NO_ROUTE: "this host has no route there",
        _K.LOCAL_FILTER: "this host's own filter refused to send",
        _K.LOCAL_RESOURCE: "this host ran short",
        _K.TOO_BIG: "too big to be sent whole",
    }
)


def outcome_of(failure: Failure) -> Outcome:
    """The outcome a failure stands for. A resolver's silence is ``name-fails`` and a reset in the TLS
    handshake ``tls-fails``; elsewhere the kind alone decides."""
    if failure.kind in _OF_THE_NETWORK:
        return _BY_STAGE.get(failure.stage, OUTCOME_OF[failure.kind])
    return OUTCOME_OF[failure.kind]


def errno_name(number: int) -> str:
    """``111`` → ``"ECONNREFUSED"``; a number without a name stays a number."""
    return _errno.errorcode.get(number, str(number))


def from_errno(stage: Stage, number: int, *, at_once: bool = False, detail: str | None = None) -> Failure:
    """A failure known by errno alone. ``at_once``: the call that should have started the exchange failed
    itself, so that routing errors are our own host's; False: it came later, from the network."""
    name = errno_name(number)
    kind, origin = (_AT_ONCE.get(name) if at_once else None) or _LATER.get(name, (_K.INTERNAL, Origin.AGENT))
    if detail is None:
        words = _WORDS.get(kind)
        system = os.strerror(number).lower()
        detail = f"{words} ({system})" if words and words != system else system
    return Failure(stage, kind, origin, detail, errno=name)


def from_icmp(
    stage: Stage, icmp: IcmpError, *, target: str, own: Collection[str] = (), number: int | None = None
) -> Failure | None:
    """A failure known by an ICMP error, whose sender tells whose it is: the target, this host, or the path.

    ``target`` and ``own`` are canonical address literals. None where the error ends no attempt (redirect).
    """
    found = meaning(icmp.family, icmp.type, icmp.code)
    if found is None:
        return None
    sender = icmp.sender
    if sender is not None and sender == target.partition("%")[0]:
        origin, who = Origin.TARGET, "by the target"
    elif sender is not None and sender in own:
        origin, who = Origin.AGENT, f"by this host ({sender})"
    else:
        origin, who = Origin.PATH, f"by {sender}" if sender else "by an unknown sender"
    protocol = "ICMPv6" if icmp.family is Family.IPV6 else "ICMP"
    detail = f"{found.words} ({protocol} {icmp.type}/{icmp.code} {who})"
    name = errno_name(number) if number else None
    return Failure(stage, found.kind, origin, detail, errno=name, icmp=icmp)


def timed_out(stage: Stage, timeout_s: float, detail: str | None = None) -> Failure:
    """Silence for ``timeout_s``: nobody can tell from this alone whose fault it is."""
    return Failure(stage, _K.TIMEOUT, Origin.UNKNOWN, detail or f"no answer within {timeout_s:g} s")


def past_deadline(detail: str = "the run's deadline came before it could be tried") -> Failure:
    """Not attempted: outcome ``unmeasured``."""
    return Failure(Stage.CONNECT, _K.DEADLINE, Origin.AGENT, detail)


def unsupported(stage: Stage, detail: str) -> Failure:
    """This agent cannot do that, whatever the network is like."""
    return Failure(stage, _K.UNSUPPORTED, Origin.AGENT, detail)


def overall(samples: Iterable[Sample]) -> tuple[Outcome, Failure | None]:
    """A measurement's outcome from its samples: ``ok`` (and no failure) if any was; else that of the first
    sample that says something about the network; else of the first; ``unmeasured`` without any."""
    first: Sample | None = None
    telling: Sample | None = None
    for sample in samples:
        if sample.outcome is _O.OK:
            return _O.OK, None
        first = first or sample
        if telling is None and sample.outcome not in _SAYS_LITTLE:
            telling = sample
    chosen = telling or first
    return (chosen.outcome, chosen.failure) if chosen else (_O.UNMEASURED, None)


#: Before these, any other sample's outcome stands for the measurement.
_SAYS_LITTLE = frozenset(
    {_O.TIMEOUT, _O.LOCAL_RESOURCE, _O.VOID, _O.UNMEASURED, _O.CANCELLED, _O.DENIED, _O.UNSUPPORTED}
)


#: ``Failure.errno`` of what an expectation says must not be there: no other address makes up for it.
UNWANTED = "UNWANTED"
#: ``Failure.errno`` of the row that stands for an expectation which no rung of a climb could be judged by.
UNJUDGED = "UNJUDGED"

__all__ = [
    "OUTCOME_OF",
    "RESOURCE_ERRNOS",
    "UNJUDGED",
    "UNWANTED",
    "errno_name",
    "from_errno",
    "from_icmp",
    "outcome_of",
    "overall",
    "past_deadline",
    "timed_out",
    "unsupported",
]
