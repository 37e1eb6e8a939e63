"""The session, case by case: hello, life, clock, jobs, results, cancel, drain, breaches of protocol."""

from dataclasses import replace

import pytest
from probemesh_shared.session.events import (
    CancelArrived,
    ClockMeasured,
    Drained,
    Ended,
    JobArrived,
    JobEnded,
    JobTurnedAway,
    Ready,
    ResultsArrived,
)
from probemesh_shared.session.frames import (
    Ack,
    Cancel,
    ClockReply,
    ClockRequest,
    ErrorCode,
    ErrorFrame,
    Frame,
    Heartbeat,
    JobEnd,
    JobStatus,
    ResultBatch,
    UnknownFrame,
    Unreadable,
)
from probemesh_shared.session.inbox import MOST_HELD as MOST_INBOX
from probemesh_shared.session.inbox import Inbox
from probemesh_shared.session.machine import Session, SessionConfig, Side
from probemesh_shared.session.outbox import MAX_HELD, WINDOW, Outbox
from probemesh_shared.session.roles import MOST_ACKS

from tests.session.simulated import Link, hello, job, measurement


def ready_link(**kwargs: object) -> Link:
    link = Link(Outbox(), Inbox(), **kwargs)  # type: ignore[arg-type]
    link.settle()
    assert link.agent.session.ready
    assert link.controller.session.ready
    return link


def boxes(link: Link) -> tuple[Outbox, Inbox]:
    return link.agent.session._agent._outbox, link.controller.session._controller._inbox  # type: ignore[union-attr]


# --- hello and versions -----------------------------------------------------------------------------------


def test_hellos_make_both_ready_and_tell_the_peer() -> None:
    link = Link(Outbox(), Inbox())
    agent, controller = link.settle()
    assert isinstance(agent[0], Ready)
    assert isinstance(controller[0], Ready)
    assert controller[0].peer.name == "lisbon-1"
    assert agent[0].protocol == 1


def test_a_newer_peer_that_still_speaks_ours_agrees_on_ours_and_its_unknown_frames_are_life() -> None:
    link = Link(Outbox(), Inbox(), controller=hello("c", protocol=2, least=1))
    link.settle()
    assert link.agent.session.protocol == link.controller.session.protocol == 1
    link.now = 39.0
    assert link.agent.session.receive(UnknownFrame(), link.now) == []
    link.now = 60.0
    assert not [e for e in link.agent.session.tick(link.now) if isinstance(e, Ended)]


@pytest.mark.parametrize("newer", ["agent", "controller"])
def test_no_version_in_common_ends_both_sides_with_that_word(newer: str) -> None:
    link = Link(Outbox(), Inbox(), **{newer: hello("n", protocol=5, least=3)})
    agent, controller = link.settle()
    for events, session in ((agent, link.agent.session), (controller, link.controller.session)):
        assert isinstance(events[-1], Ended)
        assert events[-1].code is ErrorCode.VERSION
        assert session.peer is None
    assert "3 to 5" in link.agent.session.end.detail + link.controller.session.end.detail  # type: ignore[union-attr]


def test_no_hello_ends_the_session_before_its_silence_would() -> None:
    session = Session(Side.AGENT, hello("a"), 0.0)
    assert session.next_tick == 10.0
    assert session.tick(9.9) == []
    (end,) = session.tick(10.0)
    assert end == Ended(None, "no hello within 10 s", by_peer=False)
    assert session.take() == []


# --- life -------------------------------------------------------------------------------------------------


def test_an_idle_link_lives_for_minutes_on_heartbeats() -> None:
    link = ready_link()
    agent, controller = link.pass_time(600)
    assert not [e for e in agent + controller if isinstance(e, Ended)]
    assert link.agent.session.ready
    assert link.controller.session.ready


def test_silence_ends_the_session_after_forty_seconds() -> None:
    link = ready_link()
    link.now = 39.9
    assert link.agent.session.tick(link.now) == []
    link.now = 40.0
    (end,) = link.agent.session.tick(link.now)
    assert end == Ended(None, "nothing heard for 40 s", by_peer=False)
    assert link.agent.session.next_tick == float("inf")


def test_a_heartbeat_is_sent_only_when_nothing_else_was() -> None:
    link = ready_link()
    link.now = 10.0
    link.controller.session.tick(link.now)
    link.controller.session.send_job(job("j"))
    link.settle()
    link.now = 20.0
    link.controller.session.tick(link.now)
    assert not [f for f in link.controller.session.take() if isinstance(f, Heartbeat)]
    link.now = 25.0
    link.controller.session.tick(link.now)
    assert [f for f in link.controller.session.take() if isinstance(f, Heartbeat)] == [Heartbeat(0)]


# --- clock ------------------------------------------------------------------------------------------------


def test_the_clocks_are_compared_after_ready_and_every_minute() -> None:
    link = Link(Outbox(), Inbox(), skew_ns=250_000_000)
    _, controller = link.pass_time(130)
    measured = [e for e in controller if isinstance(e, ClockMeasured)]
    assert len(measured) == 3
    assert all(abs(m.offset_ms - 250) < 0.001 for m in measured)


def test_the_uncertainty_is_half_the_round_trip_and_covers_the_asymmetry() -> None:
    link = ready_link(skew_ns=5_000_000)
    link.pass_time(59.9)
    link.now = 60.0
    link.tick(link.controller)
    link.controller.write()
    link.now += 0.030  # there
    link.deliver(link.agent)
    link.agent.write()
    link.now += 0.010  # back
    (measured,) = [e for e in link.deliver(link.controller) if isinstance(e, ClockMeasured)]
    assert measured.uncertainty_ms == pytest.approx(20.0)
    assert abs(measured.offset_ms - 5.0) <= measured.uncertainty_ms


@pytest.mark.parametrize(
    "reply",
    [
        ClockReply(1, 2, 3),  # to no question
        ClockReply(0, 20, 10),  # sent before it was received
        ClockReply(0, 0, 10**18),  # longer at the peer than the whole exchange took
    ],
)
def test_replies_that_cannot_be_are_ignored(reply: ClockReply) -> None:
    link = ready_link(skew_ns=0)
    link.pass_time(59.9)
    link.now = 60.0
    link.tick(link.controller)
    (request,) = [f for f in link.controller.session.take() if isinstance(f, ClockRequest)]
    if reply.request_sent_ns == 0:
        reply = replace(
            reply,
            request_sent_ns=request.sent_ns,
            received_ns=request.sent_ns + reply.received_ns,
            sent_ns=request.sent_ns + reply.sent_ns,
        )
    assert link.controller.session.receive(reply, link.now) == []
    assert link.controller.session.ready


def test_a_flood_of_clock_requests_is_answered_once() -> None:
    link = ready_link(skew_ns=0)
    for number in range(10_000):
        link.agent.session.receive(ClockRequest(number), link.now)
    assert [f.request_sent_ns for f in link.agent.session.take() if isinstance(f, ClockReply)] == [9999]


# --- jobs and results ---------------------------------------------------------------------------------------


def test_a_job_goes_there_and_its_results_come_back_once_committed_and_forgotten() -> None:
    link = ready_link()
    outbox, inbox = boxes(link)
    link.controller.session.send_job(job("j"))
    agent, _ = link.settle()
    assert agent == [JobArrived(job("j"))]
    outbox.add("j", [measurement(0), measurement(1)])
    outbox.end("j", JobStatus.DONE)
    _, controller = link.settle()
    assert controller == [
        ResultsArrived("j", 0, (measurement(0), measurement(1))),
        JobEnded("j", 1, JobStatus.DONE, ""),
    ]
    assert not outbox.empty
    assert not link.agent.session.settled
    link.controller.session.committed("j", 1)
    link.settle()
    assert outbox.empty
    assert inbox.open_jobs() == ()
    assert link.agent.session.settled
    assert link.controller.session.settled


def test_a_job_said_before_the_hellos_goes_out_after_them() -> None:
    link = Link(Outbox(), Inbox())
    link.controller.session.send_job(job("j"))
    assert all(not isinstance(f, type(job("j"))) for f in link.controller.write())
    agent, _ = link.settle()
    assert [type(e) for e in agent] == [Ready, JobArrived]


def test_the_window_holds_results_back_until_they_are_committed() -> None:
    link = ready_link()
    outbox, _ = boxes(link)
    link.controller.session.send_job(job("j"))
    link.settle()
    for number in range(60):
        outbox.add("j", [measurement(number, padding=20_000)])
    _, controller = link.settle()
    got = [e for e in controller if isinstance(e, ResultsArrived)]
    assert 10 <= len(got) < 14
    assert outbox.unacknowledged <= WINDOW
    while got:
        link.controller.session.committed("j", got[-1].seq)
        _, controller = link.settle()
        got = [e for e in controller if isinstance(e, ResultsArrived)]
    assert outbox.empty


def test_one_job_does_not_starve_another() -> None:
    link = ready_link()
    outbox, _ = boxes(link)
    for job_id in ("big", "small"):
        link.controller.session.send_job(job(job_id))
    link.settle()
    for number in range(60):
        outbox.add("big", [measurement(number, padding=20_000)])
    outbox.add("small", [measurement(0)])
    _, controller = link.settle()
    assert "small" in {e.job_id for e in controller if isinstance(e, ResultsArrived)}


def test_room_ends_at_the_limit_and_comes_back_with_acknowledgements() -> None:
    link = ready_link()
    outbox, _ = boxes(link)
    outbox._limit = 100_000
    link.controller.session.send_job(job("j"))
    link.settle()
    number = 0
    while outbox.room:
        outbox.add("j", [measurement(number, padding=20_000)])
        number += 1
    assert 4 <= number <= 6
    link.settle()
    link.controller.session.committed("j", number - 1)
    link.settle()
    assert outbox.room


def test_cancel_reaches_the_job_once_and_unknown_ones_not_at_all() -> None:
    link = ready_link()
    outbox, _ = boxes(link)
    link.controller.session.send_job(job("j"))
    link.settle()
    link.controller.session.cancel("j", "interrupted")
    link.controller.session.cancel("j", "interrupted")
    link.controller.session.cancel("nobody", "interrupted")
    agent, _ = link.settle()
    assert agent == [CancelArrived("j", "interrupted")]
    outbox.end("j", JobStatus.CANCELLED)
    agent, controller = link.settle()
    assert controller == [JobEnded("j", 0, JobStatus.CANCELLED, "")]
    assert link.agent.session.receive(Cancel("nobody"), link.now) == []


def test_what_comes_of_a_forgotten_job_is_acknowledged_and_stopped() -> None:
    link = ready_link()
    outbox, inbox = boxes(link)
    link.controller.session.send_job(job("j"))
    link.settle()
    for number in range(30):
        outbox.add("j", [measurement(number, padding=20_000)])
    link.settle()  # the window is full, nothing is committed
    inbox.forget("j")
    agent, controller = link.settle()
    assert controller == []
    assert agent == [CancelArrived("j", "no longer wanted")]
    outbox.end("j", JobStatus.CANCELLED)
    assert link.settle() == ([], [])
    assert outbox.empty


def test_the_agent_turns_jobs_away_beyond_its_bound() -> None:
    link = ready_link(config=SessionConfig(max_jobs=2))
    for name in "abc":
        link.controller.session.send_job(job(name))
    agent, controller = link.settle()
    assert [e.job.id for e in agent if isinstance(e, JobArrived)] == ["a", "b"]
    assert [e.job_id for e in agent if isinstance(e, JobTurnedAway)] == ["c"]
    assert [(e.job_id, e.status) for e in controller if isinstance(e, JobEnded)] == [
        ("c", JobStatus.REJECTED)
    ]


def test_an_unreadable_job_is_rejected_and_the_session_goes_on() -> None:
    link = ready_link()
    _, inbox = boxes(link)
    inbox.expect("j")
    told = link.agent.session.receive(Unreadable("j", None, "Spec is of a kind not known"), link.now)
    assert told == [JobTurnedAway("j", None, "not understood by this agent: Spec is of a kind not known")]
    _, controller = link.settle()
    (end,) = controller
    assert isinstance(end, JobEnded)
    assert end.status is JobStatus.REJECTED
    assert "not known" in end.detail
    assert link.agent.session.ready


def test_unreadable_results_fail_their_job_alone_and_are_not_met_again() -> None:
    link = ready_link()
    outbox, inbox = boxes(link)
    for name in ("bad", "good"):
        link.controller.session.send_job(job(name))
    link.settle()
    outbox.add("bad", [measurement(0)])
    outbox.add("bad", [measurement(1)])
    (first, second) = [f for f in link.agent.session.take() if isinstance(f, ResultBatch)]
    link.controller.session.receive(first, link.now)
    (end,) = link.controller.session.receive(Unreadable("bad", second.seq, "port 70000"), link.now)
    assert isinstance(end, JobEnded)
    assert end.status is JobStatus.FAILED
    agent, _ = link.settle()
    assert agent == [CancelArrived("bad", "no longer wanted")]
    outbox.end("bad", JobStatus.CANCELLED)
    assert link.settle() == ([], [])
    assert outbox.empty
    assert [j.job_id for j in inbox.open_jobs()] == ["good"]


# --- drain ------------------------------------------------------------------------------------------------


def test_a_draining_agent_takes_no_new_jobs_and_finishes_what_runs() -> None:
    link = ready_link()
    outbox, _ = boxes(link)
    link.controller.session.send_job(job("old"))
    link.settle()
    link.agent.session.goodbye("SIGTERM")
    link.controller.session.send_job(job("crossing"))
    agent, controller = link.settle()
    assert agent == [JobTurnedAway("crossing", job("crossing"), "the agent is going away: SIGTERM")]
    assert Drained("SIGTERM") in controller
    assert [(e.job_id, e.status) for e in controller if isinstance(e, JobEnded)] == [
        ("crossing", JobStatus.REJECTED)
    ]
    link.controller.session.send_job(job("late"))
    (end,) = link.controller.session.tick(link.now)
    assert isinstance(end, JobEnded)
    assert (end.job_id, end.status) == ("late", JobStatus.REJECTED)
    outbox.add("old", [measurement(0)])
    outbox.end("old", JobStatus.DONE)
    _, controller = link.settle()
    assert [type(e) for e in controller] == [ResultsArrived, JobEnded]
    link.controller.session.committed("old", 1)
    link.controller.session.committed("crossing", 0)
    link.settle()
    assert link.agent.session.settled


# --- a new link -------------------------------------------------------------------------------------------


def test_a_restarted_controller_lists_nothing_and_the_agent_stops() -> None:
    outbox = Outbox()
    link = Link(outbox, Inbox())
    link.settle()
    link.controller.session.send_job(job("running"))
    link.controller.session.send_job(job("over"))
    link.settle()
    outbox.add("running", [measurement(0)])
    outbox.end("over", JobStatus.DONE)
    link = Link(outbox, Inbox(), controller=hello("controller-2"))
    agent, controller = link.settle()
    assert [type(e) for e in agent] == [Ready, CancelArrived]
    assert [type(e) for e in controller] == [Ready]
    assert outbox.empty
    outbox.add("running", [measurement(1)])
    outbox.end("running", JobStatus.CANCELLED)
    assert link.settle() == ([], [])


def test_a_restarted_agent_has_lost_its_jobs() -> None:
    inbox = Inbox()
    link = Link(Outbox(), inbox)
    link.settle()
    link.controller.session.send_job(job("j"))
    link.settle()
    link = Link(Outbox(), inbox, agent=hello("agent-2"))
    agent, controller = link.settle()
    assert [type(e) for e in agent] == [Ready]
    assert controller[1:] == [JobEnded("j", 0, JobStatus.LOST, "the agent restarted")]
    assert inbox.open_jobs() == ()


def test_an_agent_that_forgot_a_job_says_so_itself() -> None:
    outbox, inbox = Outbox(), Inbox()
    link = Link(outbox, inbox)
    link.settle()
    link.controller.session.send_job(job("j"))
    link.settle()
    outbox.add("j", [measurement(0)])
    link.settle()
    inbox.committed("j", 0)
    link = Link(Outbox(), inbox)  # the same instance, and yet it knows nothing
    _, controller = link.settle()
    assert [e.status for e in controller if isinstance(e, JobEnded)] == [JobStatus.LOST]


def test_a_job_lost_with_its_link_is_sent_again_with_the_budget_that_is_left() -> None:
    outbox, inbox = Outbox(), Inbox()
    link = Link(outbox, inbox)
    link.settle()
    link.controller.session.send_job(job("j", budget_ms=15_000))
    link.tick(link.controller)
    link.controller.write()  # and the link breaks with it
    link = Link(outbox, inbox, now=4.0)
    agent, _ = link.settle()
    assert agent[1:] == [JobArrived(job("j", budget_ms=11_000))]
    link = Link(outbox, inbox, now=5.0)  # arrived, without results so far: comes again, starts once
    agent, _ = link.settle()
    assert [type(e) for e in agent] == [Ready]


def test_what_came_but_is_not_committed_stays_at_the_agent_and_comes_once() -> None:
    outbox, inbox = Outbox(), Inbox()
    link = Link(outbox, inbox)
    link.settle()
    link.controller.session.send_job(job("j"))
    link.settle()
    outbox.add("j", [measurement(0)])
    _, controller = link.settle()
    assert controller == [ResultsArrived("j", 0, (measurement(0),))]
    link = Link(outbox, inbox)
    outbox.add("j", [measurement(1)])
    _, controller = link.settle()
    assert controller[1:] == [ResultsArrived("j", 1, (measurement(1),))]
    assert [frame.seq for frame, _ in outbox._spool.pending("j", 0)] == [0, 1]
    link.controller.session.committed("j", 1)
    link.settle()
    assert outbox.empty


def test_a_cancellation_outlives_the_link() -> None:
    outbox, inbox = Outbox(), Inbox()
    link = Link(outbox, inbox)
    link.settle()
    link.controller.session.send_job(job("j"))
    link.settle()
    link.controller.session.cancel("j", "interrupted")
    link.controller.write()  # lost
    link = Link(outbox, inbox)
    agent, _ = link.settle()
    assert agent[1:] == [CancelArrived("j", "interrupted")]


# --- what breaks the protocol -------------------------------------------------------------------------------

BATCH = ResultBatch("j", 0, ())


@pytest.mark.parametrize(
    ("side", "frame"),
    [
        (Side.AGENT, job("j")),
        (Side.AGENT, Heartbeat(0)),
        (Side.CONTROLLER, BATCH),
        (Side.CONTROLLER, UnknownFrame()),
    ],
)
def test_anything_before_hello_ends_it(side: Side, frame: Frame) -> None:
    session = Session(side, hello("x"), 0.0)
    (end,) = session.receive(frame, 0.0)
    assert isinstance(end, Ended)
    assert end.code is ErrorCode.PROTOCOL
    assert [type(f).__name__ for f in session.take()] == ["Hello", "ErrorFrame"]


@pytest.mark.parametrize(
    ("side", "frame"),
    [
        (Side.AGENT, BATCH),
        (Side.AGENT, JobEnd("j", 0, JobStatus.DONE)),
        (Side.CONTROLLER, job("j")),
        (Side.CONTROLLER, Ack("j", 0)),
        (Side.CONTROLLER, Cancel("j")),
        (Side.AGENT, hello("again")),
        (Side.CONTROLLER, hello("again")),
    ],
)
def test_frames_of_the_wrong_side_and_second_hellos_end_it(side: Side, frame: Frame) -> None:
    link = ready_link()
    session = (link.agent if side is Side.AGENT else link.controller).session
    (end,) = session.receive(frame, 0.0)
    assert isinstance(end, Ended)
    assert end.code is ErrorCode.PROTOCOL
    assert session.receive(Heartbeat(1), 0.0) == []


def test_a_gap_ends_it_and_nothing_of_it_is_told() -> None:
    link = ready_link()
    link.controller.session.send_job(job("j"))
    link.settle()
    (end,) = link.controller.session.receive(ResultBatch("j", 1, (measurement(0),)), 0.0)
    assert isinstance(end, Ended)
    assert "number 1" in end.detail


def test_results_after_the_end_of_a_job_end_it() -> None:
    link = ready_link()
    link.controller.session.send_job(job("j"))
    link.settle()
    link.controller.session.receive(JobEnd("j", 0, JobStatus.DONE), 0.0)
    (end,) = link.controller.session.receive(ResultBatch("j", 1, ()), 0.0)
    assert isinstance(end, Ended)
    assert end.code is ErrorCode.PROTOCOL


def test_an_acknowledgement_of_the_future_ends_it() -> None:
    link = ready_link()
    link.controller.session.send_job(job("j"))
    link.settle()
    boxes(link)[0].add("j", [measurement(0)])
    (end,) = link.agent.session.receive(Ack("j", 1), 0.0)
    assert isinstance(end, Ended)
    assert end.code is ErrorCode.PROTOCOL


def test_jobs_whose_results_nobody_acknowledges_end_it() -> None:
    """The controller reads the rejections, and keeps them in our memory."""
    link = ready_link(config=SessionConfig(max_jobs=2, max_queue=100_000))
    ends = [
        event
        for number in range(2 * MAX_HELD)
        for event in link.agent.session.receive(job(f"j{number}"), 0.0)
        if isinstance(event, Ended)
    ]
    assert [end.code for end in ends] == [ErrorCode.PROTOCOL]
    outbox, _ = boxes(link)
    assert outbox.waiting <= MAX_HELD * 1024
    assert outbox.running == 2


def test_results_beyond_the_window_end_it_though_they_are_in_order() -> None:
    link = ready_link()
    session, (_, inbox) = link.controller.session, boxes(link)
    inbox.expect("j")
    arrived = 0
    for seq in range(100):
        for event in session.receive(ResultBatch("j", seq, (), 100_000), 0.0):
            arrived += isinstance(event, ResultsArrived)
        if seq < 50:
            session.committed("j", seq)
    assert 50 <= arrived <= 50 + MOST_INBOX // 100_000
    assert session.end is not None and session.end.code is ErrorCode.PROTOCOL


def test_ends_of_jobs_that_nobody_asked_for_are_not_hoarded_for_one_who_does_not_read() -> None:
    session = ready_link().controller.session
    for number in range(3 * MOST_ACKS):
        session.receive(JobEnd(f"unknown-{number}", 0, JobStatus.DONE), 0.0)
    assert session.end is not None and session.end.code is ErrorCode.PROTOCOL
    assert len(session.take()) == 1


def test_the_peers_error_is_told_as_the_peers() -> None:
    link = ready_link()
    (end,) = link.agent.session.receive(ErrorFrame(ErrorCode.REVOKED, "bye"), 0.0)
    assert end == Ended(ErrorCode.REVOKED, "bye", by_peer=True)
    assert link.agent.session.take() == []


def test_our_own_failure_reaches_the_peer_and_our_owner() -> None:
    link = ready_link()
    link.controller.session.fail(ErrorCode.REPLACED, "another stream")
    agent, controller = link.settle()
    assert agent == [Ended(ErrorCode.REPLACED, "another stream", by_peer=True)]
    assert controller == [Ended(ErrorCode.REPLACED, "another stream", by_peer=False)]


def test_a_peer_that_never_reads_is_given_up() -> None:
    link = ready_link(config=SessionConfig(max_queue=50))
    session = link.controller.session
    for number in range(100):
        session.receive(ResultBatch(f"unknown-{number}", 0, ()), 0.0)
    assert session.end is not None
    assert "does not read" in session.end.detail
    assert len(session.take()) == 1


def test_only_a_controller_sends_jobs_and_only_once() -> None:
    link = ready_link()
    with pytest.raises(TypeError):
        link.agent.session.send_job(job("j"))
    link.controller.session.send_job(job("j"))
    with pytest.raises(ValueError, match="already expected"):
        link.controller.session.send_job(job("j"))
