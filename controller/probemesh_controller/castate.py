"""Which CAs a mesh has, and how far a change from one to the next has come. Pure but for one small file.

    phase      issues and is presented    is trusted
    steady     new                        new
    trusted    old                        old, new        everybody learns of the new one
    issuing    new                        new, old        everybody gets a certificate of the new one
    dropped    new                        new             the old one is kept for the way back

Each step moves one phase, forwards or back, and changes what is presented or trusted for those alone who have
renewed since the step before (:func:`cut_off`). ``finish`` forgets the old CA: then it is steady again.

    STATE/controller/ca.pem, ca.key          a mesh that has never changed its CA
    STATE/controller/rotation.json           {"schema": 1, "phase": …, "new": …, "old": …}, fingerprints
    STATE/controller/cas/FINGERPRINT.{pem,key}
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.identity.files import write_private

FILE, FOLDER = "rotation.json", "cas"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class Phase(StrEnum):
    STEADY = "steady"
    TRUSTED = "trusted"
    ISSUING = "issuing"
    DROPPED = "dropped"


_ORDER = tuple(Phase)


@dataclass(frozen=True, slots=True)
class CaState:
    """Fingerprints are SHA-256, hexadecimal. ``old`` is None in phase ``steady`` alone."""

    phase: Phase
    new: str
    old: str | None = None

    @property
    def issuing(self) -> str:
        """Whose certificates are made, and whose the controller presents."""
        return self.old if self.phase is Phase.TRUSTED and self.old is not None else self.new

    @property
    def trusted(self) -> tuple[str, ...]:
        """The issuing one first."""
        if self.old is None or self.phase is Phase.DROPPED:
            return (self.new,)
        other = self.new if self.issuing == self.old else self.old
        return (self.issuing, other)

    @property
    def kept(self) -> tuple[str, ...]:
        """All that are on disk."""
        return (self.new,) if self.old is None else (self.new, self.old)


def forward(state: CaState, made: str | None = None) -> CaState:
    """The next phase; ``made`` is the CA that a change begins with. Raises :class:`InvalidRequest`."""
    if state.phase is Phase.STEADY:
        if made is None:
            raise ValueError("a change begins with a new CA")
        return CaState(Phase.TRUSTED, made, state.new)
    if state.phase is Phase.DROPPED:
        raise InvalidRequest(
            "the old CA is not trusted any more: this change is over",
            "meshctl controller ca finish forgets it, meshctl controller ca back trusts it again",
        )
    return CaState(_ORDER[_ORDER.index(state.phase) + 1], state.new, state.old)


def back(state: CaState) -> CaState:
    """The phase before. Raises :class:`InvalidRequest` where there is none."""
    if state.phase is Phase.STEADY or state.old is None:
        raise InvalidRequest("no change of the CA is under way", "meshctl controller ca rotate begins one")
    if state.phase is Phase.TRUSTED:
        return CaState(Phase.STEADY, state.old)
    return CaState(_ORDER[_ORDER.index(state.phase) - 1], state.new, state.old)


def finish(state: CaState) -> CaState:
    """The end of a change, from which there is no way back. Raises :class:`InvalidRequest`."""
    if state.phase is not Phase.DROPPED:
        raise InvalidRequest(
            f"the change of the CA is in phase {state.phase}: it can be finished in phase dropped",
            "see: meshctl controller ca status",
        )
    return CaState(Phase.STEADY, state.new)


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with a certificate: whose it is, and which CAs its holder was told to trust with it."""

    name: str
    role: str
    issuer: str
    trust: tuple[str, ...]


def cut_off(holders: Iterable[Holder], after: CaState) -> tuple[Holder, ...]:
    """Whom the step to ``after`` would part from the mesh: who does not trust what is presented then, or
    shows what is not trusted then."""
    return tuple(one for one in holders if after.issuing not in one.trust or one.issuer not in after.trusted)


# --- the file -------------------------------------------------------------------------------------------


def read_state(folder: Path) -> CaState | None:
    """None for a mesh that has never changed its CA. Raises :class:`StateError`."""
    path = folder / FILE
    try:
        found = json.loads(path.read_text("utf-8"))
        state = CaState(Phase(found["phase"]), found["new"], found["old"])
        good = found["schema"] == 1 and all(_FINGERPRINT.fullmatch(one) for one in state.kept)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} cannot be read: {error}") from error
    if not good or (state.old is None) != (state.phase is Phase.STEADY):
        raise StateError(f"{path} is not what this program wrote")
    return state


def write_state(folder: Path, state: CaState) -> None:
    """At once or not at all. Raises ``OSError``."""
    content = {"schema": 1, "phase": state.phase.value, "new": state.new, "old": state.old}
    write_private(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())


def certificate_path(folder: Path, fingerprint: str) -> Path:
    return folder / FOLDER / f"{fingerprint}.pem"


def key_path(folder: Path, fingerprint: str) -> Path:
    return folder / FOLDER / f"{fingerprint}.key"


def issuing_key(folder: Path) -> Path:
    """Where the key is that certificates are signed with, if it is there. Raises :class:`StateError`."""
    state = read_state(folder)
    return folder / "ca.key" if state is None else key_path(folder, state.issuing)
