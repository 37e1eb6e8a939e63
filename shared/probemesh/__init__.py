"""Parent of the generated messages and stubs. C-core reads its environment when grpc is imported, which
every stub does: set here.

grpcio has no "TLS 1.3 only". With P-256 keys in every certificate and no cipher but an RSA one offered for
TLS 1.2, a 1.2 handshake has nothing to agree on, while 1.3 brings its own ciphers. ``GRPC_VERBOSITY`` keeps
C-core from writing to our stderr by itself; whoever debugs may set it.
"""

import os
import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

#: True where grpc was there first: it may accept TLS 1.2 then, and :mod:`probemesh_shared.rpc.grpc_setup`
#: refuses.
GRPC_CAME_FIRST = "grpc" in sys.modules

os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES128-GCM-SHA256"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def _only_if_wanted(name: str) -> None:
    """protobuf imports its Python implementation also where it has a compiled one: a MiB of an idle agent. In
    its place stands a module that loads it for whoever does want something of it."""
    if name in sys.modules or (spec := find_spec(name)) is None:
        return
    stand_in = ModuleType(name)

    def load(attribute: str) -> Any:
        assert spec.loader is not None
        if sys.modules.get(name) is stand_in:
            sys.modules[name] = module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return getattr(sys.modules[name], attribute)

    stand_in.__spec__ = spec  # asked for at every import
    stand_in.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[name] = stand_in


_only_if_wanted("google.protobuf.internal.python_message")
