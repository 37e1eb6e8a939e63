"""The table of ``meshctl nat``: a row an agent, then what kept anything from being known."""

from collections.abc import Sequence

from probemesh_shared.escape import escape
from probemesh_shared.nat import RULES, NatBehaviour, Pooling, Ruling

from probemesh_controller.render.text import Cell, columns, counted, paint, wrap

#: What is asked for as wide, or took minutes to find out, is never cut.
_UNCUT = 100_000


def render(found: Sequence[NatBehaviour], width: int, color: bool = False, wide: bool = False) -> str:
    """``wide``: more columns, and by what each answer is known."""
    rows = [_row(one, wide) for one in found]
    timed = any(map(lifetime_text, found))
    lines = columns(_WIDE if wide else _PLAIN, rows, _UNCUT if wide or timed else width, color)
    if wide:
        lines += _explained(found, width, color)
    lines += _missing(found, width, color)
    return "\n".join([*lines, "", summary_line(found, color)]) + "\n"


_PLAIN = ["AGENT", "SITE", "NAT", "OUTSIDE ADDRESS", "MAPPING", "FILTERING", "PORTS", "HAIRPIN", "LIFETIME"]
_WIDE = [*_PLAIN[:3], "NATS", "OWN ADDRESS", *_PLAIN[3:6], "POOLING", *_PLAIN[6:]]


def _row(one: NatBehaviour, wide: bool) -> list[Cell]:
    mapping = Cell("–", "dim") if one.behind_nat is False else _ruling(one.mapping, wide)
    start = [Cell(one.agent), Cell(one.site or "–"), _nat(one)]
    outside = Cell(", ".join(one.mapped_addresses))
    end = [_ports(one), _hairpin(one), Cell(lifetime_text(one))]
    filtering = _ruling(one.filtering, wide)
    if not wide:
        return [*start, outside, mapping, filtering, *end]
    own = Cell(", ".join(address for address in one.own_addresses if not address.startswith("127.")))
    pooling = Cell(one.pooling or "")
    return [*start, Cell(layers_text(one)), own, outside, mapping, filtering, pooling, *end]


def _nat(one: NatBehaviour) -> Cell:
    if one.behind_nat is None:
        return Cell("not known", "warn")
    if one.behind_nat:
        return Cell("yes, carrier-grade" if one.cgn else "yes")
    return Cell("no, a firewall" if one.firewall_only else "no", "good")


def _ruling(ruling: Ruling, wide: bool) -> Cell:
    """The rule; what remains of several only where there is room."""
    if not ruling.alternatives:
        return Cell(ruling.rule if wide else ruling.rule.replace("-and-", "+"))
    if len(ruling.alternatives) == len(RULES):
        return Cell("not known", "warn")
    return Cell(set_text(ruling) if wide else ruling.rule, "warn")


def set_text(ruling: Ruling) -> str:
    """``endpoint-independent or address-and-port-dependent``."""
    return " or ".join(ruling.possible)


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
    """What remains where it is not one, and what would tell more: each once, with who lacks it."""
    lines = _grouped([(text, one.agent) for one in found for text in _sets(one)], width)
    lacking = _grouped([(text, one.agent) for one in found for text in one.missing], width)
    if lines:
        lines = ["", paint("Undetermined", "bold", color), *lines]
    return [*lines, "", paint("To know more", "bold", color), *lacking] if lacking else lines


def _sets(one: NatBehaviour) -> list[str]:
    rulings = (("mapping", one.mapping), ("filtering", one.filtering))
    return [
        f"{name} is {set_text(ruling)}"
        for name, ruling in rulings
        if 1 < len(ruling.alternatives) < len(RULES)
    ]


def _grouped(pairs: Sequence[tuple[str, str]], width: int) -> list[str]:
    by_text: dict[str, list[str]] = {}
    for text, name in pairs:
        by_text.setdefault(text, []).append(name)
    lines: list[str] = []
    for text, names in by_text.items():
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
