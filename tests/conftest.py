"""What every test process begins with."""

from __future__ import annotations

import signal

# Started in the background of a script, this process ignores Ctrl-C, and so would every command that it
# starts (POSIX: an ignored signal stays ignored across exec). The commands' own answer to it is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
