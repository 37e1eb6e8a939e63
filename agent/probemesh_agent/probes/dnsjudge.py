"""What an answer means for the measurement: whether it failed, and in whose words. Pure."""

from probemesh_shared.model import Failure
from probemesh_shared.words import DnssecStatus, FailureKind, Origin, Stage

from probemesh_agent.probes.dnswire import Answer, Question

_OF_DATA = ("NOERROR", "NXDOMAIN")


def failure_of(asked: Question, answer: Answer) -> Failure | None:
    """What an answer's rcode, its lack of records, or its lack of authority means."""
    if asked.how.authoritative and answer.rcode in _OF_DATA and "aa" not in answer.flags:
        detail = f"{asked.name}: the name server answers without authority for the zone (lame)"
        return _server_failed(detail + _beside(answer), "LAME")
    if answer.rcode == "NXDOMAIN":
        detail = f"{asked.name}: no such name (NXDOMAIN){_beside(answer)}"
        return Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.TARGET, detail, errno="NXDOMAIN")
    if answer.rcode != "NOERROR":
        detail = f"{asked.name}: the name server answered {answer.rcode}{_beside(answer)}"
        return _server_failed(detail, answer.rcode)
    if answer.has_type or (not asked.how.recurse and _alias(answer)):
        return None  # where an alias leads to is not for a server that only tells what it has
    if zone := _referred(answer):
        detail = f"{asked.name}: no answer, but a referral to the servers of {zone}"
        return Failure(Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.TARGET, detail, errno="REFERRAL")
    known = f"the name server knows no {asked.record_type} record"
    if target := _alias(answer):
        known = f"an alias for {target}, of which {known}"
    detail = f"{asked.name}: {known} (NOERROR, no data){_beside(answer)}"
    return Failure(Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.TARGET, detail, errno="NODATA")


def _server_failed(detail: str, errno: str) -> Failure:
    kind = FailureKind.NAME_SERVER_FAILED
    return Failure(Stage.RESOLVE, kind, Origin.RESOLVER, detail, errno=errno)


def _beside(answer: Answer) -> str:
    """The server's own reasons (RFC 8914), and what its signatures came to, behind the rcode."""
    told = [f"{one.name or 'error'} ({one.info_code})" + _quoted(one.text) for one in answer.errors[:2]]
    if answer.dnssec is DnssecStatus.BOGUS:
        told.append("its DNSSEC validation fails")
    return "; " + ", ".join(told) if told else ""


def _quoted(text: str) -> str:
    return f" {text[:200]!a}" if text else ""


def _alias(answer: Answer) -> str | None:
    """Where the last CNAME leads."""
    found = [one.value for one in answer.records if one.type == "CNAME"]
    return found[-1] if found else None


def _referred(answer: Answer) -> str | None:
    if answer.records or "aa" in answer.flags or any(one.type == "SOA" for one in answer.authority):
        return None
    return next((one.name for one in answer.authority if one.type == "NS"), None)
