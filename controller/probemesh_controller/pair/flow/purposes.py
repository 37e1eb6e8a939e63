"""Purposes of steps: the words by which a step's maker and its readers know each other."""

from typing import Final

FIRST: Final = "first"  # both ways at once, with controls beside
FIRST_FLOW: Final = "first:flow"
FIRST_TCP: Final = "first:tcp"
FIRST_UDP: Final = "first:udp"
FIRST_PING: Final = "first:ping"

CONTROLS: Final = "controls"
CONTROLS_TCP: Final = "controls:tcp"
CONTROLS_UDP: Final = "controls:udp"
CONTROLS_PING: Final = "controls:ping"

AGAIN: Final = "again"  # the flow, alone: what the hosts count is its
BURST: Final = "burst"  # the flow alone, for one counter of the far end
LONG: Final = "long"  # the flow, waited for as long as a neighbour is asked for

HOLD: Final = "hold"  # connections that stand for a second: does somebody take them

THIRD: Final = "third"  # the flow, sent by another agent

SHUT: Final = "shut"
SHUT_PORT: Final = "shut:port"  # datagrams of the far end from the number of the service's port
SHUT_ANY: Final = "shut:any"

REFLECT: Final = "reflect"  # an end asks a third agent as whom it is seen

LADDER: Final = "ladder"
LADDER_FLOW: Final = "ladder:flow"
LADDER_BASE: Final = "ladder:base"

BACK_LADDER: Final = "back-ladder"
BACK_FLOW: Final = "back-ladder:flow"  # from the service's port, as its answers are
BACK_BASE: Final = "back-ladder:base"

PATH: Final = "path"  # which hops there are, for people
PATH_FLOW: Final = "path:flow"  # the same, of a flow that is answered: is it the far end that is led to

#: Full-TTL shots of the flow itself.
FLOW_SHOTS: Final = (FIRST_FLOW, AGAIN, BURST, LONG, HOLD)
TCP_SHOTS: Final = (FIRST_TCP, CONTROLS_TCP)
UDP_SHOTS: Final = (FIRST_UDP, CONTROLS_UDP)
PING_SHOTS: Final = (FIRST_PING, CONTROLS_PING)
