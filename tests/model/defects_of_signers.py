"""Faults in how signers are asked, and in what is made of what they say."""

from __future__ import annotations

from rotator.reconcile import asking
from tests.model import stories_of_signers as signers
from tests.model.patches import Defect, instead

SIGNERS: tuple[Defect, ...] = (
    Defect(
        "what signers really sign with is not counted",
        "rule 2",
        instead(asking, "told", lambda _site, observed: observed),
        signers.a_signer_that_stays,
    ),
    Defect(
        "what a signer said of another promotion is still taken for true",
        "rule 2",
        instead(asking, "_signs", lambda _ring: ("", None)),
        signers.a_rollback_while_a_signer_stays,
    ),
    Defect(
        "a key is retired without asking the signer once more",
        "rule 2",
        instead(asking, "_to_be_retired", lambda *_: False),
        signers.a_signer_that_goes_back,
    ),
)
