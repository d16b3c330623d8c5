"""Signer checks: what an issuer really signs with, seen from a fresh token of it.

A delivery proves that a signer was given a key, not that it uses it. `url` and `command` fetch a token,
`token` finds it and reads its header, `judge` holds it against the ring, `wall` says what a tick expects of a
check. A token is a credential: it is never logged, is in no error and no repr, and is dropped as soon as it was
judged.
"""
