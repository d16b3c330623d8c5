"""What a cluster's controllers would do with what Helm makes, as far as `helm --wait` looks: Jobs run, Deployments become ready."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Self

from tests.kubernetes.conftest import Space
from tests.kubernetes.deploy.hands import Manifest, api_path

_MERGE: Final = "application/merge-patch+json"


class Controllers:
    """The controllers of one namespace, in a thread.

    Args:
        run_job: runs what a Job says and returns the exit code of its pod.
    """

    def __init__(self, space: Space, run_job: Callable[[Manifest], int]) -> None:
        self.order: list[str] = []
        """What was seen for the first time, as `KIND/NAME`."""
        self.fault: BaseException | None = None
        self._space, self._run_job = space, run_job
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="controllers")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if self.fault is not None:
            raise self.fault

    def _loop(self) -> None:
        try:
            while not self._end.wait(0.1):
                for kind in ("Job", "Deployment"):
                    api = {"Job": "batch/v1", "Deployment": "apps/v1"}[kind]
                    for item in self._listed(kind, api):
                        self._note(item | {"kind": kind, "apiVersion": api})
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            self.fault = error

    def _note(self, item: Manifest) -> None:
        name = f"{item['kind']}/{item['metadata']['name']}"
        if name not in self.order:
            self.order.append(name)
        status = item.get("status", {})
        if item["kind"] == "Job" and not status.get("conditions"):
            self._finish(item, self._run_job(item))
        generation = item["metadata"].get("generation")
        if item["kind"] == "Deployment" and status.get("observedGeneration") != generation:
            self._make_ready(item)

    def _finish(self, job: Manifest, code: int) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ends = ("SuccessCriteriaMet", "Complete") if code == 0 else ("FailureTarget", "Failed")
        conditions = [
            {"type": end, "status": "True", "lastTransitionTime": now, "reason": f"Exit{code}"}
            for end in ends
        ]
        status: dict[str, Any] = {"startTime": now, "conditions": conditions}
        status |= {"succeeded": 1, "completionTime": now} if code == 0 else {"failed": 1}
        self._patch(job, {"status": status}, "/status")

    def _make_ready(self, item: Manifest) -> None:
        """Make the ReplicaSet of a Deployment's present template, with all its pods ready."""
        metadata, spec = item["metadata"], item["spec"]
        for old in self._listed("ReplicaSet", "apps/v1"):
            if old["metadata"]["ownerReferences"][0]["uid"] == metadata["uid"]:
                path = api_path(old | {"kind": "ReplicaSet", "apiVersion": "apps/v1"}, "")
                self._space.api.request("DELETE", f"{path}/{old['metadata']['name']}")
        number = str(metadata["generation"])
        hashed = {"pod-template-hash": number}
        template = dict(spec["template"])
        template["metadata"] = dict(template["metadata"])
        template["metadata"]["labels"] = {**template["metadata"]["labels"], **hashed}
        matched = {**spec["selector"]["matchLabels"], **hashed}
        owner = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "controller": True,
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        made = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{metadata['uid'][:8]}-{number}",
                "labels": template["metadata"]["labels"],
                "ownerReferences": [owner],
            },
            "spec": {
                "replicas": spec["replicas"],
                "selector": {"matchLabels": matched},
                "template": template,
            },
        }
        status, answer = self._space.api.request("POST", api_path(made, self._space.name), made)
        assert status == 201, answer
        ready = {"replicas": spec["replicas"], "readyReplicas": spec["replicas"]}
        self._patch(made, {"status": {**ready, "observedGeneration": 1}}, "/status")
        seen = {"observedGeneration": metadata["generation"], "updatedReplicas": spec["replicas"]}
        self._patch(item, {"status": {**ready, **seen}}, "/status")

    def _listed(self, kind: str, api: str) -> list[Manifest]:
        path = api_path({"kind": kind, "apiVersion": api, "metadata": {}}, self._space.name)
        status, answer = self._space.api.request("GET", path)
        assert status == 200, answer
        return list(answer["items"])

    def _patch(self, item: Manifest, patch: Any, sub: str) -> None:
        path = f"{api_path(item, self._space.name)}/{item['metadata']['name']}{sub}"
        status, answer = self._space.api.request("PATCH", path, patch, content_type=_MERGE)
        assert status == 200, answer
