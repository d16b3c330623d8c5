"""`--pushgateway`: the metrics of a CronJob's run, pushed to a Prometheus Pushgateway at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from rotator.errors import TargetFailing, UsageError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

GROUP: Final = "/metrics/job/"
JOB: Final = "rotator"
TIMEOUT: Final = 5.0  # seconds


def checked_url(url: str) -> str:
    """Return where to push to: the URL with `/metrics/job/rotator` after it, unless it names a group itself.

    Raises:
        UsageError: it is none.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise UsageError(
            "--pushgateway takes a URL such as http://pushgateway:9091",
            hint=f"several rotators name groups of their own: http://pushgateway:9091{GROUP}{JOB}/shard/3",
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UsageError(
            "--pushgateway takes a URL without user name, password, query and fragment",
            hint="process arguments are seen by every user of a host; put a proxy in front that adds them",
        )
    plain = url.rstrip("/")
    return plain if GROUP in plain else f"{plain}{GROUP}{JOB}"


def push(url: str, registry: CollectorRegistry) -> None:
    """Add the metrics to a group; those of the same names there are replaced, others stay.

    Args:
        url: as `checked_url` returned it.

    Raises:
        TargetFailing: it did not take them within five seconds.
    """
    import urllib3

    from rotator.metrics.exposition import CONTENT_TYPE, render

    try:
        answer = urllib3.request(
            "POST",
            url,
            body=render(registry),
            headers={"Content-Type": CONTENT_TYPE, "Connection": "close"},
            timeout=urllib3.Timeout(total=TIMEOUT),
            retries=False,
            redirect=False,
        )
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise TargetFailing(
            f"the Pushgateway at {url} does not answer: {type(error).__name__}",
            hint="this run did its work all the same; see whether the address can be reached from here",
        ) from error
    if answer.status not in {200, 202}:
        raise TargetFailing(
            f"the Pushgateway at {url} answered {answer.status}",
            hint="this run did its work all the same; 400 means that it does not take the metrics, 404 that it is none",
        )
