"""The formats of ``-o`` and where they go: results on stdout, everything else on stderr."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.jsonout import dumps
from probemesh_shared.jsonshape import CertificateJson
from probemesh_shared.model import Diagnosis, TargetResult

from probemesh_controller.cli.flags import use_color

if TYPE_CHECKING:
    from probemesh_controller.history.record import Header
    from probemesh_controller.pair.case import Case


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    YAML = "yaml"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How to print it", show_default=True)]


def terminal_width() -> int:
    """Columns of the terminal; 120 where there is none."""
    return max(40, shutil.get_terminal_size((120, 40)).columns) if sys.stdout.isatty() else 120


def write(text: str) -> None:
    """Text as it is; a terminal that cannot show a character gets ``?`` in its place."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def print_value(value: Any, wanted: Format) -> None:
    """One JSON-like value in ``json``, ``jsonl`` or ``yaml``."""
    if wanted is Format.YAML:
        from probemesh_controller.render import yamlout

        write(yamlout.render(value))
    elif wanted in (Format.JSON, Format.JSONL):
        write(dumps(value, None if wanted is Format.JSONL else 2) + "\n")
    else:
        raise InvalidRequest(f"-o {wanted} is not known to this command", "table, json, jsonl or yaml")


def print_results(results: Sequence[TargetResult], wanted: Format, strict: bool, ci: bool = False) -> None:
    """The results of a probe in any format."""
    if wanted in (Format.TABLE, Format.WIDE):
        from probemesh_controller.render import table, wide

        renderer = table if wanted is Format.TABLE else wide
        write(renderer.render(results, terminal_width(), use_color(sys.stdout, ci), strict))
        return
    if wanted is Format.CSV:
        from probemesh_controller.render import csvout

        write(csvout.render(results))
        return
    from probemesh_shared.jsonout import result_to_json

    values = [result_to_json(result, certificate, strict) for result in results]
    if wanted is Format.JSONL:
        for value in values:
            print_value(value, wanted)
    else:
        print_value(values[0] if len(values) == 1 else values, wanted)


@dataclass(frozen=True, slots=True)
class Shown:
    """A diagnosis and how it came about."""

    case: "Case"
    diagnosis: Diagnosis
    replayed: bool = False
    interrupted: bool = False


def print_diagnosis(shown: Shown, wanted: Format, ticket: bool = False) -> None:
    """A diagnosis in any format, or as a change request."""
    if ticket:
        from probemesh_controller.render import ticket as tickets

        write(tickets.render(shown.case, shown.diagnosis))
    elif wanted in (Format.TABLE, Format.WIDE):
        from probemesh_controller.render import diagnosis

        view = diagnosis.View(terminal_width(), use_color(sys.stdout), wanted is Format.WIDE)
        write(diagnosis.render(shown.case, shown.diagnosis, view, shown.replayed, shown.interrupted))
    elif wanted is Format.CSV:
        from probemesh_controller.render import diagnosiscsv

        write(diagnosiscsv.render(shown.diagnosis))
    else:
        from probemesh_shared.jsondiagnosis import diagnosis_to_json

        print_value(diagnosis_to_json(shown.diagnosis, shown.replayed, shown.interrupted), wanted)


def print_share(header: "Header", results: Sequence[TargetResult]) -> None:
    """A run as a text for elsewhere: no colour, no width of this terminal."""
    from probemesh_controller.render import share

    write(share.render(header, results))


def certificate(der: bytes) -> CertificateJson:
    """Loads ``cryptography``, where there is a certificate to be shown."""
    from probemesh_shared.certificates import parse_certificate

    return parse_certificate(der)
