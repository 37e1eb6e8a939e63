"""Seeds and kept inputs, what once broke a reader among them, are read without atheris, everywhere."""

import time

import pytest

from tests.fuzz import registry


@pytest.mark.parametrize("name", registry.names())
def test_every_input_is_read(name: str) -> None:
    target = registry.load(name)
    assert target.seeds, "a target without seeds finds nothing in ten seconds"
    for what, data in target.inputs():
        began = time.process_time()
        try:
            target.read(data)
        except Exception as error:
            raise AssertionError(f"{name}, {what}: {data!r}") from error
        assert time.process_time() - began < 10, f"{name}, {what}: an attack on who reads it"


@pytest.mark.parametrize("name", registry.names())
def test_the_corpus_stays_small(name: str) -> None:
    sizes = [path.stat().st_size for path in registry.kept(name)]
    assert sum(sizes) <= registry.KEPT_MOST and max(sizes, default=0) <= registry.LONGEST


def test_every_corpus_has_its_target() -> None:
    assert {path.name for path in registry.CORPUS.glob("*")} <= set(registry.names())


@pytest.mark.parametrize("name", registry.names())
def test_a_target_reads_anything(name: str) -> None:
    """Not even one byte, and each way in alone."""
    read = registry.load(name).read
    for data in (b"", *(bytes((number,)) for number in range(256))):
        read(data)
