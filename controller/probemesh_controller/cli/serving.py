"""``meshctl controller run``: the controller until a signal, and the configuration in force pointed at it."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from probemesh_shared import logs
from probemesh_shared.errors import MeshError
from probemesh_shared.hangup import on_hangup

from probemesh_controller import config
from probemesh_controller.cli.flags import FLAGS, note, say
from probemesh_controller.store.matrix.port import Retention


async def run_controller(state: Path, listen: str, public: str | None, keep: Retention | None = None) -> int:
    """0 after a drained stop. Raises MeshError where it cannot start."""
    from probemesh_controller.serve import serve

    logs.configure(debug=bool(FLAGS.debug))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(address: str) -> None:
        say(f"controller of {state} is reached at {address}")
        point_at(state, address)
        note("next: meshctl token create --name NAME --site SITE      # prints the line that joins a host")

    def reload_by(act: Callable[[], None]) -> None:
        loop.add_signal_handler(signal.SIGHUP, on_hangup(act, stop.set))

    await serve(state, listen, public, on_ready=ready, stop=stop, on_hangup=reload_by, keep=keep)
    say("controller stopped")
    return 0


def point_at(state: Path, address: str) -> None:
    """Contexts in force that ``init`` made for this state learn where the controller is."""
    try:
        settings = config.load(config.config_path(FLAGS.config, os.environ)[0])
        own = (state / "operator").resolve()
        for context in settings.contexts.values():
            if context.identity.resolve() == own and context.controller != address:
                changed = replace(context, controller=address)
                config.save(settings.with_context(changed, use=False))
                say(f"context {context.name} in {settings.path} now points at {address}")
    except MeshError as error:  # a service that has no such file to write still serves
        note(f"note: {error}")
