"""What a verdict about a pair means in plain words, and who can mend it. Pure.

``{near}`` initiates, ``{far}`` is dialled, ``{flow}`` is what is sent (``tcp/5432``, ``ping``).
"""

from dataclasses import dataclass
from enum import Enum

from probemesh_shared.words import Verdict

_V = Verdict


class Owner(Enum):
    """Whose affair it is."""

    FIREWALL = "whoever runs the firewall or router on the way"
    ROUTING = "whoever runs the routing on the way"
    NAT = "whoever runs the NAT or the port forwarding on the way"
    SOURCE = "whoever runs {near}"
    TARGET = "whoever runs {far}"
    OURS = "whoever runs the agents"
    NOBODY = "nobody: it breaks nothing"


@dataclass(frozen=True, slots=True)
class Words:
    """``said``: a clause. ``wish``: what is asked of the owner, where there is something to ask."""

    said: str
    owner: Owner = Owner.NOBODY
    wish: str | None = None


_LET = "let {flow} from {near} to {far} pass, and the answers back"
_BACK = "let the answers of {far} to {near} pass: what belongs to a {flow} that {near} began"
_HOST = "let {flow} from {near} in at {far}'s own firewall"
_AT_ALL = "let {flow} pass to the address below that does not answer, as to {far}"

WORDS: dict[Verdict, Words] = {
    _V.REACHABLE: Words("{flow} gets there and back"),
    _V.FORWARD_DROP: Words("{flow} is dropped on the way there", Owner.FIREWALL, _LET),
    _V.RETURN_DROP: Words(
        "{flow} arrives, and the answers are dropped on the way back", Owner.FIREWALL, _BACK
    ),
    _V.FORWARD_REJECT: Words("{flow} is rejected on the way there", Owner.FIREWALL, _LET),
    _V.FORWARD_NO_ROUTE: Words(
        "a router on the way has no route to {far}", Owner.ROUTING, "route to {far} there"
    ),
    _V.FORWARD_RESET: Words("something on the way answers {flow} with a RST", Owner.FIREWALL, _LET),
    _V.RETURN_REJECT: Words("the answers are rejected on the way back", Owner.FIREWALL, _BACK),
    _V.RETURN_RESET: Words("something on the way back resets what {far} answers", Owner.FIREWALL, _BACK),
    _V.TARGET_INPUT_DROP: Words("{far}'s own host drops {flow}", Owner.TARGET, _HOST),
    _V.TARGET_INPUT_REJECT: Words("{far}'s own host rejects {flow}", Owner.TARGET, _HOST),
    _V.TARGET_OUTPUT_FILTER: Words(
        "{far}'s own host does not let its answers out", Owner.TARGET, "let answers to {near} out at {far}"
    ),
    _V.TARGET_REVERSE_PATH_FILTER: Words(
        "{far}'s kernel drops {flow}, as it would answer by another interface (rp_filter)",
        Owner.TARGET,
        "route back to {near} by the interface on which its packets come, or loosen rp_filter there (2)",
    ),
    _V.TARGET_DOWN: Words("{far} does not answer at all", Owner.TARGET, "see whether {far} is up"),
    _V.TARGET_HOST_FORWARDS: Words(
        "{far} passes {flow} on to something behind it (a published container port, a DNAT rule)",
        Owner.TARGET,
        "look at what {flow} is forwarded to on {far}",
    ),
    _V.SOURCE_OUTPUT_FILTER: Words(
        "{near}'s own host does not let {flow} out", Owner.SOURCE, "let {flow} to {far} out at {near}"
    ),
    _V.SOURCE_NO_ROUTE: Words("{near} has no route to {far}", Owner.SOURCE, "give {near} a route to {far}"),
    _V.NEXT_HOP_DEAD: Words(
        "the next hop does not answer for {far}'s address", Owner.ROUTING, "see why that neighbour is dead"
    ),
    _V.ROUTING_LOOP: Words("{flow} goes round between routers", Owner.ROUTING, "mend the loop"),
    _V.BLACKHOLE: Words(
        "everything sent beyond a hop vanishes, of every kind", Owner.ROUTING, "see where it ends, and why"
    ),
    _V.ASYMMETRIC_STATEFUL: Words(
        "a stateful firewall sees one direction only, as the two take different ways",
        Owner.FIREWALL,
        "lead both directions by the same firewall, or let it pass flows that it has not seen begin",
    ),
    _V.ONE_WAY_INITIATION: Words(
        "connections can be opened from the other side only",
        Owner.FIREWALL,
        "let {near} begin {flow} to {far}",
    ),
    _V.SYN_FILTER: Words("TCP connections cannot be opened in this direction", Owner.FIREWALL, _LET),
    _V.PORT_CLOSED: Words(
        "the way is fine, and nothing listens on {flow} at {far}", Owner.TARGET, "start the service on {flow}"
    ),
    _V.LISTENING_ELSEWHERE: Words(
        "the way is fine, and the service is bound to another address of {far}",
        Owner.TARGET,
        "bind the service to the address that is dialled",
    ),
    _V.SERVICE_UNRESPONSIVE: Words(
        "the way is fine, and the service at {far} does not answer", Owner.TARGET, "look at the service"
    ),
    _V.ACCEPT_OVERLOAD: Words(
        "the way is fine, and the service's queue of connections is full",
        Owner.TARGET,
        "look at why the service does not take its connections",
    ),
    _V.SILENT_SERVICE: Words("what listens on {flow} does not answer strangers"),
    _V.SOURCE_NAT: Words("{near}'s address is rewritten on the way"),
    _V.DOUBLE_NAT: Words("{near}'s address is rewritten more than once on the way"),
    _V.DESTINATION_NAT: Words("the address dialled is that of a box which passes {flow} on to {far}"),
    _V.DESTINATION_NAT_WRONG_HOST: Words(
        "the address dialled passes {flow} on to another host than {far}",
        Owner.NAT,
        "forward {flow} to {far}",
    ),
    _V.HAIRPIN_FAILS: Words(
        "{far}'s public address works from outside, and not from inside",
        Owner.NAT,
        "let it hairpin (RFC 4787, REQ-9), or dial the inner address",
    ),
    _V.TCP_SPLITTER: Words(
        "a proxy on the way ends the connection and opens another", Owner.FIREWALL, "exempt {flow} to {far}"
    ),
    _V.SYN_PROXY: Words(
        "something on the way completes handshakes in {far}'s place", Owner.FIREWALL, "exempt {flow} to {far}"
    ),
    _V.TLS_INTERCEPT: Words(
        "something on the way presents a certificate of its own", Owner.FIREWALL, "exempt {flow} to {far}"
    ),
    _V.DNS_INTERCEPT: Words(
        "something on the way answers DNS in {far}'s place", Owner.FIREWALL, "exempt {flow} to {far}"
    ),
    _V.MTU_BLACK_HOLE: Words(
        "large packets vanish, and nobody says that they are too large",
        Owner.FIREWALL,
        "let ICMP type 3 code 4 (IPv6: packet too big) pass, or clamp the MSS",
    ),
    _V.SIZE_FILTER: Words("large packets are dropped", Owner.FIREWALL, "let packets of every size pass"),
    _V.FRAGMENT_DROP: Words("fragments are dropped", Owner.FIREWALL, "let fragments pass"),
    _V.ICMP_ECHO_FILTERED: Words("ping is filtered; nothing else suffers"),
    _V.ICMP_ERRORS_FILTERED: Words("the ICMP errors of hops do not come back"),
    _V.UDP_STATE_TIMEOUT: Words(
        "answers that take some seconds do not come back",
        Owner.NAT,
        "keep UDP state for two minutes or more (RFC 4787, REQ-5)",
    ),
    _V.STATE_LOST: Words(
        "established flows die on the way", Owner.FIREWALL, "see why state of live flows is dropped"
    ),
    _V.RATE_LIMIT: Words("what exceeds a rate is dropped", Owner.FIREWALL, "raise the rate for {flow}"),
    _V.LOSS: Words("packets are lost at random", Owner.ROUTING, "see which link loses packets"),
    _V.CONNECTION_LIMIT: Words(
        "only so many connections at once are let through", Owner.FIREWALL, "raise the limit for {flow}"
    ),
    _V.PAYLOAD_RESET: Words(
        "the connection is reset once certain bytes are sent", Owner.FIREWALL, "exempt {flow} to {far}"
    ),
    _V.HEADER_REWRITE: Words("TCP options, MSS or DSCP are rewritten on the way"),
    _V.REPLY_FROM_OTHER_ADDRESS: Words(
        "{far} answers from another address than the one that was asked",
        Owner.TARGET,
        "bind the service to the address that is dialled",
    ),
    _V.FLOW_SELECTIVE: Words(
        "the same few source ports always fail: one member of a bundle is bad",
        Owner.ROUTING,
        "see which link of the bundle is dead",
    ),
    _V.CONNTRACK_FULL: Words(
        "a table of connections is full", Owner.FIREWALL, "enlarge it, or see who fills it"
    ),
    _V.DUPLICATE_ADDRESS: Words(
        "another host answers under {far}'s address", Owner.ROUTING, "find who has that address too"
    ),
    _V.FAMILY_BROKEN: Words("one address family is broken, the other works", Owner.FIREWALL, _AT_ALL),
    _V.ADDRESS_BROKEN: Words("one address of {far} fails, the others work", Owner.FIREWALL, _AT_ALL),
    _V.AGENT_LOST: Words("our own agent could not be reached: that says nothing of the network", Owner.OURS),
    _V.NOT_ADDRESSABLE: Words(
        "{far} has no address that {near} could dial: that is no fault",
        Owner.OURS,
        "give it one: mesh-agent run --advertise ADDR",
    ),
    _V.VANTAGE_IMPAIRED: Words("the agent's own link or processor is in trouble", Owner.OURS),
    _V.UNDETERMINED: Words("what was seen does not tell what the matter is"),
}


def said(verdict: Verdict, near: str, far: str, flow: str) -> str:
    """The clause for one direction; the code itself where there are no words for it."""
    words = WORDS.get(verdict)
    return words.said.format(near=near, far=far, flow=flow) if words else str(verdict)
