"""Signals, exit codes, what a command leaves behind, and the terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import termios
import threading
from pathlib import Path

import pytest

from tests.cli.bench import COMMAND, environment
from tests.exec.bench import BOUND, FOREVER, Bench, children, name_of, until

QUICK = ("--ready-after", "50ms", "--stop-timeout", "300ms")
SIGNALS = ("HUP", "USR1", "USR2", "WINCH")
SAYS_SIGNALS = (
    "".join(f"trap 'echo {name}' {name}; " for name in SIGNALS)
    + "echo up; while :; do tail -f /dev/null & wait $!; kill $! 2>/dev/null; done"
)


def test_streams_and_exit_codes_are_passed_on(bench: Bench) -> None:
    """Input, output, errors and the code are the command's; nothing of ours is among them."""
    (bench.home / "in").write_text("read\n")
    running = bench.exec("--", "sh", "-c", "cat; echo wrote >&2; exit 7", level="warning")
    assert running.wait() == 7
    assert (running.out, running.err) == ("read\n", "wrote\n")
    assert bench.exec("--", "sh", "-c", "kill -9 $$").wait() == 128 + 9


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("no-such-program", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
        ("./text", 126, "exec format error"),
    ],
)
def test_a_command_that_cannot_be_executed(
    bench: Bench, command: str, code: int, said: str
) -> None:
    """As env(1) has it: 127 when it is missing, 126 when it cannot be executed."""
    (bench.home / "text").write_text("no program")
    (bench.home / "text").chmod(0o755)
    running = bench.exec("--", command)
    assert running.wait() == code
    assert f"rotator: error: '{command}' cannot be executed: {said}" in running.err


def test_signals_are_passed_on(bench: Bench) -> None:
    """Each reaches the command."""
    running = bench.exec(*QUICK, "--", "sh", "-c", SAYS_SIGNALS)
    until(lambda: "up" in running.out)
    for name in SIGNALS:
        running.send(signal.Signals[f"SIG{name}"])
        until(lambda name=name: name in running.out)  # type: ignore[misc]  # bound at once
    assert running.end() == 143
    assert bench.marked() == []


def test_what_is_ignored_stays_ignored(bench: Bench) -> None:
    """Under nohup(1) neither `rotator` nor the command ends by a hangup (POSIX: ignored across exec)."""
    bench.ignored = [signal.SIGHUP]
    running = bench.exec(*QUICK, "--", "sh", "-c", SAYS_SIGNALS)
    until(lambda: "up" in running.out)
    running.send(signal.SIGHUP)
    running.send(signal.SIGUSR1)
    until(lambda: "USR1" in running.out)
    assert "HUP" not in running.out
    assert running.end() == 143


def test_one_that_ignores_all_is_killed_with_what_it_started(bench: Bench) -> None:
    """Its group after `--stop-timeout`; and those that left the group, for they have the key too."""
    child = 'trap "" TERM INT HUP; echo > $0; while :; do tail -f /dev/null; done'
    script = f"setsid sh -c '{child}' a & sh -c '{child}' b & {child.replace('$0', 'c')}"
    running = bench.exec(*QUICK, "--", "sh", "-c", script)
    until(lambda: all((bench.home / name).exists() for name in "abc"))
    until(lambda: len(bench.marked()) > 3)
    assert running.end() == 137
    assert running.events("exec.killed")[0]["reason"] == "it was asked to end and did not"
    assert bench.marked() == []


def test_it_adopts_and_buries_orphans(bench: Bench) -> None:
    """Like PID 1: no zombie stays; and what is left when the command ends, ends too."""
    script = f"for i in 1 2 3 4 5; do (true &) ; done; (tail -f /dev/null &); {FOREVER}"
    running = bench.exec("--ready-after", "50ms", "--", "sh", "-c", script)
    ready = running.wait_for("exec.ready")
    reader = name_of(running.pid)

    def settled() -> bool:
        """The command, the other tail and the reader are there, and nothing else: a zombie keeps its name."""
        return sorted(map(name_of, children(running.pid))) == sorted(["tail", "tail", reader])

    until(settled)
    os.kill(ready["pid"], signal.SIGKILL)
    assert running.wait() == 137
    assert bench.marked() == []


def test_its_own_end_is_the_commands_end(bench: Bench) -> None:
    """Killed, it takes along the command, its group and its own processes."""
    running = bench.exec(*QUICK, "--", "sh", "-c", f"trap '' TERM; tail -f /dev/null & {FOREVER}")
    running.wait_for("exec.ready")
    ours = list(children(running.pid))
    running.end(signal.SIGKILL)
    until(lambda: bench.marked() == [])
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ours))


def test_the_service_manager_is_told(bench: Bench, tmp_path: Path) -> None:
    """READY=1 only when the command is ready, its own socket for the command, a watchdog that is fed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = str(tmp_path / "notify")
        manager.bind(address)
        said: list[str] = []

        def listen() -> None:
            """Hear all of it at once: the kernel keeps few messages, and who is not heard says no more."""
            while message := manager.recv(4096):
                said.append(message.decode())

        def ready(kid: str) -> bool:
            return any("READY=1" in one and kid in one for one in said)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        script = f'echo "$NOTIFY_SOCKET" > socket; {FOREVER}'
        running = bench.exec(
            *(*QUICK, "--", "sh", "-c", script),
            NOTIFY_SOCKET=address,
            WATCHDOG_USEC="400000",
        )
        until(lambda: any("READY=1" in one for one in said))
        assert ready(bench.kid)
        assert bench.written("socket") == [""]
        for _ in range(2):  # again and again
            fed = said.count("WATCHDOG=1")
            until(lambda fed=fed: said.count("WATCHDOG=1") > fed)  # type: ignore[misc]  # bound at once
        assert not any("RELOADING=1" in one for one in said)
        kid = bench.promote()
        until(lambda: ready(kid))
        assert any("RELOADING=1" in one for one in said)
        running.end()
        manager.shutdown(socket.SHUT_RD)
        listener.join(BOUND)


def test_the_terminal_is_the_commands(bench: Bench) -> None:
    """It reads from it, Ctrl-C goes to it alone, and afterwards the terminal is the shell's again."""
    parent, child = pty.openpty()
    words = [
        "-c",
        str(bench.config),
        "exec",
        "--",
        "sh",
        "-c",
        "read line; echo got $line; exec cat",
    ]
    shell = ["sh", "-c", f'{" ".join(COMMAND)} "$@"; echo code $?; read line; echo and $line', "sh"]
    process = subprocess.Popen(
        [*shell, *words],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - Ctrl-C shall reach it
    )
    os.close(child)
    shown = b""

    def wait_for(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            assert select.select([parent], [], [], BOUND)[0], shown
            shown += os.read(parent, 4096)

    os.write(parent, b"typed\n")
    wait_for(b"got typed")
    os.write(parent, b"\x03")
    wait_for(b"code 130")
    os.write(parent, b"more\n")
    wait_for(b"and more")
    assert process.wait(BOUND) == 0
    with contextlib.suppress(OSError):
        os.close(parent)
