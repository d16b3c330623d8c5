"""What people see: help on one screen, colour on terminals only, questions, logs apart from results."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from rotator.cli.root import COMMANDS
from tests.cli.bench import BOUND, COMMAND, Bench, environment

WIDTH, HEIGHT = 80, 24
CTRL_C, END_OF_INPUT = "\x03", "\x04"
INNER = [("config", name) for name in ("show", "validate", "schema")]


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS), *INNER], ids=" ".join)
def test_help_fits_one_screen(bench: Bench, words: tuple[str, ...]) -> None:
    """80 × 24, for the program and for each command."""
    lines = bench.good(*words, "--help").out.splitlines()
    assert len(lines) <= HEIGHT
    assert max(map(len, lines)) <= WIDTH


def test_help_names_every_command(bench: Bench) -> None:
    """The help's list is the list."""
    lines = re.findall(r"^  ([a-z][a-z, -]*?) +[A-Z]", bench.good("--help").out, re.MULTILINE)
    assert [name for line in lines for name in line.strip().split(", ")] == list(COMMANDS)


def test_no_words_show_the_help(bench: Bench) -> None:
    """`rotator` alone is a misuse that helps."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=BOUND, check=False)
    assert done.returncode == 2
    assert "Usage: rotator" in done.stderr
    assert bench.run("--version").out.startswith("rotator ")


def test_a_misspelt_command_is_told_the_nearest(bench: Bench) -> None:
    """Every refusal names the way out."""
    ran = bench.run("rotat")
    assert ran.code == 2
    assert "did you mean `rotate`?" in ran.err
    assert "rotator: hint: " in ran.err


def test_results_and_logs_are_apart(bench: Bench) -> None:
    """Results on stdout, logs on stderr: JSON lines, as it is no terminal."""
    ran = bench.good("rotate")
    events = [json.loads(line)["event"] for line in ran.err.splitlines()]
    assert "key.promoted" in events
    assert "timestamp" not in ran.out
    assert bench.good("rotate", "--log-level", "error").err == ""
    # The same options before the command.
    text = bench.run("--log-format", "text", "--log-level", "info", "hold", "--reason", "x")
    assert "order.hold" in text.err
    assert not text.err.startswith("{")


def on_a_terminal(
    bench: Bench,
    *words: str,
    typed: str = "",
    watch: Callable[[bytes], None] = lambda _shown: None,
    **env: str,
) -> tuple[int, str]:
    """Run a command at a terminal of its own; return its exit code and all that was shown.

    `watch` is told of all that was shown by then.
    """
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "-c", str(bench.config), *words],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment(env),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - Ctrl-C shall reach it
    )
    os.close(child)
    shown, asked, tries = b"", False, 0
    with process:
        while tries < BOUND:
            if not select.select([parent], [], [], 1.0)[0]:
                tries += 1
                # One between the prompt and its read goes unnoticed; but a second one at the very end kills.
                if asked and typed == CTRL_C and tries % 10 == 0:
                    os.write(parent, typed.encode())
                continue
            try:
                shown += os.read(parent, 4096)
            except OSError:  # EIO: the other side is closed
                break
            watch(shown)
            if typed and b"Type " in shown and not asked:
                asked = True
                os.write(parent, typed.encode())
        os.close(parent)
        code = process.wait(BOUND)
    return code, shown.decode()


def test_colour_on_a_terminal_only(running: Bench) -> None:
    """NO_COLOR and --color are obeyed."""
    colored = "\x1b["
    assert colored not in running.good("status").out
    assert colored in running.good("status", "--color", "always").out
    assert colored in on_a_terminal(running, "status")[1]
    assert colored not in on_a_terminal(running, "status", NO_COLOR="1")[1]
    assert colored not in on_a_terminal(running, "status", "--color", "never")[1]


def test_a_question_on_a_terminal(running: Bench) -> None:
    """What breaks tokens in use is asked for by a word, and anything else is a no."""
    kid = running.state()["current"]["kid"]
    before = running.kept()
    words = ("revoke", kid, "--reason", "a test")
    code, shown = on_a_terminal(running, *words, typed="yes\n")
    assert code == 2
    assert "tokens signed with it stop verifying" in shown
    assert "nothing was changed" in shown
    assert running.kept() == before
    code, shown = on_a_terminal(running, *words, typed=END_OF_INPUT)
    assert code == 2
    assert running.kept() == before
    code, shown = on_a_terminal(running, *words, typed=CTRL_C)
    assert code == 130
    assert running.kept() == before
    code, shown = on_a_terminal(running, *words, typed="revoke\n")
    assert code == 0, shown
    assert running.state()["current"]["kid"] != kid


def test_a_kid_that_begins_with_a_dash_is_a_kid(running: Bench) -> None:
    """One thumbprint in 64 does."""
    kid = "-" + "c" * 42
    for words in (("revoke", kid, "--reason", "x"), ("pin", "web", kid), ("unpin", kid)):
        ran = running.run(*words)
        assert ran.code == 2
        assert kid in ran.err.splitlines()[-2]
        assert "option" not in ran.err


def test_now_takes_a_kid_with_an_equals_sign_only(running: Bench) -> None:
    """In `rotate --now web`, web is a key set; an order for a kid that is no longer current is done."""
    (shown,) = running.answer("rotate", "--now", "web", "--dry-run")["key_sets"]
    assert "is replaced as soon as" in shown["statement"][0]
    coming = running.state()["next"][0]["kid"]
    assert "nothing to do" in running.good("rotate", f"--now={coming}").out
    running.good("rotate", "--now", "--reason", "a test")
    assert running.state()["orders"]["promote"]["reason"] == "a test"


def test_what_is_read_changes_nothing(running: Bench) -> None:
    """Commands that show things leave every byte and date as it is."""
    before = running.tree()
    for words in (
        ("status",),
        ("status", "--live"),
        ("plan", "--until", "1y"),
        ("history",),
        ("jwks",),
        ("check",),
        ("due",),
        ("rotate", "--dry-run"),
        ("rotate", "--now", "--dry-run"),
        ("rotate", "--emergency", "--dry-run"),
        ("hold", "--dry-run"),
        ("config", "show"),
        ("config", "validate"),
    ):
        ran = running.run(*words)
        assert ran.code in (0, 1), (words, ran.err)
    assert running.tree() == before


def test_a_run_with_nothing_to_do_imports_little(running: Bench) -> None:
    """Keys, scheduler, server, HTTP client and SDKs stay unloaded (the issue's list, and ours)."""
    heavy = "aiohttp apscheduler boto3 botocore conjur_api cryptography granian hvac joserfc rich urllib3"
    code = (
        "import sys\nfrom rotator.cli import execute\n"
        f"code = execute(['-c', {str(running.config)!r}, 'rotate'])\n"
        f"print(code, sorted(set({heavy.split()!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        timeout=BOUND,
        env=environment(),
        check=True,
    )
    assert done.stderr == "0 []\n"
