"""The closed sets of words that cross a boundary: JSON, wire, metrics, documentation.

Each value is the word as people see it (lower case, hyphens). Enums in the ``.proto`` files carry the
same words in capitals with a prefix; :mod:`probemesh_shared.convert` maps them by that rule alone.
"""

from enum import StrEnum


class Kind(StrEnum):
    """One kind of test. ``ladder`` is the default climb and never the kind of a measurement."""

    ICMP = "icmp"
    DNS = "dns"
    TCP = "tcp"
    UDP = "udp"
    TLS = "tls"
    HTTP = "http"
    LADDER = "ladder"
    TRACE = "trace"
    MTU = "mtu"
    FLOW = "flow"  # single shots, for diagnosis
    WATCH = "watch"  # the far end's account, for diagnosis


#: Kinds that no person asks for by name: what diagnosis is made of.
OF_DIAGNOSIS = frozenset({Kind.FLOW, Kind.WATCH})


class Transport(StrEnum):
    """What a flow is made of."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


class Family(StrEnum):
    """Which addresses of a name are tried."""

    BOTH = "both"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Outcome(StrEnum):
    """How a measurement, or a vantage point's climb, ended."""

    OK = "ok"
    REFUSED = "refused"
    RESET = "reset"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    PROHIBITED = "prohibited"
    NAME_FAILS = "name-fails"
    TLS_FAILS = "tls-fails"
    ANSWER_UNEXPECTED = "answer-unexpected"
    DENIED = "denied"
    UNSUPPORTED = "unsupported"
    LOCAL_RESOURCE = "local-resource"
    AGENT_LOST = "agent-lost"
    CANCELLED = "cancelled"
    VOID = "void"
    UNMEASURED = "unmeasured"


#: Outcomes that say nothing about the target: nobody looked, or what was seen does not count.
NOT_MEASURED = frozenset(
    {
        Outcome.DENIED,
        Outcome.UNSUPPORTED,
        Outcome.LOCAL_RESOURCE,
        Outcome.AGENT_LOST,
        Outcome.CANCELLED,
        Outcome.VOID,
        Outcome.UNMEASURED,
    }
)


class SlotState(StrEnum):
    """What became of one due time of one cell of a schedule: exactly one of these. The last two say nothing
    about the target."""

    OK = "ok"
    FAILED = "failed"  # measured, and it said no: refused, unreachable, a wrong answer ...
    TIMED_OUT = "timed-out"  # silence
    DENIED = "denied"  # by the agent's own policy
    MISSED = "missed"  # nobody looked
    AGENT_LOST = "agent-lost"  # the agent that was to look, or to answer, is gone


class Stage(StrEnum):
    """What was being done when it failed."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    SEND = "send"
    RECEIVE = "receive"
    HTTP = "http"
    PROXY = "proxy"  # reaching the proxy, or the target by it
    REDIRECT = "redirect"  # getting an answer from where a redirect led


class FailureKind(StrEnum):
    """Why it failed; built from errno, ICMP type and code or protocol code, never from message text."""

    TIMEOUT = "timeout"  # silence
    REFUSED = "refused"  # RST to a SYN, or ICMP port unreachable to a datagram
    RESET = "reset"  # RST on an established connection
    CLOSED = "closed"  # FIN where an answer was due
    UNREACHABLE = "unreachable"  # ICMP net/host/protocol unreachable, time exceeded
    PROHIBITED = "prohibited"  # ICMP administratively prohibited
    NO_ROUTE = "no-route"  # our own host has no way there
    TOO_BIG = "too-big"  # larger than the path takes, with don't-fragment
    NO_SUCH_NAME = "no-such-name"  # NXDOMAIN
    NO_ADDRESS = "no-address"  # the name exists without an address of the family asked for
    NAME_SERVER_FAILED = "name-server-failed"  # SERVFAIL, REFUSED, FORMERR ... or no server configured
    TLS_ALERT = "tls-alert"
    TLS_PROTOCOL = "tls-protocol"  # what answered does not speak TLS, or no version or cipher in common
    BAD_ANSWER = "bad-answer"  # malformed, or not of this protocol
    STATUS_UNEXPECTED = "status-unexpected"
    BODY_UNEXPECTED = "body-unexpected"
    ANSWER_UNEXPECTED = "answer-unexpected"
    DENIED = "denied"  # this agent's policy
    OWN_ADDRESS = "own-address"  # the agent is the target's own end
    NOT_ADDRESSABLE = "not-addressable"  # a target agent without a usable address
    UNSUPPORTED = "unsupported"  # this agent cannot do that
    LOCAL_FILTER = "local-filter"  # EPERM from our own send
    LOCAL_RESOURCE = "local-resource"  # descriptors, buffers, ports
    AGENT_STARVED = "agent-starved"  # the agent got no processor for so long that its silence says nothing
    AGENT_LOST = "agent-lost"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"  # the run's deadline came before the attempt
    INTERNAL = "internal"  # our own fault; the log has an id


class Origin(StrEnum):
    """Whose failure it is, as far as this end can tell."""

    TARGET = "target"
    RESOLVER = "resolver"
    PATH = "path"
    AGENT = "agent"
    UNKNOWN = "unknown"


class Timing(StrEnum):
    """Where a sample's RTT came from."""

    KERNEL = "kernel"  # SO_TIMESTAMPING on both ends of the exchange
    TCP_INFO = "tcp-info"
    USER = "user"  # monotonic clock round the system call


class DnsTransport(StrEnum):
    UDP = "udp"
    TCP = "tcp"
    DOT = "dot"  # DNS over TLS, RFC 7858
    DOH = "doh"  # DNS over HTTPS, RFC 8484


class DnssecStatus(StrEnum):
    """What one answer says about its own authenticity; nothing is validated here."""

    VALIDATED = "validated"  # AD: the server says that it validated
    SIGNED = "signed"  # signatures came, and nobody says that they hold
    UNSIGNED = "unsigned"  # signatures were asked for, and none came
    BOGUS = "bogus"  # refused for its signatures: SERVFAIL that CD cures, or an extended error that says so
    UNKNOWN = "unknown"


class DnsSource(StrEnum):
    """Where the host's own resolver has its answer from, as far as its files and the server tell."""

    HOSTS_FILE = "hosts-file"
    DNS = "dns"
    UNKNOWN = "unknown"


class DnsAgreement(StrEnum):
    """The addresses of the host's own resolver beside those of the server asked."""

    SAME = "same"
    OVERLAPPING = "overlapping"
    DIFFERENT = "different"
    ONLY_SYSTEM = "only-system"
    ONLY_SERVER = "only-server"
    NEITHER = "neither"


class StartTls(StrEnum):
    """How a server is asked for TLS in the clear; ``auto``: by its port."""

    AUTO = "auto"
    SMTP = "smtp"
    IMAP = "imap"
    POP3 = "pop3"
    FTP = "ftp"
    LDAP = "ldap"
    POSTGRES = "postgres"
    MYSQL = "mysql"


class UdpRequest(StrEnum):
    """Ready-made datagrams; ``none`` is an empty one."""

    NONE = "none"
    DNS = "dns"
    NTP = "ntp"
    STUN = "stun"
    SNMP = "snmp"  # v2c, community public
    SNMP3 = "snmp3"  # v3 engine discovery, which needs no secret
    SIP = "sip"
    QUIC = "quic"


class AgentState(StrEnum):
    CONNECTED = "connected"
    LOST = "lost"
    REVOKED = "revoked"


class AuditOutcome(StrEnum):
    """What came of an event that is recorded."""

    OK = "ok"
    STARTED = "started"  # its end is another record
    REFUSED = "refused"  # by certificate or role
    DENIED = "denied"  # by policy: not one target was left
    REJECTED = "rejected"  # wrong, unknown, or not now
    FAILED = "failed"  # through a fault of ours
    CUT = "cut"  # by us, while it was served
    CANCELLED = "cancelled"  # by who asked


class Role(StrEnum):
    """What a certificate entitles its holder to be."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    AGENT = "agent"
    JOIN = "join"
    CONTROLLER = "controller"
    RENEWAL = "renewal"  # of an operator's laptop: may fetch the next short certificate, and nothing else


#: People and laptops. Their certificates live for hours.
OPERATORS = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})


class Direction(StrEnum):
    FORWARD = "forward"
    REVERSE = "reverse"


class PlaceKind(StrEnum):
    SOURCE_HOST = "source-host"
    TARGET_HOST = "target-host"
    HOP = "hop"
    BETWEEN = "between"
    BEHIND_HOST = "behind-host"
    TARGET_SERVICE = "target-service"


class Confidence(StrEnum):
    """``certain`` is right in at least 99 of 100, ``likely`` in 70; below that it is ``possible``."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Verdict(StrEnum):
    """Stable codes of findings; the reference has a paragraph for each."""

    NOT_LISTENING = "not-listening"
    SILENT_FOR_ALL = "silent-for-all"
    SOURCE_SELECTIVE = "source-selective"
    NAME_FAILS = "name-fails"
    FAMILY_BROKEN = "family-broken"
    CERTIFICATE_INVALID = "certificate-invalid"
    AGENT_LOST = "agent-lost"
    NOT_ADDRESSABLE = "not-addressable"
    TLS_FAILS = "tls-fails"
    ANSWER_UNEXPECTED = "answer-unexpected"
    NAMES_DIFFER = "names-differ"
    CERTIFICATE_DIFFERS = "certificate-differs"
    ANSWER_DIFFERS = "answer-differs"
    SLOW_FROM = "slow-from"
    UNDETERMINED = "undetermined"
    # what alternatives may name
    FORWARD_DROP = "forward-drop"
    RETURN_DROP = "return-drop"
    FORWARD_REJECT = "forward-reject"
    FORWARD_NO_ROUTE = "forward-no-route"
    FORWARD_RESET = "forward-reset"
    TARGET_INPUT_DROP = "target-input-drop"
    TARGET_INPUT_REJECT = "target-input-reject"
    TARGET_DOWN = "target-down"
    PORT_CLOSED = "port-closed"
    SOURCE_OUTPUT_FILTER = "source-output-filter"
    SOURCE_NO_ROUTE = "source-no-route"
    NEXT_HOP_DEAD = "next-hop-dead"
    SILENT_SERVICE = "silent-service"
    ICMP_ECHO_FILTERED = "icmp-echo-filtered"
    VANTAGE_IMPAIRED = "vantage-impaired"
    ADDRESS_BROKEN = "address-broken"
    SERVICE_UNRESPONSIVE = "service-unresponsive"
    SPLIT_HORIZON = "split-horizon"
    DNS_INTERCEPT = "dns-intercept"
    TLS_INTERCEPT = "tls-intercept"
    SEVERAL_BACKENDS = "several-backends"
    # of a pair: both ends looked
    REACHABLE = "reachable"
    LISTENING_ELSEWHERE = "listening-elsewhere"
    RETURN_REJECT = "return-reject"
    RETURN_RESET = "return-reset"
    TARGET_OUTPUT_FILTER = "target-output-filter"
    TARGET_REVERSE_PATH_FILTER = "target-reverse-path-filter"
    ROUTING_LOOP = "routing-loop"
    BLACKHOLE = "blackhole"
    ASYMMETRIC_STATEFUL = "asymmetric-stateful"
    ONE_WAY_INITIATION = "one-way-initiation"
    SYN_FILTER = "syn-filter"
    SOURCE_NAT = "source-nat"
    DESTINATION_NAT = "destination-nat"
    DESTINATION_NAT_WRONG_HOST = "destination-nat-wrong-host"
    DOUBLE_NAT = "double-nat"
    HAIRPIN_FAILS = "hairpin-fails"
    TCP_SPLITTER = "tcp-splitter"
    SYN_PROXY = "syn-proxy"
    MTU_BLACK_HOLE = "mtu-black-hole"
    SIZE_FILTER = "size-filter"
    FRAGMENT_DROP = "fragment-drop"
    ICMP_ERRORS_FILTERED = "icmp-errors-filtered"
    UDP_STATE_TIMEOUT = "udp-state-timeout"
    STATE_LOST = "state-lost"
    RATE_LIMIT = "rate-limit"
    LOSS = "loss"
    CONNECTION_LIMIT = "connection-limit"
    PAYLOAD_RESET = "payload-reset"
    HEADER_REWRITE = "header-rewrite"
    REPLY_FROM_OTHER_ADDRESS = "reply-from-other-address"
    ACCEPT_OVERLOAD = "accept-overload"
    TARGET_HOST_FORWARDS = "target-host-forwards"
    FLOW_SELECTIVE = "flow-selective"
    CONNTRACK_FULL = "conntrack-full"
    DUPLICATE_ADDRESS = "duplicate-address"


class Aspect(StrEnum):
    """What vantage points are compared by, in the order in which it is shown."""

    IPV4_ADDRESSES = "ipv4-addresses"
    IPV6_ADDRESSES = "ipv6-addresses"
    RECORDS = "records"
    CERTIFICATE = "certificate"
    STATUS = "status"
    LOCATION = "location"
    BODY = "body"
    SERVER = "server"
    BANNER = "banner"
    ANSWER = "answer"
    DATAGRAM = "datagram"
    FAMILY_RTT = "family-rtt"
