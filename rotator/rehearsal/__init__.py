"""A world in memory in which key sets are rotated: hosts, clocks, stores, targets, signers, verifiers.

Everything here implements the same walls as the real thing, so that the real `tick` runs over it. It
is free of any test library: tests and `rotator rehearse` build on it.
"""
