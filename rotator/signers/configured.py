"""From the settings of a signer check to the check itself."""

from __future__ import annotations

from rotator.settings.signers import SignerCheckSettings
from rotator.signers.wall import SignerCheck


def open_check(item: SignerCheckSettings) -> SignerCheck:
    """Return a signer check as configured; nothing is asked yet."""
    timeout = item.timeout.total_seconds()
    if item.url is None:
        from rotator.signers.command import CommandCheck

        return CommandCheck(
            item.command, every=item.every, holds=item.hold, field=item.field, timeout=timeout
        )
    from rotator.signers.url import UrlCheck

    return UrlCheck(
        item.url,
        every=item.every,
        holds=item.hold,
        header=item.header,
        field=item.field,
        timeout=timeout,
    )
