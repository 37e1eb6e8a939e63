"""What ``meshctl nat`` does: choose, inquire, conclude, print, and the exit code."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared.clock import SystemClock
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.jsonnat import nat_agent_to_json, nat_exit_code, nat_to_json
from probemesh_shared.nat import NatBehaviour
from probemesh_shared.selectors import SELF, check_selection, needs_last_run, select
from probemesh_shared.words import Family

from probemesh_controller.api import Mesh
from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import note, required_context, use_color
from probemesh_controller.cli.keeping import last_run
from probemesh_controller.cli.output import Format, print_value, terminal_width, write
from probemesh_controller.cli.signals import until_interrupted
from probemesh_controller.cli.statusline import FIRST_NOTE_S, StatusLine
from probemesh_controller.natting.behaviour import behaviour
from probemesh_controller.natting.drive import Inquiries
from probemesh_controller.natting.seen import Seen
from probemesh_controller.natting.silence import Lifetime

#: What --lifetime takes; a NAT that keeps a silent mapping for longer is as good as one that never ends it.
LEAST_S, MOST_S = 2.0, 900.0


@dataclass(frozen=True, slots=True)
class NatAsked:
    selector: str = "all"
    exclude: str | None = None
    limit: int | None = None
    ipv4: bool = False
    ipv6: bool = False
    lifetime: float | None = None
    output: Format = Format.TABLE

    @property
    def family(self) -> Family:
        if self.ipv4 == self.ipv6:
            return Family.BOTH
        return Family.IPV4 if self.ipv4 else Family.IPV6


async def run_nat(asked: NatAsked) -> int:
    """Returns the exit code; raises MeshError where nobody could be asked."""
    check_selection(asked.selector, asked.exclude, asked.limit)
    if asked.lifetime is not None and not LEAST_S <= asked.lifetime <= MOST_S:
        raise InvalidRequest(
            f"--lifetime {asked.lifetime:g} is out of range", f"{LEAST_S:g} to {MOST_S:g} seconds"
        )
    context = required_context()
    here = connect.self_available() and SELF in asked.selector
    async with connect.opened(context, with_self=here) as mesh:
        agents = tuple(agent for agent in await mesh.agents() if agent.name != SELF)
        connect.remember_names(context, agents)
        last = last_run(context) if needs_last_run(asked.selector, asked.exclude) else None
        names = select(asked.selector, asked.exclude, asked.limit, agents, here, last)
        seen, interrupted = await _inquire(mesh, names, asked)
    found = tuple(behaviour(one) for one in seen)
    _print(found, asked.output, interrupted)
    return nat_exit_code(found, interrupted)


async def _inquire(mesh: Mesh, names: Sequence[str], asked: NatAsked) -> tuple[tuple[Seen, ...], bool]:
    """What was seen, and whether it was interrupted: then it is what was seen by then."""
    shown = _Progress(len(names))
    lifetime = Lifetime(asked.lifetime) if asked.lifetime is not None else None
    work = Inquiries(
        mesh, names, SystemClock(), family=asked.family, lifetime=lifetime, on_progress=shown.take
    )
    try:
        _, interrupted = await until_interrupted(work.run())
    finally:
        shown.close()
    return work.seen(), interrupted


class _Progress:
    """On stderr: a line drawn over on a terminal, else notes once it takes longer."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._line = StatusLine()
        self._started = time.monotonic()
        self._last = ""

    def take(self, name: str, step: str) -> None:
        elapsed = time.monotonic() - self._started
        text = f"{elapsed:4.1f} s  {escape(name, 40)} {escape(step, 90)}"
        if self._line.live:
            self._line.show(text)
        elif elapsed >= FIRST_NOTE_S and (self._total == 1 or step != self._last):
            self._last = step
            note(text)

    def close(self) -> None:
        self._line.close()


def _print(found: Sequence[NatBehaviour], wanted: Format, interrupted: bool) -> None:
    if wanted in (Format.TABLE, Format.WIDE):
        from probemesh_controller.render import nattable

        write(nattable.render(found, terminal_width(), use_color(sys.stdout), wanted is Format.WIDE))
    elif wanted is Format.CSV:
        from probemesh_controller.render import natcsv

        write(natcsv.render(found))
    elif wanted is Format.JSONL:
        for one in found:
            print_value(nat_agent_to_json(one), wanted)
    else:
        print_value(nat_to_json(found, interrupted), wanted)
