"""Run a Conjur server for tests in this process: `python -m rotator.testing.conjur --port 8080`.

SIGHUP makes it forget every value, as a restart without its storage would; SIGUSR1 makes every access token
worthless; SIGUSR2 turns it into a follower that refuses writes, and back.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rotator.testing.conjur.server import ConjurServer

API_KEY: Final = "CONJUR_AUTHN_API_KEY"
"""The environment variable of the API key, as Conjur's own clients have it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the server until SIGINT or SIGTERM.

    Prints its address once it answers, and the API keys of the roles that a policy makes.
    """
    options = _parser().parse_args(arguments)
    server = ConjurServer(
        account=options.account,
        host=options.address,
        port=options.port,
        token_ttl=options.token_ttl,
        retention=options.retention,
        certificate=options.certificate,
    )
    if options.admin_key_file is not None:
        server.admin_key = options.admin_key_file.read_text(encoding="ascii").strip()
    for name in options.host:
        made = server.load_policy(f"- !host {name}\n")
        if API_KEY in os.environ:
            server.give_api_key(f"host/{name}", os.environ[API_KEY])
        else:
            _say(f"host/{name} {made[f'host/{name}']}")
    for path in options.policy:
        for login, key in server.load_policy(path.read_text(encoding="utf-8")).items():
            _say(f"{login} {key}")
    waited = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    with server:
        _say(f"listening on {server.url}")
        while (heard := signal.sigwait(waited)) not in (signal.SIGINT, signal.SIGTERM):
            _heed(server, heard)


def _heed(server: ConjurServer, heard: int) -> None:
    if heard == signal.SIGHUP:
        server.forget_everything()
        _say("forgot every value")
    elif heard == signal.SIGUSR1:
        server.expire_tokens()
        _say("no token is good any more")
    else:
        server.read_only = not server.read_only
        _say(f"{'refuses' if server.read_only else 'takes'} writes")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rotator.testing.conjur",
        description="A Conjur server for tests, in memory.",
    )
    parser.add_argument("--address", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="0 takes any that is free")
    parser.add_argument("--account", default="dev", help="the account's name")
    parser.add_argument("--admin-key-file", type=Path, help="holds the API key of the user admin")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        help=f"declare a host; its API key is in {API_KEY}, or made and printed",
    )
    parser.add_argument("--policy", type=Path, action="append", default=[], help="loaded into root")
    parser.add_argument("--token-ttl", type=float, default=480, help="seconds that a token is good")
    parser.add_argument("--retention", type=int, default=20, help="versions kept of a variable")
    parser.add_argument("--certificate", type=Path, help="PEM of certificate and key, for TLS")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
