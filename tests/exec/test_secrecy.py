"""The key is in a sealed memory file of the command and nowhere else."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

from rotator.exec.handing import SEALS
from tests.campaign.needles import needles_of, search
from tests.cli.bench import COMMAND, environment
from tests.exec.bench import BOUND, FOREVER, MARK, Bench, children, name_of, until

PROBE = r"""
import errno, fcntl, json, os
def failing(act):
    try: act()
    except OSError as error: return error.errno
    return 0
path = os.environ["ROTATOR_SIGNING_FILE"]
number = int(path.rpartition("/")[2])
found = {
    "path": path, "argument": ARGUMENT, "seals": fcntl.fcntl(number, fcntl.F_GET_SEALS),
    "write": failing(lambda: os.write(number, b"x")),
    "truncate": failing(lambda: os.truncate(path, 0)),
    "link": os.readlink(path), "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
    "revision": os.environ["ROTATOR_REVISION"], "set": os.environ["ROTATOR_KEY_SET"],
    "kid": os.environ["ROTATOR_KID"], "body": open(path).read(),
}
writable = failing(lambda: os.open(path, os.O_RDWR))
if not writable:
    writable = failing(lambda: os.write(os.open(path, os.O_RDWR), b"x"))
found["again"] = writable
json.dump(found, open("found.new", "w")); os.rename("found.new", "found")
"""


def test_the_file_is_sealed(bench: Bench) -> None:
    """Not even root writes to it; it is the document byte for byte, at the path that an argument may have too."""
    probe = PROBE.replace("ARGUMENT", repr("@FILE@"))
    running = bench.exec("--replace", "@FILE@", "--", sys.executable, "-c", probe)
    assert running.wait() == 0, running.err
    found = json.loads((bench.home / "found").read_bytes())
    assert found["seals"] & SEALS == SEALS
    assert SEALS == (
        fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    )
    assert found["write"] in (errno.EBADF, errno.EPERM)
    for act in ("truncate", "again"):
        assert found[act] in (errno.EPERM, errno.EACCES), act
    assert found["path"] == found["argument"] == "/proc/self/fd/30"
    assert "memfd:" in found["link"]
    assert found["body"].encode() == bench.signing.read_bytes()
    assert (found["kid"], found["set"], found["revision"]) == (bench.kid, "web", "3")
    # Nothing else of ours: standard streams, the file, and the directory that was being read.
    assert set(found["descriptors"]) - {0, 1, 2, 30} <= {3, 4, *_inherited()}


def _inherited() -> set[int]:
    """What a test runner left open for all its children."""
    return {int(path.name) for path in Path("/proc/self/fd").iterdir()}


def test_no_argument_environment_or_file_has_it(bench: Bench) -> None:
    """Every process of the machine and every file of the test is searched while two keys are used one after another."""
    kept = ("store", "signing")
    running = bench.exec(
        "--file", "pem", "--ready-after", "50ms", "--", "sh", "-c", FOREVER, level="debug"
    )
    running.wait_for("exec.ready")
    jwks = [json.loads(bench.signing.read_bytes())["jwk"]]
    bench.promote()
    running.wait_for("exec.changed")
    jwks.append(json.loads(bench.signing.read_bytes())["jwk"])
    places: dict[str, bytes] = {}
    for what in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{what}"):
            try:
                places[str(path)] = path.read_bytes()
            except OSError:
                continue
    assert f"/proc/{running.pid}/environ" in places
    for path in bench.home.rglob("*"):
        if path.is_file() and path.relative_to(bench.home).parts[0] not in kept:
            places[str(path)] = path.read_bytes()
    for folder in ("/dev/shm", "/tmp", "/run"):
        for path in Path(folder).glob("*rotator*"):
            with contextlib.suppress(OSError):  # another program's, and gone by now
                if path.is_file():
                    places[str(path)] = path.read_bytes()
    needles = needles_of(json.dumps(jwk).encode() for jwk in jwks)
    assert list(search(needles, places)) == []
    # The search finds what is there to be found: in the store, which has both.
    stored = {str(path): path.read_bytes() for path in bench.home.rglob("signing.json")}
    assert list(search(needles, stored))


def test_others_of_the_same_user_cannot_look_in(bench: Bench) -> None:
    """A process that is not dumpable belongs to root in /proc, whoever it runs as: no memory, environment, core."""
    group = 65534 if os.geteuid() == 0 else None
    words = ["-c", str(bench.config), "exec", "--ready-after", "0s", "--", "sh", "-c", FOREVER]
    process = subprocess.Popen([*COMMAND, *words], env=environment({MARK: bench.mark}), group=group)
    try:
        found: list[int] = []

        def started() -> bool:
            found[:] = [pid for pid in children(process.pid) if name_of(pid) == "tail"]
            return len(list(children(process.pid))) == 2 and bool(found)

        until(started)
        program = found[0]
        theirs = Path(f"/proc/{program}/environ").stat()
        assert (theirs.st_uid, theirs.st_gid) == (os.geteuid(), group or os.getegid())
        for pid in (process.pid, *(pid for pid in children(process.pid) if pid != program)):
            ours = Path(f"/proc/{pid}/environ").stat()
            assert (ours.st_uid, ours.st_gid) == (0, 0)
            assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1, (
                "a fork beside threads is a risk"
            )
    finally:
        process.terminate()
        assert process.wait(BOUND) == 143


def test_the_environment_is_the_commands(bench: Bench) -> None:
    """What configures us stays with us; the rest is passed on as it is."""
    dropped = {"ROTATOR__STORES__LOCAL__LOCK_TIMEOUT": "9s", "WATCHDOG_USEC": "60000000"}
    running = bench.exec(
        "--", "sh", "-c", "env > env.new; mv env.new env", KEPT="as it is", **dropped
    )
    assert running.wait() == 0
    lines = (bench.home / "env").read_text().splitlines()
    assert "KEPT=as it is" in lines
    assert [line for line in lines if line.startswith(tuple(dropped))] == []
    until(lambda: bench.marked() == [])
