"""Files that are no configuration: one clear `ConfigError` each, whatever is in them."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.errors import ConfigError
from rotator.settings import InvalidSettings, load_settings
from rotator.settings.document import MAX_BYTES, decode, too_deep
from rotator.settings.faults import Fault
from rotator.settings.find import find, read
from rotator.settings.read_yaml import read_yaml, resolve

GOOD = """\
version: 1
stores:
  local: {backend: file, path: store}
key_sets:
  web:
    policy: {token_ttl: 15m, signer_lag: 5m}
    deliver: [{to: files, path: signing}]
    publish: [{to: file, path: jwks.json}]
"""

NESTED = "a:\n" + "\n".join(" " * depth + "- b:" for depth in range(1, 200, 2))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.yaml", b"", "is empty"),
        ("c.yaml", b"# only\n  # comments\n", "is empty"),
        ("c.yaml", b"   \n\t\n", "is empty"),
        ("c.yaml", GOOD[:40].encode(), "is not YAML"),
        ("c.yaml", b"version: 1\nkey: 'un", "is not YAML"),
        ("c.yaml", b"\x00" * 4096, "control character"),
        ("c.yaml", bytes(range(256)) * 8, "c.yaml"),
        ("c.yaml", b"version: 1\n\xff\n", "c.yaml:2: is not text in UTF-8"),
        ("c.yaml", b"a: 1\n" * 2_000_000, "larger than 1 MiB"),
        ("c.yaml", b"[" * 100_000, "more than 32 levels"),
        ("c.yaml", b"{a: " * 5_000, "more than 32 levels"),
        ("c.yaml", b"- " * 50_000 + b"x", "more than 32 levels"),
        ("c.yaml", b"? " * 50_000 + b"x", "more than 32 levels"),
        ("c.yaml", NESTED.encode(), "more than 32 levels"),
        ("c.yaml", b"- a\n- b\n", "holds a list"),
        ("c.yaml", b"just text\n", "holds a single value"),
        ("c.yaml", b"a:\n\t- b\n", "is not YAML"),
        ("c.yaml", b"a: b: c\n", "c.yaml:1: is not YAML"),
        ("c.json", b"", "is empty"),
        ("c.json", b'{"version": 1,\n', "c.json:2: is not JSON"),
        ("c.json", b'{"version": NaN}', "is not JSON"),
        ("c.json", b"[1]", "holds a list"),
        ("c.json", b"[" * 1000, "more than 32 levels"),
        ("c.toml", b"version = 1\nkey = \n", "c.toml:2: is not TOML"),
        ("c.toml", b"a = 1\na = 2\n", "is not TOML"),
        ("c.toml", b"a" + b".a" * 100_000 + b" = 1\n", "more than 32 levels"),
        ("c.ini", b"version = 1\n", "does not say which format"),
    ],
)
def test_refused_in_one_sentence(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """Empty, truncated, binary, huge and deeply nested files."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert not isinstance(caught.value, InvalidSettings)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert len(caught.value.message.splitlines()) == 1
    assert len(caught.value.message) < 400
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("cut", range(0, len(GOOD), 3))
def test_truncated_anywhere(tmp_path: Path, cut: int) -> None:
    """A configuration cut short is refused, or is a shorter one that lacks something."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD[:cut])
    with pytest.raises(ConfigError):
        load_settings(path, {})


def test_the_uncut_one_is_good(tmp_path: Path) -> None:
    """Otherwise the test above shows nothing."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    assert list(load_settings(path, {}).key_sets) == ["web"]


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "socket", "dangling"])
def test_what_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    """No file, or one that would block or hold nothing: refused at once."""
    path = tmp_path / "c.yaml"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "dangling":
        path.symlink_to("nowhere.yaml")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert caught.value.hint


def faults_of(text: str) -> list[Fault]:
    """Read YAML, return what was found wrong without stopping."""
    faults: list[Fault] = []
    read_yaml(text, "c.yaml", faults)
    return faults


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "given twice, first on line 1"),
        ("a: {b: 1,\n  b: 2}\n", 2, "given twice"),
        ("a: &x 1\n", 1, "anchors"),
        ("a: &x [1]\nb: *x\n", 2, "aliases"),
        ("a: !!python/object:os.system x\n", 1, "the tag"),
        ("a: !secret x\n", 1, "the tag"),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("? [a, b]\n: 1\n", 1, "a key must be a plain word"),
    ],
)
def test_yaml_that_surprises(text: str, line: int, said: str) -> None:
    """What YAML allows and a configuration does not, each at its line."""
    (fault, *_) = [fault for fault in faults_of(text) if said in fault.text]
    assert fault.place.line == line


def test_alias_bomb_is_small_work() -> None:
    """Nothing is multiplied, since nothing is looked up."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30)]
    assert len(faults_of("\n".join(lines))) == 30 + 2 * 29


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("12:30", "12:30"), ("1_000", "1_000"), ("0640", "0640"),
        ("2024-01-01", "2024-01-01"), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("12", 12), ("-3", -3), ("0", 0), ("0x1f", 31), ("0o17", 15), ("1.5", 1.5), ("1e3", 1000.0), ("0.5", 0.5),
        (".5", 0.5), ("15m", "15m"), ("1e9999", "1e9999"), ("\uff19", "\uff19"),
    ],
)  # fmt: skip
def test_scalars_of_yaml_1_2(text: str, value: object) -> None:
    """The core schema, and nothing of YAML 1.1."""
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quoted_scalars_stay_text() -> None:
    """Quotes say that it is text."""
    data = read_yaml("a: '12'\nb: \"true\"\nc: |\n  1\n", "c.yaml", []).data
    assert data == {"a": "12", "b": "true", "c": "1\n"}


def test_lines_of_every_format(tmp_path: Path) -> None:
    """The same configuration in three formats: the line of each value is known."""
    (tmp_path / "c.yaml").write_text(
        "version: 1\nk:\n  w:\n    deliver:\n      - to: files\n        path: x\n"
    )
    (tmp_path / "c.json").write_text(
        '{"version": 1,\n "k": {\n  "w": {\n   "deliver": [\n    {"to": "files",\n     "path": "x:,[]{"}]}}}'
    )
    (tmp_path / "c.toml").write_text(
        'version = 1\n[k]\n[k.w]\n# here\n[[k.w.deliver]]\nto = "files"\npath = "x"\n'
    )
    expected = {"yaml": (1, 2, 3, 5, 6), "json": (1, 2, 3, 5, 6), "toml": (1, 2, 3, 6, 7)}
    paths = [
        ("version",),
        ("k",),
        ("k", "w"),
        ("k", "w", "deliver", 0, "to"),
        ("k", "w", "deliver", 0, "path"),
    ]
    for suffix, lines in expected.items():
        document = read(tmp_path / f"c.{suffix}", [])
        assert tuple(document.place(path).line for path in paths) == lines
        assert document.place(("k", "w", "nowhere", 3)).line == 3


def test_json_names_given_twice(tmp_path: Path) -> None:
    """JSON's parser would keep the last one silently."""
    (tmp_path / "c.json").write_text('{"a": 1,\n "b": [{"a": 1,\n "a": 2}],\n "a": "x"}')
    faults: list[Fault] = []
    read(tmp_path / "c.json", faults)
    assert [(fault.path, fault.place.line) for fault in faults] == [(("b", 0, "a"), 3), (("a",), 4)]


def test_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--config`, then ROTATOR_CONFIG, then the working directory; none is a refusal that names them."""
    monkeypatch.chdir(tmp_path)
    assert find(Path("x.toml"), {"ROTATOR_CONFIG": "y"}) == Path("x.toml")
    assert find(None, {"ROTATOR_CONFIG": "y.json"}) == Path("y.json")
    if not Path("/etc/rotator/rotator.yaml").exists():
        with pytest.raises(ConfigError) as caught:
            find(None, {"ROTATOR_CONFIG": ""})
        assert "./rotator.yaml" in str(caught.value)
        assert "/etc/rotator/rotator.yaml" in str(caught.value)
        assert "rotator init" in caught.value.hint
        assert caught.value.exit_code == 78
    (tmp_path / "rotator.yaml").write_text(GOOD)
    assert find(None, {}) == Path("rotator.yaml")


def test_a_file_at_the_limit_is_read() -> None:
    """The cap is a cap, not one less."""
    text = "a: 1\n# " + "x" * (MAX_BYTES - 7)
    assert decode(text.encode(), "c.yaml") == text
    with pytest.raises(ConfigError):
        decode(text.encode() + b"x", "c.yaml")


def test_a_byte_order_mark_is_harmless() -> None:
    """Editors of another system write one."""
    assert decode(b"\xef\xbb\xbfversion: 1\n", "c.yaml") == "version: 1\n"


def test_depth_is_counted_on_real_configurations() -> None:
    """Brackets in text do not add up, and a long list is not deep."""
    assert too_deep("\n".join(f"- 'a[{n}]'" for n in range(1000))) is None
    assert too_deep(json.dumps({"a": [{"b": [1, 2]}] * 500}, indent=2)) is None


YAML_LIKE = st.text(st.sampled_from("ab:-?[]{}\"'|>&*!%#@` \n\t,1.~\\é"), max_size=60)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.one_of(YAML_LIKE, st.text(max_size=60)))
def test_any_text_is_read_or_refused(text: str) -> None:
    """The parser never gets out with anything but a `ConfigError`."""
    said = "c.yaml"
    try:
        read_yaml(decode(text.encode(errors="surrogatepass"), "c.yaml"), "c.yaml", [])
    except ConfigError as error:
        said = error.message
    assert said.startswith("c.yaml")


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.one_of(st.booleans(), st.integers(), st.text(max_size=8)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_json_lines_follow_any_document(data: dict[str, object]) -> None:
    """The second pass, for lines, finds every path that the parser found."""
    from rotator.settings.read_plain import _json_lines, read_json

    text = json.dumps(data, indent=1)
    assert read_json(text, "c.json", []).data == data
    lines = _json_lines(text, "c.json", [], ())

    def walk(value: object, path: tuple[str | int, ...]) -> None:
        assert path in lines
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(inner, (*path, index))

    walk(data, ())
