"""One target under atheris, in a process of its own: ``python -m tests.fuzz.child MODULE [OPTION …]``, with
options and folders as libFuzzer takes them."""

import importlib
import shlex
import sys
import time

import atheris

#: CPU seconds for one input of a few KiB, instrumented: what takes longer is an attack.
SLOWEST_S = 2.0
_OURS = ["probemesh_agent", "probemesh_controller", "probemesh_shared"]
_THEIRS = ["dns", "h11", "h2", "hpack", "idna"]
_PLANTED = ["tests.fuzz.planted"]  # the readers of the tests of the hunt itself


class TooSlow(AssertionError):
    """A reader that a few bytes keep busy."""


def main(module: str, options: list[str]) -> None:
    with atheris.instrument_imports(include=[*_OURS, *_THEIRS, *_PLANTED]):
        target = importlib.import_module(module)

    def measured(data: bytes) -> None:
        began = time.process_time()
        target.read(data)
        took = time.process_time() - began
        if took > SLOWEST_S:
            raise TooSlow(f"{len(data)} bytes took {took:.1f} s")

    # libFuzzer's -merge starts its first argument again, by a shell
    again = shlex.join([sys.executable, "-m", "tests.fuzz.child", module])
    atheris.Setup([again, *options], measured)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
