"""The certificate that a TLS service on this host presents to the host itself: what a prober should see too.

Nothing is verified and nothing said; the connection is closed after the handshake."""

import asyncio
import contextlib
import ssl

_MOST_BYTES = 16_384
_WAITS_S = 1.5


async def own_certificate(address: str, port: int) -> bytes | None:
    """The leaf, DER; None where there is no TLS, or not in time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(_WAITS_S):
            _, writer = await asyncio.open_connection(address, port, ssl=context)
            session = writer.get_extra_info("ssl_object")
            leaf: bytes | None = session.getpeercert(binary_form=True)
    except (OSError, ssl.SSLError, TimeoutError, ValueError):
        return None
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(_WAITS_S):
                    await writer.wait_closed()
    return leaf if leaf and len(leaf) <= _MOST_BYTES else None
