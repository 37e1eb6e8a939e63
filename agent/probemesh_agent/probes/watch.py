"""Watch: the far end of a two-ended probe, armed by one job and looked at by others.

The one kind that keeps state between runs: watches are known by their tokens from the job that armed them
until that ends (cancel, budget, loss of the link); then all is given back.
"""

import errno
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from probemesh_shared import failures
from probemesh_shared.model import Failure, Measurement, Spec, Target, WatchDetail, WatchSpec
from probemesh_shared.wire.flowtoken import TOKEN_SIZE
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Stage

from probemesh_agent import rows
from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.responder.certificate import own_certificate
from probemesh_agent.responder.watch import Place, Watch

MOST = 16

_logger = logging.getLogger(__name__)


class WatchProbe:
    """See :class:`probemesh_agent.env.Probe`."""

    kind = Kind.WATCH

    def __init__(self) -> None:
        self._watches: dict[bytes, Watch] = {}

    async def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        assert isinstance(spec, WatchSpec)
        if len(targets) > 1:
            one = failures.unsupported(Stage.CONNECT, "a watch has one target")
            yield [_failed(i, target, one, env) for i, target in enumerate(targets)]
            return
        (target,) = targets
        refusal = self._refusal(spec, target, env)
        if refusal is not None:
            yield [_failed(0, target, refusal, env)]
        elif spec.look:
            watch = self._watches[spec.token]
            yield [_row(target, watch.quiet() if spec.quiet else watch.look(), env)]
        else:
            async for row in self._armed(spec, target, env):
                yield [row]

    async def _armed(
        self, spec: WatchSpec, target: Target, env: ProbeEnv
    ) -> AsyncGenerator[Measurement, None]:
        place = Place(_port(target), env.network.may_listen, env.network.may_answer)
        leaf = await self._certificate(spec, target, env)
        try:
            watch = Watch(spec, place, env.clock)
        except OSError as error:
            yield _failed(0, target, failures.from_errno(Stage.CONNECT, error.errno or errno.ENOMEM), env)
            return
        self._watches[spec.token] = watch
        try:
            yield _row(target, replace(watch.armed(), certificate=leaf), env)
            await watch.keep(env.deadline)
        finally:
            del self._watches[spec.token]
            watch.close()

    async def _certificate(self, spec: WatchSpec, target: Target, env: ProbeEnv) -> bytes | None:
        """Before anything is counted. Only at an address of this host's own that others reach as well."""
        literal, port = parse_literal(_address(target) or ""), _port(target)
        if not spec.certificate or literal is None or port is None or not env.network.is_own(str(literal)):
            return None
        return await own_certificate(str(literal), port)

    def _refusal(self, spec: WatchSpec, target: Target, env: ProbeEnv) -> Failure | None:
        """Why there is nothing to arm or to look at."""
        if env.clock.monotonic() >= env.deadline:
            return failures.past_deadline()
        if len(spec.token) != TOKEN_SIZE:
            return failures.unsupported(Stage.CONNECT, f"a watch's token has {TOKEN_SIZE} bytes")
        if len(target.ports) > 1 or any(span.first != span.last for span in target.ports):
            return failures.unsupported(Stage.CONNECT, "a watch has one port")
        if (refused := env.network.refused_port(_port(target) or 0)) is not None:
            return refused
        if spec.look:
            if spec.token in self._watches:
                return None
            words = "this agent has no such watch: it was never armed, or has ended"
            return Failure(Stage.CONNECT, FailureKind.CANCELLED, Origin.AGENT, words, errno="ENOENT")
        if spec.token in self._watches:
            words = "this agent has a watch with that token already"
            return Failure(Stage.CONNECT, FailureKind.LOCAL_RESOURCE, Origin.AGENT, words, errno="EEXIST")
        if len(self._watches) >= MOST:
            words = f"this agent keeps {MOST} watches already, and no more at once"
            return Failure(Stage.CONNECT, FailureKind.LOCAL_RESOURCE, Origin.AGENT, words, errno="EBUSY")
        return None


def _port(target: Target) -> int | None:
    return target.ports[0].first if target.ports else None


def _address(target: Target) -> str | None:
    return target.addresses[0] if target.addresses else target.host or None


def _row(target: Target, account: WatchDetail, env: ProbeEnv) -> Measurement:
    return Measurement(
        Kind.WATCH,
        0,
        target.text,
        _address(target),
        _port(target),
        Outcome.OK,
        env.clock.wall_ns(),
        detail=account,
    )


def _failed(index: int, target: Target, failure: Failure, env: ProbeEnv) -> Measurement:
    row = rows.not_probed(
        Kind.WATCH, index, target, _address(target), _port(target), failure, env.clock.wall_ns()
    )
    return Measurement(
        row.kind,
        row.target_index,
        row.target,
        row.address,
        row.port,
        Outcome.UNMEASURED if failure.errno == "ENOENT" else row.outcome,
        row.started_ns,
        failure=failure,
        log=(failure.detail,),
    )
