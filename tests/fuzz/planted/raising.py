"""A fault that was put in, for the tests of the hunt itself."""

SEEDS = (b"bu",)


def read(data: bytes) -> None:
    if data[:1] == b"b" and data[1:3] == b"ug":
        raise RuntimeError("what nobody catches")
