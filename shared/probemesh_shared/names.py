"""Names of agents, sites, meshes and labels, ``HOST:PORT`` addresses of our own services, and "did you mean".

An agent's and a mesh's name become DNS labels in a certificate (``NAME.agent.MESH.probemesh.internal``),
which is why names are ``[a-z0-9.-]`` and no longer than 63 characters.
"""

import re
from collections.abc import Iterable

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

MAX_NAME = 63
#: Words that selectors give another meaning to; nobody may be called so.
RESERVED = frozenset({"all", "self", "failed", "none", "here"})

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\Z")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9._-]{1,63}\Z")


def check_name(text: str, what: str = "name") -> str:
    """The name itself, or :class:`InvalidRequest`. ``what`` says in the message whose name it is."""
    shown = escape(text, 80)
    if not text:
        raise InvalidRequest(f"the {what} is empty", "names are made of a-z, 0-9, '.' and '-'")
    if len(text) > MAX_NAME:
        raise InvalidRequest(f"the {what} '{shown}' is longer than {MAX_NAME} characters")
    if not _NAME.match(text):
        better = suggest_name(text)
        hint = f"for example: {better}" if better else None
        raise InvalidRequest(f"the {what} '{shown}' may hold only a-z, 0-9, '.' and '-' between them", hint)
    if text in RESERVED:
        raise InvalidRequest(f"'{text}' cannot be a {what}: selectors give that word another meaning")
    return text


def suggest_name(text: str) -> str | None:
    """The nearest allowed spelling, or None where nothing is left of it."""
    cleaned = re.sub(r"[^a-z0-9.]+", "-", text.casefold())
    cleaned = re.sub(r"-*\.[.-]*", ".", cleaned).strip(".-")[:MAX_NAME].strip(".-")
    return cleaned if cleaned and _NAME.match(cleaned) and cleaned not in RESERVED else None


def parse_label(text: str) -> tuple[str, str]:
    """``KEY=VALUE`` as a pair. ``site`` is no label: it has its own option."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidRequest(f"the label '{escape(text, 80)}' has no value", "write it as KEY=VALUE")
    check_name(key, "label key")
    if key == "site":
        raise InvalidRequest("'site' is not a label", "use --site NAME")
    if not _LABEL_VALUE.match(value):
        raise InvalidRequest(
            f"the value of label {key} '{escape(value, 80)}' may hold only letters, digits, '.', '_' and '-',"
            " 1 to 63 of them"
        )
    return key, value


def split_host_port(text: str, what: str = "address") -> tuple[str, int]:
    """``HOST:PORT`` or ``[V6]:PORT`` of one of our own services: ("::1", 7400), port 0 to 65535.

    Port 0 is let through: where we listen it means "any free one"; :func:`dial_address` refuses it.
    """
    shown = escape(text, 120)
    hint = "write it as HOST:PORT, an IPv6 address in brackets: [2001:db8::1]:7400"
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise InvalidRequest(f"the {what} '{shown}' has no {'port' if not colon else 'host'}", hint)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or "[" in host or "]" in host:
        raise InvalidRequest(f"the {what} '{shown}' cannot be read", hint)
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise InvalidRequest(f"the {what} '{shown}' has a port that is not a number from 0 to 65535", hint)
    if not host or not host.isprintable() or any(c in " /@?#" for c in host) or host.startswith("-"):
        raise InvalidRequest(f"the {what} '{shown}' has a host that cannot be read", hint)
    return host, int(port)


def join_host_port(host: str, port: int) -> str:
    """The inverse of :func:`split_host_port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def dial_address(text: str, what: str = "address") -> str:
    """Canonical ``HOST:PORT`` that can be dialled: port 1 to 65535."""
    host, port = split_host_port(text, what)
    if port == 0:
        raise InvalidRequest(f"the {what} '{escape(text, 120)}' has port 0", "ports are 1 to 65535")
    return join_host_port(host, port)


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like this one, for "did you mean"; None where nothing is near."""
    from difflib import get_close_matches  # loaded only for the sake of an error message

    found = get_close_matches(word[:MAX_NAME], list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """``did you mean 'berlin-1'?`` or None."""
    near = closest(word, known)
    return f"did you mean '{near}'?" if near else None
