"""A new key and the request for its certificate. The one module of this package that loads ``cryptography``.

``python -m probemesh_shared.identity.keygen`` prints both as PEM: that is how :mod:`.request` makes them in
a child, so that an agent which runs for months never has the library in its memory.
"""

import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from probemesh_shared.undumped import undumped


def make_request() -> tuple[bytes, bytes]:
    """Key (PKCS #8, PEM) and request (PKCS #10, PEM): P-256, signed by itself, with no name: the controller
    gives that."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, request.public_bytes(serialization.Encoding.PEM)


if __name__ == "__main__":
    undumped()
    sys.stdout.buffer.write(b"".join(make_request()))
