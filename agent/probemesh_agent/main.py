"""``mesh-agent``: which command, which exit code, one clear line when it cannot be done.

Every command's code is imported when it runs; ``tests/agent/test_imports.py`` names what must stay out.
"""

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from probemesh_shared.errors import InvalidRequest, MeshError
from probemesh_shared.escape import escape
from probemesh_shared.interrupts import INTERRUPTED, hush
from probemesh_shared.undumped import undumped

from probemesh_agent import arguments
from probemesh_agent.settings import default_state
from probemesh_agent.version import version

OK, UNREACHED, WRONG_USE, SOME, NOTHING = 0, 1, 2, 3, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code of DESIGN §6; the console script hands it to ``sys.exit``."""
    undumped()
    args = arguments.parse(argv)
    if args.version:
        print(f"mesh-agent {version()}")
        return OK
    if args.command is None:
        print("mesh-agent: a command is missing\n  mesh-agent --help shows examples", file=sys.stderr)
        return WRONG_USE
    try:
        return _COMMANDS[args.command](args)
    except MeshError as error:
        return _refuse(args, error)
    except KeyboardInterrupt:
        hush()
        print("mesh-agent: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone; there is nobody to tell
        return INTERRUPTED
    except Exception as fault:
        if args.debug:
            raise
        print(
            f"mesh-agent: an internal fault: {type(fault).__name__}\n  --debug shows where", file=sys.stderr
        )
        return NOTHING


def _refuse(args: argparse.Namespace, error: MeshError) -> int:
    if args.debug:
        import traceback

        traceback.print_exc()
    print(f"mesh-agent: {escape(str(error))}", file=sys.stderr)
    if error.hint:
        print(f"  {escape(error.hint)}", file=sys.stderr)
    return WRONG_USE if isinstance(error, InvalidRequest) else NOTHING


def _state(args: argparse.Namespace) -> Path:
    return args.state.absolute() if args.state is not None else default_state()


def _join(args: argparse.Namespace) -> int:
    from probemesh_agent.joining import join

    print(join(_state(args), args.controller, args.token_file, args.name, replace=args.replace))
    return OK


def _run(args: argparse.Namespace) -> int:
    gc.disable()  # what is imported stays: looking for garbage in it costs a tenth of the start
    from probemesh_agent.service import ServiceOptions, serve

    gc.freeze()
    gc.enable()

    options = ServiceOptions(
        state=_state(args),
        listen=args.listen,
        advertise=tuple(args.advertise),
        source=args.source,
        policy=args.policy,
        proxy=args.proxy,
        log_json=args.log_json,
        debug=args.debug,
    )
    return asyncio.run(serve(options))


def _probe(args: argparse.Namespace) -> int:
    if args.frames:
        gc.disable()
        from probemesh_agent.pipe import serve_pipe

        gc.freeze()
        gc.enable()
        return asyncio.run(serve_pipe())
    from probemesh_agent import standalone

    return asyncio.run(standalone.probe(args))


def _doctor(args: argparse.Namespace) -> int:
    from probemesh_agent import doctor
    from probemesh_agent.showing import show_checks

    checks = asyncio.run(doctor.examine(_state(args), policy=args.policy))
    sys.stdout.write(show_checks(checks, as_json=args.output == "json"))
    return OK if doctor.healthy(checks) else UNREACHED


def _audit(args: argparse.Namespace) -> int:
    from probemesh_agent import audited

    text, note = audited.show(_state(args), args)
    sys.stdout.write(text)
    if note:
        print(note, file=sys.stderr)
    return OK


def _policy(args: argparse.Namespace) -> int:
    from probemesh_agent import policycheck

    allowed, text = asyncio.run(policycheck.check(args.targets, args.policy, args.kind))
    sys.stdout.write(text)
    return OK if all(allowed) else SOME if any(allowed) else UNREACHED


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "join": _join,
    "run": _run,
    "probe": _probe,
    "doctor": _doctor,
    "audit": _audit,
    "policy": _policy,
}
