"""``--ticket``: what is to be changed, by whom, and the proof: Markdown that reads as plain text too. Pure.

Text from elsewhere stands escaped, and so that it is no markup.
"""

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

from probemesh_shared.escape import escape
from probemesh_shared.model import Diagnosis, Finding, RuledOut
from probemesh_shared.moments import time_text
from probemesh_shared.outcomes import diagnosis_exit_code
from probemesh_shared.words import Confidence, Direction, Family, PlaceKind, Transport, Verdict

from probemesh_controller.pair.case import Asked, Case
from probemesh_controller.render.diagnosis import Side, grouped, shortened, sides
from probemesh_controller.render.paths import drawing
from probemesh_controller.render.verdictwords import WORDS, Owner, said

#: More of what it is not convinces nobody.
_MOST_EXCLUDED = 12
_MARKUP = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>|#~"})


def plain(text: str) -> str:
    """Escaped for a terminal, and no markup."""
    return escape(text, 600).translate(_MARKUP)


def render(case: Case, diagnosis: Diagnosis) -> str:
    broken = [side for side in sides(diagnosis) if _is_to_be_mended(side)]
    blocks = [_request(case, diagnosis, side) for side in broken] or [_nothing(diagnosis)]
    lines = [line for block in blocks for line in block]
    return "\n".join([*lines, *_verify(case, diagnosis), *_footer(diagnosis)]) + "\n"


def _is_to_be_mended(side: Side) -> bool:
    if side.direction is Direction.REVERSE and side.told.path_verdict is Verdict.REACHABLE:
        return False  # nothing need listen on the way back
    if side.told.verdict is Verdict.UNDETERMINED:
        return bool(side.told.alternatives)
    words = WORDS.get(side.told.verdict)
    return words is not None and words.owner not in (Owner.NOBODY, Owner.OURS)


def _nothing(diagnosis: Diagnosis) -> Iterator[str]:
    a, b = plain(diagnosis.source), plain(diagnosis.target)
    yield f"# Nothing to change between {a} and {b}"
    yield ""
    for side in sides(diagnosis):
        yield f"- {plain(side.near)} to {plain(side.far)}, {side.flow}: {_in_words(side)}"
    yield ""


def _in_words(side: Side) -> str:
    found = side.first
    text = found.summary if found is not None else said(side.told.verdict, side.near, side.far, side.flow)
    return f"{plain(text)} ({side.told.verdict})"


# --- one request ------------------------------------------------------------------------------------------


def _request(case: Case, diagnosis: Diagnosis, side: Side) -> Iterator[str]:
    near, far = plain(side.near), plain(side.far)
    yield f"# Change request: {side.flow} from {near} to {far}"
    yield ""
    yield f"{plain(_headline(side))}."
    yield ""
    yield f"- From: {_who(case, side.near)}"
    yield f"- To: {_who(case, side.far)}{_port(side)}"
    yield f"- Verdict: {side.told.verdict}{_sure(side)}"
    yield f"- Where: {_where(side.first)}"
    yield f"- For: {_owner(side).format(near=near, far=far)}"
    yield f"- Seen: {time_text(diagnosis.started_ns)[:19].replace('T', ' ')} UTC"
    yield ""
    yield from _asked_for(side)
    yield from _drawn(side)
    yield from _proof(diagnosis, side)


def _headline(side: Side) -> str:
    if side.told.verdict is Verdict.UNDETERMINED:
        return f"{side.flow} from {side.near} does not get to {side.far}; what is in its way is one of a few"
    text = said(side.told.verdict, side.near, side.far, side.flow)
    return text[:1].upper() + text[1:] if not text.startswith((side.near, side.far, side.flow)) else text


def _who(case: Case, name: str) -> str:
    end = case.end(name)
    if end is None:
        return plain(name)
    site = f" (site {plain(end.info.site)})" if end.info.site else ""
    own = end.addresses or end.info.addresses
    addresses = ", ".join(plain(one) for one in own[:6]) or "no address known"
    seen = [plain(one) for one in end.reflexive[:3] if one not in own]
    behind = f", seen by the other end as {', '.join(seen)}" if seen else ""
    return f"{plain(name)}{site}, {addresses}{behind}"


def _port(side: Side) -> str:
    transport, slash, port = side.flow.partition("/")
    return f", {transport} port {port}" if slash else ", ICMP echo (ping)"


def _sure(side: Side) -> str:
    told = side.told
    if told.verdict is Verdict.UNDETERMINED:
        return f", one of: {', '.join(told.alternatives)}"
    return f" ({told.confidence})"


def _where(finding: Finding | None) -> str:
    place = finding.place if finding is not None else None
    if place is None:
        return "not known more exactly"
    hop = f"hop {place.hop}" if place.hop is not None else "the hop"
    at = f" ({plain(place.address)})" if place.address else ""
    return {
        PlaceKind.SOURCE_HOST: f"the initiator's own host{at}",
        PlaceKind.TARGET_HOST: f"the dialled host itself{at}",
        PlaceKind.TARGET_SERVICE: f"the service on the dialled host{at}",
        PlaceKind.BEHIND_HOST: f"behind the dialled host{at}",
        PlaceKind.HOP: f"{hop}{at}",
        PlaceKind.BETWEEN: f"{hop}{at} or just behind it",
    }[place.kind]


def _owner(side: Side) -> str:
    verdicts = side.told.alternatives or (side.told.verdict,)
    owners = dict.fromkeys(WORDS[one].owner for one in verdicts if one in WORDS)
    named = [one.value for one in owners if one is not Owner.NOBODY]
    return ", or ".join(named) or "not known"


def _asked_for(side: Side) -> Iterator[str]:
    yield "## What is asked for"
    yield ""
    verdicts = side.told.alternatives or (side.told.verdict,)
    wishes: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        words = WORDS.get(verdict)
        if words is not None and words.wish is not None:
            wishes.setdefault(words.wish, []).append(verdict)
    several = len(wishes) > 1
    for wish, because in wishes.items():
        text = plain(wish.format(near=_with_address(side, 0), far=_with_address(side, -1), flow=side.flow))
        case = f" (if it is {' or '.join(because)})" if several else ""
        yield f"- {text[:1].upper()}{text[1:]}{case}"
    yield ""


def _with_address(side: Side, end: int) -> str:
    """The name with the address that the flow had there: what a rule is made of."""
    name = side.near if end == 0 else side.far
    address = next((hop.address for hop in side.path if hop.name == name), None)
    return f"{name} ({address})" if address else name


def _drawn(side: Side) -> Iterator[str]:
    if side.path:
        yield from ("## The way", "", *(f"    {line}" for line in drawing(side.path, 100, False)), "")


def _proof(diagnosis: Diagnosis, side: Side) -> Iterator[str]:
    found = side.first
    evidence = found.evidence if found is not None else ()
    if found is not None:
        yield "## Proof"
        yield ""
        yield f"{plain(found.summary)}"
        yield ""
    yield from (f"- {plain(one.text)} [{plain(one.id)}]" for one in evidence if one.supports)
    against = [one for one in evidence if not one.supports]
    if against:
        yield ""
        yield "What speaks against it:"
        yield ""
        yield from (f"- {plain(one.text)} [{plain(one.id)}]" for one in against)
    yield ""
    yield from _excluded(one for one in diagnosis.excluded if one.direction is side.direction)


def _excluded(excluded: Iterable[RuledOut]) -> Iterator[str]:
    rows = [
        f"- {', '.join(verdicts)}: {plain(shortened(by))}"
        for verdicts, by in grouped(excluded)[:_MOST_EXCLUDED]
    ]
    if rows:
        yield from ("## What it is not", "", *rows, "")


# --- the end ----------------------------------------------------------------------------------------------


def command(asked: Asked) -> str:
    """The command that asks the same again."""
    words = ["meshctl diagnose", plain(asked.source), plain(asked.target)]
    ping = asked.transport is Transport.ICMP
    words.append("--icmp" if ping else f"--{asked.transport} {asked.port}")
    if asked.reverse_port is not None and asked.reverse_port != asked.port:
        words.append(f"--reverse-port {asked.reverse_port}")
    if asked.address is not None:
        words.append(f"--address {plain(asked.address)}")
    words += ["--listen"] if asked.listen else []
    words += {Family.IPV4: ["-4"], Family.IPV6: ["-6"]}.get(asked.family, [])
    return " ".join(words)


def _verify(case: Case, diagnosis: Diagnosis) -> Iterator[str]:
    code = diagnosis_exit_code(diagnosis)
    yield "## To verify afterwards"
    yield ""
    yield f"    {command(case.asked)}"
    yield ""
    yield f"It ends with exit code 0 where both directions work; now it is {code}."
    yield ""


def _footer(diagnosis: Diagnosis) -> Iterator[str]:
    try:
        with_version = f"probemesh {version('probemesh')}"
    except PackageNotFoundError:
        with_version = "probemesh"
    cost = f"{diagnosis.packets} packets in {diagnosis.elapsed_s:.1f} s"
    sure = f"{Confidence.CERTAIN} means right in at least 99 of 100, {Confidence.LIKELY} in 70"
    yield f"Found by {with_version} with {cost}; {sure}."
