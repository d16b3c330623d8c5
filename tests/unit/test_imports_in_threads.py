"""What is imported late is imported by several threads at once: the first looks at probes, the first stores opened."""

from __future__ import annotations

import subprocess
import sys

ROUNDS = 12

SCRIPT = """
import os, socket, sys, threading, time
from rotator.errors import StoreUnavailable
from rotator.probes import exchange
import rotator_vault.settings

def probe():
    ours, theirs = socket.socketpair()
    theirs.close()
    try:
        exchange.get(exchange.Url.parse("http://127.0.0.1:1/"), ours, time.monotonic() + 5)
    except (StoreUnavailable, OSError, IndexError):  # a socketpair has no address
        pass

def store():
    from rotator_vault.transport import adapter

def one_round():
    sys.setswitchinterval(1e-6)
    faults, acts = [], [probe, store, probe, probe, store, probe]
    ready = threading.Barrier(len(acts))
    def run(act):
        ready.wait()
        try:
            act()
        except BaseException as error:
            faults.append(repr(error))
    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults

assert "urllib3" not in sys.modules
for _ in range(ROUNDS):
    child = os.fork()
    if child == 0:
        faults = one_round()
        if faults:
            print(faults, file=sys.stderr, flush=True)
        os._exit(bool(faults))
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
"""


def test_threads_that_import_at_once_do_not_block_one_another() -> None:
    """CPython 3.11 gives a half-made module to one of two threads that begin a package with different parts of it."""
    script = SCRIPT.replace("ROUNDS", str(ROUNDS))
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
