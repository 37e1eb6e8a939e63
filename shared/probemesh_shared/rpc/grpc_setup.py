"""The one place that imports grpc beside the generated stubs, and the options that it needs everywhere.

TLS 1.2 is shut out by the environment that :mod:`probemesh` sets (it says how); grpc imported before that
would accept it, so such a process does not come up at all.
"""

from probemesh import GRPC_CAME_FIRST

# isort: split
import grpc
import grpc.aio

__all__ = ["CHANNEL_OPTIONS", "SERVER_OPTIONS", "Option", "grpc"]

if GRPC_CAME_FIRST:
    raise ImportError("grpc was imported before its environment was set: use probemesh_shared.rpc.grpc_setup")

Option = tuple[str, int | str]

MAX_MESSAGE = 1 << 20  # bytes
#: A peer that fell silent just after it was heard is noticed after the sum of both and half a second more;
#: with the 10 s and 5 s that seem natural that was 15.5 s, measured, and both ends have to know within 15.
KEEPALIVE_MS = 9_000
KEEPALIVE_TIMEOUT_MS = 4_000

#: These belong together: without the server's two ping options a client's keepalive ends in "too many pings".
_BOTH: tuple[Option, ...] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.absolute_max_metadata_size", 8 << 10),
    ("grpc.enable_http_proxy", 0),
)

CHANNEL_OPTIONS: tuple[Option, ...] = (
    *_BOTH,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # also C-core's limit for one attempt to connect
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),  # closing the channel closes its socket
    ("grpc.enable_retries", 0),
)

SERVER_OPTIONS: tuple[Option, ...] = (
    *_BOTH,
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # a diagnosis has a watch at each end, a dozen steps at once, and looks beside them: one stream each
    ("grpc.max_concurrent_streams", 48),
    ("grpc.so_reuseport", 0),
)
