"""`rotator init`: a commented configuration to start from, and the directories that it names."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rotator.algorithms import ALGORITHMS
from rotator.cli.console import Console
from rotator.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from rotator.settings.template import Answers

_QUESTIONS = {
    "token_ttl": (
        "--token-ttl",
        "The longest time between a token's issue and its `exp`",
        "15m",
    ),
    "signer_lag": (
        "--signer-lag",
        "How long a signer may go on using a key after a new one was delivered to it",
        "5m",
    ),
}


@click.command()
@click.option("--token-ttl", metavar="DURATION", help="The longest life of a token.")
@click.option("--signer-lag", metavar="DURATION", help="How long signers may use an old key.")
@click.option(
    "--algorithm",
    type=click.Choice(list(ALGORITHMS)),
    default="RS256",
    show_default=True,
    metavar="ALG",
)
@click.option(
    "--key-set", metavar="NAME", default="web", show_default=True, help="The key set's name."
)
@click.option(
    "--backend",
    metavar="NAME",
    default="file",
    show_default=True,
    help="The kind of secrets manager: file, aws, vault, conjur, or one that a plug-in adds.",
)
@click.option(
    "--path",
    type=click.Path(path_type=Path),
    default=None,
    help="The file to write; else --config, or rotator.yaml.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.pass_context
def init(
    context: click.Context,
    *,
    token_ttl: str | None,
    signer_lag: str | None,
    algorithm: str,
    key_set: str,
    backend: str,
    path: Path | None,
    force: bool,
) -> None:
    """Write a commented configuration, and make its directories.

    Asks for the two durations that nobody can guess, unless they are given.
    """
    from rotator.settings.template import Answers, directories, render

    path = path or context.obj["config"] or Path("rotator.yaml")
    _check_place(path, key_set, force=force)
    _somebody_answers({"token_ttl": token_ttl, "signer_lag": signer_lag})
    # An absolute path in the configuration when it lives below /etc: state does not belong there.
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  # symlinks kept
    root = "/var/lib/rotator" if absolute.is_relative_to("/etc") else ".rotator"
    answers = Answers(
        _duration("token_ttl", token_ttl),
        _duration("signer_lag", signer_lag),
        algorithm,
        key_set,
        root,
        backend=backend,
        options=_options(backend),
    )
    text = render(answers)
    _verify(text)
    _write(path, text, force=force)
    made = _make(directories(answers, absolute.parent))
    _explain(Console(context.obj), path, made, answers)


def _check_place(path: Path, key_set: str, *, force: bool) -> None:
    from rotator.settings.names import KEY_SET_NAME, NAME_RULE

    if not KEY_SET_NAME.fullmatch(key_set):
        raise UsageError(f"{key_set!r} cannot be the name of a key set", hint=NAME_RULE)
    if path.suffix not in {".yaml", ".yml"}:
        raise UsageError(f"{path}: what is written is YAML", hint="end the name in .yaml")
    if os.path.lexists(path) and not force:
        raise _there(path)


def _options(backend: str) -> str:
    """Return what a backend shows of its options."""
    from rotator.stores import find_backend

    found = find_backend(backend)
    return found.example or f"# The options of the backend {backend}: `rotator config schema`.\n"


def _somebody_answers(given: Mapping[str, str | None]) -> None:
    """Refuse to begin without a required duration when nobody is there to be asked for it."""
    missing = [_QUESTIONS[name] for name, value in given.items() if value is None]
    if not missing or (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    options = " and ".join(option for option, _, _ in missing)
    raise UsageError(
        f"{options} {'is' if len(missing) == 1 else 'are'} missing, and nobody is there to be asked",
        hint="; ".join(
            f"`{option} {example}`: {question[0].lower()}{question[1:]}"
            for option, question, example in missing
        ),
    )


def _duration(name: str, given: str | None) -> str:
    """Return a required duration: the one given, or asked for on a terminal until it is one."""
    from rotator.durations import parse_duration

    option, question, example = _QUESTIONS[name]
    while True:
        text = click.prompt(f"{question}, such as {example}", err=True) if given is None else given
        try:
            value = parse_duration(text)
            if value or name != "token_ttl":
                return str(text).strip()
            why = "must be longer than `0s`"
        except ValueError as error:
            why = str(error)
        if given is not None:
            raise UsageError(f"{option}: {why}")
        click.echo(why, err=True)


def _make(wanted: dict[Path, int]) -> list[tuple[Path, int]]:
    """Make the directories that are not there; return those."""
    made = []
    for directory, mode in wanted.items():
        try:
            if directory.is_dir():
                continue
            directory.mkdir(mode=mode)
            directory.chmod(mode)  # whatever the umask is
        except OSError as error:
            raise ConfigError(
                f"{directory}: cannot be made: {error.strerror}",
                hint="the configuration was written; run this as a user who may, or make the directory by hand",
            ) from None
        made.append((directory, mode))
        if directory.name == ".rotator":
            # What is in it are private keys; a careless `git add .` must not find them.
            (directory / ".gitignore").write_text("*\n", encoding="utf-8")
    return made


def _verify(text: str) -> None:
    """Refuse durations that do not fit together now, not at the first rotation."""
    from tempfile import TemporaryDirectory

    from rotator.settings import InvalidSettings, load_settings

    with TemporaryDirectory() as directory:
        trial = Path(directory) / "rotator.yaml"
        trial.write_text(text, encoding="utf-8")
        try:
            load_settings(trial, {})
        except InvalidSettings as error:
            faults = "; ".join(fault.text for fault in error.faults)
            raise UsageError(
                f"nothing was written: {faults}",
                hint="take other durations, or write a configuration by hand: config/rotator.example.yaml",
            ) from None


def _write(path: Path, text: str, *, force: bool) -> None:
    """Write the file; without `force` never over another one, not even by a race."""
    target = path.with_name(f".{path.name}.{os.getpid()}") if force else path
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            if force:
                target.replace(path)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    except FileExistsError:
        raise _there(path) from None
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: its directory is not there", hint=f"`mkdir -p {path.parent}` makes it"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written: {error.strerror}", hint="`--path` names another place"
        ) from None


def _there(path: Path) -> UsageError:
    return UsageError(
        f"{path} is there already, nothing was changed",
        hint="`--force` replaces it; `--path` names another",
    )


def _explain(console: Console, path: Path, made: list[tuple[Path, int]], answers: Answers) -> None:
    named = "" if str(path) == "rotator.yaml" else f" --config {path}"
    steps = [
        (f"rotator check{named}", "look at everything, change nothing"),
        (f"rotator plan{named}", "what would happen, and when"),
        (f"rotator rotate{named}", "make the first key; then run it every five minutes, or"),
        (f"rotator run{named}", "as a daemon"),
    ]
    console.say(
        f"wrote {path}: key set `{answers.key_set}`, {answers.algorithm}, store `{answers.store}` "
        f"({answers.backend})"
    )
    for directory, mode in made:
        console.say(f"made {directory} ({mode:04o})")
    console.say("\nNext:")
    console.table(steps)
    document: dict[str, Any] = {
        "format": "rotator.init/1",
        "path": str(path),
        "key_set": answers.key_set,
        "algorithm": answers.algorithm,
        "backend": answers.backend,
        "directories": [
            {"path": str(directory), "mode": f"{mode:04o}"} for directory, mode in made
        ],
        "next": [command for command, _ in steps],
    }
    console.document(document)
