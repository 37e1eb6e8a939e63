"""Ports for servers of tests."""

import secrets
import socket

#: Below those from which the kernel takes what connections are made from (32,768 and up).
_FIRST, _LAST = 10_000, 32_000


def free_port() -> int:
    """A port that nobody has, by TCP or UDP, at any address of either family; and that no test beside this
    one comes to have by chance, as it would one that the kernel gives out."""
    for _ in range(1000):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        if _is_free(port):
            return port
    raise AssertionError(f"no port of {_FIRST} to {_LAST} is free")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            with socket.socket(socket.AF_INET, kind) as held:
                held.bind(("", port))
            with socket.socket(socket.AF_INET6, kind) as held:
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                held.bind(("::", port))
        except OSError:
            return False
    return True
