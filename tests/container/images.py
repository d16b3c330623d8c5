"""Images of the Dockerfile, built by buildah without an engine and without a registry."""

from __future__ import annotations

import functools
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.container.sandbox import Sandbox, Volume

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / ".servers" / "base.tar"
USER = (65532, 65532)

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Image:
    """A built image, its file system laid out.

    Attributes:
        root: its file system; what a test changes there is not in the image.
        config: what the image says of how it is run (`docker inspect`'s `Config`).
        base: the file system that it was built on.
    """

    root: Path
    config: dict[str, Any]
    base: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment that the image sets."""
        return dict(word.split("=", 1) for word in self.config["Env"])

    def sandbox(
        self,
        *volumes: Volume,
        user: tuple[int, int] = USER,
        environ: dict[str, str] | None = None,
        network: int | None = None,
    ) -> Sandbox:
        """Return it as an engine would run it with a read-only root."""
        return Sandbox(self.root, self.environ | (environ or {}), user, volumes, network)

    def rotator(self, *words: str) -> list[str]:
        """Return the command of the image with other words than its own."""
        return [*self.config["Entrypoint"], *words]

    def added(self) -> list[Path]:
        """Return the files that it has and its base has not."""
        return [
            path
            for path in self.root.rglob("*")
            if path.is_file()
            and not path.is_symlink()
            and not os.path.lexists(self.base / path.relative_to(self.root))
        ]

    def added_mib(self) -> float:
        """Return how much they hold."""
        return sum(path.stat().st_size for path in self.added()) / _MIB


class Buildah:
    """One place for images, thrown away by whoever made it."""

    def __init__(self, scratch: Path) -> None:
        self._words = ["--storage-driver", "vfs", "--root", f"{scratch}/root"]
        self._words += ["--runroot", f"{scratch}/run"]
        self._scratch = scratch

    def __call__(self, *words: str) -> str:
        """Run buildah, and return the last line that it printed.

        Raises:
            AssertionError: it failed; everything that it said is the message.
        """
        done = subprocess.run(
            ["buildah", *self._words, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"buildah {shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip().rpartition("\n")[2]

    @functools.cached_property
    def base(self) -> str:
        """The base: a Debian with Python and nothing else, as `make servers` laid it aside."""
        assert BASE.is_file(), "make container-test makes .servers/base.tar first"
        container = self("from", "scratch")
        self("add", "--quiet", container, str(BASE), "/")
        self("commit", "--quiet", container, "localhost/python:base")
        self("rm", container)
        return "localhost/python:base"

    def built(self, extras: str) -> Image:
        """Build the Dockerfile of this checkout with these backends."""
        name = f"localhost/rotator:{extras.replace(',', '-')}"
        words = (
            *("bud", "--isolation", "chroot", "--format", "docker", *self._pip()),
            *("--build-arg", f"BASE={self.base}", "--build-arg", f"EXTRAS={extras}"),
            *("--build-arg", "REVISION=0123abc", "--tag", name, str(ROOT)),
        )
        try:
            self(*words)
        except AssertionError:  # of a download that broke off in its midst, pip tries none again
            self(*words)
        config = json.loads(self._inspect(name))["Docker"]["config"]
        root, base = (Path(self("mount", self("from", image))) for image in (name, self.base))
        return Image(root, config, base)

    def _inspect(self, name: str) -> str:
        words = ["buildah", *self._words, "inspect", "--type", "image", name]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def _pip(self) -> Sequence[str]:
        """Return the words that hand this machine's way to packages to the build, and leave it out of the image.

        pip's settings are read from where pip has them, so that no address is written down here.
        """
        listed = subprocess.run(
            [ROOT / ".venv" / "bin" / "python", "-m", "pip", "config", "list"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found = {}
        for line in listed.splitlines():
            name, _, text = line.partition("=")
            found[name.rpartition(".")[2]] = text.strip("'\"")
        known = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout")
        found.setdefault("default-timeout", "60")
        lines, volumes = [f"{name} = {found[name]}" for name in known if name in found], []
        if "cert" in found:
            lines.append("cert = /run/authorities.pem")
            volumes = ["--volume", f"{found['cert']}:/run/authorities.pem:ro"]
        descriptor, conf = tempfile.mkstemp(dir=self._scratch)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(["[global]", "retries = 8", *lines, ""]))
        return ["--secret", f"id=pip.conf,src={conf}", *volumes]
