"""What the program hands its records to: it never waits for a disk, and never fails.

Records go to a thread that lives as long as there are some to write. What cannot be written (no room, no
permission, a disk that hangs) is counted, said in the log, and told by a record as soon as one can be
written again: probing goes on.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from probemesh_shared.audit.file import AuditFile
from probemesh_shared.audit.record import AuditRecord, line_of
from probemesh_shared.audit.repeats import Repeats
from probemesh_shared.words import AuditOutcome

_log = logging.getLogger(__name__)

#: Records that may wait for the disk, and how many are written at a time.
WAITING, GROUP = 4096, 64
CLOSE_S = 2.0
#: The event that stands for records which could not be written.
GAP = "records-lost"


class AuditLog:
    """An :data:`~probemesh_shared.audit.record.Audit`, to be called from any thread."""

    def __init__(
        self,
        file: AuditFile,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        waiting: int = WAITING,
    ) -> None:
        self._file = file
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._limit = waiting
        self._repeats = Repeats()
        self._waiting: deque[AuditRecord] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._untold = 0  # lost, and not yet told of in the file
        self._problem = ""
        #: Records that were lost since the start.
        self.lost = 0

    def __call__(self, record: AuditRecord) -> None:
        with self._changed:
            self._take(self._repeats.admit(record, self._monotonic_ns()))

    def _take(self, records: Iterable[AuditRecord]) -> None:
        for record in records:
            if len(self._waiting) >= self._limit:
                self._lose(record.times, "the disk does not keep up")
            else:
                self._waiting.append(record)
        if self._thread is None and self._waiting:
            self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._write, name="probemesh-audit", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            self._thread = None
            self._lose(sum(record.times for record in self._waiting), "no thread can be started")
            self._waiting.clear()

    def flush(self, seconds: float = CLOSE_S) -> bool:
        """Waits until all is written that was handed in; False where time was up."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, seconds)

    def close(self, seconds: float = CLOSE_S) -> None:
        """Writes what was held back and what waits, for ``seconds`` at most."""
        with self._changed:
            self._take(self._repeats.close())
        if self.flush(seconds):
            self._file.close()

    # --- the thread -------------------------------------------------------------------------------------

    def _write(self) -> None:
        while records := self._next():
            for record in records:
                self._append(record)

    def _next(self) -> list[AuditRecord]:
        with self._changed:
            records = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            if not records:
                self._thread = None
                self._changed.notify_all()
            return records

    def _append(self, record: AuditRecord) -> None:
        try:
            if self._untold:
                self._tell_gap()
            self._file.append(line_of(record))
        except Exception as error:  # a thread that ends here would take all later records with it
            why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            with self._changed:
                self._lose(record.times, why)

    def _tell_gap(self) -> None:
        with self._changed:
            untold, problem = self._untold, self._problem
        self._file.append(
            line_of(AuditRecord(self._wall_ns(), GAP, AuditOutcome.FAILED, detail=problem, times=untold))
        )
        _log.warning("audit records are written again; %d were lost", untold)
        with self._changed:
            self._untold -= untold

    def _lose(self, count: int, why: str) -> None:
        """With the lock held."""
        if not self._untold:
            _log.error("audit records cannot be written and are lost: %s (%s)", why, self._file.path)
        self.lost += count
        self._untold += count
        self._problem = why
