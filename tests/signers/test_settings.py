"""How signer checks are configured, and what removes what lies at a target that was taken out of the configuration."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from rotator.leftovers import cleaning_command
from rotator.settings import InvalidSettings, load_settings
from rotator.settings.signers import SignerCheckSettings
from rotator.stores import find_backend

HEAD = """\
version: 1
stores: {local: {backend: file, path: store}}
key_sets:
  web:
    policy: {token_ttl: 15m, signer_lag: 5m, resync: 2m}
    deliver: [{to: files, path: signing}]
    publish: [{to: file, path: jwks.json}]
    signer_checks:
"""


def checks(tmp_path: Path, text: str) -> tuple[SignerCheckSettings, ...]:
    path = tmp_path / "rotator.yaml"
    path.write_text(f"{HEAD}{text}\n")
    return load_settings(path, {}).key_sets["web"].signer_checks


def test_what_is_configured(tmp_path: Path) -> None:
    """`every` is `resync` unless told otherwise; a program named by a relative path is beside the configuration."""
    text = """\
      - url: https://issuer.example/token?secret=hush
        hold: true
        field: data.jwt
      - {command: [./token, hush], every: 1h, timeout: 5s}
      - {command: [token]}
    """
    by_url, by_path, by_name = checks(tmp_path, text)
    minute = timedelta(minutes=1)
    assert (by_url.every, by_url.hold, by_url.field) == (2 * minute, True, "data.jwt")
    assert by_url.timeout == minute / 6
    assert by_path.command == (str(tmp_path / "token"), "hush")
    assert (by_path.every, by_path.timeout, by_path.hold) == (60 * minute, minute / 12, False)
    assert by_name.command == ("token",)
    assert "hush" not in f"{by_url} {by_path} {by_url.name} {by_path.name}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "needs a `url` or a `command`"),
        ("{url: 'https://x/', command: [a]}", "one of the two"),
        ("{url: 'https://me:hush@x/'}", "no user name or password is sent"),
        ("{url: 'ftp://x/'}", "https://"),
        ("{url: 'https://x/', header: A, field: b}", "`header` goes with a `url`"),
        ("{command: [a], header: A}", "`header` goes with a `url`"),
        ("{url: 'https://x/', header: 'A: b'}", "header"),
        ("{command: []}", "command"),
        ("{command: [a], timeout: 2m}", "`1m` at most"),
        ("{command: [a], evry: 1m}", "every"),
    ],
)
def test_faults(tmp_path: Path, text: str, said: str) -> None:
    """Each is told at its place."""
    with pytest.raises(InvalidSettings) as caught:
        checks(tmp_path, f"      - {text}")
    assert said in caught.value.message
    assert "signer_checks" in caught.value.message
    assert "hush" not in caught.value.message


def test_the_same_check_twice(tmp_path: Path) -> None:
    """What was seen is kept by name."""
    with pytest.raises(InvalidSettings, match="given twice"):
        checks(tmp_path, "      - {command: [a, b]}\n      - {command: [a, b], hold: true}")


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("files:/srv/a b", "rm -r -- '/srv/a b'"),
        ("file:/srv/j.json", "rm -- /srv/j.json /srv/j.json.meta.json"),
        ("s3:bucket/web/jwks.json", "aws s3 rm s3://bucket/web/jwks.json"),
        (
            "s3:https://minio.example:9000/bucket/web/jwks.json",
            "aws --endpoint-url https://minio.example:9000 s3 rm s3://bucket/web/jwks.json",
        ),
        ("secret:issuer/web", "kubectl --namespace issuer delete secret web"),
        ("secret:web", "kubectl delete secret web"),
        (
            "secret:arn:aws:eks:cluster/prod/issuer/web",
            "kubectl --context arn:aws:eks:cluster/prod --namespace issuer delete secret web",
        ),
        ("configmap:issuer/web", "kubectl --namespace issuer delete configmap web"),
        (
            "store:gone/web/signing",
            "# delete the document web/signing where the store gone kept it",
        ),
    ],
)
def test_what_cleans_a_target(target: str, command: str) -> None:
    """By its stable name alone."""
    assert cleaning_command(target) == command


@pytest.mark.parametrize(
    ("backend", "options", "command"),
    [
        ("file", {"path": "/srv/s"}, "rm -- /srv/s/web/documents/signing.json"),
        (
            "aws",
            {"region": "eu-central-1", "replica_regions": ["eu-west-1"]},
            (
                "aws secretsmanager remove-regions-from-replication --region eu-central-1 --secret-id "
                "rotator/web/signing --remove-replica-regions eu-west-1 && aws secretsmanager delete-secret "
                "--region eu-central-1 --secret-id rotator/web/signing --force-delete-without-recovery"
            ),
        ),
        (
            "vault",
            {
                "address": "https://v:8200",
                "namespace": "team",
                "auth": {"method": "token", "token_env": "T"},
            },
            "vault kv metadata delete -namespace=team -mount=secret rotator/web/signing",
        ),
        (
            "conjur",
            {
                "url": "https://c",
                "account": "a",
                "auth": {"method": "api-key", "login": "host/r", "api_key_env": "K"},
            },
            "echo '- !delete {record: !variable web/signing}' | conjur policy update -b rotator -f /dev/stdin",
        ),
    ],
)
def test_what_removes_a_document_of_a_store(
    backend: str, options: dict[str, object], command: str
) -> None:
    """In the secrets manager's own words, with the options of the store."""
    found = find_backend(backend)
    assert found.removal is not None
    assert found.removal(found.settings().model_validate(options), "web/signing") == command
