"""What an identity must be allowed in a cluster, and nothing more: asked by `check`, printed by `policy`.

`create` cannot be bound to a name in RBAC, so it is not asked for: who makes the empty object beforehand, with the
Role, gives away no right to make others. An empty object counts as nothing (rule 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rotator.inspection import Finding, Role
from rotator.kubernetes.cluster import Cluster
from rotator.kubernetes.held import CONFIG_MAPS, SECRETS
from rotator.kubernetes.marks import MANAGED
from rotator.observed import DocumentKind

_READS: Final = {
    Role.SIGNER: DocumentKind.SIGNING,
    Role.VERIFIER: DocumentKind.VERIFICATION,
    Role.JWKS_READER: DocumentKind.JWKS,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One target in a cluster, as far as rights go.

    Attributes:
        namespace: None is that of the identity.
        restart: workloads as `deployment/NAME`.
    """

    key_set: str
    document: DocumentKind
    namespace: str | None
    name: str
    restart: tuple[str, ...] = ()

    @property
    def resource(self) -> str:
        """The resource that it is one of."""
        return CONFIG_MAPS if self.document is DocumentKind.JWKS else SECRETS


@dataclass(frozen=True, slots=True)
class Rule:
    """One right: verbs on one object."""

    namespace: str | None
    resource: str
    name: str
    verbs: tuple[str, ...]


def rules(wanted: Iterable[Wanted], role: Role) -> Iterator[Rule]:
    """Yield what a role has to be allowed: what is read and patched, each by its name."""
    for item in wanted:
        if role is Role.ROTATOR:
            yield Rule(item.namespace, item.resource, item.name, ("get", "patch"))
            for workload in item.restart:
                kind, _, name = workload.partition("/")
                yield Rule(item.namespace, f"{kind}s", name, ("patch",))
        elif item.document is _READS[role]:
            yield Rule(item.namespace, item.resource, item.name, ("get",))


def inspect(cluster: Cluster, wanted: Sequence[Wanted]) -> Iterator[Finding]:
    """Ask for each right whether the identity has it (SelfSubjectAccessReview), and whether each object is there.

    Raises:
        StoreUnavailable, StoreDenied, ConfigError, BackendMissing: as `Cluster.may`.
    """
    missing = [
        f"{verb} {rule.resource}/{rule.name} in namespace {cluster.namespace(rule.namespace)}"
        for rule in rules(wanted, Role.ROTATOR)
        for verb in rule.verbs
        if not cluster.may(verb, rule.resource, rule.namespace, rule.name)
    ]
    for what in missing:
        yield Finding(
            "fault",
            f"this identity may not {what}",
            hint="`rotator policy kubernetes --role rotator` prints the Role that it needs",
            exit_code=77,
        )
    if missing:
        return
    yield Finding("ok", f"may read and change {len(wanted)} object{'s' if len(wanted) > 1 else ''}")
    for item in wanted:
        absent = cluster.get(item.resource, item.namespace, item.name) is None
        if absent and not cluster.may("create", item.resource, item.namespace, item.name):
            yield Finding(
                "fault",
                f"{item.resource}/{item.name} is not there, and this identity may not create it",
                hint="make it empty beforehand: `rotator policy kubernetes --role rotator` prints it",
                exit_code=77,
            )
        elif cluster.may("delete", item.resource, item.namespace, item.name):
            yield Finding(
                "advice",
                f"this identity may delete {item.resource}/{item.name}, which rotator never does",
                hint="give it the Role that `rotator policy kubernetes --role rotator` prints",
            )


def policy(wanted: Sequence[Wanted], role: Role, account: str = "rotator") -> str:
    """Return Role and RoleBinding of each namespace, in YAML with a comment; for the rotator, its empty objects too.

    Args:
        account: the service account that is bound.
    """
    found = list(rules(wanted, role))
    documents: list[dict[str, Any]] = []
    for namespace in dict.fromkeys(rule.namespace for rule in found):
        here = [rule for rule in found if rule.namespace == namespace]
        documents += _rights(namespace, here, f"rotator-{role.value}", account)
        if role is Role.ROTATOR:
            documents += [_empty(item) for item in wanted if item.namespace == namespace]
    return _whose(role, account) + "---\n".join(_yaml(item) for item in documents)


def _whose(role: Role, account: str) -> str:
    """Return comments that say who is bound, for nothing here knows the cluster's accounts."""
    if role is Role.ROTATOR:
        return (
            f"# For the service account {account} of the same namespace (`kubectl create serviceaccount\n"
            f"# {account}`): where it has another name or namespace, say so under `subjects`.\n"
        )
    return (
        f"# Put the service account of your {role.value} under `subjects`, in place of {account}.\n"
    )


def _rights(
    namespace: str | None, found: Sequence[Rule], name: str, account: str
) -> list[dict[str, Any]]:
    metadata = {"name": name.replace("rotator-rotator", "rotator"), **_in(namespace)}
    api = "rbac.authorization.k8s.io"
    by_right: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for rule in found:
        by_right.setdefault((rule.resource, rule.verbs), []).append(rule.name)
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [
                {
                    "apiGroups": ["" if resource in {SECRETS, CONFIG_MAPS} else "apps"],
                    "resources": [resource],
                    "resourceNames": sorted(set(names)),
                    "verbs": list(verbs),
                }
                for (resource, verbs), names in by_right.items()
            ],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": account, **_in(namespace)}],
        },
    ]


def _empty(item: Wanted) -> dict[str, Any]:
    kind = "ConfigMap" if item.resource == CONFIG_MAPS else "Secret"
    metadata = {"name": item.name, **_in(item.namespace), "labels": MANAGED}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def _in(namespace: str | None) -> dict[str, str]:
    return {"namespace": namespace} if namespace else {}


def _yaml(document: dict[str, Any]) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = False
    writer.indent(mapping=2, sequence=4, offset=2)
    text = StringIO()
    writer.dump(document, text)
    return text.getvalue()
