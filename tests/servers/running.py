"""Real servers on loopback: started in the foreground with their own configuration, ended with the test."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

START_S = 20.0
_ANY = "127.0.0.1"


def is_listening(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(1.0)
        return tried.connect_ex((_ANY, port)) == 0


def is_bound(port: int) -> bool:
    """Whether somebody holds the UDP port."""
    with socket.socket(type=socket.SOCK_DGRAM) as tried:
        try:
            tried.bind((_ANY, port))
        except OSError:
            return True
    return False


def wait_for(ready: Sequence[tuple[object, int]], process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until every ``(check, port)`` holds; AssertionError with the server's words where it does not."""
    until = time.monotonic() + START_S
    for check, port in ready:
        while not check(port):  # type: ignore[operator]
            words = log.read_text(errors="replace")[-2000:]
            assert process.poll() is None, f"the server ended with {process.returncode}: {words}"
            assert time.monotonic() < until, f"the server is not ready: {words}"
            time.sleep(0.02)


@contextlib.contextmanager
def serving(
    folder: Path,
    *command: str,
    tcp: Sequence[int] = (),
    udp: Sequence[int] = (),
    user: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """A server that stays in the foreground, once its ports are there. ``user``: as whom, if we are root.

    One that dies of a signal before it is ready is started again: Debian's mariadbd was seen to crash in one
    of fifteen starts, without a word."""
    log = folder / f"{Path(command[0]).name}.log"
    ready = [*((is_listening, port) for port in tcp), *((is_bound, port) for port in udp)]
    for again in (True, True, False):
        process = _started(folder, command, log, user, env)
        try:
            wait_for(ready, process, log)
            break
        except BaseException:
            crashed = (process.poll() or 0) < 0
            _end(process)
            if not (again and crashed):
                raise
    try:
        yield process
    finally:
        _end(process)


def _started(
    folder: Path, command: Sequence[str], log: Path, user: str | None, env: Mapping[str, str] | None
) -> "subprocess.Popen[bytes]":
    account = pwd.getpwnam(user) if user is not None and os.geteuid() == 0 else None
    with log.open("wb") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(env or {})},
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The server and the processes of its session."""
    for end in (15, 9):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(8.0 if end == 15 else None)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)


def owned(folder: Path, user: str) -> Path:
    """``folder`` and what is in it given to ``user``, where we are root."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
    return folder


def program(*names: str) -> str | None:
    """The first of these that is there, in PATH or where daemons live."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    return next((found for name in names if (found := shutil.which(name, path=places))), None)
