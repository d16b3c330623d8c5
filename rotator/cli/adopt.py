"""`rotator adopt`: a live key enters a new ring."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from rotator.cli.acting import Asked, order
from rotator.cli.session import Session
from rotator.errors import UsageError
from rotator.secret import Secret

_STORE: Final = "store:"
_MOST_BYTES: Final = 1 << 20


@click.command()
@click.argument("key_set", required=False)
@click.option(
    "--from",
    "source",
    required=True,
    metavar="PLACE",
    help="FILE, or store:STORE/ADDRESS[#FIELD].",
)
@click.option("--kid", metavar="KID", help="The tokens' `kid`; or: thumbprint.")
@click.option("--algorithm", metavar="ALG", help="The tokens' `alg`.")
@click.option(
    "--passphrase-file", type=click.Path(path_type=Path), metavar="FILE", help="Of a PEM."
)
@click.option("--passphrase-env", metavar="NAME", help="The same, from a variable.")
@click.option("--since", metavar="DATE", help="Count due dates from this day.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.pass_obj
def adopt(options: dict[str, Any], /, key_set: str | None, **said: Any) -> int:
    """Take a live key (PEM, JWK, HMAC secret) into a new ring, as it is.

    No verifier notices: the live JWKS keeps its keys, the next is announced.
    """
    session = Session(options, level="info")
    name = session.the_one(key_set)
    since = _date(said["since"])
    content = _content(session, said["source"])
    asked = Asked(_operation(session, name, content, since, said), dry_run=said["dry_run"])
    return order(session, name, asked)


def _operation(
    session: Session, name: str, content: Secret, since: datetime | None, said: dict[str, Any]
) -> Any:
    from rotator.operations.adopt import adopt as operation
    from rotator.operations.live_formats import read_live_key
    from rotator.operations.live_jwks import THUMBPRINT, Wish

    live = read_live_key(
        content,
        symmetric=session.settings.key_sets[name].policy.kind.symmetric,
        name=None if said["kid"] == THUMBPRINT else said["kid"],
        passphrase=_passphrase(said["passphrase_file"], said["passphrase_env"]),
    )
    return partial(operation, wish=Wish(live, said["kid"], said["algorithm"], since))


def _content(session: Session, source: str) -> Secret:
    """Return what lies at the source; its bytes go nowhere but into the material store."""
    if not source.startswith(_STORE):
        return _from_file(session, Path(source))
    store, slash, address = source.removeprefix(_STORE).partition("/")
    address, mark, field = address.rpartition("#") if "#" in address else (address, "", "")
    if not (store and slash and address) or (mark and not field):
        raise UsageError(
            f"--from {source}: no store and address",
            hint="write `store:STORE/ADDRESS`, with `#FIELD` for one field of a JSON object",
        )
    found = _from_store(session, store, address)
    if not field:
        return found
    from rotator.operations.live_formats import pick_field

    return pick_field(found, field)


def _from_store(session: Session, store: str, address: str) -> Secret:
    from rotator.stores import Fetching

    if store not in session.settings.stores:
        known = ", ".join(session.settings.stores)
        raise UsageError(f"the configuration has no store {store!r}", hint=f"it has {known}")
    with session.assembly() as assembly:
        opened = assembly.store(store)
        if not isinstance(opened, Fetching):
            backend = session.settings.stores[store].backend
            raise UsageError(
                f"store {store} ({backend}) has nothing but what rotator wrote",
                hint="name a file with the key instead",
            )
        found = opened.fetch(address)
    if found is None:
        raise UsageError(
            f"store {store} has no secret at {address}",
            hint="write the address as the secrets manager's own tools do",
        )
    return found


def _from_file(session: Session, path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        meant = path.parts[0] if len(path.parts) > 1 else ""
        hint = "nothing was changed"
        if meant in session.settings.stores:
            hint = f"for a secret in the store {meant} write `--from store:{path}`; {hint}"
        elif isinstance(error, FileNotFoundError):
            hint = f"a secret in a configured store is `--from store:STORE/ADDRESS`; {hint}"
        raise UsageError(f"cannot read the key in {path}: {error.strerror}", hint=hint) from error
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{path} is longer than any key")
    return Secret(content)


def _passphrase(file: Path | None, variable: str | None) -> Secret | None:
    if file is None and variable is None:
        return None
    if file is not None and variable is not None:
        raise UsageError("--passphrase-file or --passphrase-env, not both")
    from rotator.remote import read_secret

    return read_secret("the passphrase", file=file, env=variable)


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since {text}: not a date", hint="write 2026-09-30") from None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
