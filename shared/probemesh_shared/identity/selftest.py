"""Whether an identity can be used at all, found out before it takes the place of one that can."""

import ssl

from probemesh_shared.identity.files import Identity
from probemesh_shared.identity.tlsprobe import _client_context, _load_own

#: X509_V_FLAG_NO_CHECK_TIME: whose clock is wrong, ours or the issuer's, is not to be told here.
_NO_DATES = 0x200000
_STEPS = 8


def unusable(identity: Identity) -> str | None:
    """Why everybody who trusts what it trusts would refuse it: one handshake in memory, without dates. None
    where nobody would."""
    asking, asked = _client_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    asked.minimum_version, asked.verify_mode = ssl.TLSVersion.TLSv1_3, ssl.CERT_REQUIRED
    asked.verify_flags |= _NO_DATES
    try:
        asked.load_verify_locations(cadata=identity.ca_pem.decode("ascii"))
        for context in (asking, asked):
            _load_own(context, identity)
        _shake_hands(asking, asked)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate does not verify: {error.verify_message}"
    except ssl.SSLError as error:
        return f"its key does not fit: {error.reason}"
    except ValueError:
        return "its CA is not text"
    return None


def _shake_hands(asking: ssl.SSLContext, asked: ssl.SSLContext) -> None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [asking.wrap_bio(back, there), asked.wrap_bio(there, back, server_side=True)]
    for _ in range(_STEPS):
        for end in tuple(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue
