"""What every rule needs to write a finding down: scope, confidence, and the next test in words that can be
run."""

from collections.abc import Iterable

from probemesh_shared.model import Scope
from probemesh_shared.words import Confidence, Family, Kind, Verdict

from probemesh_controller.diagnosis.facts import Facts, Group, Question
from probemesh_controller.diagnosis.observations import Manner, Observation
from probemesh_controller.diagnosis.wording import ports

#: Silence of fewer attempts than this may be chance (three at 2 % loss: 8 in a million).
ENOUGH_ATTEMPTS = 3


def family_of(rows: Iterable[Observation]) -> Family | None:
    """The one family of all rows, or None."""
    found = {one.family for one in rows}
    return found.pop() if len(found) == 1 else None


def scope_of(facts: Facts, question: Question, sources: Iterable[str], rows: Iterable[Observation]) -> Scope:
    """``port`` is None where the finding is about several; the summary names them."""
    port = question.ports[0] if len(question.ports) == 1 else None
    return Scope(tuple(sources), (facts.target.text,), question.transport, port, family_of(rows))


def confidence_of(question: Question, group: Group) -> Confidence:
    """An ICMP error that names its sender is positive evidence; a RST can be forged by whoever is on the
    path; silence is absence, never more than ``likely``, and from one place or few attempts only
    ``possible``."""
    if group.manner is Manner.REJECTED and group.sender is not None:
        return Confidence.CERTAIN
    if question.lookers < 2:
        return Confidence.POSSIBLE
    if group.manner is Manner.SILENT and group.attempts < ENOUGH_ATTEMPTS:
        return Confidence.POSSIBLE
    return Confidence.LIKELY


def addresses_of(rows: Iterable[Observation]) -> frozenset[str]:
    return frozenset(one.address for one in rows if one.address is not None)


def own_side(facts: Facts, question: Question, group: Group) -> tuple[Verdict, ...]:
    """A single silent vantage point that reached nothing else in the run may itself be the fault."""
    if question.lookers > 1 and len(group.sources) > 1:
        return ()
    if all(name in facts.healthy for name in group.sources):
        return ()
    return Verdict.SOURCE_OUTPUT_FILTER, Verdict.VANTAGE_IMPAIRED


def silent_set(facts: Facts, question: Question, group: Group) -> tuple[Verdict, ...]:
    """DIAGNOSIS §5: what silence leaves open. An answer from the same address takes ``target-down`` out."""
    dead = [address for address in addresses_of(group.seen) if not facts.alive(address)]
    left = [Verdict.FORWARD_DROP, Verdict.RETURN_DROP, Verdict.TARGET_INPUT_DROP]
    if dead:
        left.insert(0, Verdict.TARGET_DOWN)
    if question.kind in (Kind.UDP, Kind.DNS):
        left.append(Verdict.SILENT_SERVICE)
    if question.kind is Kind.ICMP:
        left.append(Verdict.ICMP_ECHO_FILTERED)
    return (*left, *own_side(facts, question, group))


def at(facts: Facts, question: Question) -> str:
    """The target as the command line takes it, with the port in question."""
    host = f"[{facts.target.host}]" if ":" in facts.target.host else facts.target.host
    if not question.ports:
        return host
    listed = ports(question.ports[:1])
    return f"udp://{host}:{listed}" if question.kind is Kind.UDP else f"{host}:{listed}"


def look_on_host(facts: Facts, question: Question) -> str:
    """What the target's own operator can run."""
    flags = "-lun" if question.transport == "udp" else "-ltn"
    port = question.ports[0] if question.ports else ""
    return f"on {facts.target.host}: ss {flags} 'sport = :{port}' shows whether anything listens there"


def other_port(facts: Facts, question: Question, sources: Iterable[str]) -> str:
    """Another port and ping of the same host tell a dead host from a filter."""
    host = f"[{facts.target.host}]" if ":" in facts.target.host else facts.target.host
    chosen = ",".join(list(sources)[:3])
    return f"meshctl probe icmp:{facts.target.host} {host}:22,80,443 --from {chosen}"
