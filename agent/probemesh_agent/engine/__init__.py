"""The packet engine under icmp, tcp and udp: one epoll loop in its own thread, with sockets of its own.

:class:`~probemesh_agent.engine.loop.Engine` is the thread, :class:`~probemesh_agent.engine.flight.Flight` the
asyncio end of one run, :class:`~probemesh_agent.engine.schedule.Schedule` its engine end: what starts when,
what has waited long enough. A driver (``tcp``, ``udp``, ``icmp``) knows one protocol."""
