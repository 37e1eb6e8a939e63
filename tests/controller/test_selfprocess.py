"""The process that is started ahead of its job is used, or ended."""

from probemesh_controller import selfprocess


async def test_what_was_started_ahead_is_taken_once() -> None:
    async with selfprocess.ahead():
        (waiting,) = selfprocess._ahead
        assert await selfprocess.take() is waiting
        assert not selfprocess._ahead
    assert waiting.returncode is None  # whoever took it ends it
    waiting.kill()
    await waiting.communicate()


async def test_what_nobody_took_is_ended() -> None:
    async with selfprocess.ahead():
        (waiting,) = selfprocess._ahead
    assert waiting.returncode is not None


async def test_nothing_is_started_where_self_is_not_wanted() -> None:
    async with selfprocess.ahead(False):
        assert not selfprocess._ahead
