"""URLs without their queries: in a query stand tokens, and a text for a ticket is read by many. Pure."""

import re
from collections.abc import Iterable
from functools import partial

HIDDEN = "…"
_QUERY = re.compile(r"\?(\S+)")
_CUT = re.compile(r"(\S+)…")
#: What ends a sentence or a quotation, and no query.
_ENDS = "'\"`)]>.,:;?"
#: What is shorter is found in too much that has nothing to do with it.
_SHORTEST = 6


def hidden(text: str, queries: Iterable[str] = ()) -> str:
    """``text`` with ``?…`` for the query of every URL, cut ones too, and ``…`` for ``queries`` themselves,
    which an answer may have repeated elsewhere."""
    text = _QUERY.sub(_without, text)
    for query in sorted(queries, key=len, reverse=True):
        if len(query) >= _SHORTEST:
            text = _CUT.sub(partial(_without_end, query), text.replace(query, HIDDEN))
    return text


def _without(found: re.Match[str]) -> str:
    query = found[1].rstrip(_ENDS)
    return f"?{HIDDEN}{found[1][len(query) :]}" if query else found[0]


def _without_end(query: str, found: re.Match[str]) -> str:
    """A word that was cut within ``query``."""
    at = found[1].find(query[:_SHORTEST])
    return f"{found[1][:at]}{HIDDEN}" if at >= 0 and query.startswith(found[1][at:]) else found[0]
