"""`rotator run` as rotator.service starts, reloads and stops it: its very lines and environment, on a real socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import urlopen

from rotator.settings import load_settings
from tests.campaign.processes import BOUND, configure, free_port, key_set, until
from tests.systemd import units

SERVICE = units.read("rotator.service")["Service"]


def environment(home: Path, **more: str) -> dict[str, str]:
    """What systemd gives (systemd.exec(5)), and where this checkout's packages are."""
    passed = {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}
    return {
        **passed,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
        "LANG": "C.UTF-8",
        "USER": "rotator",
        "LOGNAME": "rotator",
        "INVOCATION_ID": "00000000000000000000000000000000",
        "STATE_DIRECTORY": str(home / "state"),
        **more,
    }


def run(line: str, config: Path, variables: Mapping[str, str] | None = None) -> int:
    """Run one command line of the unit to its end."""
    words = units.command(line, config, variables)
    return subprocess.run(
        words, env=environment(config.parent), cwd="/", capture_output=True, check=False
    ).returncode


# What systemd does between fork and exec: the socket to descriptor 3, and the number that sd_listen_fds(3) compares.
PASS = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def started(
    config: Path, listener: socket.socket, **told: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The service's process, with a socket; whoever leaves the block too early kills it."""
    (line,) = SERVICE["ExecStart"]
    descriptor = listener.fileno()
    process = subprocess.Popen(
        [sys.executable, "-ISc", PASS, str(descriptor), *units.command(line, config)],
        env=environment(config.parent, **told),
        cwd="/",
        umask=int(SERVICE["UMask"][0], 8),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(descriptor,),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(BOUND)


def next_of(manager: socket.socket, key: str) -> str:
    """The value of the next message that has a key."""
    while True:
        said = dict(line.split("=", 1) for line in manager.recv(4096).decode().split("\n"))
        if key in said:
            return said[key]


def test_started_reloaded_and_stopped_as_the_unit_says(tmp_path: Path) -> None:
    """With a socket of rotator.socket's kind: what connects before the start is answered, not refused."""
    port = free_port()
    config = configure(tmp_path, {"web": key_set(tmp_path, "web", "EdDSA")}, port=port)
    watchdog = str(int(SERVICE["WatchdogSec"][0]) * 1_000_000)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.settimeout(BOUND)
        manager.bind(str(tmp_path / "notify"))
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": watchdog}
        with (
            socket.create_server(("127.0.0.1", port)) as listener,
            socket.create_connection(("127.0.0.1", port), BOUND) as early,
            started(config, listener, **told) as process,
        ):
            early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert next_of(manager, "READY") == "1"
            assert early.recv(4096).startswith(b"HTTP/1.1 200 ")
            assert next_of(manager, "WATCHDOG") == "1"
            variables = {"MAINPID": str(process.pid)}
            good = config.read_bytes()
            config.write_text("{")
            check, kill = SERVICE["ExecReload"]
            assert run(check, config, variables) == 78  # systemd goes no further
            config.write_bytes(good)
            assert run(kill, config, variables) == 0
            assert next_of(manager, "RELOADING") == "1"
            assert next_of(manager, "READY") == "1"
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=BOUND) as answer:
                assert answer.status == 200
            until((tmp_path / "signing" / "web" / "signing.json").exists)
            process.send_signal(signal.SIGTERM)
            assert next_of(manager, "STOPPING") == "1"
            assert process.wait(BOUND) == int(SERVICE["SuccessExitStatus"][0])
    assert (tmp_path / "signing" / "web").stat().st_mode & 0o777 == 0o700


def test_what_no_restart_mends_is_not_restarted(tmp_path: Path) -> None:
    """A configuration that is not there yet, too: systemd waits for nothing but mounts."""
    prevented = SERVICE["RestartPreventExitStatus"][0].split()
    (line,) = SERVICE["ExecStart"]
    assert str(run(line, tmp_path / "rotator.yaml")) in prevented
    assert {"75", "69", "1", "143"}.isdisjoint(prevented)


def test_a_credential_takes_the_place_of_the_file_named(tmp_path: Path) -> None:
    """The drop-in's variable, with `%d` as systemd replaces it."""
    service = units.read("drop-ins/credentials.conf")
    name, source = units.one(service, "Service", "LoadCredential").split(":")
    variable, _, value = units.one(service, "Service", "Environment").partition("=")
    credential = tmp_path / "run" / name
    credential.parent.mkdir()
    credential.write_text("not for the log")
    credential.chmod(0o400)
    config = tmp_path / "rotator.json"
    stands = {"method": "approle", "role_id": "r", "secret_id_file": source}
    store = {"backend": "vault", "address": "https://vault.example:8200", "auth": stands}
    web = {
        "algorithm": "ES256",
        "policy": {"token_ttl": "15m", "signer_lag": "5m"},
        "deliver": [{"to": "store", "store": "main"}],
        "publish": [{"to": "store", "store": "main"}],
    }
    config.write_text(
        json.dumps({"version": 1, "stores": {"main": store}, "key_sets": {"web": web}})
    )
    environ = {variable: value.replace("%d", str(credential.parent))}
    settings = load_settings(config, environ)
    assert settings.stores["main"].options.auth.secret_id_file == credential
