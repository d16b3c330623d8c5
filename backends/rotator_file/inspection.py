"""What `rotator check` and `rotator policy` say of a file store; nothing here writes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from rotator.plugin import ConfigError, Finding, Report, Role, StoreError
from rotator_file.access import DOCUMENTS, MATERIAL, RING
from rotator_file.files import Directory, listing
from rotator_file.meaning import explained, not_regular, require_private, symlink_refused
from rotator_file.names import key_set_name
from rotator_file.tree import Tree

_LITTLE_SPACE: Final = 16 << 20  # bytes; a key set takes well below one MiB
_FEW_INODES: Final = 1000
_FAULTS_SHOWN: Final = 10
_EFFECTIVE: Final = os.access in os.supports_effective_ids
_NETWORK: Final = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "gluster", "lustre", "fuse.")


def inspect(tree: Tree) -> Report:
    """Report who we are, whether the directories are ours and strict, what is in them, and advice."""
    findings = [Finding("ok", f"runs as {_who(os.geteuid())}")]
    try:
        with tree.reading() as root:
            if root is None:
                text = f"{tree.path} does not exist yet; the first write makes it with mode 0700"
                findings.append(Finding("ok", text))
            else:
                findings += [*_root(root), *_file_system(root), *_key_sets(tree, root)]
    except StoreError as error:
        findings.append(_fault(error))
    findings.append(
        Finding(
            "advice",
            "material is not encrypted at rest",
            hint="put the directory on an encrypted volume, keep it out of backups, or use a secrets manager",
        )
    )
    return Report(f"file store {tree.path}", tuple(findings))


def policy(path: Path, role: Role) -> str:
    """Return what the owner and mode of files must be for a role to do its work and nothing else."""
    import shlex

    place = shlex.quote(str(path))
    if role is Role.ROTATOR:
        return (
            "# The file store has no policy language: owner and mode of its files are the policy.\n"
            "# Run rotator as a user of its own, who alone may enter the directory:\n"
            f"install -d -m 0700 -o rotator -g rotator {place}\n"
            "# What it makes in there has mode 0700 (directories) and 0600 (files).\n"
        )
    wanted = {
        Role.SIGNER: "the signing document from a delivery (`deliver:` to a directory of files)",
        Role.VERIFIER: "the verification document from a delivery (`deliver:` to a directory of files)",
        Role.JWKS_READER: "the JWKS from a publication (the built-in server, or a file)",
    }[role]
    return (
        f"# Nothing in {place}: every file there is for the user of rotator alone, for the rings\n"
        "# lie beside the material. This role reads\n"
        f"# {wanted}.\n"
    )


def _root(root: Directory) -> list[Finding]:
    found = os.fstat(root.descriptor)
    mode = f"{stat.S_IMODE(found.st_mode):04o}"
    findings = [Finding("ok", f"{root.path} belongs to {_who(found.st_uid)}, mode {mode}")]
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        findings.append(
            Finding(
                "advice",
                f"others than its owner may write to {root.path}, and so move key sets away",
                hint=f"chmod go-w {root.path}, unless it is the root of a volume that only rotator mounts",
            )
        )
    if not os.access(root.path, os.R_OK | os.W_OK | os.X_OK, effective_ids=_EFFECTIVE):
        findings.append(
            Finding(
                "fault",
                f"uid {os.geteuid()} may not write to {root.path}",
                hint="give it the directory (chown), and mount its file system for writing",
                exit_code=77,
            )
        )
    return findings


def _file_system(root: Directory) -> list[Finding]:
    with explained("look at the file system of", root.path):
        found = os.fstatvfs(root.descriptor)
        device = os.fstat(root.descriptor).st_dev
    findings = []
    if found.f_flag & os.ST_RDONLY:
        findings.append(
            Finding(
                "fault",
                f"the file system of {root.path} is read-only",
                hint="mount it for writing",
                exit_code=69,
            )
        )
    free = found.f_bavail * found.f_frsize
    if free < _LITTLE_SPACE or (found.f_files and found.f_favail < _FEW_INODES):
        text = f"{free >> 10} KiB and {found.f_favail} inodes are free at {root.path}"
        findings.append(Finding("advice", text, hint="free some: no ring is saved on a full disk"))
    kind = _kind(device)
    if kind.startswith(_NETWORK):
        findings.append(
            Finding(
                "advice",
                f"{root.path} is on {kind}, where locks may not hold between hosts",
                hint="use a local file system, or a secrets manager when several hosts rotate",
            )
        )
    return findings


def _kind(device: int) -> str:
    """Return the type of the file system of a device; nothing where the system does not say."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[2:3] == [wanted]:
            return right.split()[0]
    return ""


def _key_sets(tree: Tree, root: Directory) -> list[Finding]:
    with explained("list", root.path):
        names = [name for name in listing(root) if not _lies_about(root, name)]
    rings, faults = 0, []
    for name in names:
        try:
            with tree.reading(key_set_name(name)) as directory:
                if directory is None:
                    continue
                rings += _strict(directory)
            for part in (MATERIAL, DOCUMENTS):
                with tree.reading(name, part) as directory:
                    if directory is not None:
                        _strict(directory)
        except ConfigError:
            continue  # no name of ours, such as the lost+found of a volume
        except StoreError as error:
            faults.append(_fault(error))
    having = "1 key set has" if rings == 1 else f"{rings} key sets have"
    findings = [Finding("ok", f"{having} a ring here"), *faults[:_FAULTS_SHOWN]]
    if len(faults) > _FAULTS_SHOWN:
        findings.append(
            Finding("advice", f"{len(faults) - _FAULTS_SHOWN} more faults of this kind")
        )
    return findings


def _lies_about(root: Directory, name: str) -> bool:
    """Tell whether a name is that of a file, which no call ever opens at the top of a store."""
    found = os.stat(name, dir_fd=root.descriptor, follow_symlinks=False)
    return not (stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode))


def _strict(directory: Directory) -> int:
    """Check the files of one of our directories; return 1 when there is a ring among them."""
    with explained("look at", directory.path):
        names = listing(directory)
        for name in names:
            place = directory.path / name
            try:
                found = os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)
            except FileNotFoundError:  # a temporary file of a writer at work
                continue
            if stat.S_ISLNK(found.st_mode):
                raise symlink_refused(place)
            if not stat.S_ISDIR(found.st_mode):
                require_private(found, place, directory.owners)
                if not stat.S_ISREG(found.st_mode):
                    raise not_regular(place)
    return int(RING in names)


def _fault(error: StoreError) -> Finding:
    return Finding("fault", error.message, hint=error.hint, exit_code=error.exit_code)


def _who(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
