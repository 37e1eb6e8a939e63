"""The only import of grpc: C-core reads its environment when it starts, so that is set first.

grpcio has no "TLS 1.3 only". With P-256 keys in every certificate and no cipher but an RSA one offered for
TLS 1.2, a 1.2 handshake has nothing to agree on, while 1.3 brings its own ciphers. ``GRPC_VERBOSITY`` keeps
C-core from writing to our stderr by itself; whoever debugs may set it.
"""

import os

os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES128-GCM-SHA256"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

__all__ = ["CHANNEL_OPTIONS", "SERVER_OPTIONS", "Option", "grpc"]

Option = tuple[str, int | str]

MAX_MESSAGE = 1 << 20  # bytes
KEEPALIVE_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 5_000

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
    ("grpc.max_concurrent_streams", 8),
    ("grpc.so_reuseport", 0),
)
