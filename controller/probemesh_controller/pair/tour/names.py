"""The signs of the tour. Each says what it means when it holds."""

from typing import Final

READY: Final = "tour-ready"  # the path answers, so that what it does to packets can be seen
FLOW_READY: Final = "tour-flow-ready"  # ... and the flow that was asked for does

PING_LOST: Final = "ping-lost"  # eight or more echo requests, and nothing came back
ECHO_ARRIVED: Final = "echo-arrived"  # the far host counted them

LARGE_LOST: Final = "large-lost"  # what fills a packet and must not be broken up never arrives
CLEAR_LOST: Final = "clear-lost"  # ... nor where routers may break it up (IPv4)
FRAGMENTS_LOST: Final = "fragments-lost"  # what takes several packets never arrives
TOLD_SIZE: Final = "told-size"  # a router said which size it takes
NO_CLEAR: Final = "no-clear"  # IPv6: routers break nothing up

LOSES: Final = "loses"  # more packets are lost than chance explains as a few
POLICED: Final = "policed"  # which ones goes by the rate

SAME_FLOWS: Final = "same-flows-fail"  # the same source ports fail again and again, the others do not
LADDERED: Final = "flows-laddered"  # how far a flow gets that fails was looked at
HELD_LIMITED: Final = "held-limited"  # the first so many connections are taken while they are held, no more

HEADERS_CHANGED: Final = "headers-changed"  # the SYN arrived otherwise than it was sent

CONNECTS_SHORT: Final = "connects-short"  # connected with a TTL that does not lead to the target
SAME_TUPLE: Final = "same-tuple"  # the far end has the very connection that the prober has
TTLS_DIFFER: Final = "ttls-differ"  # SYN and ACK of one handshake came from different distances
OTHER_CERTIFICATE: Final = "other-certificate"  # than the far end's own service presents to itself
DNS_SHORT: Final = "dns-short"  # a name server answered a query that cannot have reached the target

TRANSLATED: Final = "source-translated"  # the far end sees another source than the prober has
OUTER_NAT: Final = "outer-nat"  # the prober's own public address is more than one router away
NOT_ITS_OWN: Final = "not-its-own"  # the dialled address is none of the far host's
HANDED_ON: Final = "handed-on"  # what is sent there came in at the far host at another address
DIALLED_EXPIRES: Final = "dialled-expires"  # the dialled address itself says "time exceeded"
FAR_RECEIVES: Final = "far-receives"  # what is sent there reaches the far host
THIRD_RECEIVES: Final = "third-receives"  # ... reaches another agent
HAIRPIN: Final = "hairpin"  # the dialled address is the prober's own public one, and others get through to it

RESET_BY_ANY: Final = "reset-by-any"  # ... and by harmless bytes of the same number as well
RESET_BY_PAYLOAD: Final = "reset-by-payload"  # a connection is reset once it says something, else not
PAYLOAD_ARRIVED: Final = "payload-arrived"  # the far host had the bytes

HOPS_SILENT: Final = "hops-silent"  # routers on the way answer no expired packet, however slowly asked
IDLE_LOST: Final = "idle-lost"  # a reply that comes late is lost, one that comes sooner is not
STATE_LOST: Final = "state-lost"  # an established flow died, and new ones are fine
FAMILY_DEAD: Final = "family-dead"  # the far end's addresses of the other family do not answer
ADDRESS_DEAD: Final = "address-dead"  # one of its addresses does not answer, others of the family do
