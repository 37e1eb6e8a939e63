"""``STATE/agent/audit.jsonl``: where an agent's record is kept, and its sessions with the
controller in it."""

from pathlib import Path

from probemesh_shared.audit.file import AGENT_FILES, AGENT_SIZE, NAME, AuditFile
from probemesh_shared.audit.log import AuditLog
from probemesh_shared.audit.record import Caller
from probemesh_shared.session.driver import LinkEnd
from probemesh_shared.words import AuditOutcome, Role

from probemesh_agent.auditing import Recorder
from probemesh_agent.enrol import FOLDER


def audit_path(state: Path) -> Path:
    return state / FOLDER / NAME


def open_log(state: Path) -> AuditLog:
    return AuditLog(AuditFile(audit_path(state), AGENT_SIZE, AGENT_FILES))


class SessionRecord:
    """A session with the controller that this agent dials, if it comes to one."""

    def __init__(self, recorder: Recorder, mesh: str, controller: str) -> None:
        self._recorder = recorder
        self._began = False
        self.caller = Caller(f"{Role.CONTROLLER}/{mesh}", address=controller)

    def started(self) -> None:
        self._began = True
        self._recorder.tell("session-started", AuditOutcome.STARTED, caller=self.caller)

    def ended(self, end: LinkEnd) -> None:
        """An attempt that came to nothing leaves no record: there may be thousands."""
        if self._began:
            self._recorder.tell("session-ended", detail=f"{end.why} {end.detail}".strip(), caller=self.caller)
