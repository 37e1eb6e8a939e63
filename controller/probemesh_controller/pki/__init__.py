"""The mesh's own certificate authority: making it, issuing from it, tokens. Only here is a CA key in
memory."""

from probemesh_controller.pki.ca import CertificateAuthority
from probemesh_controller.pki.mesh import MeshMade, init_mesh, load_controller, refresh
from probemesh_controller.pki.tokens import issue_token

__all__ = ["CertificateAuthority", "MeshMade", "init_mesh", "issue_token", "load_controller", "refresh"]
