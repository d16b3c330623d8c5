"""Secret and ConfigMap on a real API server: written, read back by others, fenced, and drift told from strangers."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest

from rotator.delivery.secret import KEYS, SecretDelivery
from rotator.errors import Conflict, StoreCorrupt, StoreDenied, StoreUnavailable
from rotator.kubernetes.cluster import Cluster
from rotator.kubernetes.held import CONFIG_MAPS, SECRETS, Place
from rotator.kubernetes.settings import ClusterSettings
from rotator.publication.config_map import ConfigMapPublication, keys_of
from rotator.stores import Document, DocumentKind, Target
from tests.kubernetes.conftest import Space
from tests.unit.test_delivery_store import documents_of

KINDS = ("secret", "configmap")
SIGNING, JWKS = DocumentKind.SIGNING, DocumentKind.JWKS


def secret(
    space: Space, restart: tuple[str, ...] = (), cluster: Cluster | None = None
) -> SecretDelivery:
    """A Secret of a namespace as a target."""
    held = cluster or space.cluster
    place = Place(lambda: held, SECRETS, space.name, "web", KEYS[SIGNING], {"team": "login"})
    return SecretDelivery("secret:web", place, "web", SIGNING, restart=restart)


def config_map(space: Space, cluster: Cluster | None = None) -> ConfigMapPublication:
    """A ConfigMap of a namespace as a target."""
    held = cluster or space.cluster
    place = Place(lambda: held, CONFIG_MAPS, space.name, "web", keys_of("jwks.json"), {})
    return ConfigMapPublication("configmap:web", place, "jwks.json", "web")


def target(space: Space, kind: str, cluster: Cluster | None = None) -> Target:
    """One of the two."""
    return (
        secret(space, cluster=cluster) if kind == "secret" else config_map(space, cluster=cluster)
    )


def document(kind: str, revision: int = 7) -> Document:
    """A document of key set `web`."""
    made = documents_of("ES256")[SIGNING if kind == "secret" else JWKS]
    if revision == made.revision:
        return made
    body = made.body
    if kind == "secret":
        members = json.loads(body) | {"revision": revision}
        body = json.dumps(members, separators=(",", ":")).encode()
    return replace(made, body=body, revision=revision)


def path_of(space: Space, kind: str) -> str:
    """The object's path in the API."""
    return f"/api/v1/namespaces/{space.name}/{kind}s/web"


def merge(space: Space, kind: str, patch: Any) -> None:
    """What somebody changes by hand."""
    status, answer = space.api.request(
        "PATCH", path_of(space, kind), patch, content_type="application/merge-patch+json"
    )
    assert status == 200, answer


def read(space: Space, kind: str) -> dict[str, Any]:
    """What others see."""
    status, answer = space.api.request("GET", path_of(space, kind))
    assert status == 200, answer
    return dict(answer)


def as_kept(kind: str, body: bytes) -> str:
    """A data value as the API has it."""
    return base64.b64encode(body).decode() if kind == "secret" else body.decode()


MAIN = {"secret": "signing.json", "configmap": "jwks.json"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_others_read(space: Space, kind: str) -> None:
    """Nothing, then our document, byte for byte; and the parts that a directory of files has."""
    here, first = target(space, kind), document(kind)
    assert here.look().document is None
    here.write(first, replacing=None)
    sight = here.look()
    assert sight.document is not None
    assert sight.note == ""
    assert (sight.document.body, sight.document.key_set) == (first.body, "web")
    assert (sight.document.revision, sight.document.max_age) == (7, first.max_age)
    kept = read(space, kind)
    assert kept["data"][MAIN[kind]] == as_kept(kind, first.body)
    assert kept["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "rotator"
    if kind == "secret":
        assert set(kept["data"]) == {
            "signing.json", "private.pem", "public.pem", "jwk.json", "kid"
        }  # fmt: skip
        assert kept["metadata"]["labels"]["team"] == "login"
        assert kept["type"] == "Opaque"


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_replaces_only_what_was_looked_at(space: Space, kind: str) -> None:
    """By token, by revision, and by resourceVersion when two are at it at once."""
    here = target(space, kind)
    here.write(document(kind), replacing=None)
    with pytest.raises(Conflict):
        here.write(document(kind, 8), replacing=None)
    sight = here.look()
    assert sight.document is not None
    with pytest.raises(Conflict, match="above 6"):
        here.write(document(kind, 6), replacing=sight.document.token)
    here.write(document(kind, 8), replacing=sight.document.token)
    with pytest.raises(Conflict):
        here.write(document(kind, 9), replacing=sight.document.token)


@pytest.mark.parametrize("kind", KINDS)
def test_others_changes_beside_ours_stay(space: Space, kind: str) -> None:
    """Labels, annotations and keys of others survive our writes, and are no conflict with them."""
    here = target(space, kind)
    here.write(document(kind), replacing=None)
    sight = here.look()
    assert sight.document is not None
    merge(
        space,
        kind,
        {
            "metadata": {"labels": {"argocd": "yes"}, "annotations": {"theirs": "1"}},
            "data": {"other": as_kept(kind, b"theirs")},
        },
    )
    assert here.look().note == ""
    here.write(document(kind, 8), replacing=sight.document.token)
    kept = read(space, kind)
    assert kept["metadata"]["labels"]["argocd"] == "yes"
    assert kept["metadata"]["annotations"]["theirs"] == "1"
    assert kept["data"]["other"] == as_kept(kind, b"theirs")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["edited", "emptied", "unmarked"])
def test_a_change_by_hand_is_drift_and_is_mended(space: Space, kind: str, change: str) -> None:
    """Of the key itself, of all our keys, or of the annotations beside them."""
    here = target(space, kind)
    here.write(document(kind), replacing=None)
    ours = list(read(space, kind)["metadata"]["annotations"])
    body = document(kind).body[:-1] + b" }"
    merge(
        space,
        kind,
        {
            "edited": {"data": {MAIN[kind]: as_kept(kind, body)}},
            "emptied": {"data": None},
            "unmarked": {"metadata": {"annotations": dict.fromkeys(ours)}},
        }[change],
    )
    sight = here.look()
    assert sight.document is not None
    if (kind, change) == ("configmap", "unmarked"):
        assert (sight.document.key_set, sight.note) == (None, "not written by rotator")
        return
    assert sight.document.key_set == "web"
    assert sight.note.startswith("drift:")
    here.write(document(kind, 8), replacing=sight.document.token)
    assert here.look().note == ""


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_made_beforehand_counts_as_nothing(space: Space, kind: str) -> None:
    """So that the right to create, which RBAC cannot bind to a name, is not needed."""
    path = path_of(space, kind).rpartition("/")[0]
    made = {"metadata": {"name": "web", "labels": {"chart": "ours"}}}
    assert space.api.request("POST", path, made)[0] == 201
    here = target(space, kind)
    assert here.look().document is None
    here.write(document(kind), replacing=None)
    assert here.look().document is not None
    assert read(space, kind)["metadata"]["labels"] == {"chart": "ours"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_key_set_or_tool_wrote_is_foreign(space: Space, kind: str) -> None:
    """It is shown as what it is; whether it may be replaced is decided elsewhere."""
    here = target(space, kind)
    path = path_of(space, kind).rpartition("/")[0]
    made = {"metadata": {"name": "web"}, "data": {MAIN[kind]: as_kept(kind, b"{}")}}
    assert space.api.request("POST", path, made)[0] == 201
    sight = here.look()
    assert sight.document is not None
    assert (sight.document.key_set, sight.note) == (None, "not written by rotator")
    merge(
        space,
        kind,
        {
            "metadata": {
                "annotations": {
                    "jwks-rotator/key-set": "api",
                    "jwks-rotator/revision": "3",
                    "jwks-rotator/sha256": "0" * 64,
                }
            }
        },
    )
    sight = here.look()
    assert sight.document is not None
    assert (sight.document.key_set, sight.document.revision) == ("api", 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_document_is_not_written(space: Space, kind: str) -> None:
    """Nor one of another key set, nor private members where everybody reads."""
    here = target(space, kind)
    good = document(kind)
    for bad in (
        replace(good, key_set="api"),
        replace(good, revision=None),
        replace(good, body=b"{}"),
    ):
        with pytest.raises(StoreCorrupt):
            here.write(bad, replacing=None)
    assert here.look().document is None


@pytest.mark.parametrize("kind", KINDS)
def test_an_immutable_object_is_refused_with_the_way_out(space: Space, kind: str) -> None:
    """Kubernetes never lets it change again."""
    here = target(space, kind)
    here.write(document(kind), replacing=None)
    merge(space, kind, {"immutable": True})
    sight = here.look()
    assert sight.document is not None
    with pytest.raises(StoreDenied, match="immutable"):
        here.write(document(kind, 8), replacing=sight.document.token)


@pytest.mark.parametrize("kind", KINDS)
def test_no_answer_is_never_nothing(space: Space, kind: str) -> None:
    """A server that is gone, a namespace that is gone, an identity that may not, one that is nobody."""
    api = space.api
    lost = api.kubeconfig(space.kubeconfig.with_name("lost"), space.name, url="https://127.0.0.1:9")
    nobody = api.kubeconfig(space.kubeconfig.with_name("nobody"), space.name, token="wrong")
    account = api.account_token(space.name, "reader")
    reader = api.kubeconfig(space.kubeconfig.with_name("reader"), space.name, token=account)
    for path, error, words in (
        (lost, StoreUnavailable, "no answer"),
        (nobody, StoreDenied, "does not accept"),
        (reader, StoreDenied, f"get {kind}s/web in namespace {space.name}"),
    ):
        cluster = Cluster(ClusterSettings(path))
        with contextlib.closing(cluster), pytest.raises(error, match=words):
            target(space, kind, cluster).look()
    with pytest.raises(StoreDenied, match="kubectl create namespace"):
        _elsewhere(space, kind).write(document(kind), replacing=None)


def _elsewhere(space: Space, kind: str) -> Target:
    return target(replace(space, name="nowhere"), kind)


def test_workloads_are_restarted_once_for_each_new_key(space: Space) -> None:
    """By the pod template's annotation; not for the first key, and again where it failed."""
    here = secret(space, ("deployment/issuer",))
    here.write(document("secret"), replacing=None)
    sight = here.look()
    assert sight.document is not None
    second = replace(documents_of("ES256")[SIGNING])
    body = json.dumps(json.loads(second.body) | {"revision": 8}, separators=(",", ":")).encode()
    second = replace(second, body=body, revision=8)
    with pytest.raises(StoreDenied, match="deployments/issuer"):
        here.write(second, replacing=sight.document.token)
    sight = here.look()
    assert sight.note == "drift: not yet restarted for its key: deployment/issuer"
    assert sight.document is not None
    assert sight.document.body == second.body
    labels = {"app": "issuer"}
    made = {
        "metadata": {"name": "issuer"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"theirs": "1"}},
                "spec": {"containers": [{"name": "issuer", "image": "issuer:1"}]},
            },
        },
    }
    path = f"/apis/apps/v1/namespaces/{space.name}/deployments"
    assert space.api.request("POST", path, made)[0] == 201
    here.write(second, replacing=sight.document.token)
    assert here.look().note == ""
    kid = json.loads(second.body)["kid"]
    template = space.api.request("GET", f"{path}/issuer")[1]["spec"]["template"]["metadata"]
    assert template["annotations"] == {"theirs": "1", "jwks-rotator/web": kid}
