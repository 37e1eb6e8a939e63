"""``--expect`` of every kind: read, and refused where nothing asked for could be judged by it. Pure."""

from collections.abc import Collection, Iterable, Sequence

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.expectations import KEYS, belongs, is_about_failing, parse_expectations
from probemesh_shared.model import Expectation, Target
from probemesh_shared.names import closest
from probemesh_shared.words import Kind

#: What a climb can come to, by the kind that the target's spelling forces; resolving knows addresses only.
_RUNGS: dict[Kind | None, frozenset[Kind]] = {
    Kind.UDP: frozenset({Kind.UDP}),
    Kind.DNS: frozenset({Kind.DNS}),
    Kind.ICMP: frozenset({Kind.ICMP}),
    Kind.TCP: frozenset({Kind.ICMP, Kind.TCP}),
    Kind.HTTP: frozenset({Kind.ICMP, Kind.TCP, Kind.TLS, Kind.HTTP}),
    None: frozenset({Kind.ICMP, Kind.TCP, Kind.TLS, Kind.HTTP}),
}


def read_expectations(
    texts: Iterable[str], kinds: Collection[Kind], targets: Sequence[Target]
) -> tuple[Expectation, ...]:
    """``kinds`` are those asked for; none: the climb. Raises :class:`InvalidRequest`."""
    udp_only = set(kinds) == {Kind.UDP} or (not kinds and {target.kind for target in targets} == {Kind.UDP})
    found = parse_expectations(_spelled(text) if udp_only else text for text in texts)
    for one in found:
        if not any(_can_be_judged(one, kinds, target) for target in targets):
            raise _homeless(one)
    return found


def refuse_failing_twice(expectations: Iterable[Expectation]) -> None:
    """With ``--expect-fail`` a failure that an expectation makes ``ok`` of would count as reached."""
    for one in expectations:
        if is_about_failing(one):
            raise InvalidRequest(
                f"--expect-fail and the expectation {one.key}={escape(one.value, 60)} ask for failing twice",
                "leave one away: --expect-fail takes any failure, the expectation just this one",
            )


def _spelled(text: str) -> str:
    """For udp a text without a known KEY= is what the answer must contain. What looks like a slip of a key is
    none of these: it is left to be refused."""
    key, equals, _ = text.partition("=")
    if equals and (key.strip().lower() in KEYS or closest(key, KEYS)):
        return text
    return f"answer={text}"


def _can_be_judged(one: Expectation, kinds: Collection[Kind], target: Target) -> bool:
    if kinds:
        return any(kind in belongs(one.key) for kind in kinds)
    rungs = _RUNGS[target.kind]
    if target.kind is None and not target.ports:
        rungs = frozenset({Kind.ICMP})
    resolves = target.kind not in (Kind.DNS, Kind.UDP, Kind.ICMP)
    return (resolves and one.key == "address") or bool(rungs.intersection(belongs(one.key)))


def _homeless(one: Expectation) -> InvalidRequest:
    kinds = belongs(one.key)
    asked = f"{one.key}={escape(one.value, 60)}"
    return InvalidRequest(
        f"the expectation {asked} belongs to the kind {' and '.join(kinds)}, and nothing asked for is of it",
        f"add --kind {kinds[0]}" if len(kinds) == 1 else f"add --kind {' or --kind '.join(kinds)}",
    )
