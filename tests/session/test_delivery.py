"""Whatever happens to links and processes: every result once, in order, nothing acknowledged is lost."""

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from probemesh_shared.session.events import (
    CancelArrived,
    Ended,
    Event,
    JobArrived,
    JobEnded,
    ResultsArrived,
)
from probemesh_shared.session.frames import ErrorCode, JobStatus
from probemesh_shared.session.inbox import Inbox
from probemesh_shared.session.outbox import WINDOW, Outbox
from probemesh_shared.session.spool import MemorySpool

from tests.session.simulated import End, Link, hello, job, measurement

PADDING = st.sampled_from([0, 0, 0, 20_000, 120_000])
SLOTS = 2  # jobs at once: few, so that each gets far
SLOT = st.integers(0, SLOTS - 1)


@dataclass
class Account:
    """What the test knows of one job."""

    made: list[int] = field(default_factory=list)  # results at the agent, by number
    got: list[int] = field(default_factory=list)  # the same at the controller
    last_seq: int = -1  # of the last event told
    committed: int = -1  # the last number that the controller called safe
    arrivals: int = 0
    ends: list[JobStatus] = field(default_factory=list)
    running: bool = False
    agent_end: JobStatus | None = None
    sent: bool = False
    cancelled: bool = False
    cancel_arrived: bool = False


class Delivery(RuleBasedStateMachine):
    """One agent, one controller, links that are cut at any step, processes that restart."""

    def __init__(self) -> None:
        super().__init__()
        self.spool = MemorySpool()
        self.outbox, self.inbox = Outbox(self.spool), Inbox()
        self.agents = self.controllers = 1
        self.accounts: dict[str, Account] = defaultdict(Account)
        self.forgotten: set[str] = set()  # of controllers that are no more
        self.slots: list[str] = [self._new_id() for _ in range(SLOTS)]
        self.now = 0.0
        self.relink()

    def _new_id(self) -> str:
        job_id = f"job-{len(self.accounts)}"
        self.accounts[job_id] = Account()
        return job_id

    def relink(self) -> None:
        """A new link over the same boxes; what was on the old one is lost."""
        self.link = Link(
            self.outbox,
            self.inbox,
            now=self.now,
            agent=hello(f"agent-{self.agents}"),
            controller=hello(f"controller-{self.controllers}"),
        )

    # --- what both owners do with events ------------------------------------------------------------------

    def at_agent(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, JobArrived):
                account = self.accounts[event.job.id]
                account.arrivals += 1
                account.running = True
                assert account.arrivals == 1, "a job arrived twice in one agent's life"
            elif isinstance(event, CancelArrived):
                assert self.accounts[event.job_id].running, "a cancellation of what does not run"
                self.accounts[event.job_id].cancel_arrived = True
            self.no_breach(event)

    def at_controller(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, ResultsArrived | JobEnded):
                assert event.job_id not in self.forgotten
                account = self.accounts[event.job_id]
                assert not account.ends, "something came after the end"
                if isinstance(event, ResultsArrived):
                    assert event.seq == account.last_seq + 1
                    account.got += [m.target_index for m in event.measurements]
                else:
                    account.ends.append(event.status)
                account.last_seq = event.seq
            self.no_breach(event)

    @staticmethod
    def no_breach(event: Event) -> None:
        assert not (isinstance(event, Ended) and event.code is ErrorCode.PROTOCOL), event

    @initialize(running=st.booleans())
    def begin(self, running: bool) -> None:
        """Trouble may come from the first frame on, or while jobs run."""
        if running:
            for slot in range(SLOTS):
                self.send_job(slot)
            self.talk()

    # --- rules ----------------------------------------------------------------------------------------------

    @rule(slot=SLOT)
    def send_job(self, slot: int) -> None:
        """A slot's job, or the next one where it is over."""
        if self.accounts[self.slots[slot]].ends or self.slots[slot] in self.forgotten:
            self.slots[slot] = self._new_id()
        account = self.accounts[self.slots[slot]]
        if not account.sent:
            account.sent = True
            self.link.controller.session.send_job(job(self.slots[slot]))

    @rule(slot=SLOT, paddings=st.lists(PADDING, min_size=1, max_size=4))
    def measure(self, slot: int, paddings: list[int]) -> None:
        job_id = self.slots[slot]
        account = self.accounts[job_id]
        if account.running:
            numbers = range(len(account.made), len(account.made) + len(paddings))
            account.made += numbers
            self.outbox.add(job_id, [measurement(n, pad) for n, pad in zip(numbers, paddings, strict=True)])

    @rule(slot=SLOT, status=st.sampled_from([JobStatus.DONE, JobStatus.EXPIRED, JobStatus.FAILED]))
    def end_job(self, slot: int, status: JobStatus) -> None:
        self.finish(self.slots[slot], status)

    def finish(self, job_id: str, status: JobStatus) -> None:
        account = self.accounts[job_id]
        if account.running:
            account.running, account.agent_end = False, status
            self.outbox.end(job_id, status)

    @rule(slot=SLOT)
    def cancel(self, slot: int) -> None:
        account = self.accounts[self.slots[slot]]
        account.cancelled = account.sent
        self.link.controller.session.cancel(self.slots[slot], "enough")

    @rule(agent=st.booleans())
    def write(self, agent: bool) -> None:
        (self.link.agent if agent else self.link.controller).write()

    @rule(agent=st.booleans(), limit=st.integers(1, 4))
    def deliver(self, agent: bool, limit: int) -> None:
        self.hand_over(self.link.agent if agent else self.link.controller, limit)

    def hand_over(self, end: End, limit: int) -> None:
        events = self.link.deliver(end, limit)
        (self.at_agent if end is self.link.agent else self.at_controller)(events)

    @rule(slot=SLOT, all_of_it=st.booleans())
    def commit(self, slot: int, all_of_it: bool) -> None:
        self.make_safe(self.slots[slot], all_of_it)

    def make_safe(self, job_id: str, all_of_it: bool) -> None:
        account = self.accounts[job_id]
        if job_id not in self.forgotten and account.last_seq > account.committed:
            account.committed = account.last_seq if all_of_it else account.committed + 1
            self.link.controller.session.committed(job_id, account.committed)

    @rule(slot=SLOT, padding=PADDING)
    def measure_and_send(self, slot: int, padding: int) -> None:
        self.measure(slot, [padding])
        self.link.agent.write()
        self.hand_over(self.link.controller, 1 << 30)

    @rule()
    def talk(self) -> None:
        """A stretch without trouble."""
        agent, controller = self.link.settle()
        self.at_agent(agent)
        self.at_controller(controller)

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        self.now = self.link.now = self.now + seconds
        self.at_agent(self.link.tick(self.link.agent))
        self.at_controller(self.link.tick(self.link.controller))
        if self.link.agent.session.ended or self.link.controller.session.ended:  # silence: the link is gone
            self.relink()

    @rule()
    def cut(self) -> None:
        self.relink()

    @rule(chance=st.integers(0, 3))
    def restart_agent(self, chance: int) -> None:
        if chance:
            return
        self.agents += 1
        self.spool = MemorySpool()
        self.outbox = Outbox(self.spool)
        for account in self.accounts.values():
            account.arrivals, account.running = 0, False
        self.relink()

    @rule(chance=st.integers(0, 3))
    def restart_controller(self, chance: int) -> None:
        if chance:
            return
        self.controllers += 1
        self.inbox = Inbox()
        self.forgotten |= {job_id for job_id, account in self.accounts.items() if account.sent}
        self.relink()

    # --- what always holds --------------------------------------------------------------------------------

    @invariant()
    def the_window_is_kept(self) -> None:
        assert self.outbox.unacknowledged <= WINDOW

    @invariant()
    def results_are_a_prefix_of_what_was_made(self) -> None:
        for account in self.accounts.values():
            assert account.got == account.made[: len(account.got)]
            assert len(account.ends) <= 1

    @invariant()
    def nothing_uncommitted_is_gone(self) -> None:
        for job_id, known in self.outbox._jobs.items():
            held = [frame.seq for frame, _ in self.spool.pending(job_id, 0)]
            account = self.accounts[job_id]
            assert held == list(range(known.next_seq - len(held), known.next_seq))
            if job_id not in self.forgotten and not account.ends:
                assert known.next_seq - len(held) <= account.committed + 1

    def teardown(self) -> None:
        """Trouble ends: then every job ends, and all that was made arrives, save for lost jobs."""
        self.relink()
        for _ in range(200):
            self.talk()
            for job_id, account in self.accounts.items():
                if account.running:
                    wanted = job_id not in self.forgotten and not account.cancelled
                    assert wanted or account.cancel_arrived, "the agent was not told to stop"
                    self.finish(job_id, JobStatus.DONE)
                self.make_safe(job_id, all_of_it=True)
            if self.outbox.empty and not self.inbox.open_jobs():
                break
        assert self.outbox.empty
        assert self.outbox.unacknowledged == 0
        assert self.inbox.open_jobs() == ()
        for job_id, account in self.accounts.items():
            if account.sent and job_id not in self.forgotten:
                assert len(account.ends) == 1, f"{job_id} ended {len(account.ends)} times"
                if account.ends == [account.agent_end]:
                    assert account.got == account.made
                else:
                    assert account.ends == [JobStatus.LOST]


Delivery.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestDelivery = Delivery.TestCase
