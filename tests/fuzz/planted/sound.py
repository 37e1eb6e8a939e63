"""A reader without a fault, for the tests of the hunt itself."""

SEEDS = (b"good",)


def read(data: bytes) -> None:
    assert isinstance(data, bytes)
