"""A target that the child cannot import, for the tests of the hunt itself."""

import sys

SEEDS = (b"never read",)

if "tests.fuzz.hunt" not in sys.modules:
    raise ImportError("there is only who sends others to hunt")


def read(data: bytes) -> None:
    raise AssertionError("nobody comes here")
