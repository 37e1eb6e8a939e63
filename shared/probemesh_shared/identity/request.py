"""A new key and its request, made in a child process that is gone afterwards: ``cryptography`` costs 18
MB."""

import asyncio
import base64
import sys
from dataclasses import dataclass, field

from probemesh_shared.errors import MeshError

CHILD_S = 30.0
_BEGIN, _END = b"-----BEGIN CERTIFICATE REQUEST-----", b"-----END CERTIFICATE REQUEST-----"


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """``csr_der`` is PKCS #10."""

    key_pem: bytes = field(repr=False)
    csr_der: bytes


def split_request(key_pem: bytes, request_pem: bytes) -> KeyRequest:
    """PEM as :mod:`.keygen` makes it."""
    body = request_pem.partition(_BEGIN)[2].partition(_END)[0]
    return KeyRequest(key_pem, base64.b64decode(body))


async def request_in_child() -> KeyRequest:
    """Raises :class:`MeshError` where the child fails. The key crosses a pipe, never a file or an
    argument."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "probemesh_shared.identity.keygen",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CHILD_S):
            out, complaint = await child.communicate()
    except BaseException:
        child.kill()
        await child.wait()
        raise
    key_pem, begin, rest = out.partition(_BEGIN)
    if child.returncode != 0 or not begin:
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise MeshError(f"no key could be made: {last or f'the child ended with {child.returncode}'}")
    return split_request(key_pem, begin + rest)
