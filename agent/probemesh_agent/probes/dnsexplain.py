"""How the host's own resolver comes to its answer, beside the server's. Pure.

The C library asks the services of nsswitch.conf in turn: ``files`` (``/etc/hosts``, the name as it was
typed), ``dns`` (the name servers, through the search list), and others of which nothing is seen from here.
"""

from collections.abc import Iterable, Sequence

from probemesh_shared.model import DnsRecord, HostsLine, SystemLookup
from probemesh_shared.words import DnsAgreement, DnsSource

from probemesh_agent.env import Nameservers
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.net.namefiles import NameFiles, hosts_lines, hosts_order
from probemesh_agent.net.nameservers import ResolvConf, candidates

_VERSIONS = {"A": 4, "AAAA": 6}


def explained(
    name: str,
    record_types: Sequence[str],
    own: Nameservers,
    files: NameFiles,
    system: Sequence[str],
    server: Iterable[DnsRecord] | None,
) -> SystemLookup:
    """``system``: its addresses; ``server``: the records that the name server answered, None without one."""
    lines, order = hosts_lines(files.hosts, name), hosts_order(files.nsswitch)
    versions = {_VERSIONS[one] for one in record_types if one in _VERSIONS}
    theirs = None if server is None else [one.value for one in server if one.type in _VERSIONS]
    ours = [one for one in system if _version(one) in versions]
    return SystemLookup(
        order=order,
        search=own.search,
        ndots=own.ndots,
        candidates=candidates(name, ResolvConf(search=own.search, ndots=own.ndots)),
        hosts=lines,
        source=_source(order, lines, system, theirs or ()),
        agreement=None if theirs is None else agreement(ours, theirs),
    )


def agreement(system: Iterable[str], server: Iterable[str]) -> DnsAgreement:
    ours, theirs = set(system), set(server)
    if not ours and not theirs:
        return DnsAgreement.NEITHER
    if not ours or not theirs:
        return DnsAgreement.ONLY_SYSTEM if ours else DnsAgreement.ONLY_SERVER
    if ours == theirs:
        return DnsAgreement.SAME
    return DnsAgreement.OVERLAPPING if ours & theirs else DnsAgreement.DIFFERENT


def _source(
    order: Sequence[str], lines: Sequence[HostsLine], system: Sequence[str], server: Iterable[str]
) -> DnsSource | None:
    if not system:
        return None
    if "files" in order and lines and set(system) <= {line.address for line in lines}:
        return DnsSource.HOSTS_FILE
    if "dns" in order and set(system) & set(server):
        return DnsSource.DNS
    return DnsSource.UNKNOWN


def _version(text: str) -> int | None:
    address = parse_literal(text)
    return None if address is None else address.version


_DIFFERS = {
    DnsAgreement.OVERLAPPING: "has some of the server's addresses and not all the same",
    DnsAgreement.DIFFERENT: "has other addresses than the server",
    DnsAgreement.ONLY_SYSTEM: "has addresses, and the server has none",
    DnsAgreement.ONLY_SERVER: "has no address, and the server has",
}


def in_words(name: str, lookup: SystemLookup) -> list[str]:
    """Lines for the log, where there is something that a person would not expect."""
    told = [f"/etc/hosts line {line.line} has {name} as {line.address}" for line in lookup.hosts[:4]]
    if lookup.hosts and "files" not in lookup.order:
        told.append("/etc/hosts is not looked at: nsswitch.conf has no files for hosts")
    if lookup.agreement in _DIFFERS:
        asked = ", ".join(lookup.order)
        told.append(f"the host's own resolver (asks {asked}) {_DIFFERS[lookup.agreement]}")
    return told
