"""``meshctl help expectations``: a page made from the table of keys."""

from probemesh_shared.expectations import KEYS, MAX_EXPECTATIONS, Key
from probemesh_shared.words import Kind

_HEAD = """\
What an answer must be like: meshctl probe TARGET --expect KEY=VALUE, which may be repeated.

An expectation applies to the measurements of its kinds, in a climb to the rungs of its kinds; every
one has to be met. What held and is not as expected is answer-unexpected, and ends the climb. What
failed just as expected (rcode=NXDOMAIN, state=closed, status=404) holds.
"""
_TAIL = f"""\
TEXT is looked for as it is; hex:0d0a stands for bytes. There are no patterns. For udp:// a TEXT
without a known KEY= is what the answer must contain. In a climb rtt-max, rtt-min and loss-max are
judged on ping, connect and datagram, and address alone on the host's own resolver; what no rung
could be judged by is unsupported: name the kind (--kind dns). At most {MAX_EXPECTATIONS} expectations.

--expect-fail turns it round at the end: who reaches TARGET has failed, who is kept from it is ok.
Saved under a name, with all options of a probe: meshctl modules.
"""
_WIDTH = 16


def page() -> str:
    """Heading, every key of the table, what applies to all of them."""
    return f"{_HEAD}\n{''.join(map(_entry, KEYS.values()))}\n{_TAIL}"


def kinds_text(key: Key) -> str:
    every = set(Kind) - {Kind.LADDER}
    return "any kind" if set(key.kinds) == every else ", ".join(key.kinds)


def _entry(key: Key) -> str:
    example = key.example if len(key.example) < 50 else f"{key.example[:40]}…"
    head = f"  {key.name:<{_WIDTH}}{example} "
    return f"{head:<{_WIDTH + 44}}{kinds_text(key)}\n{'':{_WIDTH + 2}}{key.help}\n"
