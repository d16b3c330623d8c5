"""`rotator run`: ticks every key set when it is time, for as long as the process lives.

The ring is the truth and the scheduler is only an alarm clock: what is due is worked out from the ring at
each tick, so an alarm that is late, early or double does no harm.
"""

from __future__ import annotations

from rotator.daemon.daemon import Daemon
from rotator.daemon.run import run_daemon
from rotator.daemon.waker import Waker

__all__ = ["Daemon", "Waker", "run_daemon"]
