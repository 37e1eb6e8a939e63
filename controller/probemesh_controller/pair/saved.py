"""A case as a text that can be kept, and read again on any other day. Pure.

Everything that was seen stands in it, and nothing that was concluded: a newer version may conclude more.
"""

import json
import math
from typing import Any

from probemesh_controller.history.codec import BadRecord, decode, encode
from probemesh_controller.pair.case import Case, EndRole

SCHEMA = 1
#: What is larger was not written here.
LARGEST = 64 * 1024 * 1024
_WHAT = "probemesh-case"


def to_text(case: Case, version: str) -> str:
    """``version`` is that of the software that asked."""
    value = {"what": _WHAT, "schema": SCHEMA, "version": version, "case": encode(case)}
    return json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def from_text(text: str) -> Case:
    """Raises :class:`BadRecord` for what is no saved case, or one that this version cannot read."""
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise BadRecord("it is nested too deeply") from None
    except BadRecord:
        raise
    except ValueError:  # a number of thousands of digits is one as well
        raise BadRecord("it is no JSON") from None
    if not isinstance(value, dict) or not (value.get("what") == _WHAT or _is_scenario(value)):
        raise BadRecord(
            "it is no saved diagnosis (meshctl diagnose … --save FILE), nor a scenario kept from one"
        )
    if value.get("schema") != SCHEMA and not _is_scenario(value):
        raise BadRecord("it was written by another version, whose format is not known here")
    case = decode(Case, value.get("case"))
    roles = [end.role for end in case.ends]
    if roles.count(EndRole.SOURCE) != 1 or roles.count(EndRole.TARGET) != 1:
        raise BadRecord("its two ends are not both there, each once")
    return case


def _is_scenario(value: dict[str, Any]) -> bool:
    """A case kept as test data, beside what has to be concluded from it (``tests/pair/scenarios``): of the
    version that it stands in the repository with."""
    return "what" not in value and {"about", "case", "forward", "reverse", "findings"} <= value.keys()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadRecord(f"it holds {text}")
    return value


def _no_number(text: str) -> Any:
    raise BadRecord(f"it holds {text}")
