"""Answers without what is made for one asker or one moment, so that the rest can be compared. Bounded."""

import re

LONGEST_LINE = 200
_LOOKED_AT = 4096

#: Addresses, times of day, dates, long numbers, and tokens of 16 and more that hold a digit.
_VOLATILE = re.compile(
    rb"\d{1,3}(?:\.\d{1,3}){3}|\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?|\d{4}-\d\d-\d\d"
    rb"|(?=[A-Za-z+/_=-]{0,64}\d)[A-Za-z0-9+/_=-]{16,}|\d{6,}"
)


def steady(data: bytes) -> bytes:
    """Without what a page that is the same for everybody may show each of them differently."""
    return _VOLATILE.sub(b"*", data[:_LOOKED_AT])


def banner_line(banner: bytes, protocol: str | None) -> str:
    """The first line; of SSH as it stands, of others without what is made for one connection."""
    line = banner[:256].splitlines()[0] if banner.strip() else b""
    if protocol != "ssh":
        line = steady(re.sub(rb"<[^>]*>", b"*", line))
        line = re.sub(rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? .*", b"*", line)
    return line.decode("utf-8", "backslashreplace")[:LONGEST_LINE]


#: What a validated answer says of the moment: a clock's offset, the time since a start.
_OF_THE_MOMENT = re.compile(r"(?:offset|up) [^,]*")


def timeless(text: str) -> str:
    """What a ready-made request was told, without the moment."""
    return _OF_THE_MOMENT.sub("…", text)
