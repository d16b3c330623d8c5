"""Runs the services of deploy/compose.yaml as processes: each command as it stands there, in a container's place.

Every service has its own root, read-only where the file says so, its user and its volumes; the network is a namespace
with nothing but a loopback, where every service's name is 127.0.0.1. What stands in for the images of others is this
machine, with its Vault and nginx; for ours it is the built image, or this checkout's environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.container.images import ROOT, USER, Image
from tests.container.sandbox import Sandbox, Volume
from tests.servers import left_out
from tests.servers.vault import binary

FILE: Final = ROOT / "deploy" / "compose.yaml"
_OURS: Final = "rotator:compose"
_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


class Composition:
    """The services of the file; `close` ends those that run.

    Args:
        image: our image; None is this checkout's environment.
        environ: more environment by service.
    """

    def __init__(
        self, scratch: Path, image: Image | None, environ: Mapping[str, Mapping[str, str]]
    ) -> None:
        if shutil.which("nginx") is None:
            left_out("nginx")
        self.said: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
        self.services: dict[str, Any] = self.said["services"]
        self._scratch, self._image, self._environ = scratch, image, environ
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._made = dict(_volumes_of_the_image())
        self._hosts = scratch / "hosts"
        self._hosts.write_text(f"127.0.0.1 localhost {' '.join(self.services)}\n")
        self._tools = scratch / "bin"
        self._tools.mkdir()
        shutil.copy2(binary(), self._tools / "vault")
        self._network = subprocess.Popen(
            [
                "unshare",
                "--net",
                "sh",
                "-c",
                "ip link set lo up && echo up && exec tail -f /dev/null",
            ],
            stdout=subprocess.PIPE,
        )
        assert self._network.stdout is not None
        assert self._network.stdout.readline() == b"up\n"

    def close(self) -> None:
        """End every service, and the network."""
        for process in [*self._running.values(), self._network]:
            process.kill()
            process.wait()
        assert self._network.stdout is not None
        self._network.stdout.close()

    def command(self, name: str) -> list[str]:
        """Return what a service runs."""
        said = self.services[name]
        ours = self._image.config if self._image else {"Entrypoint": ["rotator"], "Cmd": ["run"]}
        if said["image"] != _OURS:
            return [*said["entrypoint"], *said.get("command", [])]
        if "entrypoint" in said:
            return [*said["entrypoint"], *said.get("command", [])]
        return [*ours["Entrypoint"], *said.get("command", ours["Cmd"])]

    def sandbox(self, name: str) -> Sandbox:
        """Return where a service runs."""
        said = self.services[name]
        mine = said["image"] == _OURS
        user = tuple(map(int, said["user"].split(":"))) if "user" in said else USER
        volumes = [self._volume(text) for text in said.get("volumes", [])]
        volumes += [Volume(None, target) for target in said.get("tmpfs", [])]
        volumes.append(Volume(self._hosts, "/etc/hosts", read_only=True))
        environ = {**said.get("environment", {}), **self._environ.get(name, {})}
        if mine and self._image is not None:
            root, environ = self._image.root, self._image.environ | environ
        else:
            root = self._scratch / f"{name}-root"
            root.mkdir(exist_ok=True)
            root.chmod(0o755)
            volumes = [*self._machine(), *volumes]
            first = ROOT / ".venv" / "bin" if mine else Path("/demo/bin")
            environ = {"PATH": f"{first}:{_PATH}", "PYTHONDONTWRITEBYTECODE": "1"} | environ
            _link_what_the_machine_links(root)
        assert said["read_only"] is True
        assert len(user) == 2
        return Sandbox(root, environ, user, volumes, self._network.pid)

    def start(self, name: str) -> None:
        """Start a service."""
        log = self._scratch / f"{name}.log"
        self._running[name] = self.sandbox(name).start(*self.command(name), log=log)

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a service that ends, or a command in the place of one (`docker compose exec`)."""
        return self.sandbox(name).run(*(command or self.command(name)))

    def log(self, name: str) -> str:
        """Return what a service has said; the test fails when it ended by itself."""
        text = (self._scratch / f"{name}.log").read_text(encoding="utf-8")
        assert self._running[name].poll() is None, f"{name} ended:\n{text}"
        return text

    def _volume(self, text: str) -> Volume:
        source, target, *mode = text.split(":")
        read_only = mode == ["ro"]
        if source.startswith("."):
            return Volume(FILE.parent / source, target, read_only)
        assert source in self.said["volumes"], source
        folder = self._scratch / "volumes" / source
        if not folder.exists():
            # An engine gives a new volume the owner and mode of what the image has at its mount point.
            folder.mkdir(parents=True)
            if target in self._made:
                os.chown(folder, *USER)
            folder.chmod(self._made.get(target, 0o755))
        return Volume(folder, target, read_only)

    def _machine(self) -> list[Volume]:
        """Return what stands in for an image: the programs of this machine, and of its `/etc` only what they need."""
        tops = [Path("/", name) for name in ("usr", "bin", "sbin", "lib", "lib64")]
        places = [path for path in tops if path.is_dir() and not path.is_symlink()]
        places += [Path(sys.base_prefix), ROOT, Path("/etc/passwd"), Path("/etc/group")]
        outside = [place for place in places if place == ROOT or Path("/usr") not in place.parents]
        return [
            *(Volume(place, str(place), read_only=True) for place in outside),
            Volume(self._tools, "/demo/bin", read_only=True),
        ]


def _link_what_the_machine_links(root: Path) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        here = Path("/", name)
        if here.is_symlink() and not (root / name).is_symlink():
            (root / name).symlink_to(here.readlink())


def _volumes_of_the_image() -> list[tuple[str, int]]:
    """Return the directories that the Dockerfile gives to its user, with their modes."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    return [
        (path, int(mode, 8))
        for mode, paths in re.findall(r"install -d -m (\d+) -o 65532 -g 65532 ([^\\\n]+)", text)
        for path in paths.split()
    ]
