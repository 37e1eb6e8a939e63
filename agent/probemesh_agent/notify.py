"""sd_notify(3): tells systemd that we are ready, alive and stopping, where it wants to know."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Silent without ``NOTIFY_SOCKET``. A service manager that does not listen is no reason to fail."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._path = environ.get("NOTIFY_SOCKET", "")
        if self._path.startswith("@"):
            self._path = "\0" + self._path[1:]
        self._watchdog_us = _number(environ.get("WATCHDOG_USEC"))
        pid = _number(environ.get("WATCHDOG_PID"))
        if pid and pid != os.getpid():
            self._watchdog_us = 0

    @property
    def watchdog_s(self) -> float | None:
        """How often to say that we live: half of what systemd asks for; None where it does not ask."""
        return self._watchdog_us / 2_000_000 if self._path and self._watchdog_us else None

    def ready(self, status: str = "") -> None:
        self._send(f"READY=1\nSTATUS={status}" if status else "READY=1")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._path:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto(text.encode(), self._path)
        except OSError:
            return


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0
