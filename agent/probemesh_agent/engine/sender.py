"""A thread that does nothing but large sends, so that the engine's thread reads answers meanwhile.

The system call is made without the interpreter's lock: on two processors the kernel sends on one while
Python reads on the other. Only crowds go this way; a few packets are sent faster than handed over."""

import queue
import threading
from collections.abc import Callable

from probemesh_agent.engine.echo import EchoSocket
from probemesh_agent.engine.mmsg import Outgoing
from probemesh_agent.engine.volley import Volley


class Sending:
    """One crowd on its way. After ``done`` is set: ``sent`` packets went, or ``error`` says why none did."""

    __slots__ = ("_echo", "count", "done", "error", "out", "sent", "volley")

    def __init__(self, echo: EchoSocket, out: Outgoing, volley: Volley) -> None:
        self.out = out
        self.volley = volley
        self.count = len(volley.items)
        self.sent = 0
        self.error: BaseException | None = None
        self.done = threading.Event()
        self._echo = echo

    def run(self) -> None:
        """Any fault is for the engine's thread to raise."""
        try:
            self.sent = self._echo.send(self.out, 0, self.count)
        except BaseException as error:
            self.error = error
        self.done.set()


class Sender:
    """``wake`` is called after each sending. The thread starts with the first one."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._queue: queue.SimpleQueue[Sending | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, sending: Sending) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name="probemesh-sender", daemon=True)
            self._thread.start()
        self._queue.put(sending)

    def close(self) -> None:
        """Ends the thread, after what was put before."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(5.0)
            self._thread = None

    def _main(self) -> None:
        while (sending := self._queue.get()) is not None:
            sending.run()
            self._wake()
