"""`rotator due`: whether anything is due, as an exit code for systemd's ExecCondition= and for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.options import Options, shard_option
from rotator.cli.session import Events, Result, Session
from rotator.cli.views import failures_view, in_words, step_view, written_in

if TYPE_CHECKING:
    from rotator.reconcile.site import Site

FORMAT: Final = "rotator.due/1"
DUE: Final = 0
NOT_DUE: Final = 1
FAULT: Final = 255
"""systemd skips a unit silently when ExecCondition= exits with 1 to 254; 255 makes it fail."""


class _DueCommand(click.Command):
    """Makes every fault a 255, misspelt words included."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Note the exit code of faults before the words are read."""
        if parent is not None:
            parent.ensure_object(Options)["fault"] = FAULT
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=_DueCommand)
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@shard_option
@click.pass_obj
def due(options: dict[str, Any], key_sets: tuple[str, ...]) -> int:
    """Tell by the exit code whether `rotate` has anything to do now.

    Exit 0: something is due at one of the key sets. 1: nothing is. 255: any fault, such as a store
    that does not answer or a suspicious clock. Nothing is written. For systemd's ExecCondition=.
    """
    session = Session(options)
    names = session.chosen(key_sets)
    with session.assembly() as assembly:
        results = session.each(names, lambda name: _one(session, assembly.site(name)))
    for result in results:
        if result.error is not None:
            result.exit_code = FAULT
    codes = {result.exit_code for result in results}
    code = next((code for code in (FAULT, DUE, NOT_DUE) if code in codes), NOT_DUE)
    session.console.document(
        {
            "format": FORMAT,
            "key_sets": [result.document() for result in results],
            "exit_code": code,
        }
    )
    return code


def _one(session: Session, site: Site) -> Result:
    from rotator.cli.paper import on_paper
    from rotator.reconcile.tick import tick
    from rotator.step import Do, Reason

    events = Events(quiet=True)
    paper, _ = on_paper(site, events.emit)
    outcome = tick(paper)
    is_due = outcome.changed or outcome.step.do is not Do.WAIT
    view = {
        "due": is_due,
        "next": step_view(outcome.step),
        "written": written_in(events.take()),
        "failures": failures_view(outcome.failures),
    }
    if not is_due and outcome.step.reason is Reason.CLOCK_SUSPICIOUS:
        # Not 1: that would skip `rotate` in silence for as long as the clock is wrong.
        session.console.tell(f"{site.key_set}: {outcome.step.detail}")
        return Result(site.key_set, view, exit_code=FAULT)
    if not is_due and outcome.failures:
        for error in outcome.failures.values():
            session.console.tell(f"{site.key_set}: {error}")
        return Result(site.key_set, view, exit_code=FAULT)
    session.console.say(f"{site.key_set}: {_words(outcome)}")
    return Result(site.key_set, view, exit_code=DUE if is_due else NOT_DUE)


def _words(outcome: Any) -> str:
    from rotator.step import Do

    if outcome.step.do is not Do.WAIT:
        return f"due: {in_words(outcome.step, outcome.now)}"
    if outcome.written:
        return f"due: documents differ at {', '.join(item.target for item in outcome.written)}"
    if outcome.changed:
        return "due: what was seen at targets is to be recorded"
    return f"not due: {in_words(outcome.step, outcome.now)}"
