"""Listening for connections: one way for every listener of this program to get its address, or to say why not."""

from __future__ import annotations

import errno
import socket

from rotator.errors import ConfigError, TargetFailing

__all__ = ["listen"]


def listen(host: str, port: int, *, backlog: int, option: str, who: str = "") -> socket.socket:
    """Return a listening TCP socket.

    Args:
        host: address or name; `::` serves IPv4 too.
        port: 0 takes a free one.
        backlog: connections that may wait to be accepted.
        option: what of the configuration names the address, for messages.
        who: who listens, for messages; nothing where that is clear.

    Raises:
        TargetFailing: another program listens there; worth trying again.
        ConfigError: an address that this host does not have, or may not use.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    doing = f"{who} cannot listen at {place}".lstrip()
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(
            (str(address[0]), port),
            family=family,
            backlog=backlog,
            dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise TargetFailing(
                f"{doing}: another program does",
                hint=f"end it (`ss -ltnp 'sport = :{port}'` names it) or change `{option}`",
            ) from error
        raise ConfigError(
            f"{doing}: {error.strerror or error}",
            hint=f"name an address of this host and a port that this user may use in `{option}`",
        ) from error
