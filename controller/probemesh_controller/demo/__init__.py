"""``meshctl demo``: a controller and three agents on this machine, by the real code path, and what they see.

The web server drops one agent's packets, so that "it works from here but not from there" can be looked at.
"""

import asyncio
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from probemesh_controller.cli.flags import FLAGS, note
from probemesh_controller.demo.stage import Stage, folder, raised, settle_environment

#: An attempt on loopback that is silent for a second will stay so.
TIMEOUT_S = 1.0

#: A terminal that is closed leaves the agents, which stand in groups of their own, to us.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_demo(target: str | None, *, hold: bool = False, state: Path | None = None) -> int:
    """0 when it ran, whatever it found; 130 when interrupted before it was done (0 while it is being held).

    ``state`` must be new or empty, and is kept; without it nothing is left behind. Raises MeshError.
    """
    loop = asyncio.get_running_loop()
    with folder(state) as place:
        FLAGS.config, FLAGS.context = place / "config.toml", None
        settle_environment(place)
        show = asyncio.create_task(_show(target, hold, place), name="demo")
        _on_interrupt(show)
        try:
            return await show
        except asyncio.CancelledError:
            return 130
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


def _on_signals(handler: Callable[[], Any]) -> None:
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, handler)


def _on_interrupt(task: "asyncio.Task[Any]") -> None:
    """The first signal ends the task; the clean-up that follows is short and is not interrupted again."""

    def interrupt() -> None:
        task.cancel()
        _on_signals(lambda: None)

    _on_signals(interrupt)


async def _show(target: str | None, hold: bool, place: Path) -> int:
    note("demo: starting a controller and three agents on this machine")
    this = asyncio.current_task()
    assert this is not None
    async with raised(place) as stage:
        code = await _measure(target or stage.target)
        _on_interrupt(this)  # a run has handlers of its own and takes them with it
        if code == 130:
            return code
        if not hold:
            note("demo: meshctl demo --hold keeps it up for commands of yours")
            return 0
        _tell(stage, target or stage.target)
        return await _held()


async def _measure(target: str) -> int:
    from probemesh_controller.cli import fleet
    from probemesh_controller.cli.output import Format
    from probemesh_controller.cli.probing import ProbeAsked, run_probe
    from probemesh_controller.cli.specs import Asked

    FLAGS.arguments = ("probe", target, "--timeout", f"{TIMEOUT_S:g}")
    fleet.print_agents(await fleet.all_agents(), Format.TABLE)
    print(f"\n$ meshctl probe {shlex.quote(target)} --timeout {TIMEOUT_S:g}\n", flush=True)
    return await run_probe(ProbeAsked((target,), Asked(timeout=TIMEOUT_S)))


def _tell(stage: Stage, target: str) -> None:
    environment = f"MESHCTL_CONFIG={shlex.quote(str(stage.config))}"
    print("\nThe demo is up. From another shell:\n")
    for command in (
        "agents",
        f"probe {shlex.quote(target)}",
        f"probe {shlex.quote(target)} --from site=tokyo -o json",
        f"probe {stage.target}status/503 --kind http",
    ):
        print(f"  {environment} meshctl {command}")
    print("\nCtrl-C ends it.", flush=True)


async def _held() -> int:
    """Until a signal, which is how a held demo is meant to end."""
    over = asyncio.Event()
    _on_signals(over.set)
    await over.wait()
    note("demo: stopping")
    return 0


__all__ = ["run_demo"]
