"""`rotator exec`: runs an issuer with the key that signs now, and gives it the next one in time.

Up to four processes: the supervisor, without a thread and without a store, which starts and ends the
command; the reader, forked from it, which alone talks to stores; a holder of the sealed memory file, in
signal mode only; and, while a command is becoming ready, one that asks its URL.
"""
