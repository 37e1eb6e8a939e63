"""What is wrong, or odd, with a chain as it was sent, judged apart from the handshake and certificate by
certificate.

OpenSSL stops at the first fault and says nothing of order, surplus or what will expire next. Names alone tell
who issued whom here; that signatures hold is OpenSSL's word (``verify_code``). Pure, on certificates already
read (:mod:`probemesh_shared.certificates`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from probemesh_shared.jsonshape import CertificateJson, ChainProblemJson

#: X509_V_ERR numbers that say: an issuer is missing.
_NO_ISSUER = frozenset({2, 20, 21})
_UNTRUSTED_ROOT = frozenset({18, 19})
_REVOKED = 23
#: X509_V_ERR numbers that say: a key (of the leaf; of an authority) or a hash is too weak.
_WEAK_KEY, _WEAK_AUTHORITY, _WEAK_HASH = 66, 67, 68
_WEAK_HASHES = ("md2", "md4", "md5", "sha1")
_SMALLEST_RSA = 2048
REVOKED_BY_STAPLE = "revoked, as the server's own OCSP staple says"


@dataclass(frozen=True, slots=True)
class Judged:
    """What the agent found out about the chain, beside its certificates."""

    verify_code: int | None = None
    server_name: str | None = None
    at: str = ""  # RFC 3339 with Z: when it was seen
    staple: str | None = None  # what the server's own OCSP answer says of the leaf


def chain_problems(chain: Sequence[CertificateJson], judged: Judged) -> list[ChainProblemJson]:
    """By certificate, leaf first; what stops clients before what merely is odd. Empty where all is well."""
    if not chain:
        return []
    found = [*_of_leaf(chain[0], judged)]
    if chain[0]["error"] is None:
        found += _of_links(chain, judged)
    for index, one in enumerate(chain):
        found += _of_dates(index, one, judged.at)
        found += _of_strength(index, one, judged.verify_code)
    return sorted(found, key=lambda problem: problem["severity"] != "problem")


def days_left(chain: Sequence[CertificateJson], at: str) -> int | None:
    """Whole days, from ``at``, until the first of the chain expires; negative where one has."""
    ends = [_moment(one["not_after"]) for one in chain if one["not_after"] is not None]
    return (min(ends) - _moment(at)).days if ends and at else None


def path(chain: Sequence[CertificateJson]) -> list[int]:
    """Positions from the leaf up, each the issuer of the one before, as far as they were sent."""
    found = [0] if chain else []
    while found:
        last = chain[found[-1]]
        rest = (i for i in range(len(chain)) if i not in found and _issued(chain[i], last))
        if last["self_signed"] or (above := next(rest, None)) is None:
            break
        found.append(above)
    return found


def _issued(issuer: CertificateJson, one: CertificateJson) -> bool:
    return issuer["subject"] is not None and issuer["subject"] == one["issuer"]


def _problem(code: str, index: int, text: str) -> ChainProblemJson:
    return {"code": code, "severity": "problem", "certificate": index, "text": text}


def _note(code: str, index: int, text: str) -> ChainProblemJson:
    return {"code": code, "severity": "note", "certificate": index, "text": text}


def _of_leaf(leaf: CertificateJson, judged: Judged) -> Iterator[ChainProblemJson]:
    if leaf["error"] is not None:
        yield _problem("unreadable", 0, f"the certificate {leaf['error']}")
        return
    if judged.server_name and not covers(leaf["names"], judged.server_name):
        listed = ", ".join(name[:80] for name in leaf["names"][:4]) or "none; few clients read its subject"
        yield _problem("name-mismatch", 0, f"not valid for {judged.server_name} (its names: {listed})")
    if judged.verify_code == _REVOKED:
        yield _problem("revoked", 0, "revoked")
    elif judged.staple == "revoked":
        yield _problem("revoked", 0, REVOKED_BY_STAPLE)
    if leaf["self_signed"]:
        trusted = judged.verify_code in (None, 0)
        yield (_note if trusted else _problem)("self-signed", 0, "signed by itself, by no authority")


def _of_links(chain: Sequence[CertificateJson], judged: Judged) -> Iterator[ChainProblemJson]:
    way = path(chain)
    top = chain[way[-1]]
    issuer = top["issuer"] or "an unnamed issuer"
    if not top["self_signed"] and judged.verify_code in _NO_ISSUER:
        if len(way) == 1:
            text = f"issued by {issuer}, which was not sent and is no root that is trusted here"
            yield _problem("missing-intermediate", 0, text)
        else:
            yield _problem("issuer-unknown", way[-1], f"issued by {issuer}, which is not trusted here")
    if top["self_signed"] and way[-1] > 0:
        if judged.verify_code in _UNTRUSTED_ROOT:
            yield _problem("untrusted-root", way[-1], f"{top['subject']} is no root that is trusted here")
        yield _note("root-included", way[-1], "the root was sent along, which clients have or do not trust")
    if way != sorted(way):
        order = ", ".join(str(index + 1) for index in way)
        text = f"not in the order of issue, which is certificates {order}: some clients stop"
        yield _note("wrong-order", way[1], text)
    for index in range(len(chain)):
        if index not in way:
            yield _surplus(chain, index)
    for index in way[1:]:
        if chain[index]["is_authority"] is False:
            yield _problem("no-authority", index, "issued the one below and is not allowed to")


def _surplus(chain: Sequence[CertificateJson], index: int) -> ChainProblemJson:
    one = chain[index]
    if one["error"] is not None:
        return _note("unreadable", index, one["error"])
    seen = [other["fingerprint_sha256"] for other in chain[:index]]
    why = "sent twice" if one["fingerprint_sha256"] in seen else "issued none of the others"
    return _note("superfluous", index, f"{why}: {one['subject']}")


def _of_dates(index: int, one: CertificateJson, at: str) -> Iterator[ChainProblemJson]:
    if one["not_after"] is not None and at > one["not_after"]:
        yield _problem("expired", index, f"expired on {one['not_after'][:10]}")
    elif one["not_before"] is not None and at < one["not_before"]:
        yield _problem("not-yet-valid", index, f"not valid until {one['not_before'][:10]}")


def _of_strength(index: int, one: CertificateJson, code: int | None) -> Iterator[ChainProblemJson]:
    kind, _, size = (one["key_type"] or "").partition(" ")
    if kind in ("RSA", "DSA") and size.isdigit() and int(size) < _SMALLEST_RSA:
        refused = code == (_WEAK_AUTHORITY if index else _WEAK_KEY)
        yield (_problem if refused else _note)("weak-key", index, f"its key is {kind} of {size} bits")
    if (one["signature_hash"] or "") in _WEAK_HASHES and not one["self_signed"]:
        refused = code == _WEAK_HASH
        yield (_problem if refused else _note)(
            "weak-signature", index, f"signed with {one['signature_hash']}"
        )


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat((text or "").removesuffix("Z"))


def covers(names: Sequence[str], asked: str) -> bool:
    """Whether one of a certificate's alternative names stands for ``asked`` (RFC 9525): addresses as such, a
    wildcard for exactly one whole leftmost label."""
    try:
        address = ip_address(asked)
    except ValueError:
        wanted = asked.removesuffix(".").lower()
        return any(_covers(name.removesuffix(".").lower(), wanted) for name in names)
    return any(name == str(address) for name in names)


def _covers(name: str, wanted: str) -> bool:
    if name.startswith("*."):
        label, dot, parent = wanted.partition(".")
        return bool(label and dot) and parent == name[2:]
    return name == wanted
