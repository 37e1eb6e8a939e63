"""What ``meshctl controller ca`` does, and how it says it."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from probemesh_shared.errors import InvalidRequest, MeshError
from probemesh_shared.escape import escape
from probemesh_shared.identity.files import read_private
from probemesh_shared.jsontrust import CaJson
from probemesh_shared.moments import time_text

from probemesh_controller import config
from probemesh_controller.api import BehindInfo, CaStatus
from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import note, required_context, say
from probemesh_controller.cli.output import Format, print_value, write

_NAMED = 12
_MOST = 4096


async def show(wanted: Format) -> None:
    async with connect.administration(required_context()) as mesh:
        print_status(await mesh.ca_status(), wanted)


async def step(name: str, anyway: bool, wanted: Format) -> None:
    """One step, and our own certificate after it: whoever asks is not to stay behind."""
    context = required_context()
    async with connect.administration(context) as mesh:
        status = await mesh.rotate_ca(name, anyway)
    try:
        from probemesh_controller.renewing import renew

        await renew(context.identity, context.controller, force=True)
    except MeshError as error:
        note(f"note: our own certificate was not renewed: {escape(str(error), 300)}")
    print_status(status, wanted)


# --- words ----------------------------------------------------------------------------------------------

_NEXT = {
    "steady": "meshctl controller ca rotate     makes a new CA and has everybody trust both",
    "trusted": "meshctl controller ca rotate     has the new CA issue (or: back, forgets the new one)",
    "issuing": "meshctl controller ca rotate     trusts the old CA no more (or: back, has the old one issue)",
    "dropped": "meshctl controller ca finish     forgets the old CA (or: back, trusts it again)",
}


def print_status(status: CaStatus, wanted: Format) -> None:
    if wanted in (Format.TABLE, Format.WIDE):
        write(text(status))
    else:
        print_value(to_json(status), wanted)


def text(status: CaStatus) -> str:
    lines = [f"phase {escape(status.phase, 40)}"]
    for ca in status.cas:
        what = "issues" if ca.issues else "trusted" if ca.trusted else "kept for the way back"
        key = "" if ca.has_key else ", its key is not on the controller"
        until = time_text(ca.ends_ns)[:10]
        lines.append(f"  CA {escape(ca.fingerprint[:16], 16)}…  {what}, until {until}{key}")
    if status.phase != "steady" or status.behind:
        lines.append(_behind_text(status))
    if status.away:
        lines.append(f"laptops that are shut and would have to join again: {_names(status.away)}")
    lines.append(f"next: {_NEXT.get(status.phase, 'update meshctl')}")
    return "\n".join(lines) + "\n"


def _behind_text(status: CaStatus) -> str:
    if status.phase == "dropped":
        return "everybody else had to renew before this step"
    if not status.behind:
        return f"all {status.total} agents and operators are ready for the next step"
    return f"{len(status.behind)} of {status.total} are not ready for the next step: {_names(status.behind)}"


def _names(behind: Sequence[BehindInfo]) -> str:
    more = f" and {len(behind) - _NAMED} more" if len(behind) > _NAMED else ""
    return ", ".join(escape(one.name, 80) for one in behind[:_NAMED]) + more


def to_json(status: CaStatus) -> CaJson:
    return {
        "schema": 1,
        "phase": status.phase,
        "cas": [
            {
                "fingerprint": ca.fingerprint,
                "issues": ca.issues,
                "trusted": ca.trusted,
                "has_key": ca.has_key,
                "ends_at": time_text(ca.ends_ns),
            }
            for ca in status.cas
        ],
        "behind": [one.name for one in status.behind],
        "behind_back": [one.name for one in status.behind_back],
        "away": [one.name for one in status.away],
        "total": status.total,
    }


# --- the key, on this machine ---------------------------------------------------------------------------


def export(file: Path, passphrase_file: str, remove: bool, state: Path | None) -> None:
    from probemesh_controller.pki import backup

    folder = _folder(state)
    names = backup.export(folder, file, read_passphrase(passphrase_file), time.time_ns(), remove=remove)
    say(f"the key of CA {', '.join(name[:16] + '…' for name in names)} is sealed in {file}")
    if remove:
        say(f"and no longer in {folder}: nothing is issued or renewed until it is restored")
        note("try it on another machine before you rely on it: meshctl controller ca restore")


def restore(file: Path, passphrase_file: str, state: Path | None) -> None:
    from probemesh_controller.pki import backup

    folder = _folder(state)
    names = backup.restore(folder, file, read_passphrase(passphrase_file))
    say(f"the key of CA {', '.join(name[:16] + '…' for name in names)} is back in {folder}")


def _folder(state: Path | None) -> Path:
    folder = config.state_dir(state, os.environ) / "controller"
    if not folder.is_dir():
        raise InvalidRequest(
            f"there is no controller's state in {folder.parent}", "run this on its host, or give --state"
        )
    return folder


def read_passphrase(source: str) -> str:
    """The first line of a file that nobody else may read, or of stdin. Raises :class:`MeshError`."""
    try:
        data = sys.stdin.buffer.read(_MOST) if source == "-" else read_private(Path(source))[:_MOST]
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InvalidRequest("the passphrase is not text") from None
    return lines[0].strip() if lines else ""
