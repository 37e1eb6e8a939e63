"""The source address of probes that name none: what ``mesh-agent run --source ADDR`` says."""

import ipaddress
from dataclasses import replace

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import Options


def check_source(text: str | None) -> str | None:
    """``--source ADDR`` in canonical spelling; raises :class:`InvalidRequest`."""
    if text is None:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        message = f"--source '{escape(text, 60)}' is not an IP address"
        raise InvalidRequest(message, "write an address of this host, without a port") from None


def sourced(options: Options, default: str | None, host: str) -> Options:
    """``options`` with the agent's own source address, where they name none and it can serve ``host``.

    It serves hosts of its own family; a loopback address serves loopback alone, and no other address does
    (the kernel would refuse the one, and the other is not what the host's owner means).
    """
    if default is None or options.source is not None:
        return options
    source, target = ipaddress.ip_address(default), ipaddress.ip_address(host.partition("%")[0])
    fits = source.version == target.version and source.is_loopback == target.is_loopback
    return replace(options, source=default) if fits else options
