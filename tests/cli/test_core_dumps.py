"""What a command holds in memory does not land in a file when it crashes."""

from __future__ import annotations

import subprocess
import sys

from tests.cli.bench import BOUND, ROOT, environment

SCRIPT = """
import contextlib, io, resource
from rotator.cli.root import cli

before = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (before, before))
for words in (["exec", "--config", "/nowhere.yaml", "--", "true"], ["config", "schema"]):
    with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
        cli(words, standalone_mode=False)
    print(resource.getrlimit(resource.RLIMIT_CORE) == ((before, before) if words[0] == "exec" else (0, before)))
"""


def test_every_command_leaves_no_core_dump() -> None:
    """All but `exec`, whose processes are not dumpable and whose program keeps the limits that it was given."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT],
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=True,
    )
    assert done.stdout.split() == ["True", "True"]
