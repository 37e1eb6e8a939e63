"""Parent of the generated messages and stubs. C-core reads its environment when grpc is imported, which
every stub does: set here.

grpcio has no "TLS 1.3 only". With P-256 keys in every certificate and no cipher but an RSA one offered for
TLS 1.2, a 1.2 handshake has nothing to agree on, while 1.3 brings its own ciphers. ``GRPC_VERBOSITY`` keeps
C-core from writing to our stderr by itself; whoever debugs may set it.
"""

import os
import sys

#: True where grpc was there first: it may accept TLS 1.2 then, and :mod:`probemesh_shared.rpc.grpc_setup`
#: refuses.
GRPC_CAME_FIRST = "grpc" in sys.modules

os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES128-GCM-SHA256"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
