"""The change from one CA to the next in a running controller: what it would cut off, and each step.

Agents are asked to renew after every step, and when a session begins with a certificate of before it. Whoever
has not is counted from the certificates they last showed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.identity.files import Identity
from probemesh_shared.session.frames import RenewWanted
from probemesh_shared.words import OPERATORS, Role

from probemesh_controller import castate
from probemesh_controller.api import BehindInfo, CaInfo, CaStatus
from probemesh_controller.castate import CaState, Holder, Phase
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.mesh import refresh_all
from probemesh_controller.store.port import CertificateRecord, Store
from probemesh_controller.store.worker import AsyncStore

log = logging.getLogger(__name__)

#: Renewals a second that agents are asked to spread themselves over.
RENEWALS_PER_S = 50
LEAST_MS, MOST_MS = 1_000, 600_000
_NAMED = 8


class Door(Protocol):
    """:class:`probemesh_shared.rpc.server.MeshServer`."""

    def reload(self, identity: Identity) -> None: ...

    def distrust(self, serials: Iterable[str]) -> int: ...


class Rotation:
    """One at a time. ``tell`` reaches every attached agent."""

    def __init__(
        self,
        ca: Authority,
        state: Path,
        store: AsyncStore,
        door: Door,
        tell: Callable[[RenewWanted], object],
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._ca = ca
        self._state = state
        self._store = store
        self._door = door
        self._tell = tell
        self._wall_ns = wall_ns
        self._one = asyncio.Lock()
        self._agents = 0

    async def start(self) -> None:
        """Certificates of an earlier version are of the CA that there was."""
        oldest = self._ca.state.old or self._ca.state.new
        await self._store.call(lambda store: store.adopt_certificates(oldest))
        self._agents = len(await self._store.call(lambda store: store.agents()))

    def wanted(self, certificate: CertificateRecord | None) -> tuple[RenewWanted, ...]:
        """What an agent is told that shows ``certificate``."""
        if certificate is None or not self._ca.has_key(self._ca.issuer):
            return ()
        current = certificate.issuer == self._ca.issuer and set(certificate.trust) == set(self._ca.trust)
        return () if current else (self._renew(),)

    def _renew(self) -> RenewWanted:
        spread = self._agents * 1000 // RENEWALS_PER_S
        return RenewWanted(max(LEAST_MS, min(spread, MOST_MS)))

    # --- what an administrator asks -----------------------------------------------------------------------

    async def status(self) -> CaStatus:
        ca = self._ca
        now_ns = self._wall_ns()
        binding, away = await self._store.call(lambda store: _holders(store, now_ns))
        names = {one.name for one in binding}
        forward, backward = _after(ca.state)
        return CaStatus(
            ca.state.phase.value,
            tuple(
                CaInfo(
                    one,
                    one == ca.state.issuing,
                    one in ca.state.trusted,
                    ca.has_key(one),
                    ca.ends_ns(one),
                )
                for one in ca.state.kept
            ),
            _behind(binding, forward),
            _behind(binding, backward),
            tuple(one for one in _behind(away, forward) if one.name not in names),
            len(names),
        )

    async def step(self, wanted: str, anyway: bool) -> CaStatus:
        """``forward``, ``back`` or ``finish``. Raises :class:`InvalidRequest` where there is no such step, or
        it would cut somebody off and not ``anyway``; :class:`StateError` where a key is missing."""
        async with self._one:
            await self._check(wanted, anyway)
            # where certificates are made and noted: none is noted as of another phase than it was made in
            identity = await self._store.call(lambda store: self._take(wanted))
            self._door.reload(identity)
            log.warning("the change of the CA is in phase %s", self._ca.state.phase)
            await self._part()
            self._agents = len(await self._store.call(lambda store: store.agents()))
            self._tell(self._renew())
        return await self.status()

    def _take(self, wanted: str) -> Identity:
        _STEPS[wanted](self._ca)
        return refresh_all(self._ca, self._state)

    async def _check(self, wanted: str, anyway: bool) -> None:
        if wanted not in _STEPS:
            raise InvalidRequest("no such step", "forward, back or finish")
        state = self._ca.state
        after = {"forward": _forward, "back": castate.back, "finish": castate.finish}[wanted](state)
        if not self._ca.has_key(after.issuing) and after.issuing in state.kept:
            raise StateError(
                "the key of the CA that would issue is not on this controller",
                "put it back: meshctl controller ca restore FILE --passphrase-file F",
            )
        if anyway or wanted == "finish":
            return
        now_ns = self._wall_ns()
        binding, _ = await self._store.call(lambda store: _holders(store, now_ns))
        if lost := castate.cut_off(binding, after):
            names = ", ".join(one.name for one in lost[:_NAMED]) + (" …" if len(lost) > _NAMED else "")
            raise InvalidRequest(
                f"{len(lost)} of {len(binding)} would be cut off: {names}",
                "wait for their renewal (meshctl controller ca status); with --anyway they must join again",
            )

    async def _part(self) -> None:
        """Connections that were begun with a certificate which is not trusted any more."""
        trusted, now_ns = self._ca.trust, self._wall_ns()
        gone = await self._store.call(
            lambda store: [one.serial for one in store.certificates(now_ns) if one.issuer not in trusted]
        )
        self._door.distrust(gone)


_STEPS: dict[str, Callable[[Authority], None]] = {
    "forward": Authority.forward,
    "back": Authority.back,
    "finish": Authority.finish,
}
_MADE = "0" * 64  # stands for a CA that is not there yet: whoever is judged knows none of it


def _forward(state: CaState) -> CaState:
    return castate.forward(state, _MADE)


def _after(state: CaState) -> tuple[CaState | None, CaState | None]:
    """The phases beside this one."""
    forward = None if state.phase is Phase.DROPPED else _forward(state)
    return forward, None if state.phase is Phase.STEADY else castate.back(state)


def _behind(holders: Iterable[Holder], after: CaState | None) -> tuple[BehindInfo, ...]:
    lost = () if after is None else castate.cut_off(holders, after)
    return tuple(BehindInfo(one.name, one.role) for one in lost)


def _holders(store: Store, now_ns: int) -> tuple[tuple[Holder, ...], tuple[Holder, ...]]:
    """Everybody, by the certificate that they use: those who could come in now, and operators whose laptops
    are shut and could come back."""
    agents = {one.id for one in store.agents() if not one.revoked}
    operators = {one.name for one in store.operators() if not one.revoked}
    latest: dict[tuple[str, str], CertificateRecord] = {}
    for one in store.certificates(now_ns):
        known = one.subject_id in (agents if one.role is Role.AGENT else operators)
        if one.revoked or not known:
            continue
        kind = "operator" if one.role in OPERATORS else one.role.value
        before = latest.get((kind, one.subject_id))
        if before is None or _used(one) >= _used(before):
            latest[kind, one.subject_id] = one
    binding = tuple(_holder(one) for (kind, _), one in latest.items() if kind != Role.RENEWAL)
    return binding, tuple(_holder(one) for (kind, _), one in latest.items() if kind == Role.RENEWAL)


def _used(one: CertificateRecord) -> tuple[int, int]:
    """An agent has what it showed last; an operator's working certificate is shown to nobody who notes it, so
    the newest counts."""
    return (one.used_ns or 0 if one.role is Role.AGENT else 0, one.issued_ns)


def _holder(one: CertificateRecord) -> Holder:
    return Holder(one.name, one.role.value, one.issuer, one.trust)
