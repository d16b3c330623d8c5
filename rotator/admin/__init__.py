"""The admin listener of the daemon: `/` for people, `/metrics`, `/healthz` and `/readyz`, apart from what verifiers read.

It lives in the daemon's own process, for it tells what only that knows; so it is built to bear anything: one
short request per connection, bounds on number, size and time, and no work that a request could steer.
"""

from __future__ import annotations

from rotator.admin.exchange import Answer
from rotator.admin.listener import AdminListener
from rotator.admin.site import AdminSite

__all__ = ["AdminListener", "AdminSite", "Answer"]
