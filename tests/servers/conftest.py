"""The fixtures of :mod:`rich_bench`, for all tests of this folder."""

from tests.probes_rich.rich_bench import authority, bench, trusted

__all__ = ["authority", "bench", "trusted"]
