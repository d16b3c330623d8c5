"""For authors of backends: the contract that every store is held to, and a way to break one on purpose.

`rotator.testing.contract` needs pytest; `rotator.testing.faults` needs nothing. The program itself imports
neither.
"""
