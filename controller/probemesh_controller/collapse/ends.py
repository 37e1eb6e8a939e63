"""Who an agent is, as causes speak of ends: by name, site, labels and networks. Pure."""

import ipaddress

from probemesh_shared.model import AgentInfo

from probemesh_controller.collapse.model import End

#: What is called one network: a /24, or a /64 of IPv6.
_PREFIX = {4: 24, 6: 64}


def end_of(agent: AgentInfo) -> End:
    labels = tuple(sorted(f"{key}={value}" for key, value in agent.labels.items()))
    return End(agent.name, agent.site, labels, tuple(sorted(set(map(_network, agent.addresses)))))


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address  # a name in its place is a network of its own
    return str(ipaddress.ip_network(f"{found}/{_PREFIX[found.version]}", strict=False))
