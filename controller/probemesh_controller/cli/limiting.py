"""What narrows the jobs of agents, and what ``limits.toml`` says besides, as the command line takes and shows
it."""

from collections.abc import Sequence
from pathlib import Path

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import Narrowing
from probemesh_shared.narrowing import in_words, read_narrowing

from probemesh_controller.cli.flags import note
from probemesh_controller.cli.output import write
from probemesh_controller.limits import FILE, read_limits
from probemesh_controller.pacing import CONNECTS_PER_S, PACKETS_PER_S

#: Key of a narrowing → the option of ``meshctl token create``.
OPTIONS = {
    "networks": "--only-network",
    "deny-networks": "--not-network",
    "names": "--only-name",
    "ports": "--only-port",
    "kinds": "--only-kind",
}


def narrowing_of(given: dict[str, Sequence[str] | None]) -> Narrowing | None:
    """From the options by their keys; None where none was given. Raises :class:`InvalidRequest`."""
    table = {key: list(values) for key, values in given.items() if values}
    if not table:
        return None
    try:
        return read_narrowing(table, "the token that it joined with")
    except InvalidRequest as error:
        key = next((one for one in OPTIONS if str(error).startswith(f"{one}:")), None)
        text = str(error).removeprefix(f"{key}: ")
        raise InvalidRequest(f"{OPTIONS[key]}: {text}" if key else text, error.hint) from None


def show_limits(state: Path) -> None:
    """Raises :class:`StateError` for a file that a controller would not start with."""
    path = state / FILE
    said = read_limits(path)
    for limit in said.limits:
        write(f"{escape(limit.selector, 200)}  {escape(in_words(limit.narrowing), 2000)}\n")
    for entry in said.budgets.entries:
        write(f"budget  {escape(entry.in_words, 2000)}\n")
    write(f"budget  else: {PACKETS_PER_S:g} packets/s, {CONNECTS_PER_S:g} connections/s to each address\n")
    write(f"runs  at most {said.at_once} of one operator at once\n")
    if not said.limits:
        note(f"note: {path} narrows no agent" if path.exists() else f"note: there is no {path}")
