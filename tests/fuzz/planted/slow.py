"""A reader that one byte keeps busy for some seconds, for the tests of the hunt itself."""

import time

SEEDS = (b"ab",)


def read(data: bytes) -> None:
    if data[:1] == b"a" and len(data) > 2:
        began = time.process_time()
        while time.process_time() < began + 3:
            pass
