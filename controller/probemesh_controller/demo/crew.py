"""The demo's agents: real ``mesh-agent`` processes that join by a token and run until they are told to
stop."""

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from probemesh_shared.errors import MeshError

#: Seconds: of joining, of which most on a busy machine is the start of three programs at once.
JOIN_S, STOP_S = 60.0, 8.0

_POLICY = """# The demo probes this very machine; an agent as shipped would not.
[allow]
loopback = true
"""


@dataclass(frozen=True, slots=True)
class Member:
    """``address`` is loopback: what it is probed by, and what its probes to loopback come from."""

    name: str
    site: str
    address: str


#: Who takes part. The web server drops what comes from the second.
CREW = (
    Member("berlin-1", "berlin", "127.0.1.1"),
    Member("tokyo-1", "tokyo", "127.0.1.2"),
    Member("virginia-1", "virginia", "127.0.1.3"),
)
DROPPED = CREW[1]


class AgentProcess:
    """One agent with a state folder of its own. :meth:`stop` may be called at any time, and twice."""

    def __init__(self, member: Member, state: Path) -> None:
        self.member = member
        self._state = state / "agents" / member.name
        self._log = state / "logs" / f"{member.name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def join(self, controller: str, token: str) -> None:
        """Enrols by ``mesh-agent join``, the token on its stdin. Raises MeshError."""
        self._state.mkdir(parents=True, mode=0o700)
        self._log.parent.mkdir(exist_ok=True)
        command = ("join", controller, "--token-file", "-", "--state", str(self._state))
        process = await self._spawn(*command, stdin=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(JOIN_S):
                await process.communicate(token.encode() + b"\n")
        except TimeoutError:
            raise MeshError(
                f"the demo's agent {self.member.name} did not join within {JOIN_S:g} s",
                f"is the machine very busy (uptime)? the agent's last words: {self.last_words() or 'none'}",
            ) from None
        if process.returncode != 0:
            raise MeshError(f"the demo's agent {self.member.name} could not join", self.last_words())

    async def run(self) -> None:
        """Starts ``mesh-agent run``; it connects by itself."""
        policy = self._state / "policy.toml"
        policy.write_text(_POLICY)
        address = self.member.address
        options = ("--advertise", address, "--source", address, "--policy", str(policy))
        await self._spawn("run", "--state", str(self._state), *options)

    async def _spawn(
        self, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        """In a process group of its own: an interrupt at the terminal is ours to hand on."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "probemesh_agent",
                *arguments,
                stdin=stdin,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                process_group=0,
            )
        return self._process

    @property
    def is_over(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    def last_words(self) -> str:
        """The end of its log, for an error message."""
        with contextlib.suppress(OSError):
            return " / ".join(self._log.read_text(errors="replace").splitlines()[-2:])[-500:]
        return "it left no log"

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not do."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
