"""Holds the memory file where a command finds the newest key under one path: /proc/PID/fd/30.

Run as a program by path, with an empty environment and without `site`: it imports nothing of ours and
knows nothing but the file, because other processes of the user may look into it; into the supervisor,
which holds credentials, they may not. Its standard input is a socket; each descriptor that comes takes the
place of the one before in a single step (dup2(2)). It ends when the supervisor does.
"""

from __future__ import annotations

import os
import signal
import socket
import sys


def main(number: int) -> None:
    """Hold what comes as descriptor `number`."""
    # The service manager may signal all processes of the unit: this one is needed to the end.
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.closerange(
        3, os.sysconf("SC_OPEN_MAX")
    )  # sockets that the service manager meant for the command
    channel = socket.socket(fileno=0)
    while True:
        said, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not said:
            return
        for descriptor in descriptors:
            os.dup2(descriptor, number)
            os.close(descriptor)
        channel.send(said)


if __name__ == "__main__":
    main(int(sys.argv[1]))
