"""What makes remote text safe to show: for terminals, CSV cells, JSON."""

import csv
import io
import json

from probemesh_shared.escape import csv_text, escape, escape_bytes
from probemesh_shared.jsonout import _bytes, dumps

SEEDS = (
    b"\x1b[2J\x9b0m\r\n",
    b"=cmd|' /C calc'!A0",
    "\u202egnp.exe \u2028 \ufeff".encode(),
    b"\xff\xfe\x00plain",
    "１９２＝＋ü☃".encode(),
)


def read(data: bytes) -> None:
    for text in (data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
        shown = escape(text)
        assert shown.isprintable() and (shown == text or not text.isprintable())
        for limit in (1, 7, 80):
            assert len(escape(text, limit)) <= limit and escape(text, limit).isprintable()
        cell = csv_text(text)
        assert cell.isprintable() and not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        out = io.StringIO()
        csv.writer(out).writerow([cell, "next"])
        assert list(csv.reader(io.StringIO(out.getvalue()))) == [[cell, "next"]]
        said = dumps({"text": text}, None)
        assert said.isascii() and said.isprintable() and json.loads(said)["text"] == text
    assert escape_bytes(data).isprintable() and len(escape_bytes(data, 9)) <= 9
    text, exact = _bytes(data)
    assert exact is None or bytes.fromhex(exact) == data
