"""Hypothesis strategies for every noun and frame, within the bounds of the wire, from the annotations."""

import dataclasses
import typing
from collections.abc import Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Union

from hypothesis import strategies as st
from probemesh_shared.session.frames import UNSENT

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "port": st.integers(1, 65535),
    "first": st.integers(1, 1000),
    "last": st.integers(1000, 65535),
    "source_port": st.integers(0, 65535),
    "local_port": st.integers(0, 65535),
    "dscp": st.integers(0, 63),
    "ttl": st.integers(0, 255),
    "code": st.integers(0, 255),
    "size": st.integers(0, 65535),
    "delay_ms": st.integers(0, 60_000),
    "mss": st.integers(0, 65535),
    "count": st.integers(1, 1000),
    "first_hop": st.integers(1, 255),
    "max_hops": st.integers(1, 255),
    "hop": st.integers(0, 255),
    "distance": st.integers(0, 255),
    "smallest": st.integers(48, 65535),
    "largest": st.integers(48, 65535),
    "sizes": st.integers(0, 65535),
    "timeout_s": st.floats(0.001, 86_400),
    "packets_per_s": st.floats(1e-3, 1e6),
    "connects_per_s": st.floats(1e-3, 1e6),
    "budget_ms": st.integers(0, 86_400_000),
    "http_status": st.integers(0, 999),
    "edns_size": st.integers(0, 65535),
    "info_code": st.integers(0, 65535),
    "serial": st.integers(0, (1 << 32) - 1),
    "target_index": st.integers(0, 1 << 31),
    "follow": st.integers(0, 20),
    "ttl_s": st.integers(0, (1 << 32) - 1),
    "protocol": st.integers(1, 1000),
    "min_protocol": st.integers(1, 1000),
    "id": st.text("abcdef0123456789-", min_size=1, max_size=40),
    "job_id": st.text("abcdef0123456789-", min_size=1, max_size=40),
    "instance": st.text("abcdef0123456789-", min_size=1, max_size=40),
}


def _scalar(owner: type, name: str, hint: Any) -> st.SearchStrategy[Any]:
    if hint is int and (owner.__name__, name) == ("IcmpError", "type"):
        return st.integers(0, 255)
    if hint is int and name == "status":
        return st.integers(0, 999)
    if (owner.__name__, name) == ("UdpDetail", "protocol"):
        return TEXT
    if name in _BY_NAME and hint in (int, float, str):
        return _BY_NAME[name]
    return {
        int: st.integers(0, (1 << 63) - 1),
        float: st.floats(0, 86_400),
        str: TEXT,
        bytes: st.binary(max_size=40),
        bool: st.booleans(),
    }[hint]


def _of(owner: type, name: str, hint: Any) -> st.SearchStrategy[Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, UnionType):
        return st.one_of(*(_of(owner, name, arg) for arg in args))
    if hint is NoneType:
        return st.none()
    if dataclasses.is_dataclass(hint):
        return instances(typing.cast(type, hint))
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(_of(owner, name, args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(_of(owner, name, arg) for arg in args))
    if origin is Mapping:
        return st.dictionaries(TEXT, TEXT, max_size=3).map(lambda labels: dict(sorted(labels.items())))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    return _scalar(owner, name, hint)


def instances(cls: type) -> st.SearchStrategy[Any]:
    """Any object of the dataclass that may travel."""
    hints = typing.get_type_hints(cls)
    sent = [f.name for f in dataclasses.fields(cls) if UNSENT not in f.metadata]
    return st.builds(cls, **{name: _of(cls, name, hints[name]) for name in sent})
