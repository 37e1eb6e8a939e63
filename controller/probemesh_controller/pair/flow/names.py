"""The signs of the flow question. Each says what it means when it holds."""

from typing import Final

# what the prober saw of the flow's own shots; at most one of these holds
ANSWERED: Final = "answered"  # connected, or a reply came from the address that was asked
SILENT: Final = "silent"  # five or more spaced attempts, and nothing came back
REFUSED: Final = "refused"  # a RST came
REJECTED: Final = "rejected"  # an ICMP error from the network
REJECTED_BY_TARGET: Final = "rejected-by-target"
REJECTED_BY_SELF: Final = "rejected-by-self"  # by the prober's own host
EXPIRED: Final = "expired"  # time exceeded at the full TTL
SEND_FILTERED: Final = "send-filtered"  # EPERM, ENOBUFS: the prober's own host did not let it out
NO_ROUTE: Final = "no-route"  # the prober's own host has no way there
LATE_UNREACHABLE: Final = "late-unreachable"  # "host unreachable", after a neighbour was asked for in vain

OTHER_SOURCE: Final = "other-source"  # replies came from another address than was asked
PORT_CODE: Final = "port-code"  # the target's ICMP error says "port unreachable"
ROUTE_CODE: Final = "route-code"  # the ICMP error is one that a missing route gives as well

AT_BOX: Final = "at-box"  # the address that is dialled is none of the far end's
BOX_REJECTS: Final = "box-rejects"  # ... and the ICMP error comes from that very address
BOX_FILTERS: Final = "box-filters"  # ... with a code that no host gives for a port that nobody has

PRIVATE: Final = "private"  # it is an address that means nothing beyond its own site
ASKED_HERE: Final = "asked-here"  # such an address, which the prober looked for on a link of its own in vain
SEEN_THERE: Final = "seen-there"  # what the far end itself sends is seen to come from the dialled address

# what the prober's host counted
NEAR_OUT_LOST: Final = "near-out-lost"  # it sent them, and its own output let nothing out

REPEAT_FAILED: Final = "repeat-failed"  # its repeated SYNs were dropped before they left it

# what the far end saw
FAR_REPORTS: Final = "far-reports"  # its watch is armed
LISTENING: Final = "listening"  # a socket stands on the port, at the address that is dialled
SPOKEN: Final = "spoken"  # what it is told is what services of this port answer; else nobody knows
ELSEWHERE: Final = "elsewhere"  # one stands on the port, at other addresses only
DELIVERED: Final = "delivered"  # its transport layer had the packets
ON_WIRE: Final = "on-wire"  # seen on the wire before the host's filter (CAP_NET_RAW)
HOST_DROPPED: Final = "host-dropped"  # the host received them and delivered them to nobody
RPF_DROPPED: Final = "rpf-dropped"
FORWARDED: Final = "forwarded"  # the host passed them on
OVERFLOWED: Final = "overflowed"  # its listener's queue was full
CONNTRACK_FULL: Final = "conntrack-full"
FAR_REPLIED: Final = "far-replied"  # its socket sent a reply (UDP)
FAR_OUT_LOST: Final = "far-out-lost"  # it sent its replies, and its own output let nothing out
FAR_NO_ROUTE: Final = "far-no-route"  # its host has no way to the prober
SYNACK_REPEATED: Final = "synack-repeated"  # it sent its SYN-ACKs again
PORT_SHUT: Final = "port-shut"  # it lets out neither SYN-ACKs nor datagrams of the port
RST_SENT: Final = "rst-sent"  # it answered with RSTs
UNREACHABLE_SENT: Final = "unreachable-sent"  # nothing stood on the UDP port, by its own count
EMBRYONIC: Final = "embryonic"  # RSTs came for its half-open connections
FAR_REJECTS: Final = "far-rejects"  # its own host made ICMP errors "destination unreachable"
RETURN_ICMP: Final = "return-icmp"  # ICMP errors came for what it sent
RETURN_EXPIRED: Final = "return-expired"  # ... that say "time exceeded"
WITNESSED: Final = "witnessed"  # what the prober had as answered is in the far end's tables
WITNESS_MIXED: Final = "witness-mixed"  # some of it
UNACCEPTED: Final = "unaccepted"  # connections wait for a second in the accept queue
STRANGER: Final = "stranger"  # what answers knows nothing of the far end's own listeners, nor it of that
NEVER_COMPLETED: Final = "never-completed"  # connected for the prober, half open for the far end

# controls
TCP_CONTROL: Final = "tcp-control"  # TCP to the far watch's own port is answered by it
UDP_CONTROL: Final = "udp-control"
PING: Final = "ping"
OTHER_WORKS: Final = "other-works"  # anything else gets through to that address
BACK_WORKS: Final = "back-works"  # flows of the far end to this one are answered
BACK_HALF: Final = "back-half"  # flows of the far end connect there, and stay half open here
ONE_WAY: Final = "one-way"  # whatever is opened from here fails, and all that the far end opens works
TURNED_AWAY: Final = "turned-away"  # ... at the address that a NAT gives the far end
SYN_ONLY: Final = "syn-only"  # no SYN gets through, everything else does

THIRD_REACHES: Final = "third-reaches"  # another agent gets through to the same port

# the ladder
STOPS_SHORT: Final = "stops-short"  # hops that answer for another flow do not for this one
STOPS_AT_ONCE: Final = "stops-at-once"  # ... and not one answers
REFUSED_SHORT: Final = "refused-short"  # refused with a TTL that does not lead to the target
STANDS_IN: Final = "stands-in"  # an address of the far end's own says what only a box on the way can say

# the ladder back: the far end sends what its answers look like
RETURN_STOPS: Final = "return-stops"  # hops that answer for other packets of its do not for these
RETURN_LEAVES: Final = "return-leaves"  # its own host lets them out

# ourselves
NEAR_GONE: Final = "near-gone"  # the prober's agent cannot be reached
FAR_GONE: Final = "far-gone"
NO_ADDRESS: Final = "no-address"
IMPAIRED: Final = "impaired"  # the prober's own host could not measure

#: How the flow's own shots ended; at most one of these holds.
FATES: Final = (
    ANSWERED,
    SILENT,
    REFUSED,
    REJECTED,
    REJECTED_BY_TARGET,
    REJECTED_BY_SELF,
    EXPIRED,
    SEND_FILTERED,
    NO_ROUTE,
    LATE_UNREACHABLE,
)

#: What the prober itself knows at first hand.
FIRM: Final = frozenset({*FATES, NEAR_GONE, NO_ADDRESS, IMPAIRED})
