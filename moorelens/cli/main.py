"""The command `moorelens`: finds the verb, and is the one place where errors become exit codes."""

from __future__ import annotations

import difflib
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence

from moorelens.cli.documents import stdout_for_documents
from moorelens.cli.verbs import VERBS, overview
from moorelens.errors import MooreLensError, OptionError
from moorelens.text import printable

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong request, 3 missing tool, 130 interrupted."""
    own_process = arguments is None
    if arguments is None:
        _settle_process()
        arguments = sys.argv[1:]
    try:
        if "--json" not in arguments or {"-h", "--help"} & set(arguments):
            return _dispatch(list(arguments))
        with stdout_for_documents(own_process=own_process):
            return _dispatch(list(arguments))
    except MooreLensError as error:
        _say(error)
        return error.exit_code
    except SystemExit as stop:
        return int(stop.code or 0)
    except KeyboardInterrupt:
        _say("Interrupted; what was finished is kept, and the same command goes on from there.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("MOORELENS_DEBUG") == "1":
            raise
        _say(_crash(error))
        return 1


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("--help", "-h", "help"):
        if first == "help" and len(arguments) > 1:
            return _dispatch([arguments[1], "--help"])
        print(overview())
        return 0
    if first == "--version":
        from moorelens import __version__

        print(f"moorelens {__version__}")
        return 0
    if first not in VERBS:
        near = difflib.get_close_matches(first, VERBS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"it is one of {', '.join(VERBS)}."
        raise OptionError(f"The first argument of moorelens is a verb, and {first!r} is none; {hint}")
    return VERBS[first].load()(arguments[1:])


def _settle_process() -> None:
    # Read when torch is first loaded: without it a matrix product's last bit can depend on a row's place in the batch.
    os.environ.setdefault("MKL_CBWR", "AUTO")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a batch system sends before it kills
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to programmers; -W brings it back
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _say(message: object) -> None:
    print(printable(f"moorelens: {' '.join(str(message).split())}"), file=sys.stderr, flush=True)


def _crash(error: Exception) -> str:
    what = f"This is a mistake in MooreLens: {type(error).__name__}: {error}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="moorelens-crash-", suffix=".log", delete=False, encoding="utf-8", errors="replace"
        ) as log:
            log.write(f"arguments: {sys.argv[1:]}\n\n")
            traceback.print_exception(error, file=log)
    except OSError:
        return f"{what} (the details could not be written; MOORELENS_DEBUG=1 shows them)."
    return f"{what} (the details are in {log.name}; please report them)."
