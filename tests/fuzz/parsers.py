"""Which functions of the product take bytes from elsewhere apart, found in its source; and the few that no
fuzz target reaches, each with the reason.

A new one is found by being there: it wants a target that reaches it, or a line in :data:`AWAY`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PACKAGES = ("agent/probemesh_agent", "shared/probemesh_shared", "controller/probemesh_controller")
#: What is called to take bytes apart, whatever it is called on.
_CALLS = frozenset(
    {
        *("FromString", "ParseFromString", "a2b_base64", "b64decode", "from_bytes", "from_wire", "fromhex"),
        *("iter_unpack", "load_der_x509_certificate", "load_der_x509_csr", "load_pem_x509_certificate"),
        *("load_pem_x509_csr", "loads", "next_event", "receive_data", "unpack", "unpack_from"),
    }
)
#: Here whatever takes bytes is a reader, or belongs to one.
_WIRE = ("/wire/", "wire.py", "raw.py", "edns.py", "/der.py", "/frames.py", "/quotes.py", "/tlswatch.py")

_KERNEL = "the kernel's own answer, about this host"
_OWN_FILE = "a file that this program wrote, and nobody else may"
_RANDOM = "bytes from os.urandom"
_MADE = "makes bytes, reads none"

#: Functions that no target reaches, as ``module:qualified.name`` or a whole module, and why that is right.
AWAY: dict[str, str] = {
    "probemesh_agent.engine.echo:EchoSocket.__init__": _RANDOM,
    "probemesh_agent.engine.mmsg:Incoming.receive": _KERNEL,
    "probemesh_agent.enrol:load_agent": _OWN_FILE,
    "probemesh_agent.flow.echoline:EchoLine.__init__": _RANDOM,
    "probemesh_agent.flow.stamping:stamps": _KERNEL,
    "probemesh_agent.kernel:advertised_mss": _KERNEL,
    "probemesh_agent.kernel:unpack_tcp_info": _KERNEL,
    "probemesh_agent.net.own": _KERNEL,
    "probemesh_agent.path.echolane:EchoLane._opened": _RANDOM,
    "probemesh_agent.path.echolane:EchoLane.send": "our own request's checksum",
    "probemesh_agent.responder.packets:PacketSide.look": _KERNEL,
    "probemesh_agent.responder.savedsyn:ack_ttl": _KERNEL,
    "probemesh_agent.responder.sockdiag:SockDiag._dump": _KERNEL,
    "probemesh_agent.wire.icmp:payload": _MADE,
    "probemesh_agent.wire.icmp:request": _MADE,
    "probemesh_agent.wire.icmp:word_sum": _MADE,
    "probemesh_agent.wire.snmp:_number": _RANDOM,
    "probemesh_agent.wire.tlshello": _MADE,
    "probemesh_controller.castate": _OWN_FILE,
    "probemesh_controller.cli.names_cache:load": _OWN_FILE,
    "probemesh_controller.cli.specs.values:parse_bytes": "typed by who runs the command",
    "probemesh_controller.config:load": "the configuration of who runs the command",
    "probemesh_controller.history.store:_parsed": _OWN_FILE,
    "probemesh_controller.natting.bench:Bench.port": _RANDOM,
    "probemesh_controller.pki.authority": _OWN_FILE,
    "probemesh_controller.pki.backup:_open": "the backup that who restores it made, sealed by a passphrase",
    "probemesh_controller.pki.tokens:issue_token": _OWN_FILE,
    "probemesh_controller.store.matrix.columns": _OWN_FILE,
    "probemesh_controller.store.packing": _OWN_FILE,
    "probemesh_controller.store.sqlite:SqliteStore._unpack": _OWN_FILE,
    "probemesh_shared.identity.request:split_request": "what openssl printed for us",
    "probemesh_shared.jsonout:plain": "what was written by the line before",
    "probemesh_shared.rpc.connections:_received": _KERNEL,
    "probemesh_shared.wire.framing:pack": _MADE,
    "probemesh_shared.wire.sizes:_bytes": _MADE,
}


def readers() -> dict[str, tuple[Path, int]]:
    """``module:qualified.name`` of every reader, with its file and the line of its ``def``."""
    return {
        f"{module}:{name}": (path, line)
        for path, module in _modules()
        for name, line in _readers(ast.parse(path.read_text("utf-8")), path.as_posix())
    }


def is_away(reader: str) -> bool:
    return reader in AWAY or reader.partition(":")[0] in AWAY


def _modules() -> Iterator[tuple[Path, str]]:
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to((ROOT / package).parent).with_suffix("").parts
            yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _readers(tree: ast.AST, path: str, outer: str = "") -> Iterator[tuple[str, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _readers(node, path, f"{outer}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if _takes_apart(node) or (any(part in path for part in _WIRE) and _is_given_bytes(node)):
                yield f"{outer}{node.name}", node.lineno
            yield from _readers(node, path, f"{outer}{node.name}.<locals>.")


def _takes_apart(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CALLS
        for node in ast.walk(function)
    )


def _is_given_bytes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return any(one.annotation is not None and "bytes" in ast.unparse(one.annotation) for one in given)
