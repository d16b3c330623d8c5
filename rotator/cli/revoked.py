"""`--report`: what a revocation broke, and who may still trust the revoked keys, on the terminal and in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.errors import RotatorError, worst_exit_code

if TYPE_CHECKING:
    from rotator.cli.session import Result, Session
    from rotator.operations import Done
    from rotator.reconcile.site import Outcome

REPORT: Final = click.option(
    "--report",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Say there what broke, and who trusts it still (*.json).",
)
_MODE: Final = 0o600


class Reports:
    """Gathers what became of the revocations of one command, and tells it at the end.

    Args:
        path: of `--report`; a name that ends with `.json` is given JSON, another one text.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._of: dict[str, dict[str, Any]] = {}

    def note(self, done: Done | None, outcome: Outcome | None) -> None:
        """Keep what is known of a revocation; what is known later takes its place.

        Args:
            outcome: of the last tick; None when nothing was carried out, and there is nothing to tell.
        """
        if done is None or done.revocation is None or outcome is None:
            return
        from rotator.operations.aftermath import Known
        from rotator.operations.report import report_of

        written = {item.target: item.kids for item in outcome.written}
        # Caches are told when the key leaves, which no later tick does again.
        first = done.outcome.written if done.outcome is not None else ()
        told = (*first, *outcome.written)
        purged = {item.target: item.purged for item in told if item.purged is not None}
        known = Known(
            outcome.ring, outcome.observed, outcome.now, written, outcome.failures, purged
        )
        self._of[outcome.ring.key_set] = report_of(done.revocation, known)

    def of(self, key_set: str) -> dict[str, Any]:
        """Return the report of a key set. Raises KeyError where nothing was revoked."""
        return self._of[key_set]

    def tell(self, session: Session, results: Sequence[Result]) -> None:
        """Print the reports, add them to the results, and write the file.

        A file that cannot be written changes the exit code of the results, and nothing else: what was
        revoked is revoked, and the report is printed.
        """
        told = [result for result in results if result.key_set in self._of]
        if not told:
            return
        from rotator.operations.report import in_lines

        for result in told:
            result.view["report"] = self._of[result.key_set]
            for line in in_lines(self._of[result.key_set]):
                session.console.say(line)
        if self._path is None:
            return
        try:
            self._write(self._path, [self._of[result.key_set] for result in told])
        except RotatorError as error:
            session.console.refuse(error)
            for result in told:
                result.exit_code = worst_exit_code([result.exit_code, error.exit_code])

    @staticmethod
    def _write(path: Path, reports: Sequence[dict[str, Any]]) -> None:
        from rotator.atomic import replace_file
        from rotator.operations.report import FORMAT, in_lines

        if path.suffix == ".json":
            text = json.dumps({"format": FORMAT, "key_sets": reports}, indent=2, ensure_ascii=False)
        else:
            text = "\n".join(line for report in reports for line in in_lines(report))
        try:
            replace_file(path, f"{text}\n".encode(), _MODE)
        except RotatorError as error:
            raise RotatorError(
                f"the report cannot be written: {error.message}",
                hint="the keys are revoked, and the report was printed",
            ) from error
