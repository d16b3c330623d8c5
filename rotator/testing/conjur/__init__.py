"""A Conjur server for tests: in memory, and as strict as a real one on the endpoints that a store uses.

    with ConjurServer() as server:
        keys = server.load_policy("- !host ci")
        ...  # talk to server.url as host/ci with keys["host/ci"]

`python -m rotator.testing.conjur --port 8080` runs one in a process of its own. It reproduces what was measured on
a real Conjur 1.22: numbered versions of which twenty are kept, an equal value that makes no new version, a 500
for a write that lost a race, 404 for what a role cannot see and 403 for what it may not do, tokens that really
expire. It needs what `rotator` itself needs, and no test library.
"""

from rotator.testing.conjur.exchanges import Elsewhere
from rotator.testing.conjur.policy import Invalid, Unknown
from rotator.testing.conjur.server import ConjurServer

__all__ = ["ConjurServer", "Elsewhere", "Invalid", "Unknown"]
