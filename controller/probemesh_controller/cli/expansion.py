"""What a command comes to before it is begun: shown, and above a size confirmed.

A TARGET with a range of ports and a selector that means two hundred agents are a few characters, and a flood.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import Spec, Target
from probemesh_shared.targets import count_ports

from probemesh_controller.cli.flags import note
from probemesh_controller.demand import demand
from probemesh_controller.pacing import is_loopback
from probemesh_controller.render.text import counted

#: Packets and connections together, over all vantage points; a look at one service from 200 is a tenth of it.
CONFIRM = 20_000
_HINT = "fewer vantage points (--limit), ports or samples (--count); or add --yes"


@dataclass(frozen=True, slots=True)
class Expansion:
    """Loopback is left out: nobody else feels it."""

    vantages: int
    targets: int
    ports: int
    packets: int
    connects: int

    @property
    def total(self) -> int:
        return self.packets + self.connects

    def text(self) -> str:
        """``20 targets from 200 vantage points: about 12000 packets and 4000 connections``."""
        ports = f" with {counted(self.ports, 'port')}" if self.ports > self.targets else ""
        sent = [
            counted(number, noun)
            for number, noun in ((self.packets, "packet"), (self.connects, "connection"))
            if number
        ]
        of = f"{counted(self.targets, 'target')}{ports} from {counted(self.vantages, 'vantage point')}"
        return f"{of}: about {' and '.join(sent) or 'nothing'}"


def expand(targets: Sequence[Target], specs: Sequence[Spec], vantages: int) -> Expansion:
    """As reckoned for one address of each target."""
    felt = [target for target in targets if not is_loopback(target)]
    parts = [demand(spec, target) for spec in specs for target in felt]
    return Expansion(
        vantages,
        len(felt),
        sum(max(1, count_ports(target.ports)) for target in felt),
        vantages * sum(part.packets for part in parts),
        vantages * sum(part.connects for part in parts),
    )


def confirm(expansion: Expansion, yes: bool) -> None:
    """Asks on the terminal where it is large. Raises :class:`InvalidRequest` where the answer is no, or there
    is nobody to ask."""
    if expansion.total < CONFIRM:
        return
    if yes:
        note(f"note: {expansion.text()}")
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidRequest(f"this is large: {expansion.text()}", _HINT)
    note(f"{expansion.text()}. Go on? [y/N]")
    if sys.stdin.readline(64).strip().lower() not in {"y", "yes"}:
        raise InvalidRequest("not begun", _HINT)
