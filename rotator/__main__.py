"""`python -m rotator`: the same as the command `rotator`."""

from rotator.cli import main

main()
