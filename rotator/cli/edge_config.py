"""`rotator edge-config`: the configuration of a web server that serves what is published as files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.session import Session
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.server.nginx import PublishedFile
    from rotator.settings.result import KeySetSettings

FORMAT: Final = "rotator.edge-config/1"


@click.command()
@click.argument("edge", metavar="EDGE", type=click.Choice(["nginx"]))
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.pass_obj
def edge_config(options: dict[str, Any], edge: str, key_sets: tuple[str, ...]) -> int:
    """Print the configuration of a web server for the key sets that are published as files.

    EDGE is nginx. Its cache headers come from the policy, so that they cannot contradict the timing contract.
    Nothing is read but the configuration, and nothing is changed.
    """
    from rotator.server.nginx import nginx_locations

    session = Session(options)
    files: list[PublishedFile] = []
    for name in session.chosen(key_sets):
        found = _published(session.settings.key_sets[name])
        if found is not None:
            files.append(found)
        elif key_sets:
            raise _nothing(f"key set {name} is not published as a file")
    if not files:
        raise _nothing("no key set is published as a file")
    text = nginx_locations(files)
    session.console.say(text.rstrip("\n"))
    session.console.document(
        {
            "format": FORMAT,
            "edge": edge,
            "key_sets": [file.key_set for file in files],
            "configuration": text,
        }
    )
    return 0


def _published(settings: KeySetSettings) -> PublishedFile | None:
    """Return the first file that a key set is published as; several hold the same."""
    from rotator.profiles import wants_plain_json
    from rotator.server.nginx import PublishedFile
    from rotator.settings.targets import PublishSettings

    for target in settings.publish:
        if isinstance(target, PublishSettings):
            return PublishedFile(
                key_set=settings.name,
                path=target.path,
                max_age=int(settings.policy.jwks_max_age.total_seconds()),
                stale=int(settings.policy.jwks_stale.total_seconds()),
                default=settings.default,
                plain_json=wants_plain_json(settings.verifiers),
            )
    return None


def _nothing(message: str) -> UsageError:
    return UsageError(message, hint="add `publish: [{to: file, path: FILE}]` to its configuration")
