"""`windows:` in a configuration: what it becomes, what is refused and with which words, what `config show` says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rotator.settings import InvalidSettings, load_settings
from rotator.settings.show import Resolved
from rotator.windows import DAY_MINUTES, Freeze, Opening, Windows

CONFIG = """\
version: 1
stores:
  local: {{backend: file, path: store}}
defaults:
  policy: {{token_ttl: 15m, signer_lag: 5m}}
  windows:
{defaults}
key_sets:
  web:
    deliver: [{{to: files, path: signing/web}}]
    publish: [{{to: file, path: jwks.json}}]
    windows:
{own}
"""
OFFICE = """\
time_zone: Europe/Berlin
open:
  - weekdays: [mon-thu, sat]
    hours: 09:00-16:30
  - {weekdays: [fri-mon], hours: "22:00-02:00"}
  - {weekdays: [sun]}
freezes:
  - {first: 2026-11-23, last: 2026-11-30, reason: a sale}
  - {first: 12-20, last: 01-03}
"""


def indented(text: str, by: int) -> str:
    """Return lines moved to the right."""
    return "\n".join(" " * by + line for line in text.splitlines())


def written(path: Path, own: str, defaults: str = "{}") -> Path:
    """Write a configuration with these windows."""
    file = path / "rotator.yaml"
    text = CONFIG.format(defaults=indented(defaults, 4), own=indented(own, 6))
    file.write_text(text, encoding="utf-8")
    return file


def windows_of(path: Path, own: str, defaults: str = "{}") -> Windows | None:
    """Return what a configuration says of windows."""
    return load_settings(written(path, own, defaults), {}).key_sets["web"].policy.windows


def said_of(path: Path, own: str) -> dict[str, str]:
    """Return what is wrong, by its path below `windows`."""
    with pytest.raises(InvalidSettings) as caught:
        load_settings(written(path, own), {})
    return {".".join(map(str, fault.path[3:])): fault.text for fault in caught.value.faults}


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    """Days, hours, freezes of one year and of each."""
    assert windows_of(tmp_path, OFFICE) == Windows(
        (
            Opening((0, 1, 2, 3, 5), 9 * 60, 16 * 60 + 30),
            Opening((0, 4, 5, 6), 22 * 60, 2 * 60),
            Opening((6,), 0, DAY_MINUTES),
        ),
        (
            Freeze((2026, 11, 23), (2026, 11, 30), "a sale"),
            Freeze((12, 20), (1, 3)),
        ),
        "Europe/Berlin",
    )


def test_a_key_set_replaces_the_defaults_as_a_whole(tmp_path: Path) -> None:
    """`{}` is at any time; without its own, those of `defaults` hold."""
    assert windows_of(tmp_path, "{}", OFFICE) is None
    own = windows_of(tmp_path, "open: [{weekdays: [mon]}]", OFFICE)
    assert own == Windows((Opening((0,)),))
    file = written(tmp_path, "{}", OFFICE)
    text = file.read_text(encoding="utf-8").replace("    windows:\n      {}\n", "")
    file.write_text(text, encoding="utf-8")
    found = load_settings(file, {}).key_sets["web"].policy.windows
    assert found is not None
    assert found.zone == "Europe/Berlin"


def test_the_environment_and_toml(tmp_path: Path) -> None:
    """Lists are JSON there; TOML has dates of its own."""
    file = written(tmp_path, "{}")
    given = {
        "ROTATOR__KEY_SETS__WEB__WINDOWS__TIME_ZONE": "Asia/Tokyo",
        "ROTATOR__KEY_SETS__WEB__WINDOWS__FREEZES": json.dumps(
            [{"first": "2026-12-01", "last": "2026-12-02"}]
        ),
    }
    found = load_settings(file, given).key_sets["web"].policy.windows
    freeze = Freeze((2026, 12, 1), (2026, 12, 2))
    assert found == Windows(freezes=(freeze,), zone="Asia/Tokyo")
    toml = tmp_path / "rotator.toml"
    toml.write_text(
        """
version = 1
stores.local = {backend = "file", path = "store"}
[key_sets.web]
policy = {token_ttl = "15m", signer_lag = "5m"}
deliver = [{to = "files", path = "signing"}]
publish = [{to = "file", path = "jwks.json"}]
windows.freezes = [{first = 2026-12-01, last = 2026-12-02}]
""",
        encoding="utf-8",
    )
    assert load_settings(toml, {}).key_sets["web"].policy.windows == Windows(freezes=(freeze,))


@pytest.mark.parametrize(
    ("own", "at", "said"),
    [
        ("time_zone: Europe/Berlni", "time_zone", "did you mean `Europe/Berlin`?"),
        ("time_zone: ../etc/passwd", "time_zone", "there is no time zone"),
        ("time_zone: localtime", "time_zone", "there is no time zone"),
        ("time_zone: Europe", "time_zone", "there is no time zone"),
        ("time_zone: 7", "time_zone", "must be the name of a time zone"),
        ("open: [{weekdays: [mo]}]", "open.0.weekdays.0", "`mon-fri`, not 'mo'"),
        ("open: [{weekdays: [mon-fri-sun]}]", "open.0.weekdays.0", "not 'mon-fri-sun'"),
        ("open: [{weekdays: []}]", "open.0.weekdays", "names no day"),
        ("open: [{hours: 9-17}]", "open.0.hours", "`09:00-16:30`, not '9-17'"),
        ("open: [{hours: '24:00-02:00'}]", "open.0.hours", "is no time of day"),
        ("open: [{hours: '09:00-24:30'}]", "open.0.hours", "is no time of day"),
        ("open: [{hours: '09:00-09:00'}]", "open.0.hours", "has no length"),
        ("open: [{day: mon}]", "open.0.day", "unknown key"),
        ("freezes: [{first: 2026-02-29, last: 03-01}]", "freezes.0.first", "not '2026-02-29'"),
        ("freezes: [{first: 02-30, last: 03-01}]", "freezes.0.first", "not '02-30'"),
        ("freezes: [{first: 0000-01-01, last: 0000-01-02}]", "freezes.0.last", "must be a date"),
        ("freezes: [{first: 9999-12-31, last: 9999-12-31}]", "freezes.0.last", "must be a date"),
        ("freezes: [{first: 2026-12-20}]", "freezes.0.last", "is missing; the last day"),
        ("freezes: [{first: 2026-12-20, last: 01-03}]", "freezes.0", "both have a year"),
        ("freezes: [{first: 2026-12-20, last: 2026-12-19}]", "freezes.0", "is before"),
        ("open: [{hours: '09:00-09:10'}]", "open.0.hours", "write_window 1m = 11m"),
        ("freezes: [{first: 2027-01-01, last: 2027-06-30}]", "", "the longest safe closure is"),
        ("freezes: [{first: 01-01, last: 12-31}]", "", "never opens"),
    ],
)
def test_what_is_refused(tmp_path: Path, own: str, at: str, said: str) -> None:
    """At its path, with the way out."""
    faults = said_of(tmp_path, own)
    assert said in faults.get(at, "nothing"), faults


def test_a_fault_of_the_defaults_is_at_the_defaults(tmp_path: Path) -> None:
    """The key set that it concerns is named, the line is where it was written."""
    file = written(tmp_path, "{}", "freezes: [{first: 2027-01-01, last: 2027-06-30}]")
    text = file.read_text(encoding="utf-8").replace("    windows:\n      {}\n", "")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(file, {})
    (fault,) = caught.value.faults
    assert fault.path == ("key_sets", "web", "windows")
    assert fault.place.line == 6


def test_config_show(tmp_path: Path) -> None:
    """Every value with its origin."""
    values = {
        ".".join(map(str, path[3:])): (value, origin)
        for path, value, origin in Resolved(written(tmp_path, OFFICE), {}).values()
        if path[:3] == ("key_sets", "web", "windows")
    }
    assert values["time_zone"][0] == "Europe/Berlin"
    assert values["open.0.weekdays"][0] == ["mon", "tue", "wed", "thu", "sat"]
    assert values["open.1.hours"][0] == "22:00-02:00"
    assert values["open.2.hours"] == ("00:00-24:00", "default")
    assert values["freezes.0.first"][0] == "2026-11-23"
    assert values["freezes.0.reason"][0] == "a sale"
    assert values["freezes.1.last"][0] == "01-03"
    assert values["freezes.1.last"][1].endswith("rotator.yaml:21")
