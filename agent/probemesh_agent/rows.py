"""Measurements that no probe kind makes: what resolving came to, addresses that may not be probed. Pure."""

from collections.abc import Iterator, Sequence

from probemesh_shared import failures
from probemesh_shared.failures import outcome_of
from probemesh_shared.model import DnsDetail, Failure, Measurement, Sample, Target
from probemesh_shared.words import Family, Kind, Outcome, Stage, Timing

from probemesh_agent.env import Nameservers, Refused, Resolution
from probemesh_agent.net.namefiles import NameFiles
from probemesh_agent.probes.dnsexplain import explained

_RECORD_TYPES = {Family.IPV4: "A", Family.IPV6: "AAAA", Family.BOTH: "A+AAAA"}
_NONE = Nameservers()
_NO_FILES = NameFiles()


def resolved(
    index: int,
    target: Target,
    family: Family,
    resolution: Resolution,
    started_ns: int,
    resolvers: Nameservers = _NONE,
    files: NameFiles = _NO_FILES,
) -> Measurement:
    """The ``resolve`` rung: a dns measurement by the host's own resolver, one sample. ``resolvers`` are whom
    it is configured to ask, ``files`` what it looks at first."""
    name_failure = resolution.failure
    if resolution.refused and not resolution.addresses:
        name_failure = None  # the name was answered; what it came to may not be probed from here
    outcome = Outcome.OK if name_failure is None else outcome_of(name_failure)
    sample = Sample(
        seq=0,
        offset_ms=0.0,
        rtt_ms=resolution.elapsed_ms if outcome is Outcome.OK else None,
        outcome=outcome,
        failure=name_failure,
        timing=Timing.USER if outcome is Outcome.OK else None,
    )
    found = [address.host for address in resolution.addresses] + [
        refused.host for refused in resolution.refused
    ]
    return Measurement(
        kind=Kind.DNS,
        target_index=index,
        target=target.text,
        address=None,
        port=None,
        outcome=outcome,
        started_ns=started_ns,
        samples=(sample,),
        failure=name_failure,
        detail=DnsDetail(
            name=resolution.host,
            record_type=_RECORD_TYPES[family],
            system=True,
            system_addresses=tuple(found),
            system_failure=name_failure,
            resolvers=resolvers.hosts,
            lookup=explained(target.host, _RECORD_TYPES[family].split("+"), resolvers, files, found, None),
        ),
    )


def not_probed(
    kind: Kind,
    index: int,
    target: Target,
    address: str | None,
    port: int | None,
    failure: Failure,
    at_ns: int,
) -> Measurement:
    """A row without samples: nothing was sent, and ``failure`` says why."""
    return Measurement(
        kind=kind,
        target_index=index,
        target=target.text,
        address=address,
        port=port,
        outcome=outcome_of(failure),
        started_ns=at_ns,
        failure=failure,
    )


def refused_row(
    kind: Kind, index: int, target: Target, refused: Refused, port: int | None, at_ns: int
) -> Measurement:
    """An address that the policy, or its being our own, keeps us from."""
    return not_probed(kind, index, target, refused.host, port, refused.failure, at_ns)


def refused_all(kind: Kind, targets: Sequence[Target], failure: Failure, at_ns: int) -> Iterator[Measurement]:
    """A kind that must not be probed from here at all; a climb's first rung is its resolving."""
    shown = Kind.DNS if kind is Kind.LADDER else kind
    for index, one in enumerate(targets):
        yield not_probed(shown, index, one, None, None, failure, at_ns)


def unsupported(kind: Kind, index: int, target: Target, at_ns: int) -> Measurement:
    """A probe kind that this agent does not have."""
    failure = failures.unsupported(Stage.SEND, f"this agent cannot probe {kind}")
    return not_probed(kind, index, target, None, None, failure, at_ns)
