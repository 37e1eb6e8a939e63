"""What the measurements of many vantage points say about one target: observations → facts → rules → findings.

Pure: no clock, no socket, no event loop; the same input gives the same findings in the same order, whatever
the order of the vantage points. What cannot be told apart is named as a set, never guessed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from probemesh_shared.model import AgentInfo, Finding, TargetResult
from probemesh_shared.words import Confidence, Verdict

from probemesh_controller.diagnosis.answers_differ import answers_differ_rule
from probemesh_controller.diagnosis.certificates_differ import certificates_differ_rule
from probemesh_controller.diagnosis.facts import Facts, gather
from probemesh_controller.diagnosis.families import family_rule
from probemesh_controller.diagnosis.impaired import impaired_rule
from probemesh_controller.diagnosis.names_differ import names_differ_rule
from probemesh_controller.diagnosis.names_rule import name_rule
from probemesh_controller.diagnosis.observations import observe, source_of
from probemesh_controller.diagnosis.own import lost_rule, not_addressable_rule, own_host_rule
from probemesh_controller.diagnosis.reach import reach_rule
from probemesh_controller.diagnosis.service import certificate_rule, service_rule
from probemesh_controller.diagnosis.sizes import sizes_rule
from probemesh_controller.diagnosis.slow import quick_sources, slow_rule
from probemesh_controller.diagnosis.zone_servers import zone_servers_rule

Rule = Callable[[Facts], Iterable[Finding]]

#: Every rule there is. Their order does not matter: findings are sorted.
RULES: tuple[Rule, ...] = (
    name_rule,
    reach_rule,
    service_rule,
    family_rule,
    certificate_rule,
    names_differ_rule,
    certificates_differ_rule,
    answers_differ_rule,
    zone_servers_rule,
    slow_rule,
    sizes_rule,
    impaired_rule,
    own_host_rule,
    not_addressable_rule,
    lost_rule,
)

#: What a reader wants to hear first. Faults of our own end come last.
_FIRST = (
    Verdict.NAME_FAILS,
    Verdict.SOURCE_SELECTIVE,
    Verdict.NOT_LISTENING,
    Verdict.SILENT_FOR_ALL,
    Verdict.ROUTING_LOOP,
    Verdict.NEXT_HOP_DEAD,
    Verdict.FORWARD_REJECT,
    Verdict.FORWARD_RESET,
    Verdict.TARGET_INPUT_REJECT,
    Verdict.UNDETERMINED,
    Verdict.TLS_FAILS,
    Verdict.SERVICE_UNRESPONSIVE,
    Verdict.ANSWER_UNEXPECTED,
    Verdict.FAMILY_BROKEN,
    Verdict.ADDRESS_BROKEN,
    Verdict.CERTIFICATE_INVALID,
    Verdict.CERTIFICATE_DIFFERS,
    Verdict.NAMES_DIFFER,
    Verdict.ANSWER_DIFFERS,
    Verdict.SLOW_FROM,
    Verdict.MTU_BLACK_HOLE,
    Verdict.FRAGMENT_DROP,
    Verdict.ICMP_ECHO_FILTERED,
    Verdict.VANTAGE_IMPAIRED,
    Verdict.SOURCE_OUTPUT_FILTER,
    Verdict.SOURCE_NO_ROUTE,
    Verdict.NOT_ADDRESSABLE,
    Verdict.AGENT_LOST,
)

_CONFIDENCE = (Confidence.CERTAIN, Confidence.LIKELY, Confidence.POSSIBLE)


def _order(finding: Finding) -> tuple[int, int, str, int, tuple[str, ...], str]:
    scope = finding.scope
    return (
        _FIRST.index(finding.verdict),
        _CONFIDENCE.index(finding.confidence),
        scope.transport or "",
        scope.port or 0,
        scope.sources,
        finding.summary,
    )


def diagnose(
    results: Sequence[TargetResult], agents: Iterable[AgentInfo] = ()
) -> tuple[tuple[Finding, ...], ...]:
    """Findings of each result, in the order of ``results``, most telling first.

    ``agents`` give sites, labels and addresses by which vantage points are divided; without them the site in
    the result is all there is.
    """
    known = {agent.name: agent for agent in agents}
    sources = [
        tuple(
            source_of(vantage, known)
            for vantage in sorted(result.vantages, key=lambda one: one.agent)
            if not vantage.is_target
        )
        for result in results
    ]
    observed = [observe(result, mine) for result, mine in zip(results, sources, strict=True)]
    healthy = frozenset(one.source for rows in observed for one in rows if one.held and one.address)
    quick = [quick_sources(rows) for rows in observed]
    found = []
    for index, (result, mine, rows) in enumerate(zip(results, sources, observed, strict=True)):
        elsewhere = frozenset[str]().union(*quick[:index], *quick[index + 1 :])
        facts = gather(result, rows, mine, healthy, elsewhere)
        found.append(tuple(sorted((f for rule in RULES for f in rule(facts)), key=_order)))
    return tuple(found)


def with_findings(
    results: Sequence[TargetResult], agents: Iterable[AgentInfo] = ()
) -> tuple[TargetResult, ...]:
    """The same results, each with its findings."""
    found = diagnose(results, agents)
    return tuple(replace(result, findings=mine) for result, mine in zip(results, found, strict=True))


__all__ = ["RULES", "Rule", "diagnose", "with_findings"]
