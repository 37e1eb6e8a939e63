"""What divides the vantage points that reach a target from those that do not: one attribute that explains
all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from probemesh_controller.diagnosis.facts import Facts, Group, Question


@dataclass(frozen=True, slots=True)
class Split:
    """``fails`` True: exactly those with ``value`` fail; False: exactly those with ``value`` reach it."""

    attribute: str
    value: str
    fails: bool

    @property
    def text(self) -> str:
        what = f"{self.attribute}{'' if self.attribute.endswith('=') else ' '}{self.value}"
        return f"exactly {what} fails" if self.fails else f"only {what} reaches it"


def _network(address: str) -> str | None:
    bare = address.partition("%")[0]
    try:
        width = 24 if ip_address(bare).version == 4 else 48
    except ValueError:
        return None
    return str(ip_interface(f"{bare}/{width}").network)


def _families(name: str, question: Question, group: Group) -> frozenset[str]:
    """The families a source reached by, or failed by."""
    seen = [one for one in (*question.held, *group.seen) if one.source == name]
    return frozenset(one.family.value for one in seen if one.family)


def _attributes(facts: Facts, name: str, question: Question, group: Group) -> dict[str, frozenset[str]]:
    source = facts.sources[name]
    found: dict[str, frozenset[str]] = {}
    if source.site is not None:
        found["site"] = frozenset({source.site})
    for key, value in sorted(source.labels.items()):
        found[f"label {key}="] = frozenset({value})
    families = _families(name, question, group)
    if len(families) == 1:
        found["address family"] = families
    networks = {_network(address) for address in source.addresses}
    found["network"] = frozenset(network for network in networks if network)
    return found


def _distinguishing(
    inside: Sequence[Mapping[str, frozenset[str]]],
    outside: Sequence[Mapping[str, frozenset[str]]],
    attribute: str,
) -> str | None:
    common = frozenset.intersection(*(one.get(attribute, frozenset()) for one in inside))
    elsewhere = frozenset[str]().union(*(one.get(attribute, frozenset()) for one in outside))
    return min(common - elsewhere, default=None)


def divide(facts: Facts, question: Question, group: Group) -> Split | None:
    """The first attribute (site, family, labels by name, network) that divides the group from all who reach
    it.

    A label or a network explains nothing where the side it names is a single vantage point: anything would.
    """
    failing = [_attributes(facts, name, question, group) for name in group.sources]
    reaching = [_attributes(facts, name, question, group) for name in question.reached]
    if not failing or not reaching:
        return None
    for attribute in _order(failing, reaching):
        causal = attribute in ("site", "address family")
        for fails, inside, outside in ((True, failing, reaching), (False, reaching, failing)):
            if not causal and len(inside) < 2:
                continue
            value = _distinguishing(inside, outside, attribute)
            if value is not None:
                return Split(attribute, value, fails)
    return None


def _order(*sides: Iterable[Mapping[str, frozenset[str]]]) -> list[str]:
    known = {attribute for side in sides for one in side for attribute in one}
    labels = sorted(attribute for attribute in known if attribute.startswith("label "))
    return [attribute for attribute in ("site", "address family", *labels, "network") if attribute in known]
