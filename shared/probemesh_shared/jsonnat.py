"""What was found out about NATs as the JSON contract has it. Pure."""

from collections.abc import Iterable

from probemesh_shared.jsonshape import NatAgentJson, NatJson, ReflectorJson
from probemesh_shared.nat import NatBehaviour, ReflectorSeen


def nat_to_json(found: Iterable[NatBehaviour], interrupted: bool = False) -> NatJson:
    """``meshctl nat -o json``."""
    agents = [nat_agent_to_json(one) for one in found]
    answers = [one["behind_nat"] for one in agents]
    return {
        "schema": 1,
        "agents": agents,
        "summary": {
            "behind_nat": answers.count(True),
            "direct": answers.count(False),
            "unknown": answers.count(None),
            "total": len(answers),
        },
        "interrupted": interrupted,
    }


def nat_agent_to_json(found: NatBehaviour) -> NatAgentJson:
    return {
        "agent": found.agent,
        "site": found.site,
        "family": found.family,
        "behind_nat": found.behind_nat,
        "mapping": found.mapping.rule,
        "mapping_alternatives": list(found.mapping.alternatives),
        "filtering": found.filtering.rule,
        "filtering_alternatives": list(found.filtering.alternatives),
        "firewall_only": found.firewall_only,
        "port_preservation": found.port_preservation,
        "ports_kept": found.ports_kept,
        "ports_tried": found.ports_tried,
        "hairpinning": found.hairpinning,
        "hairpin_source": found.hairpin_source,
        "pooling": found.pooling,
        "mapped_addresses": list(found.mapped_addresses),
        "seen_addresses": list(found.seen_addresses),
        "own_addresses": list(found.own_addresses),
        "layers": found.layers,
        "layers_least": found.layers_least,
        "layers_most": found.layers_most,
        "cgn": found.cgn,
        "lifetime_s": _seconds(found.lifetime_s),
        "lifetime_most_s": _seconds(found.lifetime_most_s),
        "reflectors": [_reflector(one) for one in found.reflectors],
        "notes": list(found.notes),
        "missing": list(found.missing),
    }


def _reflector(seen: ReflectorSeen) -> ReflectorJson:
    return {
        "agent": seen.agent,
        "addresses": list(seen.addresses),
        "sees": list(seen.sees),
        "outside": seen.outside,
        "hops": seen.hops,
    }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def nat_exit_code(found: Iterable[NatBehaviour], interrupted: bool = False) -> int:
    """0: of every agent it is known whether a NAT stands in front of it; 3 of some; 1 of none, though they
    sent; 4 where nobody could send anything to anybody."""
    if interrupted:
        return 130
    agents = list(found)
    known = [one for one in agents if one.behind_nat is not None]
    if agents and len(known) == len(agents):
        return 0
    if known:
        return 3
    return 1 if any(one.sent for one in agents) else 4
