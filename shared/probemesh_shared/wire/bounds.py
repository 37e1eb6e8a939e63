"""What may come in from the wire, in one place: every number, length and list has a limit.

The size of a whole message is bounded before it is parsed (1 MiB); these bounds keep single values sane, so
that no reader further in meets a NaN, a negative port or a round trip of a year. Values beyond a bound raise
:class:`BadMessage`, values inside come back unchanged.
"""

from collections.abc import Callable
from typing import Any

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import PortRange

#: A message on a link, and one length-prefixed frame on a pipe, in bytes.
MAX_MESSAGE = 1 << 20
MAX_TEXT = 16_384  # characters of one string
MAX_BYTES = 65_536  # one bytes value: a certificate, a body's beginning
MAX_ITEMS = 16_384  # one list: targets of a job, measurements of a batch
MAX_ENTRIES = 256  # one map: labels
MAX_ID = 200
MAX_SIZES = 64  # of one sweep: each of them is measured beside the others
MAX_SAMPLES = 1_000  # of one measurement: it has to fit into one batch, failures and all
_INT_MAX = (1 << 63) - 1
_DAY_MS = 86_400_000.0


class BadMessage(InvalidRequest):
    """What came is not a message of this protocol, or holds a value that cannot be."""


Check = Callable[[Any], Any]


def integer(low: int, high: int) -> Check:
    """Accepts ints in [low, high]."""

    def check(value: int) -> int:
        if low <= value <= high:
            return value
        raise BadMessage(f"{value} is not between {low} and {high}")

    return check


def number(low: float, high: float) -> Check:
    """Accepts finite floats in [low, high]; a NaN is in no range."""

    def check(value: float) -> float:
        if low <= value <= high:
            return value
        raise BadMessage(f"{value} is not between {low} and {high}")

    return check


def length(limit: int, least: int = 0) -> Check:
    """Accepts strings, bytes, lists and maps of ``least`` to ``limit`` elements."""

    def check(value: Any) -> Any:
        if least <= len(value) <= limit:
            return value
        raise BadMessage(f"length {len(value)} is not between {least} and {limit}")

    return check


#: Where the plain bound of a type is not enough: by (class, field), then by field name alone.
_PORT = integer(1, 65_535)
_OCTET = integer(0, 255)
_FIELD: dict[tuple[str, str] | str, Check] = {
    "port": _PORT,
    "first": _PORT,
    "last": _PORT,
    "local_port": integer(0, 65_535),
    "dscp": integer(0, 63),
    "ttl": _OCTET,
    "size": integer(0, 65_535),
    ("IcmpSpec", "sizes"): integer(0, 65_535),
    "mss": integer(0, 65_535),
    "first_hop": integer(1, 255),
    "max_hops": integer(1, 255),
    "hop": _OCTET,
    "distance": _OCTET,
    ("MtuSpec", "smallest"): integer(48, 65_535),  # of IP packets
    ("MtuSpec", "largest"): integer(48, 65_535),
    "count": integer(1, MAX_SAMPLES),
    "interval_s": number(0.0, 86_400.0),
    "timeout_s": number(0.001, 86_400.0),
    "packets_per_s": number(1e-6, 1e9),
    "connects_per_s": number(1e-6, 1e9),
    "budget_ms": integer(0, int(_DAY_MS)),
    "target_index": integer(0, 1 << 31),
    "ttl_s": integer(0, (1 << 32) - 1),
    "status": integer(0, 999),
    "http_status": integer(0, 999),
    "edns_size": integer(0, 65_535),
    "info_code": integer(0, 65_535),
    "serial": integer(0, (1 << 32) - 1),
    ("Shot", "port"): integer(0, 65_535),  # 0: the target's
    ("PacketSeen", "count"): integer(0, _INT_MAX),
    "delay_ms": integer(0, 60_000),
    "source_port": integer(0, 65_535),
    ("HttpSpec", "follow"): integer(0, 20),
    "protocol": integer(1, 1 << 31),
    "min_protocol": integer(1, 1 << 31),
    ("UdpDetail", "protocol"): length(64),
    ("IcmpError", "type"): _OCTET,
    ("IcmpError", "code"): _OCTET,
    ("TlsSpec", "ca"): length(262_144),  # PEM: an authority of one's own, or some
    ("HttpSpec", "ca"): length(262_144),
    ("DenyList", "serials"): length(8_192),
    ("DenyList", "names"): length(8_192),
    ("Job", "id"): length(MAX_ID, least=1),
    ("Job", "asked_by"): length(MAX_ID),
    "job_id": length(MAX_ID, least=1),
    "run_id": length(MAX_ID),
    "instance": length(MAX_ID, least=1),
    "text": length(4096),
    "host": length(1024),
}
#: Lists that cannot be as long as others, each of whose elements makes its reader work: by (class, field).
_ITEMS: dict[tuple[str, str], Check] = {
    ("IcmpSpec", "sizes"): length(MAX_SIZES),
}
_TYPE: dict[type, Check] = {
    int: integer(0, _INT_MAX),
    float: number(0.0, _DAY_MS),  # durations and offsets, all of them forward
    str: length(MAX_TEXT),
    bytes: length(MAX_BYTES),
    bool: lambda value: value,
}
_LIST = length(MAX_ITEMS)


def check_for(cls: type, name: str, kind: type) -> Check:
    """The bound of scalar field ``name`` (of type ``kind``) of ``cls``."""
    if (cls.__name__, name) in _FIELD:
        return _FIELD[cls.__name__, name]
    special = _FIELD.get(name)
    # the same name may stand for another type elsewhere (``status`` of a job is a word)
    return special if special is not None and kind is not bool else _TYPE[kind]


def _ordered(ports: PortRange) -> None:
    if ports.first > ports.last:
        raise BadMessage(f"range {ports.first}-{ports.last} runs backwards")


def items_for(cls: type, name: str) -> Check:
    """The bound of how many elements list ``name`` of ``cls`` has."""
    return _ITEMS.get((cls.__name__, name), _LIST)


#: Conditions over several fields of one object.
WHOLE: dict[type, Callable[[Any], None]] = {PortRange: _ordered}
