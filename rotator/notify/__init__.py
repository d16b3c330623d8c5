"""Telling people and programs what happens to keys: webhooks and commands, in order, at least once.

`news` derives events from a ring, `ledger` is what receivers have confirmed, `desk` sends. Nothing here is
told key material. `docs/notifications.md` is the operator's page, `docs/decisions/0022-notifications.md` says why.
"""
