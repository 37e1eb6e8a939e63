"""What is read back from files that others may have written: saved cases, the audit log, rows."""

import json

from probemesh_controller.history.codec import BadRecord, decode, encode
from probemesh_controller.pair import saved
from probemesh_shared.audit.record import line_of
from probemesh_shared.audit.search import _read as read_line
from probemesh_shared.jsonout import dumps
from probemesh_shared.model import Measurement

from tests.fuzz.checks import pick
from tests.session.simulated import measurement

_RECORD = b'{"time": "2026-01-01T00:00:00.000000Z", "event": "run", "outcome": "ok", "counts": {"ok": 3}}'
SEEDS = (
    b"\0" + _RECORD,
    b'\1{"what": "probemesh-case", "schema": 1, "version": "0", "case": {"ends": []}}',
    b"\2" + dumps(encode(measurement(3, 20)), None).encode(),
)


def read(data: bytes) -> None:
    way, rest = pick(data, (_audited, _case, _row))
    way(rest)


def _audited(data: bytes) -> None:
    record = read_line(data)
    if record is None:
        return
    line = line_of(record)
    assert line.isascii() and line.count(b"\n") == 1 and line.endswith(b"\n")
    again = read_line(line)
    assert again is not None and line_of(again) == line


def _case(data: bytes) -> None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    try:
        case = saved.from_text(text)
    except BadRecord as error:
        assert str(error)
        return
    assert saved.from_text(saved.to_text(case, "0")) == case


def _row(data: bytes) -> None:
    try:
        row = decode(Measurement, json.loads(data))
    except (BadRecord, ValueError, RecursionError):
        return
    dumps(encode(row), None)
