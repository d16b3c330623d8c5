"""What an operator can ask for beside the schedule.

Every operation looks first and obeys rule 4, says what it will do (`Done.statement`; nothing is written
with `dry_run=True`), swaps by compare-and-set, and writes what follows at the targets. What is left
after that (a destruction, a new next key) is any tick's business.
"""

from __future__ import annotations

from rotator.operations.done import Done
from rotator.operations.emergency import emergency, revoke
from rotator.operations.orders import hold, order_promotion, pin, release, unpin
from rotator.operations.recovery import confirm_clock, forget, restore, take_over
from rotator.operations.rollback import roll_back

__all__ = [
    "Done",
    "confirm_clock",
    "emergency",
    "forget",
    "hold",
    "order_promotion",
    "pin",
    "release",
    "restore",
    "revoke",
    "roll_back",
    "take_over",
    "unpin",
]
