"""What path MTUs say: black holes, filters of large packets, lost fragments (DIAGNOSIS rules 29 to 31)."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from probemesh_shared.model import Evidence, Finding, Measurement, MtuDetail, Scope
from probemesh_shared.words import Confidence, Family, Verdict

from probemesh_controller.diagnosis.facts import Facts
from probemesh_controller.diagnosis.wording import bounded, names


@dataclass(frozen=True, slots=True)
class _Size:
    source: str
    row: Measurement
    detail: MtuDetail


def sizes_rule(facts: Facts) -> Iterator[Finding]:
    """One finding for each kind of fault and family."""
    found: defaultdict[tuple[Verdict, tuple[Verdict, ...], Family], list[_Size]] = defaultdict(list)
    for name, vantage in sorted(facts.vantages.items()):
        for row in vantage.measurements:
            if isinstance(row.detail, MtuDetail) and (told := _verdict(row, row.detail)) is not None:
                family = Family.IPV6 if row.address and ":" in row.address else Family.IPV4
                found[*told, family].append(_Size(name, row, row.detail))
    for (verdict, left, family), seen in sorted(found.items()):
        yield _finding(facts, verdict, left, family, seen)


def _verdict(row: Measurement, detail: MtuDetail) -> tuple[Verdict, tuple[Verdict, ...]] | None:
    """IPv6 routers fragment nothing: there a black hole and a filter of large packets look alike."""
    if detail.mtu is None:
        return None
    if detail.black_hole:
        if row.address and ":" not in row.address and detail.fragments_pass:
            return Verdict.MTU_BLACK_HOLE, ()
        return Verdict.UNDETERMINED, (Verdict.MTU_BLACK_HOLE, Verdict.SIZE_FILTER)
    return (Verdict.FRAGMENT_DROP, ()) if detail.fragments_pass is False else None


def _finding(
    facts: Facts, verdict: Verdict, left: tuple[Verdict, ...], family: Family, seen: list[_Size]
) -> Finding:
    sources = tuple(sorted({one.source for one in seen}))
    return Finding(
        verdict=verdict,
        scope=Scope(sources, (facts.target.text,), "icmp", None, family),
        confidence=Confidence.LIKELY,
        summary=f"{names(sources)}: {_words(verdict, left, seen[0].detail)}",
        evidence=bounded(
            tuple(
                Evidence(f"{one.source}/mtu/{one.row.address}", True, f"{one.source}: {_saw(one.detail)}")
                for one in seen
            )
        ),
        alternatives=left,
        next_test=f"meshctl trace {sources[0]} {facts.target.host}"
        if left or verdict is Verdict.MTU_BLACK_HOLE
        else None,
    )


def _words(verdict: Verdict, left: tuple[Verdict, ...], detail: MtuDetail) -> str:
    if verdict is Verdict.FRAGMENT_DROP:
        return "packets arrive whole and never in fragments"
    larger = f"packets of more than {detail.mtu} bytes vanish without a word"
    return (
        larger
        if left
        else f"{larger}, unless they may be fragmented: a narrow link, and its router is not heard"
    )


def _saw(detail: MtuDetail) -> str:
    pieces = {True: "; fragments pass", False: "; fragments do not pass", None: ""}[detail.fragments_pass]
    failing = f", {detail.failing} vanish" if detail.failing is not None else ""
    return f"{detail.mtu} bytes pass{failing}{pieces}"
