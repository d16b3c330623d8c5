"""What a key set or a store may be called."""

from __future__ import annotations

import re
from typing import Final

KEY_SET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
"""Safe as a file name, in a URL and in a log."""

NAME_RULE: Final = (
    "a name is 1 to 63 of a-z, 0-9, `.`, `_`, `-`, and starts with a letter or a digit"
)
