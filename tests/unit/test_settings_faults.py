"""What is wrong with a configuration: all of it at once, each with its line and the way out."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from rotator.settings import Fault, InvalidSettings, load_settings

BASE = """\
version: 1
stores: {local: {backend: file, path: store}}
defaults: {policy: {token_ttl: 15m, signer_lag: 5m}}
"""
WEB = """\
    deliver: [{to: files, path: signing/web}]
    publish: [{to: file, path: jwks/web.json}]
"""


def faults(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> tuple[Fault, ...]:
    """Load a configuration that has faults; return them."""
    path = tmp_path / "rotator.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path, environ or {})
    assert caught.value.exit_code == 78
    assert caught.value.hint
    assert all(str(fault) in caught.value.message for fault in caught.value.faults)
    return caught.value.faults


def only(tmp_path: Path, text: str) -> Fault:
    """Load a configuration that has one fault; return it."""
    (fault,) = faults(tmp_path, text)
    return fault


def key_set(lines: str, *, targets: str = WEB) -> str:
    """Return a configuration with one key set; `lines` begin on line 6."""
    return (
        f"{BASE}key_sets:\n  web:\n"
        + "".join(f"    {line}\n" for line in lines.splitlines())
        + targets
    )


def test_unsafe_propagation_prints_the_sum(tmp_path: Path) -> None:
    """Show 8: the sum, each term, the smallest safe value, at the right line."""
    text = key_set("policy:\n  leeway: 1m\n  propagation: 1m")
    fault = only(tmp_path, text)
    assert fault.place.line == text.splitlines().index("      propagation: 1m") + 1 == 8
    assert str(fault) == (
        f"{tmp_path}/rotator.yaml:8: key_sets.web.policy.propagation: propagation 1m is unsafe: it must be at least "
        "jwks_max_age 5m + jwks_stale 6h + verifier_cache 1h + clock_skew 5m + resync 5m = 7h15m"
        "; the smallest safe value is 7h15m"
    )


@pytest.mark.parametrize(
    ("policy", "line", "field", "smallest"),
    [
        ("propagation: 7h14m59s", 7, "propagation", "7h15m"),
        ("grace: 34m", 7, "grace", "35m"),
        ("rotate_every: 30h", 7, "rotate_every", "1d6h5m"),
        ("max_keys: 5\n  rotate_every: 31h\n  token_ttl: 40d", 7, "max_keys", "35"),
        ("verifier_cache: 30h", 6, "propagation", "1d12h15m"),  # defaulted: the key set's own line
    ],
)
def test_each_clause(tmp_path: Path, policy: str, line: int, field: str, smallest: str) -> None:
    """Every clause of the timing contract is refused with its smallest safe value, which then is accepted."""
    found = [f for f in faults(tmp_path, key_set(f"policy:\n  {policy}")) if f.path[-1] == field]
    assert [fault.place.line for fault in found] == [line]
    assert found[0].text.endswith(f"the smallest safe value is {smallest}")


def test_defaulted_value_points_to_defaults(tmp_path: Path) -> None:
    """What `defaults:` says is mended there."""
    text = (
        BASE.replace("signer_lag: 5m", "signer_lag: 5m,\n  propagation: 1m")
        + "key_sets:\n  web:\n"
        + WEB
    )
    fault = only(tmp_path, text)
    assert fault.place.line == 4
    assert fault.path == ("key_sets", "web", "policy", "propagation")


def test_profile_is_named(tmp_path: Path) -> None:
    """A contract broken by a profile says so."""
    fault = only(tmp_path, key_set("verifiers: [pyjwt, aspnet]\npolicy: {propagation: 8h}"))
    assert fault.place.line == 7
    assert "verifier_cache 12h36m" in fault.text
    assert "`verifier_cache` is 12h36m because of the verifier profile `aspnet`" in fault.text


def test_smallest_safe_value_is_safe(tmp_path: Path) -> None:
    """What the refusal proposes is accepted."""
    (tmp_path / "rotator.yaml").write_text(key_set("policy: {propagation: 7h15m, grace: 35m}"))
    assert load_settings(tmp_path / "rotator.yaml", {}).key_sets["web"].policy.grace is not None


def test_all_at_once(tmp_path: Path) -> None:
    """A dozen faults in every part of the file, each named once, in the order of the file."""
    text = dedent(
        """\
        version: 1
        stoers: {}
        stores:
          local: {backend: fiel, path: store}
          other: {backend: file, paht: x}
        notify: {slack: x}
        key_sets:
          web:
            algorithm: RS265
            key_size: 1024
            policy:
              token_ttl: 15
              signer_lag: 5m
              propagation: 1m
              standby: sometimes
            store: locla
            deliver:
              - {to: files, path: a, mode: 0644}
              - {to: fiels, path: b}
          Web:
            default: maybe
          empty:
        server: {listen: 8080}
        """
    )
    found = faults(tmp_path, text)
    lines = [fault.place.line for fault in found]
    assert lines == sorted(lines, key=lambda line: line or 0)
    said = {
        f"{fault.place.line} {'.'.join(str(part) for part in fault.path)}": fault.text
        for fault in found
    }
    expected = {
        "2 stoers": "did you mean `stores`?",
        "4 stores.local.backend": "did you mean `file`?",
        "5 stores.other.paht": "did you mean `path`?",
        "6 notify.slack": "must be a mapping of keys to values",
        "9 key_sets.web.algorithm": "did you mean `RS256`?",
        "12 key_sets.web.policy.token_ttl": "write `15s`",
        "14 key_sets.web.policy.propagation": "the smallest safe value is 7h15m",
        "15 key_sets.web.policy.standby": "'always' or 'just-in-time'",
        "16 key_sets.web.store": "did you mean `local`?",
        "18 key_sets.web.deliver.0.mode": "write '0640'",
        "19 key_sets.web.deliver.1.to": "must be 'files'",
        "21 key_sets.Web.default": "must be true or false",
        "22 key_sets.empty": "has no value",
        "23 server.listen": "must be HOST:PORT",
    }
    for where, words in expected.items():
        assert words in said.get(where, "nothing"), (where, said)
    assert "cannot be the name of a key set" in said["20 key_sets.Web"]


@pytest.mark.parametrize(
    ("lines", "at", "said"),
    [
        ("windows: [x]", "windows", "must be a mapping of keys to values, not a list"),
        ("polcy: {}", "polcy", "did you mean `policy`?"),
        ("policy: []", "policy", "must be a mapping"),
        ("policy: {max_keys: many}", "policy.max_keys", "must be a whole number, not 'many'"),
        ("policy: {jwks_max_age: 0s}", "policy.jwks_max_age", "write `1s` or more"),
        ("policy: {jwks_stale: 1500ms}", "policy.jwks_stale", "whole seconds"),
        ("policy: {rotate_every: 0s}", "policy.rotate_every", "longer than `0s`"),
        ("policy: {max_keys: 4}", "policy.max_keys", "greater than or equal to 5"),
        (
            "algorithm: RS256\nkey_size: 1024",
            "key_size",
            "RS256 has no 1024-bit key; it offers 2048, 3072, 4096",
        ),
        ("algorithm: ES256\nkey_size: 2048", "key_size", "ES256 has no 2048-bit key"),
        ("algorithm: none", "algorithm", "unknown algorithm 'none'"),
        ("algorithm: [RS256]", "algorithm", "must be the name of an algorithm"),
        ("verifiers: [envoi]", "verifiers.0", "did you mean `envoy`?"),
        ("verifiers: envoy", "verifiers", "must be a list"),
        ("algorithm: ES256\nverifiers: [alb]", "verifiers", "`alb` does not verify ES256"),
        ("first_run: never", "first_run", "'auto' or 'operator'"),
        ("store: elsewhere", "store", "there is no store 'elsewhere'"),
        ("issuer: 7", "issuer", "must be text"),
        ('issuer: "a\\0b"', "issuer", "control character"),
        ("probes: ['ftp://x/y']", "probes.0", "https://"),
        ("probes: ['https://me:pw@x/y']", "probes.0", "no user name or password"),
        ("probes: ['not a url']", "probes.0", "must be a URL"),
        ("probes: ['https://x:99999/']", "probes.0", "must be a URL"),
        ("probes: ['https://x/a', 'HTTPS://X:443/a']", "probes.1", "given twice for this key set"),
        (
            "probes: [{url: 'https://x/a', al_addresses: true}]",
            "probes.0.al_addresses",
            "did you mean `all_addresses`?",
        ),
    ],
)
def test_one_key_set(tmp_path: Path, lines: str, at: str, said: str) -> None:
    """One fault in one key set, at its own path."""
    fault = only(tmp_path, key_set(lines))
    assert ".".join(str(part) for part in fault.path) == f"key_sets.web.{at}"
    assert said in fault.text
    assert fault.place.line is not None
    assert fault.place.line >= 6


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ('    deliver: [{to: files, path: "s\\0"}]\n    publish: [{to: file, path: j}]\n', "control character"),
        ("    deliver: [{to: files, path: ~nobody-here/s}]\n    publish: [{to: file, path: j}]\n", "the home directory `~nobody-here`"),
        ("    publish: [{to: file, path: j.json}]\n", "no signer could ever get a key"),
        ("    deliver: [{to: files, path: s}]\n", "there is nothing to look at"),
        ("    deliver: [{to: files, path: s}, {to: files, path: v, document: verification}]\n    publish: [{to: file, path: j}]\n", "verification` document is for HMAC"),
        ("    algorithm: HS256\n    deliver: [{to: files, path: s}]\n", "no verifier of HS256 tokens"),
        ("    algorithm: HS256\n    deliver: [{to: files, path: s}, {to: files, path: v, document: verification}]\n    publish: [{to: file, path: j}]\n", "never reach a JWKS; remove `publish`"),
        ("    algorithm: HS256\n    deliver: [{to: files, path: s}, {to: files, path: v, document: verification}]\n    probes: ['https://x/']\n", "never reach a JWKS; remove `probes`"),
        ("    algorithm: HS256\n    default: true\n    deliver: [{to: files, path: s}, {to: files, path: v, document: verification}]\n", "nothing to serve; remove `default`"),
        ("    algorithm: HS256\n    verifiers: [pyjwt]\n    deliver: [{to: files, path: s}, {to: files, path: v, document: verification}]\n", "an HMAC key set has none"),
        ("    deliver: [{to: files, path: s}, {to: files, path: ./s/../s}]\n    publish: [{to: file, path: j}]\n", "one address belongs to one key set"),
        ("    deliver: [{to: files, path: s}, {to: files, path: s/inner}]\n    publish: [{to: file, path: j}]\n", "which belongs to key_sets.web.deliver[0].path"),
        ("    deliver: [{to: files, path: s}]\n    publish: [{to: file, path: s/jwks.json}]\n", "is inside"),
        ("    deliver: [{to: files, path: store/s}]\n    publish: [{to: file, path: j}]\n", "is inside the store `local`"),
        ("    deliver: [{to: files, path: .rotator/public/s}]\n    publish: [{to: file, path: j}]\n", "what everybody may read"),
        ("    deliver: [{to: files, path: .}]\n    publish: [{to: file, path: /x/j}]\n", "choose a directory of its own"),
        ("    deliver: [{to: files, path: s, mode: 640}]\n    publish: [{to: file, path: j}]\n", "in quotes: '0640'"),
        ("    deliver: [{to: files, path: s, mode: 0440}]\n    publish: [{to: file, path: j}]\n", "lock out rotator itself; write '0640'"),
        ("    deliver: [{to: files, path: s}]\n    publish: [{to: file, path: j, mode: '0444'}]\n", "write '0644'"),
        ("    deliver: [{to: files}]\n    publish: [{to: file, path: j}]\n", "is missing; the directory"),
    ],
)  # fmt: skip
def test_targets(tmp_path: Path, targets: str, said: str) -> None:
    """Targets that are missing, useless, in one another's way, or open to everybody."""
    found = faults(tmp_path, key_set("issuer: x", targets=targets))
    assert len(found) == 1
    assert said in found[0].text


TWO = BASE + "key_sets:\n  a:\n{a}  b:\n{b}"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("", "    publish: [{to: file, path: ja}]\n", "is at key_sets.a.publish[0].path too"),
        (
            "",
            "    deliver: [{to: files, path: sa}]\n    publish: [{to: file, path: jb}]\n",
            "is at key_sets.a.deliver[0].path too",
        ),
        (
            "",
            "    publish: [{to: file, path: sa/x}]\n",
            "which belongs to key_sets.a.deliver[0].path",
        ),
        (
            "    probes: ['https://x/a']\n",
            "    publish: [{to: file, path: jb}]\n    probes: ['https://x:443/a']\n",
            "is a probe of key_sets.a too",
        ),
        (
            "    default: true\n",
            "    publish: [{to: file, path: jb}]\n    default: true\n",
            "`a` is the default already",
        ),
    ],
)
def test_two_key_sets_with_one_address(tmp_path: Path, first: str, second: str, said: str) -> None:
    """The second one is the fault."""
    a = "    deliver: [{to: files, path: sa}]\n    publish: [{to: file, path: ja}]\n" + first
    b = second if "deliver" in second else "    deliver: [{to: files, path: sb}]\n" + second
    fault = only(tmp_path, BASE + f"key_sets:\n  a:\n{a}  b:\n{b}")
    assert said in fault.text
    assert fault.path[:2] == ("key_sets", "b")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("combine: {all: [a, b]}\nserver: {listen: 'x:1'}\n", "must be a path of the server"),
        ("combine: {/../x: [a, b]}\nserver: {listen: 'x:1'}\n", "must be a path of the server"),
        (
            "combine: {/a/jwks.json: [a, b]}\nserver: {listen: 'x:1'}\n",
            "already the JWKS of the key set `a`",
        ),
        ("combine: {/healthz: [a, b]}\nserver: {listen: 'x:1'}\n", "a path of the server itself"),
        ("combine: {/all: [a, b]}\n", "there is no `server`"),
        ("combine: {/all: [a, c]}\nserver: {listen: 'x:1'}\n", "there is no key set `c`"),
        ("combine: {/all: [a, a]}\nserver: {listen: 'x:1'}\n", "named twice"),
        ("combine: {/all: []}\nserver: {listen: 'x:1'}\n", "combines nothing"),
        ("combine: {/all: [a, e]}\nserver: {listen: 'x:1'}\n", "mixes key types (EC, RSA)"),
        ("combine: {/all: [a, h]}\nserver: {listen: 'x:1'}\n", "`h` is an HMAC key set"),
    ],
)
def test_combine(tmp_path: Path, more: str, said: str) -> None:
    """A combined document has an address of its own, and members that can stand side by side."""
    text = BASE + "key_sets:\n"
    for name, algorithm in {"a": "RS256", "b": "RS256", "e": "ES256", "h": "HS256"}.items():
        text += f"  {name}:\n    algorithm: {algorithm}\n    deliver:\n    - {{to: files, path: s{name}}}\n"
        text += (
            f"    - {{to: files, path: v{name}, document: verification}}\n" if name == "h" else ""
        )
        text += "" if name == "h" else f"    publish: [{{to: file, path: j{name}}}]\n"
    fault = only(tmp_path, text + more)
    assert said in fault.text
    (tmp_path / "rotator.yaml").write_text(
        text + "combine: {/all: [a, b]}\nserver: {listen: 'x:1'}\n"
    )
    assert load_settings(tmp_path / "rotator.yaml", {}).combine == {"/all": ("a", "b")}


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("version: 2\n", "version", "must be 1, not 2"),
        ("", "version", "write `version: 1`"),
        ("version: '1'\n", "version", "must be 1, not '1'"),
    ],
)
def test_version(tmp_path: Path, text: str, at: str, said: str) -> None:
    """The only version that there is."""
    fault = only(tmp_path, text + key_set("issuer: x").removeprefix("version: 1\n"))
    assert fault.path == (at,)
    assert said in fault.text


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        (
            "version: 1\nstores: {a: {backend: file, path: ~nobody-here/x}}\nkey_sets: {}\n",
            "stores.a.path",
            "the home directory `~nobody-here`",
        ),
        (
            "version: 1\nkey_sets: {}\nstores: {local: {backend: file, path: s}}\n",
            "key_sets",
            "there must be a key set",
        ),
        ("version: 1\nstores: []\nkey_sets: {}\n", "stores", "must be a mapping"),
        ("version: 1\nstores: {a: {path: s}}\nkey_sets: {}\n", "stores.a.backend", "is missing"),
        ("version: 1\nstores: {a: {backend: file}}\nkey_sets: {}\n", "stores.a.path", "is missing"),
        (
            "version: 1\nstores: {a: {backend: file, path: [1]}}\nkey_sets: {}\n",
            "stores.a.path",
            "path",
        ),
        (
            "version: 1\nstores: {a: {backend: file, path: s}, b: {backend: file, path: s/x}}\nkey_sets: {}\n",
            "stores.b.path",
            "is inside the store `a`",
        ),
        (
            "version: 1\nstores: {a: {backend: file, path: .rotator}}\nkey_sets: {}\n",
            "stores.a.path",
            "holds what everybody may read",
        ),
        (
            "version: 1\nstores: {a: {backend: file, path: .rotator/public/x}}\nkey_sets: {}\n",
            "stores.a.path",
            "is inside what everybody may read",
        ),
    ],
)
def test_stores(tmp_path: Path, text: str, at: str, said: str) -> None:
    """Stores are checked by the model of their backend."""
    found = {
        ".".join(str(part) for part in fault.path): fault.text for fault in faults(tmp_path, text)
    }
    assert said in found[at]


def test_two_stores_need_a_name(tmp_path: Path) -> None:
    """Where there is one, it may be left out."""
    text = key_set("issuer: x").replace(
        "path: store}", "path: store}, other: {backend: file, path: o}"
    )
    fault = only(tmp_path, text)
    assert "name one of local, other" in fault.text
    assert fault.path == ("key_sets", "web", "store")


def test_no_value_of_a_store_is_shown(tmp_path: Path) -> None:
    """It may be a credential in the wrong place."""
    planted = "pl4nted-s3cret"
    text = key_set("issuer: x").replace(
        "path: store", f"path: store, lock_timeout: {planted}, token: {planted}"
    )
    path = tmp_path / "rotator.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path, {})
    assert planted not in str(caught.value)
    assert planted not in repr(caught.value.faults)
    assert len(caught.value.faults) == 2


def test_many_faults_are_bounded(tmp_path: Path) -> None:
    """A thousand broken key sets do not fill the screen."""
    text = BASE + "key_sets:\n" + "".join(f"  k{n}: {{bad: 1}}\n" for n in range(300))
    path = tmp_path / "rotator.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path, {})
    assert len(caught.value.faults) >= 300
    assert len(caught.value.message.splitlines()) == 102
    assert "more" in caught.value.message.splitlines()[-1]
