"""The table of ``meshctl nat``: a row an agent, then what kept anything from being known."""

from collections.abc import Sequence

from probemesh_shared.escape import escape
from probemesh_shared.nat import NatBehaviour, Pooling, Ruling

from probemesh_controller.render.text import Cell, columns, counted, paint, wrap

#: What is asked for as wide is never cut.
_UNCUT = 100_000


def render(found: Sequence[NatBehaviour], width: int, color: bool = False, wide: bool = False) -> str:
    """``wide``: more columns, and by what each answer is known."""
    lines = columns(_header(wide), [_row(one, wide) for one in found], _UNCUT if wide else width, color)
    if wide:
        lines += _explained(found, width, color)
    lines += _missing(found, width, color)
    return "\n".join([*lines, "", summary_line(found, color)]) + "\n"


def _header(wide: bool) -> list[str]:
    plain = ["AGENT", "SITE", "NAT", "MAPPING", "FILTERING", "PORTS", "HAIRPIN", "OUTSIDE ADDRESS"]
    return (
        [*plain[:3], "NATS", *plain[3:6], "POOLING", plain[6], "LIFETIME", "OWN ADDRESS", plain[7]]
        if (wide)
        else [*plain[:7], "LIFETIME", plain[7]]
    )


def _row(one: NatBehaviour, wide: bool) -> list[Cell]:
    mapping = Cell("–", "dim") if one.behind_nat is False else _ruling(one.mapping)
    start = [Cell(one.agent), Cell(one.site or "–"), _nat(one)]
    middle = [mapping, _ruling(one.filtering), _ports(one)]
    hairpin, outside = _hairpin(one), Cell(", ".join(one.mapped_addresses))
    lifetime = Cell(lifetime_text(one))
    if not wide:
        return [*start, *middle, hairpin, lifetime, outside]
    own = Cell(", ".join(address for address in one.own_addresses if not address.startswith("127.")))
    pooling = Cell(one.pooling or "")
    return [*start, Cell(layers_text(one)), *middle, pooling, hairpin, lifetime, own, outside]


def _nat(one: NatBehaviour) -> Cell:
    if one.behind_nat is None:
        return Cell("not known", "warn")
    if one.behind_nat:
        return Cell("yes, carrier-grade" if one.cgn else "yes")
    return Cell({True: "no, a firewall", False: "no", None: "no"}[one.firewall_only], "good")


def _ruling(ruling: Ruling) -> Cell:
    """``endpoint-independent``, or the set that remains."""
    return Cell(ruling_text(ruling), "" if not ruling.alternatives else "warn")


def ruling_text(ruling: Ruling) -> str:
    if not ruling.alternatives:
        return ruling.rule
    if len(ruling.alternatives) == 3:
        return "not known"
    return " or ".join(ruling.alternatives)


def _ports(one: NatBehaviour) -> Cell:
    if one.port_preservation is None or one.behind_nat is not True:
        return Cell("–", "dim")
    if one.ports_kept in (0, one.ports_tried):
        return Cell("kept" if one.ports_kept else "changed")
    return Cell(f"kept {one.ports_kept} of {one.ports_tried}")


def _hairpin(one: NatBehaviour) -> Cell:
    if one.behind_nat is not True:
        return Cell("–", "dim")
    if one.hairpinning is None:
        return Cell("not known", "warn")
    if not one.hairpinning:
        return Cell("no")
    return Cell("yes, inside source" if one.hairpin_source == "internal" else "yes")


def layers_text(one: NatBehaviour) -> str:
    """``1``, ``1 to 2``, ``1 or more``; empty without a NAT."""
    if one.behind_nat is not True:
        return ""
    if one.layers is not None:
        return str(one.layers)
    least = one.layers_least or 1
    return f"{least} to {one.layers_most}" if one.layers_most is not None else f"{least} or more"


def lifetime_text(one: NatBehaviour) -> str:
    """``30 to 34 s``, ``over 150 s``, ``under 2 s``; empty where nobody asked."""
    lived, died = one.lifetime_s, one.lifetime_most_s
    if lived is not None and died is not None:
        return f"{lived:.3g} to {died:.3g} s"
    if lived is not None:
        return f"over {lived:.3g} s"
    return f"under {died:.3g} s" if died is not None else ""


def _explained(found: Sequence[NatBehaviour], width: int, color: bool) -> list[str]:
    lines: list[str] = []
    for one in found:
        texts = [*one.notes, *_extras(one)]
        if texts:
            lines += ["", paint(escape(one.agent), "bold", color)]
            lines += [line for text in texts for line in wrap(text, width, "  ")]
    return lines


def _extras(one: NatBehaviour) -> list[str]:
    texts = []
    if one.pooling is Pooling.ARBITRARY:
        texts.append("its sockets have several outside addresses: " + ", ".join(one.mapped_addresses))
    if one.reflectors:
        seen = (f"{each.agent} ({', '.join(each.sees) or 'heard nothing'})" for each in one.reflectors)
        texts.append("reflectors, and what they saw: " + ", ".join(seen))
    return texts


def _missing(found: Sequence[NatBehaviour], width: int, color: bool) -> list[str]:
    """What would tell more, each once, with who lacks it."""
    lacking: dict[str, list[str]] = {}
    for one in found:
        for text in one.missing:
            lacking.setdefault(text, []).append(one.agent)
    if not lacking:
        return []
    lines = ["", paint("To know more", "bold", color)]
    for text, names in lacking.items():
        who = ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
        lines += wrap(f"{who}: {text}", width, "  ")
    return lines


def summary_line(found: Sequence[NatBehaviour], color: bool = False) -> str:
    behind = sum(one.behind_nat is True for one in found)
    unknown = sum(one.behind_nat is None for one in found)
    parts = [f"{behind} of {counted(len(found), 'agent')} behind a NAT"]
    walled = sum(bool(one.firewall_only) for one in found)
    parts += [f"{walled} behind a firewall alone"] if walled else []
    parts += [f"{unknown} not known"] if unknown else []
    return paint(", ".join(parts), "warn" if unknown else "good", color)
