"""Where this command line's runs are kept, and what of it is kept with them."""

import contextlib
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from probemesh_shared.errors import MeshError, NotFound
from probemesh_shared.escape import escape
from probemesh_shared.expectations import KEYS
from probemesh_shared.model import TargetResult
from probemesh_shared.selectors import LastRun

from probemesh_controller import config
from probemesh_controller.cli.flags import FLAGS, chosen_context, note
from probemesh_controller.history import record
from probemesh_controller.history.record import Header
from probemesh_controller.history.store import History

#: Options whose value is, or may hold, a secret. Of a header the name stays, of an expectation its key.
SECRET = ("--header", "--data", "--send", "--payload", "--expect", "--expect-body")
#: Expectations about what an answer says: their values are a piece of it.
SAID = frozenset({"answer", "answer-not", "banner", "body", "body-not", "header", "json"})
HIDDEN = "…"
_USER = re.compile(r"(://)[^/@\s]+@")
NO_MESH = "_no-mesh"


def history_of(context: str | None) -> History | None:
    """The runs of one context; None where none are kept."""
    folder = config.history_dir(FLAGS.config, os.environ)
    return None if folder is None else History(folder / _folder_name(context))


def rename_history(old: str, new: str) -> None:
    """The runs of a context go with its name, unless there are some under the new one already."""
    before, after = history_of(old), history_of(new)
    if before is None or after is None or after.folder.exists():
        return
    with contextlib.suppress(OSError):  # there may be none; they stay where they are
        before.folder.rename(after.folder)


def required_history() -> History:
    """Of the context in force. Raises :class:`NotFound` where none is kept."""
    context = chosen_context()
    found = history_of(context.name if context is not None else None)
    if found is None:
        raise NotFound("no runs are kept: MESHCTL_HISTORY is off", "unset MESHCTL_HISTORY")
    return found


def _folder_name(context: str | None) -> str:
    """Any name of a context as one name of a folder; neither hidden nor a way up."""
    if context is None:
        return NO_MESH
    safe = quote(context, safe="")[:150]
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe


def last_run(context: config.MeshContext | None) -> LastRun | None:
    """What ``@last`` and ``failed`` mean; None where no run is kept."""
    store = history_of(context.name if context is not None else None)
    found = store.listing(1).runs if store is not None else ()
    return LastRun(found[0].id, frozenset(found[0].vantages), found[0].failing) if found else None


@dataclass(frozen=True, slots=True)
class Done:
    """What a command line came to. ``rounds``: how many there were, of which ``results`` are the last."""

    run_id: str
    results: Sequence[TargetResult]
    code: int
    interrupted: bool = False
    rounds: int = 1


def header_of(done: Done, context: str | None, strict: bool) -> Header:
    from importlib.metadata import version

    return record.header_of(
        record.Run(
            run_id=done.run_id,
            command=without_secrets(FLAGS.arguments),
            saved_ns=time.time_ns(),
            exit_code=done.code,
            context=context,
            version=version("probemesh"),
            strict=strict,
            interrupted=done.interrupted,
            rounds=done.rounds,
        ),
        done.results,
    )


def keep(header: Header, results: Sequence[TargetResult]) -> None:
    """Saves a run. Where that cannot be, it says so and why; what was measured was shown all the same."""
    store = history_of(header.context)
    if store is None:
        return
    try:
        kept = store.save(header, results)
    except (MeshError, ValueError) as error:
        note(f"note: this run is not kept in the history: {escape(str(error), 300)}")
        return
    if not kept.whole:
        note(f"note: of this run ({kept.id}) the history keeps the summary only: it is too large")


def without_secrets(arguments: Sequence[str]) -> tuple[str, ...]:
    """The command line as it may be kept and shown: no value of a header, nothing that was sent or is to come
    back, no password in a URL. What a URL asks for stays: without it no run could be made again."""
    out: list[str] = []
    secret = ""
    for word in arguments:
        option, equals, value = word.partition("=")
        if secret:
            out.append(_hidden(secret, word))
        elif equals and option in SECRET:
            out.append(f"{option}={_hidden(option, value)}")
        else:
            out.append(_USER.sub(rf"\1{HIDDEN}@", word))
        secret = word if not secret and word in SECRET else ""
    return tuple(out)


def _hidden(option: str, value: str) -> str:
    """Of a header the name is kept, of an expectation the key, of what was sent the file it came from."""
    if option == "--expect":
        return _expected(value)
    if option == "--expect-body":
        return HIDDEN
    if option != "--header":
        return value if value.startswith("@") else HIDDEN
    name, colon, _ = value.partition(":")
    return f"{name}: {HIDDEN}" if colon else HIDDEN


def _expected(text: str) -> str:
    """Text without a known key is what a datagram must contain."""
    key = text.partition("=")[0].strip().lower()
    if key not in KEYS:
        return HIDDEN
    return f"{key}={HIDDEN}" if key in SAID else text
