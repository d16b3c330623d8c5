"""What `rotator check` says of the receivers of notifications; nothing is sent to any."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator

from rotator.errors import ConfigError, RotatorError, StoreUnavailable
from rotator.inspection import Finding
from rotator.notify.receivers import secrets_of, url_of, where
from rotator.settings.result import ReceiverSettings, WebhookSettings


def inspect_receiver(receiver: ReceiverSettings) -> Iterator[Finding]:
    """Say whether a receiver can be reached: a connection and no more, or a program that may be run."""
    try:
        if receiver.webhook is not None:
            yield from _webhook(receiver, receiver.webhook)
        else:
            yield _command(receiver.command[0])
    except RotatorError as error:
        yield Finding("fault", error.message, hint=error.hint, exit_code=error.exit_code)


def _webhook(receiver: ReceiverSettings, webhook: WebhookSettings) -> Iterator[Finding]:
    from rotator.notify.webhook import key_of
    from rotator.probes.ask import resolve
    from rotator.probes.exchange import Url, connect

    name = receiver.name
    text, signed = url_of(name, webhook), secrets_of(name, webhook)
    for secret in signed:
        key_of(name, secret)
    if not signed and webhook.template == "generic":
        hint = "set `secret_file`, and let it check `webhook-signature`"
        yield Finding("advice", "nothing is signed: it cannot tell who posts", hint=hint)
    try:
        url = Url.parse(text)
    except ConfigError:
        raise ConfigError("it has no URL that could be used") from None
    if not url.secure and url.host not in ("127.0.0.1", "::1", "localhost"):
        yield Finding("advice", "its URL is plain http: whoever is on the way can read along")
    deadline = time.monotonic() + receiver.timeout.total_seconds()
    failed = ""
    try:
        for address in resolve(url, deadline):
            try:
                connect(address, deadline).close()
            except OSError as error:
                failed = f"no connection to {url.host}: {error.strerror or error}"
            else:
                test = f"`rotator notify --test {name}` sends it an event"
                yield Finding("ok", f"{where(receiver)}: {url.host} takes connections; {test}")
                return
    except StoreUnavailable:
        failed = f"the name {url.host} does not resolve"
    yield Finding("fault", failed, hint="events are kept until it answers", exit_code=75)


def _command(program: str) -> Finding:
    found = shutil.which(program, os.X_OK)
    if found is not None:
        return Finding("ok", f"command {program} may be run")
    hint = "name it with its whole path; it is run with our `PATH`"
    return Finding("fault", f"command {program} cannot be run", hint=hint, exit_code=78)
