"""Causes: what may be the matter, each a row of data. Pure.

**How to add one.** Write a :class:`Cause` into a tuple ``CAUSES`` of a module, and that tuple into
:mod:`~probemesh_controller.pair.registry`; likewise the :class:`~probemesh_controller.pair.signs.Reader` of
signs that it needs and the :class:`~probemesh_controller.pair.moves.Move` by which they are settled. Nothing
else has to be touched. The order of rows decides nothing.

- ``question``: causes of one question are rivals, exactly one of them is true. ``flow`` is "why does the flow
  that was asked for (not) get through". Whatever can be so besides that is a question of its own (``sizes``,
  ``ping``, ``headers``), and its rows include one for "nothing", with verdict ``reachable``.
- ``predicts``: what a sign must be if this is the cause. Predict only what *follows*: a known sign that is
  otherwise excludes the cause for good. What may be so or not is left out.
- ``proof``: sets of signs; where all of one set are known and as predicted, the cause has positive proof. At
  least one sign of each set has to be something that was seen (a half-open socket, a counter that rose, an
  offender, a ladder's step), never only silence: without proof a lone survivor is at most ``likely``.
- ``at_most``: how sure of it anybody can be, whatever its proof.
- ``like``: verdicts of what is rarer and looks the same from both ends, whatever is sent: named beside it.
- ``when``: signs that have to be so for the cause to come into question at all (a cause of a question
  about sizes needs a path that answers). Other than ``predicts``, None excludes here too; a question none of
  whose causes come into question is not asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from probemesh_shared.model import Place
from probemesh_shared.words import Confidence, Transport, Verdict

from probemesh_controller.pair.signs import Signs
from probemesh_controller.pair.view import View

#: The question that every direction is asked first.
FLOW = "flow"

#: Verdicts about the service; with them the path is fine.
OF_SERVICE = frozenset(
    {
        Verdict.PORT_CLOSED,
        Verdict.LISTENING_ELSEWHERE,
        Verdict.SERVICE_UNRESPONSIVE,
        Verdict.SILENT_SERVICE,
        Verdict.ACCEPT_OVERLOAD,
    }
)

#: What breaks nothing: it stands among the findings, and a direction with nothing else is ``reachable``.
HARMLESS = frozenset(
    {
        Verdict.REACHABLE,
        Verdict.SOURCE_NAT,
        Verdict.DOUBLE_NAT,
        Verdict.DESTINATION_NAT,
        Verdict.HEADER_REWRITE,
        Verdict.ICMP_ECHO_FILTERED,
        Verdict.ICMP_ERRORS_FILTERED,
    }
)

#: What breaks nothing where the flow is answered, and is the matter where it is not.
HARMLESS_BESIDE = HARMLESS | {Verdict.TARGET_HOST_FORWARDS}

#: Say nothing about the network.
NO_FAULT = frozenset({Verdict.AGENT_LOST, Verdict.NOT_ADDRESSABLE, Verdict.VANTAGE_IMPAIRED})


@dataclass(frozen=True, slots=True)
class Told:
    """What a cause's builders have before them."""

    view: View
    signs: Signs

    def value(self, sign: str, key: str, default: str = "") -> str:
        return self.signs[sign].values.get(key, default)


def _nowhere(told: Told) -> Place | None:
    return None


def _no_test(told: Told) -> str | None:
    return None


ALL_TRANSPORTS = frozenset(Transport)


@dataclass(frozen=True, slots=True)
class Cause:
    """One row. ``key`` is unique; several rows may come to the same verdict by different ways. ``summary``
    is the answer in plain words, ``place`` where it is, ``next_test`` what a person could do next."""

    key: str
    verdict: Verdict
    summary: Callable[[Told], str]
    predicts: Mapping[str, bool] = field(default_factory=dict)
    proof: tuple[frozenset[str], ...] = ()
    place: Callable[[Told], Place | None] = _nowhere
    next_test: Callable[[Told], str | None] = _no_test
    question: str = FLOW
    transports: frozenset[Transport] = ALL_TRANSPORTS
    when: Mapping[str, bool] = field(default_factory=dict)
    at_most: Confidence = Confidence.CERTAIN
    like: tuple[Verdict, ...] = ()


def proven_by(*sets: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    """``proven_by(("a",), ("b", "c"))``: by a, or by b and c together."""
    return tuple(frozenset(names) for names in sets)
