"""The agents of a mesh: who is attached, what they said of themselves, what they still owe.

A member outlives its links: its inbox stays, so that results of a job come in order and once, over however
many links. Name and id come from the certificate alone; everything in a hello is a claim and bounded.
"""

import asyncio
import contextlib
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from probemesh_shared.clock import Clock
from probemesh_shared.errors import CertificateRefused, NotAllowed, NotFound, Unreachable
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo, Job
from probemesh_shared.session.driver import FrameStream, LinkEnd
from probemesh_shared.session.events import Drained, Event, JobEnded, Ready, ResultsArrived
from probemesh_shared.session.frames import JOBS_OF_ONE_OWNER, DenyList, ErrorCode, Hello, RenewWanted
from probemesh_shared.session.inbox import Inbox
from probemesh_shared.session.machine import Session
from probemesh_shared.words import AgentState

from probemesh_controller.candidates import readable
from probemesh_controller.link import Link
from probemesh_controller.sightings import Sightings
from probemesh_controller.store.port import AgentRecord, CertificateRecord, Store
from probemesh_controller.store.worker import AsyncStore

log = logging.getLogger(__name__)

#: What an agent is told when its session begins, by the certificate that it showed.
Greet = Callable[[CertificateRecord | None], tuple[RenewWanted | DenyList, ...]]
_MAX_ADDRESSES = 64
#: Kinds, privileges, and a word for every kernel counter that the agent can read: some 200.
_MAX_CAPABILITIES = 512
_MAX_WORD = 64
#: Of the jobs that an agent takes from us at once, what one operator may have.
JOBS_OF_ONE_OPERATOR = JOBS_OF_ONE_OWNER * 3 // 4
_POLL_S = 0.05
_REVOKE_S = 1.0


@dataclass(slots=True)
class Feed:
    """What comes of one job at one agent. The session's window bounds the queue: nothing is acknowledged,
    and so no more is sent, before the reader has committed what is in it."""

    job: Job
    deadline: float  # of the job, monotonic
    events: asyncio.Queue[ResultsArrived | JobEnded | None] = field(default_factory=asyncio.Queue)

    def give_up(self) -> None:
        """Tells the reader to wait no longer."""
        self.events.put_nowait(None)


@dataclass(slots=True)
class Member:
    """One agent, by its id."""

    id: str
    name: str
    inbox: Inbox = field(default_factory=Inbox)
    link: Link | None = None
    hello: Hello | None = None
    last_seen_ns: int | None = None
    feeds: dict[str, Feed] = field(default_factory=dict)
    #: Of the feeds those whose job has not been sent: the agent has its hands full with the others.
    waiting: deque[str] = field(default_factory=deque)
    revoked: bool = False
    reason: str | None = None  # why there is no link, where we are the ones who dial
    sightings: Sightings = field(default_factory=Sightings)

    @property
    def connected(self) -> bool:
        """Also in the instant in which a new link takes over from one that was up."""
        return self.link is not None and (self.link.ready or self.link.takes_over)


def _begun(member: Member) -> Counter[str]:
    """Jobs in an agent's hands, by who asked for them."""
    waiting = set(member.waiting)
    return Counter(feed.job.asked_by for job_id, feed in member.feeds.items() if job_id not in waiting)


def _has_room(begun: Counter[str], job: Job) -> bool:
    """Of the places that an agent has for us one operator leaves some to others; what nobody asked for over
    the network has no others beside it."""
    if begun.total() >= JOBS_OF_ONE_OWNER:
        return False
    return not job.asked_by or begun[job.asked_by] < JOBS_OF_ONE_OPERATOR


class Fleet:
    """One event loop. ``aclose`` ends all links and waits for them."""

    def __init__(
        self,
        store: AsyncStore,
        clock: Clock,
        hello: Hello,
        *,
        ephemeral_s: float = 600.0,
        seen_s: float = 60.0,
        greet: Greet = lambda certificate: (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._hello = hello
        self._ephemeral_s = ephemeral_s
        self._seen_s = seen_s
        self.greet = greet
        #: What the mesh narrows beside what tokens do.
        self.narrow: Callable[[tuple[AgentInfo, ...]], tuple[AgentInfo, ...]] = lambda agents: agents
        #: Told of ephemeral agents that were deleted.
        self.forgotten: Callable[[AgentRecord], None] = lambda record: None
        self._members: dict[str, Member] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[Link] = set()
        self._changed = asyncio.Event()
        self._draining: str | None = None

    # --- links ----------------------------------------------------------------------------------------

    async def attach(
        self, agent_id: str, name: str, stream: FrameStream, serial: str = "", address: str = ""
    ) -> LinkEnd:
        """Serves one link of one agent until it ends; the newest link of an agent takes the place of an
        older. ``serial`` is of the certificate that was shown, ``address`` where from.

        Raises CertificateRefused for a revoked agent, Unreachable while shutting down, and what the store
        says.
        """
        if self._draining is not None:
            raise Unreachable(f"the controller is going away: {self._draining}")
        certificate = await self._store.call(
            lambda store: _admit(store, agent_id, name, serial, self._clock.wall_ns())
        )
        member = self._members.setdefault(agent_id, Member(agent_id, name))
        member.name = name
        if member.revoked:
            raise CertificateRefused(f"agent {name} is revoked")
        takes_over = member.connected
        if member.link is not None:
            member.link.fail(ErrorCode.REPLACED, "the same agent attached anew")
        link = Link(self._hello, member.inbox, stream, self._clock, takes_over)
        member.link = link
        self._links.add(link)
        try:
            end = await link.run(lambda event: self._on_event(member, link, certificate, address, event))
            if link.misnamed:
                raise NotAllowed(f"agent {name} may not report as another")
            return end
        finally:
            self._links.discard(link)
            if member.link is link:
                member.link = None
                if link.was_ready:  # a link that never came up is no sight of the agent
                    self._seen(member)
                    log.info("agent %s is gone", escape(name, 80))
            self._notify()

    def failed(self, agent_id: str, name: str, reason: str) -> None:
        """Why an agent that we dial has no link, until it has one."""
        self._members.setdefault(agent_id, Member(agent_id, name)).reason = reason

    def tell(self, *frames: RenewWanted | DenyList) -> None:
        """To every agent that is attached now."""
        for link in self._links:
            if link.ready:
                _tell(link, frames)

    def _greeted(
        self, member: Member, link: Link, certificate: CertificateRecord | None, address: str, hello: Hello
    ) -> None:
        member.hello = _bounded(hello)
        member.reason = None
        now = self._clock.monotonic()
        if member.sightings.began(hello.instance, escape(address, 80), now):
            log.error("agent %s: %s", escape(member.name, 80), member.sightings.doubled(now))
        self._seen(member)
        self._notify()
        log.info("agent %s is attached", escape(member.name, 80))
        _tell(link, self.greet(certificate))

    async def _on_event(
        self,
        member: Member,
        link: Link,
        certificate: CertificateRecord | None,
        address: str,
        event: Event,
    ) -> None:
        """Never waits: a task that is cut off here would lose what its inbox has counted already."""
        match event:
            case ResultsArrived() | JobEnded():
                feed = member.feeds.get(event.job_id)
                if feed is not None:
                    feed.events.put_nowait(event)
                elif isinstance(event, ResultsArrived):
                    self.commit(member, event.job_id, event.seq)
            case Ready() if event.peer.name not in ("", member.name):
                log.error("agent %s says that it is %s", escape(member.name, 80), escape(event.peer.name, 80))
                link.misnamed = True
                link.fail(ErrorCode.PROTOCOL, "this certificate is of another name")
            case Ready():
                self._greeted(member, link, certificate, address, event.peer)
            case Drained():
                log.info(
                    "agent %s takes no more jobs: %s", escape(member.name, 80), escape(event.reason, 200)
                )
            case _:
                pass

    def _seen(self, member: Member) -> None:
        """Remembers that and how it was seen; the store is told beside what goes on."""
        member.last_seen_ns = self._clock.wall_ns()
        hello, seen = member.hello, member.last_seen_ns
        self.spawn(self._store.call(lambda store: _remember(store, member.id, hello, seen)))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs ``work`` beside what goes on; what it raises is logged."""

        async def run() -> None:
            try:
                await work
            except Exception as error:
                log.error("%s", error)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_connected(self, names: frozenset[str], seconds: float) -> None:
        """Until all of ``names`` are connected, or ``seconds`` are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not names <= {m.name for m in self._members.values() if m.connected}:
                    await self._changed.wait()

    # --- jobs -----------------------------------------------------------------------------------------

    def open(self, agent_id: str, job: Job) -> Feed:
        """Sends a job: now, once the agent has done with others, or on its next link; all within the job's
        budget. ``close_feed`` it in the end."""
        member = self._members[agent_id]
        full = not _has_room(_begun(member), job)
        feed = member.feeds[job.id] = Feed(job, self._clock.monotonic() + job.budget_ms / 1000)
        if member.revoked:
            feed.give_up()
        elif full:
            member.waiting.append(job.id)
        else:
            self._send(member, job)
        return feed

    def _send(self, member: Member, job: Job) -> None:
        if member.link is not None:
            member.link.do(lambda session: session.send_job(job))
        else:
            member.inbox.expect(job.id, job)
            member.inbox.date(self._clock.monotonic())

    def _send_next(self, member: Member) -> None:
        """The job that has waited longest of those that may begin, with what is left of its time."""
        begun = _begun(member) if member.waiting else Counter[str]()
        for job_id in member.waiting:
            feed = member.feeds[job_id]
            if _has_room(begun, feed.job):
                member.waiting.remove(job_id)
                left_ms = round((feed.deadline - self._clock.monotonic()) * 1000)
                self._send(member, replace(feed.job, budget_ms=max(1, left_ms)))
                return

    def waits(self, agent_id: str, job_id: str) -> bool:
        """Whether the agent has not been given the job yet, others of ours being in its hands."""
        return job_id in self._members[agent_id].waiting

    def cancel(self, agent_id: str, job_id: str, reason: str) -> None:
        """Tells the agent to stop; its end still comes, if the link lives and the job was sent."""
        member = self._members[agent_id]
        if job_id in member.waiting:
            member.feeds[job_id].give_up()
        elif member.link is not None:
            member.link.do(lambda session: session.cancel(job_id, reason))
        else:
            member.inbox.cancel(job_id, reason)

    def committed(self, agent_id: str, job_id: str, seq: int) -> None:
        self.commit(self._members[agent_id], job_id, seq)

    def commit(self, member: Member, job_id: str, seq: int) -> None:
        """What was stored may be acknowledged, over whichever link there is now."""
        if member.link is not None:
            member.link.do(lambda session: session.committed(job_id, seq))
        else:
            member.inbox.committed(job_id, seq)

    def close_feed(self, agent_id: str, job_id: str) -> None:
        """No more of this job: what still comes is acknowledged unread."""
        member = self._members[agent_id]
        member.feeds.pop(job_id, None)
        if job_id in member.waiting:
            member.waiting.remove(job_id)
            return
        member.inbox.forget(job_id)
        self._send_next(member)
        if member.link is not None:
            member.link.poke()

    def revoked(self, agent_id: str) -> bool:
        """Whether it was revoked while it was a member: nothing more will come of it."""
        member = self._members.get(agent_id)
        return member is not None and member.revoked

    def connected(self, agent_id: str) -> bool:
        member = self._members.get(agent_id)
        return member is not None and member.connected

    # --- what is known ----------------------------------------------------------------------------------

    async def agents(self) -> tuple[AgentInfo, ...]:
        """Everybody in the store, with what is known from live links; a name's older, revoked holders are
        left out where there is a newer one."""
        records = await self._store.call(lambda store: store.agents())
        newest: dict[str, AgentRecord] = {}
        for record in sorted(records, key=lambda r: (not r.revoked, r.created_ns)):
            newest[record.name] = record
        return self.narrow(tuple(self._info(newest[name]) for name in sorted(newest)))

    def _info(self, record: AgentRecord) -> AgentInfo:
        member = self._members.get(record.id)
        connected = member is not None and member.connected and not record.revoked
        if member is not None and member.hello is not None:
            record = _with_hello(record, member.hello, member.last_seen_ns)
        state = AgentState.CONNECTED if connected else AgentState.LOST
        return AgentInfo(
            name=record.name,
            site=record.site,
            labels=dict(record.labels),
            state=AgentState.REVOKED if record.revoked else state,
            version=record.version,
            addresses=record.addresses,
            capabilities=record.capabilities,
            last_seen_ns=self._clock.wall_ns() if connected else record.last_seen_ns,
            id=record.id,
            ephemeral=record.ephemeral,
            reason=None if member is None else self._odd(member, connected),
            narrow=() if record.narrow is None else (record.narrow,),
        )

    def _odd(self, member: Member, connected: bool) -> str | None:
        doubled = member.sightings.doubled(self._clock.monotonic())
        return doubled or (None if connected else member.reason)

    async def info(self, name: str) -> AgentInfo:
        """Raises NotFound."""
        record = await self._store.call(lambda store: store.agent_by_name(name))
        if record is None:
            raise NotFound(f"there is no agent {escape(name, 80)}", "see: meshctl agents")
        (narrowed,) = self.narrow((self._info(record),))
        return narrowed

    # --- housekeeping -----------------------------------------------------------------------------------

    async def revoke(self, agent_id: str) -> None:
        """Ends its link, telling it why where it still reads, and takes none again. Whoever waits for its
        results waits no longer."""
        member = self._members.get(agent_id)
        if member is None:
            return
        member.revoked = True
        link = member.link
        if link is not None:
            link.fail(ErrorCode.REVOKED, "an administrator revoked this agent")
        for feed in member.feeds.values():
            feed.give_up()
        if link is not None:
            await link.wait_ended(_REVOKE_S, self._clock)

    async def sweep(self) -> None:
        """Once: says who was seen, forgets ephemeral agents that have been lost for long."""
        now = self._clock.wall_ns()
        live = {m.id: m for m in self._members.values() if m.connected}
        for member in live.values():
            member.last_seen_ns = now
        limit = now - round(self._ephemeral_s * 1e9)

        def work(store: Store) -> list[AgentRecord]:
            for seen in live.values():
                _remember(store, seen.id, seen.hello, now)
            stale = [
                record
                for record in store.agents()
                if record.ephemeral
                and record.id not in live
                and (record.last_seen_ns or record.created_ns) < limit
            ]
            for record in stale:
                store.revoke_certificates(record.id)
                store.delete_agent(record.id)
            return stale

        for record in await self._store.call(work):
            self.forgotten(record)
            gone = self._members.get(record.id)
            if gone is not None and not gone.feeds and gone.link is None:
                del self._members[record.id]

    async def keep(self) -> None:
        """Sweeps for ever."""
        while True:
            await self._clock.sleep(self._seen_s)
            try:
                await self.sweep()
            except Exception as error:
                log.error("housekeeping: %s", error)

    async def drain(self, reason: str, seconds: float) -> None:
        """Says goodbye to all agents and waits until their links have nothing more to say, or time is
        over."""
        self._draining = reason
        for link in list(self._links):
            link.goodbye(reason)
        end = self._clock.monotonic() + seconds
        while any(not link.settled for link in self._links) and self._clock.monotonic() < end:
            await self._clock.sleep(_POLL_S)

    async def aclose(self) -> None:
        self._draining = self._draining or "closed"
        for link in list(self._links):
            link.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                while self._links:
                    await self._changed.wait()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)


def _kept(word: str) -> str:
    """Thousands of agents say the same words: each is held once."""
    return sys.intern(escape(word, _MAX_WORD))


def _tell(link: Link, frames: tuple[RenewWanted | DenyList, ...]) -> None:
    def tell(session: Session) -> None:
        for frame in frames:
            session.tell(frame)

    link.do(tell)


def _admit(store: Store, agent_id: str, name: str, serial: str, now_ns: int) -> CertificateRecord | None:
    """A certificate of ours that is not revoked belongs to an agent, also where its record was deleted."""
    record = store.agent_by_id(agent_id)
    if record is not None and record.revoked:
        raise CertificateRefused(f"agent {name} is revoked")
    if record is None:
        store.put_agent(AgentRecord(agent_id, name, created_ns=now_ns))
    if serial:
        store.use_certificate(serial, now_ns)
    return store.certificate(serial) if serial else None


def _remember(store: Store, agent_id: str, hello: Hello | None, seen_ns: int) -> None:
    record = store.agent_by_id(agent_id)
    if record is not None:
        store.put_agent(_with_hello(record, hello, seen_ns))


def _with_hello(record: AgentRecord, hello: Hello | None, seen_ns: int | None) -> AgentRecord:
    record = replace(record, last_seen_ns=seen_ns if seen_ns is not None else record.last_seen_ns)
    if hello is None:
        return record
    return replace(record, version=hello.software, addresses=hello.addresses, capabilities=hello.capabilities)


def _bounded(hello: Hello) -> Hello:
    """A hello's claims, cut to what can be stored and shown."""
    return replace(
        hello,
        software=escape(hello.software, _MAX_WORD).removeprefix("probemesh/"),
        addresses=readable(hello.addresses[:_MAX_ADDRESSES]),
        capabilities=tuple(_kept(word) for word in hello.capabilities[:_MAX_CAPABILITIES]),
        open_jobs=(),
    )
