"""Daemons that really fail, and get well again.

Each scenario lives through a fault and says at its `yield`s which alerts fire by then, with the labels that
they have, and that no other does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

import jwt

from rotator.policy import Standby
from rotator.probes import UrlProbe
from rotator.signers.url import UrlCheck
from tests.prometheus.capture import Run, answering
from tests.unit.daemon_world import HOUR, MINUTE

WEB: Final = {"key_set": "web"}

Labels = dict[str, str]
Firing = dict[str, Labels | tuple[Labels, ...]]
Scenario = Callable[[Run], Iterator[Firing]]


def published(run: Run) -> dict[str, str]:
    return {**WEB, "target": f"file:{run.published}"}


def a_publication_fails(run: Run) -> Iterator[Firing]:
    """For so long that the rotation is held up by it, and the key grows old."""
    run.start()
    run.minutes(10)
    yield {}
    kept = run.published.read_bytes()
    run.published.unlink()
    run.published.mkdir()
    run.minutes(20)
    yield {"RotatorPublishFailing": published(run)}
    run.minutes(60)
    yield {
        "RotatorPublishFailing": published(run),
        "RotatorOverdue": WEB,
        "RotatorKeyTooOld": WEB,
    }
    run.published.rmdir()
    run.published.write_bytes(kept)
    run.minutes(15)
    yield {}


def a_delivery_fails(run: Run) -> Iterator[Firing]:
    run.start()
    run.minutes(10)
    yield {}
    place = run.path / "web-signing"
    place.rename(run.path / "aside")
    place.write_bytes(b"")
    run.minutes(20)
    yield {"RotatorDeliveryFailing": {**WEB, "target": f"files:{place}"}}
    place.unlink()
    (run.path / "aside").rename(place)
    run.minutes(10)
    yield {}


def material_cannot_be_written(run: Run) -> Iterator[Firing]:
    """A next key that is made just in time is not missed before its time."""
    run.start(standby=Standby.JUST_IN_TIME, rotate_every=HOUR)
    run.minutes(25)
    yield {}
    material = run.path / "store" / "web" / "material"
    material.rename(run.path / "aside")
    material.write_bytes(b"")
    run.minutes(45)
    yield {
        "RotatorNoStandby": WEB,
        "RotatorOverdue": WEB,
        "RotatorKeySetFailing": WEB,
        "RotatorStoreErrors": {"store": str(run.path / "store")},
    }
    material.unlink()
    (run.path / "aside").rename(material)
    run.minutes(60)
    yield {}


def the_ring_cannot_be_read(run: Run) -> Iterator[Firing]:
    run.start(rotate_every=3 * HOUR)
    run.minutes(10)
    yield {}
    place = run.path / "store" / "web"
    place.rename(run.path / "aside")
    place.write_bytes(b"")
    run.minutes(40)
    yield {"RotatorKeySetFailing": WEB, "RotatorStoreErrors": {"store": str(run.path / "store")}}
    place.unlink()
    (run.path / "aside").rename(place)
    run.minutes(40)
    yield {}


def somebody_else_writes(run: Run) -> Iterator[Firing]:
    """The first time and once more: the counter is new, and then it grows."""
    run.start(rotate_every=6 * HOUR)
    run.minutes(10)
    yield {}
    for _ in range(2):
        run.published.write_bytes(run.published.read_bytes().replace(b'"kid":"', b'"kid":"x', 1))
        run.minutes(10)
        yield {"RotatorDrift": {"target": "file"}}
        run.minutes(65)
        yield {}


def a_probe_fails(run: Run) -> Iterator[Firing]:
    """An answer that is none is one thing, an answer without the keys another."""
    answers: dict[str, Callable[[], tuple[int, bytes]]] = {
        "well": lambda: (
            (200, run.published.read_bytes()) if run.published.is_file() else (404, b"")
        ),
        "broken": lambda: (500, b""),
        "empty": lambda: (404, b""),
    }
    now = "well"
    with answering(lambda: answers[now]()) as url:  # noqa: PLW0108 - `now` changes
        run.start(UrlProbe(f"{url}/jwks.json", "web"), rotate_every=6 * HOUR)
        probe = {**WEB, "target": f"probe:{url}/jwks.json"}
        run.minutes(10)
        yield {}
        now = "broken"
        run.minutes(25)
        yield {"RotatorProbeFailing": probe}
        now = "empty"
        run.minutes(15)
        yield {"RotatorJwksIncomplete": probe}
        now = "well"
        run.minutes(10)
        yield {}


def the_clock_is_set(run: Run) -> Iterator[Firing]:
    run.start(rotate_every=6 * HOUR)
    run.minutes(10)
    yield {}
    run.clock.wall += 2 * HOUR
    run.minutes(18)
    yield {"RotatorClockSuspicious": {}}
    run.clock.wall -= 2 * HOUR
    run.minutes(5)
    yield {}


def a_signer_stays_behind(run: Run) -> Iterator[Firing]:
    """It signs with a key of its own."""
    foreign = jwt.encode({"sub": "nobody"}, "x" * 32, "HS256", headers={"kid": "its-own"})

    def token() -> str:
        delivered = json.loads((run.path / "web-signing" / "signing.json").read_bytes())
        key = jwt.PyJWK(delivered["jwk"]).key
        return jwt.encode({"sub": "x"}, key, delivered["alg"], headers={"kid": delivered["kid"]})

    well = True
    with answering(lambda: (200, (token() if well else foreign).encode())) as url:
        site = run.start(rotate_every=6 * HOUR)
        run.minutes(2)
        site.signers = (UrlCheck(f"{url}/token", every=MINUTE),)
        run.minutes(10)
        yield {}
        well = False
        run.minutes(12)
        yield {"RotatorSignerDrift": {**WEB, "target": f"signer:{url}/token"}}
        well = True
        run.minutes(10)
        yield {}


SCENARIOS: Final[tuple[Scenario, ...]] = (
    a_publication_fails,
    a_delivery_fails,
    material_cannot_be_written,
    the_ring_cannot_be_read,
    somebody_else_writes,
    a_probe_fails,
    the_clock_is_set,
    a_signer_stays_behind,
)
