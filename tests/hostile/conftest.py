"""Identities and servers as of tests/rpc: the peers here are of the mesh, and mean harm."""

from tests.rpc.conftest import admin, agent, ca, controller, other_ca, serve, served

__all__ = ["admin", "agent", "ca", "controller", "other_ca", "serve", "served"]
