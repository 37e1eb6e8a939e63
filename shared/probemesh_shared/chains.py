"""What is wrong with a chain whose issuer was not found: left out, out of place, or of a stranger. Never
raises; every byte is a stranger's."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

UNKNOWN = "issued by somebody unknown"
#: Certificates of one chain that are looked at.
_MOST = 16


def issuer_missing(leaf: bytes, sent: Sequence[bytes], known: Sequence[bytes] = ()) -> str:
    """In words, for OpenSSL's "unable to get issuer certificate". ``sent`` came after the leaf; ``known`` are
    certificates that others were sent, which prove an intermediate where it names the missing issuer.

    A public authority tells in the certificate where its issuer is to be had (AIA, RFC 5280 §4.2.2.1); where
    a leaf comes alone and says so, the server left the intermediate out."""
    try:
        return _judged(x509.load_der_x509_certificate(leaf), _read(sent), _read(known))
    except Exception:  # the parser's exceptions are many, and none of them is our fault
        return UNKNOWN


def _read(chain: Sequence[bytes]) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der) for der in chain[:_MOST]]


def _judged(
    leaf: x509.Certificate, sent: Sequence[x509.Certificate], known: Sequence[x509.Certificate]
) -> str:
    top = leaf
    for _ in sent:
        above = next((one for one in sent if one.subject == top.issuer), None)
        if above is None or above is top:
            break
        top = above
    issuer = _name(top.issuer)
    if any(one.subject == top.issuer and one.issuer != one.subject for one in known):
        return f"sent without the intermediate that issued it ({issuer}): an incomplete chain"
    if top is leaf and sent:
        return f"sent with a chain that does not lead to its issuer ({issuer})"
    if top is leaf and _tells_issuer(leaf):
        return f"sent without the intermediate that issued it ({issuer}): an incomplete chain"
    if top is leaf:
        return f"{UNKNOWN} ({issuer}), who is not sent along: an incomplete chain, or an unknown authority"
    return f"{UNKNOWN} ({issuer})"


def _tells_issuer(leaf: x509.Certificate) -> bool:
    try:
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(one.access_method == AuthorityInformationAccessOID.CA_ISSUERS for one in access)


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return (str(common[0].value) if common else name.rfc4514_string() or "without a name")[:80]
