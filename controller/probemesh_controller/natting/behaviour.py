"""All that was seen of one subject → its :class:`~probemesh_shared.nat.NatBehaviour`. Pure."""

from collections.abc import Sequence

from probemesh_shared.nat import NatBehaviour, NatRule, Ruling

from probemesh_controller.natting import around
from probemesh_controller.natting.filtering import filtering
from probemesh_controller.natting.mapping import Judged, View, mapping, views
from probemesh_controller.natting.seen import Knock, Seen, Sighting

_UNHEARD = Judged(Ruling())
_UNMAPPED = Judged(Ruling.of(NatRule.ENDPOINT_INDEPENDENT))  # and unfiltered


def behaviour(seen: Seen) -> NatBehaviour:
    """Certain where something positive was seen; sets and what is missing where not."""
    told = around.reflectors(seen)
    behind = around.behind(seen, told)
    sightings = [one for one in seen.sightings if behind.answer is None or one.reflector in behind.by]
    found = views(sightings)
    mapped, filtered = _rulings(seen, behind, sightings)
    addresses = tuple(dict.fromkeys(one.seen.address for one in sightings))
    outside = addresses if behind.answer else ()
    hairpin = around.Hairpinned()
    if behind.answer:
        hairpin = around.hairpinning(seen.hairpin, seen.own, mapped.ruling, _preserves(found))
    layers = around.layers(seen.ladder, behind.answer)
    lived, died = around.lifetime(seen.silences)
    return NatBehaviour(
        agent=seen.agent,
        site=seen.site,
        family=seen.family,
        behind_nat=behind.answer,
        mapping=mapped.ruling,
        filtering=filtered.ruling,
        firewall_only=_firewall_only(behind.answer, filtered.ruling),
        port_preservation=_preserves(found),
        ports_kept=sum(view.kept for view in found),
        ports_tried=len(found),
        hairpinning=hairpin.answer,
        hairpin_source=hairpin.source,
        pooling=around.pooling(found) if behind.answer else None,
        mapped_addresses=outside,
        seen_addresses=addresses,
        own_addresses=seen.own,
        layers=layers.count,
        layers_least=layers.least,
        layers_most=layers.most,
        cgn=around.carrier_grade(seen, outside, behind.answer),
        lifetime_s=lived,
        lifetime_most_s=died,
        reflectors=told,
        sent=seen.sent,
        notes=_said(behind.note, *mapped.notes, *filtered.notes, hairpin.note, layers.note),
        missing=_said(
            behind.missing,
            *mapped.missing,
            *filtered.missing,
            hairpin.missing,
            layers.missing,
            *seen.problems,
        ),
    )


def _rulings(seen: Seen, behind: around.Behind, sightings: Sequence[Sighting]) -> tuple[Judged, Judged]:
    """Without a NAT the mapping is the identity; the filter is a firewall's, and judged alike. A knock of a
    neighbour does not pass it."""
    if behind.answer is None:
        return _UNHEARD, _UNHEARD
    if not behind.by:  # known by what comes in unasked alone
        return _UNMAPPED, _UNMAPPED
    beyond = {to.address for asked in seen.reflectors if asked.agent in behind.by for to in asked.endpoints}
    knocks = [knock for knock in seen.knocks if knock.agent in behind.by or _from_beyond(knock, seen)]
    filtered = filtering(knocks, [endpoint for endpoint in seen.heard if endpoint.address in beyond])
    return (mapping(sightings, seen.clashes) if behind.answer else _UNMAPPED), filtered


def _from_beyond(knock: Knock, seen: Seen) -> bool:
    """An agent that the subject cannot reach may reach it all the same: what came from an address that is
    neither private nor one of the subject's own, inside or outside, came from beyond."""
    if any(one.reflector == knock.agent for one in seen.sightings):
        return False
    mine = {*seen.own, *(one.seen.address for one in seen.sightings)}
    return any(not around.is_private(address) and address not in mine for address in knock.came_from)


def _firewall_only(behind_nat: bool | None, ruling: Ruling) -> bool | None:
    if behind_nat is not False:
        return None if behind_nat is None else False
    if ruling.rule is NatRule.UNDETERMINED:
        return None if NatRule.ENDPOINT_INDEPENDENT in ruling.alternatives else True
    return ruling.rule is not NatRule.ENDPOINT_INDEPENDENT


def _preserves(found: list[View]) -> bool | None:
    """Most sockets kept their port: a NAT that tries to may fail where the port is taken."""
    return 2 * sum(view.kept for view in found) >= len(found) if found else None


def _said(*texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
