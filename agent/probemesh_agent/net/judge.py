"""The policy that holds now, asked about kinds, names, ports and addresses on this very host."""

from collections.abc import Callable, Sequence
from pathlib import Path

from probemesh_shared.model import Failure, PortRange
from probemesh_shared.words import FailureKind, Kind, Origin, Stage

from probemesh_agent.env import Address
from probemesh_agent.net.holder import PolicySource
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.net.nameservers import read_resolv_conf
from probemesh_agent.net.own import Routes
from probemesh_agent.net.ranges import IPAddress
from probemesh_agent.net.resolved import Resolved, plain_name
from probemesh_agent.net.rungs import Decision


class Judge:
    """``explain_…`` tell the decision, ``refused_…`` the failure that it makes, None where it is allowed."""

    def __init__(self, policy: PolicySource, routes: Routes, resolv_conf: Path) -> None:
        self._policy = policy
        self._routes = routes
        self._resolv_conf = resolv_conf
        self._resolved = Resolved()

    def explain(self, address: str | IPAddress, *, typed: bool = False) -> Decision:
        """What the policy says of one address literal on this host, now."""
        return self._policy.current.explain(address, self._routes.way, typed)

    def explain_found(self, host: str, address: str) -> Decision:
        """The same of an address that ``host`` was resolved to; it may itself be one."""
        number = parse_literal(address)
        decision = self.explain(address)
        if decision.allowed and number is not None:
            return self.unnamed(host, number) or decision
        return decision

    def explain_kind(self, kind: Kind) -> Decision:
        policy = self._policy.current
        return policy.rungs.of_kind(kind, policy.source)

    def explain_port(self, port: int) -> Decision:
        policy = self._policy.current
        return policy.rungs.of_port(port, policy.source)

    def explain_name(self, host: str) -> Decision:
        """Of what is no literal."""
        policy = self._policy.current
        rungs = policy.rungs
        name = plain_name(host)
        spellings = self._spellings(name) if rungs.deny_names else ()
        return rungs.of_name(name, policy.source, spellings)

    def _spellings(self, name: str) -> tuple[str, ...]:
        """What the host's own search list may make of a name."""
        search = read_resolv_conf(self._resolv_conf).search
        return tuple(f"{name}.{plain_name(suffix)}" for suffix in search)

    def refused_kind(self, kind: Kind) -> Failure | None:
        return refusal(self.explain_kind(kind))

    def refused_port(self, port: int) -> Failure | None:
        return refusal(self.explain_port(port), Stage.CONNECT) if port else None

    def refused_ports(self, spans: Sequence[PortRange]) -> dict[int, Failure]:
        rungs = self._policy.current.rungs
        if not rungs.ports and not rungs.deny_ports:
            return {}
        return refused_of(spans, self.refused_port)

    def refused_name(self, host: str) -> Failure | None:
        return refusal(self.explain_name(host)) if parse_literal(host) is None else None

    def is_own(self, address: str) -> bool:
        """An address of this host's, loopback aside, that its owner does not deny by itself."""
        decision = self.explain(address)
        return decision.own and decision.rule != "deny"

    def may_answer(self, address: str) -> bool:
        decision = self.explain(address)
        return decision.allowed or (decision.own and decision.rule != "deny") or decision.rule == "loopback"

    def unnamed(self, host: str, address: IPAddress) -> Decision | None:
        """Where names are what is allowed, an address must have been come to by one, or be listed itself."""
        policy = self._policy.current
        if not policy.rungs.names or policy.lists(address) or self._resolved.has(host, address):
            return None
        text = f"{address} was come to by no name that {policy.source} allows"
        return Decision(False, "not-allowed", text)

    def stranger(self, address: Address, peer: str) -> Failure | None:
        """A peer that is not who was dialled is judged as one that nobody typed."""
        found, dialled = parse_literal(peer), parse_literal(address.host)
        if found is None or found == dialled:
            return None
        return refusal(self.explain(found), Stage.CONNECT)


def refused_of(spans: Sequence[PortRange], judge: Callable[[int], Failure | None]) -> dict[int, Failure]:
    every = (port for span in spans for port in range(span.first, span.last + 1))
    return {port: failure for port in every if (failure := judge(port)) is not None}


def refusal(decision: Decision, stage: Stage = Stage.RESOLVE) -> Failure | None:
    """None where it is allowed."""
    return None if decision.allowed else denied(decision, stage)


def denied(decision: Decision, stage: Stage = Stage.RESOLVE) -> Failure:
    kind = FailureKind.OWN_ADDRESS if decision.own and decision.rule != "deny" else FailureKind.DENIED
    return Failure(stage, kind, Origin.AGENT, decision.text)
