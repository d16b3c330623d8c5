"""The image as an engine would run it: uid 65532, read-only root, no shell, volumes; `make container-test`."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.container.images import ROOT, USER, Image
from tests.container.sandbox import Volume, need_namespaces
from tests.servers import free_port, running

PAGE = (ROOT / "docs" / "running" / "container.md").read_text(encoding="utf-8")
(CONFIGURATION,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILE_STORE = "{backend: file, path: /var/lib/rotator/keys}"
MOST_WITH_EVERY_BACKEND, MOST_WITH_ONE = 150, 60
"""MiB that may be added to the base."""


class Place:
    """A configuration and volumes for one container."""

    def __init__(self, image: Image, scratch: Path, configuration: str = CONFIGURATION) -> None:
        self.image = image
        self.server = f"127.0.0.1:{free_port()}"
        # The page's ports are the container's own; here all share this machine's.
        self.environ = {
            "ROTATOR__ADMIN__LISTEN": f"127.0.0.1:{free_port()}",
            "ROTATOR__SERVER__LISTEN": self.server,
        }
        self.config = scratch / "rotator.yaml"
        self.config.write_text(configuration)
        self.config.chmod(0o644)
        self.state, self.signing, self.jwks = (
            scratch / name for name in ("state", "signing", "jwks")
        )
        for folder, mode in ((self.state, 0o700), (self.signing, 0o700), (self.jwks, 0o755)):
            folder.mkdir(mode=mode)
            os.chown(folder, *USER)

    def volumes(self, *, read_only: bool = False) -> list[Volume]:
        """Return what an operator mounts."""
        return [
            Volume(self.config, "/etc/rotator/rotator.yaml", read_only=True),
            Volume(self.state, "/var/lib/rotator", read_only=read_only),
            Volume(self.signing, "/srv/signing", read_only=read_only),
            Volume(self.jwks, "/srv/jwks", read_only=read_only),
        ]

    def rotator(
        self, *words: str, expect: int = 0, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the image's command with other words."""
        box = self.image.sandbox(*self.volumes(), environ=self.environ | (environ or {}))
        done = box.run(*self.image.rotator(*words))
        assert done.returncode == expect, f"{words}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(scope="module", autouse=True)
def _no_shell(image: Image, aws_image: Image) -> None:
    """Take every shell out of the roots: what runs then, runs without one."""
    need_namespaces()
    for root in (image.root, aws_image.root):
        for name in ("sh", "bash", "dash", "rbash"):
            for folder in ("bin", "usr/bin"):
                (root / folder / name).unlink(missing_ok=True)
        assert not (root / "bin" / "sh").exists()


@pytest.fixture
def place(image: Image, tmp_path: Path) -> Place:
    """The page's configuration, and new volumes."""
    return Place(image, tmp_path)


def shown(text: str) -> None:
    """Print what `make container-test` is to show."""
    sys.stdout.write(text + "\n")


def compressed(image: Image) -> float:
    """Return how many MiB the layer takes on its way."""

    class Count:
        size = 0

        def write(self, data: bytes) -> int:
            self.size += len(data)
            return len(data)

    count = Count()
    with (
        gzip.GzipFile(fileobj=count, mode="wb", compresslevel=6) as packed,  # type: ignore[call-overload]
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        archive.add(image.root / "opt", "opt")
    return count.size / 2**20


def test_sizes(image: Image, aws_image: Image) -> None:
    """What we add to the base, with every backend and with the largest one."""
    for name, built, most in (
        ("every backend", image, MOST_WITH_EVERY_BACKEND),
        ("AWS alone", aws_image, MOST_WITH_ONE),
    ):
        added = built.added_mib()
        shown(f"{name}: {added:.1f} MiB added, {compressed(built):.1f} MiB compressed")
        assert added <= most


def test_what_the_image_says(image: Image) -> None:
    """Nobody has to give it a user, a command or a health check."""
    said = image.config
    assert said["User"] == "65532:65532"
    assert said["Entrypoint"] == ["rotator"]
    assert said["Cmd"] == ["run"]
    assert said["Healthcheck"]["Test"] == ["CMD", "rotator", "healthcheck"]
    assert said["StopSignal"] == "SIGTERM"
    assert said["Volumes"] == {"/var/lib/rotator": {}}
    labels = {name.rpartition(".")[2]: text for name, text in said["Labels"].items()}
    assert labels["title"] == "rotator"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["revision"] == "0123abc"
    # Nothing of how this machine comes by its packages.
    assert not (image.root / "etc" / "pip.conf").exists()
    assert not [name for name in image.environ if name.startswith("PIP_")]


def test_nothing_that_a_running_program_may_write_to_is_in_it(image: Image) -> None:
    """Files of ours are root's, and nobody else writes them; pip and build tools stayed behind."""
    for path in image.added():
        status = path.stat()
        assert status.st_uid == 0, path
        assert not status.st_mode & 0o022, path
    names = {path.name for path in (image.root / "opt" / "rotator" / "bin").iterdir()}
    assert "rotator" in names
    assert not [name for name in names if name.startswith("pip")]
    assert not (image.root / "wheels").exists()
    for folder, mode in (("var/lib/rotator", 0o700), ("srv/signing", 0o700), ("srv/jwks", 0o755)):
        status = (image.root / folder).stat()
        assert (status.st_uid, status.st_gid) == USER
        assert status.st_mode & 0o777 == mode


def test_the_root_is_read_only(place: Place) -> None:
    """What the other tests rely on: nothing but the volumes can be written."""
    probe = (
        "import errno, os, sys\n"
        "assert os.getuid() == os.getgid() == 65532 and os.getgroups() == []\n"
        "for path in ('/tmp/x', '/opt/rotator/x', '/etc/rotator/x', '/x'):\n"
        "    try: open(path, 'w')\n"
        "    except OSError as error: assert error.errno == errno.EROFS, (path, error)\n"
        "    else: sys.exit(path)\n"
        "open('/var/lib/rotator/x', 'w')\n"
        "assert not any(os.path.exists(p) for p in ('/bin/sh', '/bin/bash', '/usr/bin/sh'))\n"
    )
    done = place.image.sandbox(*place.volumes()).run("python", "-c", probe)
    assert done.returncode == 0, done.stderr


def test_check_and_a_rotation(place: Place) -> None:
    """From an empty volume to a key that signs, a second key that is announced, and another after an emergency."""
    checked = place.rotator("check").stdout
    shown(checked)
    place.rotator("rotate")
    first = json.loads((place.signing / "web" / "signing.json").read_text())["kid"]
    published = {key["kid"] for key in json.loads((place.jwks / "web.json").read_text())["keys"]}
    assert first in published
    place.rotator("rotate")
    place.rotator("rotate", "--emergency", "--yes")
    second = json.loads((place.signing / "web" / "signing.json").read_text())["kid"]
    published = {key["kid"] for key in json.loads((place.jwks / "web.json").read_text())["keys"]}
    assert second != first
    assert second in published
    assert first not in published
    shown(place.rotator("status").stdout)


def test_the_daemon_and_its_health_check(place: Place, tmp_path: Path) -> None:
    """The image's own words: unhealthy before, healthy while it runs, 143 on the signal to stop, unhealthy again."""
    said = place.image.config
    check = said["Healthcheck"]["Test"][1:]
    box = place.image.sandbox(*place.volumes(), environ=place.environ)
    assert box.run(*check).returncode == 1
    daemon = box.start(*said["Entrypoint"], *said["Cmd"], log=tmp_path / "log")
    try:
        until = time.monotonic() + 60
        while box.run(*check).returncode or not (place.jwks / "web.json").exists():
            assert daemon.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            threading.Event().wait(0.2)
        with urllib.request.urlopen(f"http://{place.server}/.well-known/jwks.json") as answer:
            assert json.load(answer) == json.loads((place.jwks / "web.json").read_text())
        assert Path(f"/proc/{daemon.pid}").stat().st_uid == USER[0]
        daemon.send_signal(getattr(signal, said["StopSignal"]))
        assert daemon.wait(60) == 143, (tmp_path / "log").read_text()
    finally:
        daemon.kill()
        daemon.wait()
    assert box.run(*check).returncode == 1


@pytest.mark.parametrize("name", ["image", "aws_image"])
def test_aws(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The data of the SDK that stayed is enough to log in, check, rotate and look at IAM and STS."""
    built: Image = request.getfixturevalue(name)
    server = running("aws")
    settings = json.dumps({"backend": "aws", **server.settings(f"container-{name}")})
    place = Place(built, tmp_path, CONFIGURATION.replace(FILE_STORE, settings))
    environ = {key: text for key, text in server.environ.items() if not key.endswith("_FILE")}
    place.rotator("check", environ=environ)
    place.rotator("rotate", environ=environ)
    assert json.loads((place.signing / "web" / "signing.json").read_text())["kid"]
    every = (
        "import sys\nfrom botocore.session import Session\n"
        "for name in sys.argv[1:]: Session().create_client(name, region_name='eu-central-1')\n"
    )
    services = ("cloudfront", "iam", "s3", "secretsmanager", "signin", "sso", "sso-oidc", "sts")
    done = built.sandbox(environ=environ).run("python", "-c", every, *services)
    assert done.returncode == 0, done.stderr


def test_a_backend_that_is_not_in_it(aws_image: Image, tmp_path: Path) -> None:
    """Says so, before anything else."""
    configuration = CONFIGURATION.replace(
        FILE_STORE,
        "{backend: vault, address: 'http://127.0.0.1:1', auth: {method: token, token_env: T}}",
    )
    done = Place(aws_image, tmp_path, configuration).rotator(
        "check", expect=78, environ={"T": "none"}
    )
    assert "jwks-rotator[vault]" in done.stdout


class TestAmiss:
    """What goes wrong with a container first."""

    def test_no_configuration_is_mounted(self, image: Image) -> None:
        """And it says where it looked."""
        done = image.sandbox().run(*image.rotator("run"))
        assert done.returncode == 78
        assert "/etc/rotator/rotator.yaml" in done.stderr

    def test_a_configuration_that_this_user_may_not_read(self, place: Place) -> None:
        """Such as a Secret that is mounted 0600 for root."""
        place.config.chmod(0o600)
        assert "may not be read by this user" in place.rotator("rotate", expect=78).stderr

    def test_a_volume_that_is_read_only(self, place: Place) -> None:
        """Nothing is made that could not be kept."""
        box = place.image.sandbox(*place.volumes(read_only=True))
        done = box.run(*place.image.rotator("rotate"))
        assert done.returncode == 69
        assert "read-only" in done.stderr.lower()
        assert "Traceback" not in done.stderr
        assert not any(place.jwks.iterdir())

    def test_another_user_than_the_volumes(self, place: Place) -> None:
        """The volume is not his: refused, with the directory's name."""
        box = place.image.sandbox(*place.volumes(), user=(1234, 1234))
        done = box.run(*place.image.rotator("rotate"))
        assert done.returncode == 77
        assert "/var/lib/rotator" in done.stderr
        assert "Traceback" not in done.stderr

    def test_another_user_with_volumes_of_his_own(self, place: Place) -> None:
        """Nothing in the image belongs to 65532 but empty directories: OpenShift gives every namespace a user."""
        for folder in (place.state, place.signing, place.jwks):
            os.chown(folder, 1_000_660_000, 0)
        box = place.image.sandbox(*place.volumes(), user=(1_000_660_000, 0))
        done = box.run(*place.image.rotator("rotate"))
        assert done.returncode == 0, done.stderr

    def test_as_root(self, place: Place) -> None:
        """Works, on volumes of root; Kubernetes refuses it before (`runAsNonRoot`)."""
        for folder in (place.state, place.signing, place.jwks):
            os.chown(folder, 0, 0)
        box = place.image.sandbox(*place.volumes(), user=(0, 0))
        done = box.run(*place.image.rotator("rotate"))
        assert done.returncode == 0, done.stderr


def test_the_lock_serves_arm64(tmp_path: Path) -> None:
    """Every package of the image is there, hash and all, as a wheel for 64-bit ARM and the default base's Python."""
    platforms = [
        word for minor in (17, 28, 34) for word in ("--platform", f"manylinux_2_{minor}_aarch64")
    ]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.13"),
        *(*platforms, "--platform", "manylinux2014_aarch64"),
        *("--dest", str(tmp_path), "-r", str(ROOT / "requirements" / "all.txt")),
    ]
    for _ in range(2):  # of a download that broke off in its midst, pip tries none again
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    arm = [path.name for path in tmp_path.iterdir() if "aarch64" in path.name]
    assert len(arm) > 5
    shutil.rmtree(tmp_path)
