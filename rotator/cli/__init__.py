"""The command line: one module per command, and the one place where errors become words and exit codes.

Importing this costs nothing: click and the module of a command are loaded when it is called.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

from rotator.errors import RotatorError

__all__ = ["execute", "main", "report_unexpected"]

INTERRUPTED = 130
TERMINATED = 143
PROGRAM = "rotator"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process at once with its exit code.

    Everything was unwound, closed and flushed by then: taking the interpreter apart would only cost time
    (a third of a run that finds nothing due), and wait for threads that look at a target which hangs.

    Args:
        arguments: the words after the program's name; those of this process when left out.
    """
    signal.signal(signal.SIGTERM, _terminate)
    # No plug-in of pydantic's sees a configuration; and to look for one reads every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        code = execute(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:  # a second Ctrl-C, or one just before or after the command
        code = INTERRUPTED
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    code = _flushed(code)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def _flushed(code: int) -> int:
    """Write out what is left, the text of `--help` say; a reader that went away is no fault."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return code
    except OSError as error:
        from rotator.cli.console import Console, unwritable
        from rotator.cli.options import Options

        Console(Options()).refuse(unwritable(error))
        return code or 1
    except ValueError:
        return code
    return code


def execute(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code. Every refusal has been printed by then."""
    import click

    from rotator.cli.console import unwritable, unwritten
    from rotator.cli.options import Options
    from rotator.cli.root import cli

    options = Options()
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    options["json"] = "--json" in ours  # also when the words cannot be parsed
    try:
        code = cli.main(list(arguments), PROGRAM, standalone_mode=False, obj=options)
        code = code if isinstance(code, int) else 0
        # Only now, so that no order is left half done because nobody could be told of it.
        return code if code or not unwritten else _refuse(unwritable(unwritten[0]), options)
    except RotatorError as error:
        return _refuse(error, options)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _refuse(_usage(error), options)
    except click.Abort as abort:
        interrupted = isinstance(abort.__cause__ or abort.__context__, KeyboardInterrupt)
        # Otherwise the end of the input, where an answer was expected.
        return INTERRUPTED if interrupted else 2
    except BrokenPipeError:
        return 0  # nobody reads the rest; what was done is done
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT) and error.filename is None:
            return _refuse(unwritable(error), options)  # click's own output: help, the version
        return _refuse(report_unexpected(error, options), options)
    except Exception as error:  # noqa: BLE001 - the last place that can turn it into a sentence
        return _refuse(report_unexpected(error, options), options)


def report_unexpected(error: Exception, options: Mapping[str, Any]) -> RotatorError:
    """Turn a fault of the program into a sentence; with `--log-level debug` its frames are printed."""
    if options["log_level"] == "debug":
        _print_frames(error)
    return _unexpected(error)


def _unexpected(error: BaseException) -> RotatorError:
    """Say where the program itself failed, without the error's own text: it may quote what it read."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = ""
    if frame is not None:
        where = f" in {os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}"  # noqa: PTH119
    return RotatorError(
        f"unexpected {type(error).__name__}{where}; this is a fault of the program",
        hint="run it again with `--log-level debug` and report the lines that it prints",
    )


def _refuse(error: RotatorError, options: Mapping[str, Any]) -> int:
    from rotator.cli.console import Console

    code: int = options["fault"] or error.exit_code
    error.exit_code = code  # so that `--json` says it too
    Console(options).refuse(error)
    return code


def _usage(error: Any) -> RotatorError:
    """Turn click's refusal of the words given into one of ours: exit 2, with the way out."""
    from rotator.errors import UsageError

    # Click puts each choice on a line of its own.
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    lowered = message[:1].lower() + message[1:]
    return UsageError(lowered, hint=f"`{path} --help` shows what it takes")


def _print_frames(error: BaseException) -> None:
    """Print where an error passed through: types, files and lines, never values or messages."""
    import traceback

    for link in _chain(error):
        frames = "".join(traceback.format_tb(link.__traceback__))
        print(f"{type(link).__name__}, most recent call last:\n{frames}", file=sys.stderr)  # noqa: T201


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.insert(0, link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return links


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    # Unwinds like Ctrl-C: locks are let go and temporary files removed; any later tick does the rest.
    raise SystemExit(TERMINATED)
