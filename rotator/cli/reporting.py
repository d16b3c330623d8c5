"""`--metrics-file` and `--pushgateway`: what a one-shot tells of itself at its end, whatever became of it.

Nothing of this changes an exit code: metrics that cannot be told are a warning, and an alert on the date of the
last success notices by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rotator.errors import RotatorError, UsageError

if TYPE_CHECKING:
    from rotator.metrics import Meter
    from rotator.settings import Settings

FILE: Final = click.option(
    "--metrics-file",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Write metrics for a textfile collector.",
)
PUSH: Final = click.option(
    "--pushgateway", metavar="URL", help="Push metrics to a Prometheus Pushgateway."
)


@contextmanager
def reporting(
    settings: Settings, path: Path | None, pushgateway: str | None, *, dry: bool = False
) -> Iterator[Meter | None]:
    """Give a meter if metrics are to be told, and tell them at the end of the block.

    Args:
        path: of `--metrics-file`.
        pushgateway: of `--pushgateway`.
        dry: nothing is carried out, so there is nothing to tell.

    Raises:
        UsageError: the URL is none, or a dry run was to be told; before anything is done.
    """
    if path is None and pushgateway is None:
        yield None
        return
    if dry:
        raise UsageError("a dry run has no metrics", hint="leave out --dry-run, or the metrics")
    from rotator.hostclock import HostClock
    from rotator.metrics import Meter
    from rotator.metrics.push import checked_url

    url = checked_url(pushgateway) if pushgateway is not None else None
    meter = Meter(HostClock().now, detailed=len(settings.key_sets))
    with meter.listening():
        try:
            yield meter
        finally:
            _tell(settings, meter, path, url)


def _tell(settings: Settings, meter: Meter, path: Path | None, url: str | None) -> None:
    from rotator import __version__
    from rotator.metrics.exposition import registry_of
    from rotator.metrics.surroundings import Surroundings

    registry = registry_of(meter, Surroundings(__version__))
    if path is not None:
        from rotator.metrics.textfile import write_metrics

        try:
            write_metrics(path, registry, carried=settings.key_sets)
        except RotatorError as error:
            untold(error)
    if url is not None:
        from rotator.metrics.push import push

        try:
            push(url, registry)
        except RotatorError as error:
            untold(error)


def untold(error: RotatorError) -> None:
    """Warn that metrics could not be told."""
    from rotator.logs import emit

    emit("warning", "metrics.untold", reason=error.message, hint=error.hint)
