"""What an answer says of DNSSEC, as one word. Pure; nothing is validated here, that is a resolver's work."""

from probemesh_shared.words import DnssecStatus

from probemesh_agent.probes.dnswire import Answer, Asking

#: Extended errors (RFC 8914) by which a resolver says that signatures, keys or denials do not hold.
_BOGUS_CODES = range(6, 13)
#: Answers that a resolver gives of data itself.
_OF_DATA = ("NOERROR", "NXDOMAIN")


def worth_asking_unchecked(how: Asking, answer: Answer) -> bool:
    """Whether asking again with CD would tell a failed validation from a failed server."""
    return how.dnssec and not how.checking_disabled and answer.rcode == "SERVFAIL"


def status_of(how: Asking, answer: Answer, unchecked: Answer | None = None) -> DnssecStatus:
    """``unchecked`` is the answer to the same question with CD, where it was asked."""
    if "ad" in answer.flags and answer.rcode in _OF_DATA:
        return DnssecStatus.VALIDATED
    if any(one.info_code in _BOGUS_CODES for one in answer.errors):
        return DnssecStatus.BOGUS
    if answer.rcode not in _OF_DATA:
        cured = unchecked is not None and unchecked.rcode in _OF_DATA
        return DnssecStatus.BOGUS if cured else DnssecStatus.UNKNOWN
    if answer.signatures:
        return DnssecStatus.SIGNED
    return DnssecStatus.UNSIGNED if _would_show(how, answer) else DnssecStatus.UNKNOWN


def _would_show(how: Asking, answer: Answer) -> bool:
    """Signatures were asked for, and the server knows of DO: RFC 3225 has it copied into the answer. A
    referral says nothing about the name."""
    answers = "aa" in answer.flags or "ra" in answer.flags
    return how.dnssec and bool(how.edns_size) and "do" in answer.edns_flags and answers
