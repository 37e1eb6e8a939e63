"""The one place where text from elsewhere is made safe to show: terminal lines and CSV cells.

JSON needs no escaping of its own: it is written as ASCII, so that no byte of it can steer a terminal.
"""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def escape(text: str, limit: int | None = None) -> str:
    """One line without anything that moves a cursor, hides or reorders text.

    C0, C1, DEL, bidirectional and other format characters, line separators, lone surrogates, private use and
    unassigned code points become ``\\xNN``, ``\\uNNNN`` or ``\\UNNNNNNNN``; the only blank is U+0020.
    ``limit`` is the longest result in characters; what was cut is marked by ``…``.
    """
    if limit is not None and len(text) > limit:
        text = text[:limit] + "…"  # cut before the work: the input may be long and hostile
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _code(char) for char in text)
    if limit is not None and len(text) > limit:
        return text[: limit - 1] + "…"
    return text


def escape_bytes(data: bytes, limit: int | None = None) -> str:
    """Bytes as text: UTF-8 where it is that, ``\\xNN`` where not, then as :func:`escape`."""
    if limit is not None:
        data = data[: limit * 4 + 4]
    return escape(data.decode("utf-8", "backslashreplace"), limit)


def csv_text(text: str) -> str:
    """As :func:`escape`, and no formula to a spreadsheet: ``'`` before a leading ``= + - @``, tab, CR."""
    return "'" + escape(text) if text.startswith(_FORMULA) else escape(text)


def _code(char: str) -> str:
    point = ord(char)
    if point <= 0xFF:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"
