"""What this agent makes of a job's expectations: read before the first packet, judged on every row.

Every way of probing goes through :func:`measured`. What is not known here, or belongs to another kind, is
answered ``unsupported``: an expectation that nobody judges must not look like one that was met.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from probemesh_shared import failures
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.expectations import Judge, belongs
from probemesh_shared.model import Expectation, Failure, Measurement, Spec, Target
from probemesh_shared.words import Kind, Stage

from probemesh_agent import rows
from probemesh_agent.env import Probe, ProbeEnv

Batches = AsyncGenerator[Sequence[Measurement], None]


def read(kind: Kind, expectations: Sequence[Expectation]) -> Judge | Failure:
    """The judge of a job of ``kind``, or why this agent cannot be one."""
    try:
        judge = Judge(expectations, ladder=kind is Kind.LADDER)
    except InvalidRequest as unknown:
        return failures.unsupported(Stage.SEND, f"this agent cannot judge what is expected: {unknown}")
    stranger = next((one.key for one in expectations if kind not in (Kind.LADDER, *belongs(one.key))), None)
    if stranger is not None:
        return failures.unsupported(Stage.SEND, f"the expectation {stranger} cannot be judged on {kind}")
    return judge


async def measured(
    probe: Probe, kind: Kind, spec: Spec, targets: Sequence[Target], env: ProbeEnv
) -> AsyncGenerator[Sequence[Measurement], None]:
    """The rows of ``probe`` as they count. A ladder judges its own: what is unexpected ends its climb."""
    judge = read(kind, spec.options.expect)
    if isinstance(judge, Failure):
        now = env.clock.wall_ns()
        shown = [target.kind or Kind.DNS if kind is Kind.LADDER else kind for target in targets]
        yield [
            rows.not_probed(as_kind, index, target, None, None, judge, now)
            for index, (as_kind, target) in enumerate(zip(shown, targets, strict=True))
        ]
        return
    async with aclosing(cast(Batches, probe.run(spec, targets, env))) as batches:
        async for batch in batches:
            yield batch if kind is Kind.LADDER else [judge.judged(row) for row in batch]


def unjudged(expectation: Expectation) -> tuple[Kind, Failure]:
    """What a climb came to no rung for: the kind of the missing rung, and the words."""
    kinds = belongs(expectation.key)
    kind = Kind.TCP if Kind.TCP in kinds else kinds[0]
    detail = (
        f"the climb came to nothing that {expectation.key}={expectation.value} could be judged on:"
        f" name the kind, --kind {kind}"
    )
    return kind, replace(failures.unsupported(Stage.SEND, detail), errno=failures.UNJUDGED)
