"""The contract itself: nobody leaves it, and each of its rules catches a store that breaks it."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rotator.errors import Conflict, StoreCorrupt
from rotator.secret import Secret
from rotator.stores import Document, Stored, Version, VersionToken
from rotator.testing.contract import (
    Contract,
    DocumentStoreContract,
    MaterialStoreContract,
    Place,
    RingStoreContract,
)

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Shelves:
    """A store in dictionaries that breaks one rule, or none."""

    defect: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0
    saved: dict[str, Stored] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, Secret]] = field(default_factory=dict)
    written: dict[str, Document] = field(default_factory=dict)

    def rings(self, key_set: str) -> Rings:
        """The ring of a key set."""
        return Rings(self, "all" if self.defect == "key sets share a ring" else key_set)

    def material(self, key_set: str) -> Material:
        """The material of a key set."""
        return Material(self, "all" if self.defect == "key sets share material" else key_set)

    def documents(self) -> Documents:
        """The documents."""
        return Documents(self)

    def close(self) -> None:
        """Forget everything, if that is the defect."""
        if self.defect == "closing one handle closes all":
            self.saved.clear()

    def next(self) -> str:
        """A version that was never given before."""
        self.count += 1
        return str(self.count)


@dataclass
class Rings:
    """`RingStore` in a dictionary."""

    shelves: Shelves
    key_set: str
    remembered: Stored | None = None

    def load(self) -> Stored | None:
        """The ring."""
        if self.shelves.defect == "a handle serves what it remembers":
            self.remembered = self.remembered or self.shelves.saved.get(self.key_set)
            return self.remembered
        return self.shelves.saved.get(self.key_set)

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Replace the ring."""
        shelves = self.shelves
        with shelves.lock:
            found = shelves.saved.get(self.key_set)
            present = None if found is None else found.version
            tolerated = {
                "the last writer wins": True,
                "a first save replaces": replacing is None,
                "a remembered version makes a ring": found is None,
            }
            if present != replacing and not tolerated.get(shelves.defect):
                raise Conflict("somebody else was faster")
            if shelves.defect == "bytes are rewritten":
                document = document.strip()
            same = found if shelves.defect == "the version stays" else None
            version = same.version if same else Version(shelves.next())
            shelves.saved[self.key_set] = Stored(document, version)
        return version


@dataclass
class Material:
    """`MaterialStore` in a dictionary."""

    shelves: Shelves
    key_set: str

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """The kid, numbered when it is taken."""
        base = kid.casefold() if self.shelves.defect == "kids lose their case" else f"{kid!r:.200}"
        if base in taken and self.shelves.defect not in (
            "taken is ignored",
            "kids lose their case",
        ):
            return f"{base}.{len(taken)}"
        return base

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Write material once."""
        defect = self.shelves.defect
        with self.shelves.lock:
            found = self.shelves.keys.get((self.key_set, locator))
            other_kid = found is not None and found[0] != kid
            if defect == "a put cannot be repeated" and found is not None:
                raise StoreCorrupt("something is there")
            if other_kid and defect != "any kid may be put":
                raise StoreCorrupt("another kid is there")
            if found is not None and found[1] != material and defect != "material is replaced":
                told = material.reveal().decode() if defect == "errors tell material" else ""
                raise StoreCorrupt(f"other material is there {told}")
            kept = (
                Secret(material.reveal().strip()) if defect == "material is trimmed" else material
            )
            self.shelves.keys[self.key_set, locator] = (kid, kept)

    def get(self, locator: str, kid: str) -> Secret | None:
        """The material of a kid."""
        found = self.shelves.keys.get((self.key_set, locator))
        if found is None or (found[0] != kid and self.shelves.defect != "any kid gets material"):
            return None
        return found[1]

    def destroy(self, locator: str, kid: str) -> None:
        """Forget the material of a kid."""
        defect = self.shelves.defect
        found = self.shelves.keys.get((self.key_set, locator))
        if found is None:
            if defect == "nothing cannot be destroyed":
                raise StoreCorrupt("nothing is there")
            return
        if defect == "destroying does nothing":
            return
        if found[0] == kid or defect == "any kid is destroyed":
            del self.shelves.keys[self.key_set, locator]


@dataclass
class Documents:
    """`DocumentStore` in a dictionary."""

    shelves: Shelves

    def read(self, name: str) -> Document | None:
        """The document."""
        return self.shelves.written.get(name)

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        """Replace the document, unless it is ahead."""
        defect = self.shelves.defect
        with self.shelves.lock:
            found = self.shelves.written.get(name)
            present = None if found is None else found.token
            if present != replacing and defect != "documents are written blindly":
                raise Conflict("it is another one by now")
            if found is not None and self._ahead(found, document):
                raise Conflict("it is ahead")
            token = VersionToken(self.shelves.next())
            self.shelves.written[name] = replace(document, token=token)

    def _ahead(self, found: Document, document: Document) -> bool:
        there, here = found.revision or 0, document.revision or 0
        match self.shelves.defect:
            case "no fence":
                return False
            case "the fence compares text":
                return str(there) > str(here)
            case "the fence stops the same revision":
                return there >= here
            case _:
                return there > here

    def delete(self, name: str) -> None:
        """Forget the document."""
        if self.shelves.defect != "deleting does nothing":
            self.shelves.written.pop(name, None)


DEFECTS: dict[str, tuple[type[Contract], str]] = {
    "the last writer wins": (RingStoreContract, "test_nested_save"),
    "a first save replaces": (RingStoreContract, "test_a_first_save_never_replaces"),
    "a remembered version makes a ring": (
        RingStoreContract,
        "test_a_save_that_replaces_nothing_is_refused",
    ),
    "the version stays": (RingStoreContract, "test_a_save_replaces_the_version_it_names"),
    "a handle serves what it remembers": (
        RingStoreContract,
        "test_a_loser_goes_on_after_loading_again",
    ),
    "key sets share a ring": (RingStoreContract, "test_key_sets_do_not_touch_each_other"),
    "closing one handle closes all": (RingStoreContract, "test_a_store_can_be_closed_twice"),
    "a put cannot be repeated": (MaterialStoreContract, "test_a_put_can_be_repeated"),
    "any kid may be put": (MaterialStoreContract, "test_another_kid_is_refused"),
    "material is replaced": (MaterialStoreContract, "test_material_is_written_once"),
    "errors tell material": (MaterialStoreContract, "test_material_is_written_once"),
    "any kid gets material": (MaterialStoreContract, "test_another_kid_gets_nothing"),
    "nothing cannot be destroyed": (
        MaterialStoreContract,
        "test_destroying_what_never_was_is_harmless",
    ),
    "destroying does nothing": (MaterialStoreContract, "test_destroyed_is_gone"),
    "any kid is destroyed": (MaterialStoreContract, "test_another_kid_is_not_destroyed"),
    "key sets share material": (MaterialStoreContract, "test_key_sets_do_not_share_material"),
    "taken is ignored": (MaterialStoreContract, "test_allocate_avoids_what_is_taken"),
    "kids lose their case": (MaterialStoreContract, "test_difficult_kids"),
    "documents are written blindly": (DocumentStoreContract, "test_a_stale_write_is_refused"),
    "no fence": (DocumentStoreContract, "test_a_higher_revision_is_never_replaced"),
    "the fence compares text": (DocumentStoreContract, "test_revisions_above_nine_are_numbers"),
    "the fence stops the same revision": (
        DocumentStoreContract,
        "test_the_same_revision_is_replaced",
    ),
    "deleting does nothing": (DocumentStoreContract, "test_deleted_is_gone"),
}
WITH_ARGUMENTS: dict[str, tuple[type[Contract], str, bytes]] = {
    "bytes are rewritten": (RingStoreContract, "test_bytes_are_kept_as_they_are", b"{}\n"),
    "material is trimmed": (MaterialStoreContract, "test_every_material_is_kept_whole", b" a "),
}


def place_of(shelves: Shelves) -> Place:
    """The place of a store in this process; all of its handles are the store itself."""
    return Place(lambda: shelves)


class TestShelves(RingStoreContract, MaterialStoreContract, DocumentStoreContract):
    """Without a defect the store below keeps every rule, in races between threads too."""

    @pytest.fixture
    def place(self) -> Place:
        """A store in this process."""
        return place_of(Shelves())


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_caught(defect: str) -> None:
    """For each way to break the contract there is the test that sees it."""
    contract, name = DEFECTS[defect]
    with pytest.raises((AssertionError, pytest.fail.Exception, Conflict, StoreCorrupt)):
        getattr(contract(), name)(place_of(Shelves(defect)))


@pytest.mark.parametrize("defect", WITH_ARGUMENTS)
def test_a_defect_of_content_is_caught(defect: str) -> None:
    """The same for the tests that are given the bytes to keep."""
    contract, name, content = WITH_ARGUMENTS[defect]
    with pytest.raises((AssertionError, StoreCorrupt)):
        getattr(contract(), name)(place_of(Shelves(defect)), content)


def test_a_race_is_lost_by_a_store_that_does_not_compare() -> None:
    """Racers that all win are seen."""
    with pytest.raises(AssertionError):
        RingStoreContract().test_one_first_save_wins_the_race(
            place_of(Shelves("the last writer wins"))
        )


# The guard


def marked(mark: pytest.MarkDecorator) -> object:
    """A test that does nothing, with a mark."""

    def empty(_self: Contract, _place: Place) -> None: ...

    return mark(empty)


def overriding(**members: Any) -> Callable[[], type[Contract]]:
    """Make a subclass of a contract with these members, when called."""
    return lambda: type("Mine", (RingStoreContract,), members)


@pytest.mark.parametrize(
    "replacement",
    [
        pytest.param(None, id="deleted"),
        pytest.param(lambda _self, _place: None, id="overridden"),
        pytest.param(marked(pytest.mark.skip(reason="slow")), id="skipped"),
        pytest.param(marked(pytest.mark.xfail()), id="xfail without reason"),
    ],
)
def test_nobody_leaves_the_contract(replacement: object) -> None:
    """A test of the contract is neither deleted, overridden, skipped, nor excused without a reason."""
    with pytest.raises(TypeError, match="overrides test_nested_save of RingStoreContract"):
        overriding(test_nested_save=replacement)()


def test_a_mixin_does_not_get_around_the_guard() -> None:
    """Overriding from a class beside the contract is overriding."""
    mixin = type("Mixin", (), {"test_nested_save": lambda _self, _place: None})
    with pytest.raises(TypeError, match="overrides test_nested_save"):
        type("Mine", (mixin, RingStoreContract), {})


def test_a_reason_is_accepted() -> None:
    """What a store cannot keep is named with its reason, and still run."""
    excused = marked(pytest.mark.xfail(reason="no conditional write", strict=True))
    assert overriding(test_nested_save=excused)().__name__ == "Mine"


def test_a_test_deleted_later_is_missed() -> None:
    """What is changed after the class was made is found when it runs."""
    mine: Any = overriding()()
    mine().test_the_contract_is_whole()
    mine.test_nested_save = None
    with pytest.raises(AssertionError, match="test_nested_save"):
        mine().test_the_contract_is_whole()


def test_a_contract_without_a_place_says_so() -> None:
    """Forgetting the fixture is a sentence, not a riddle."""
    fixture: Any = Contract.place
    with pytest.raises(NotImplementedError, match="`place`"):
        fixture.__wrapped__(Contract())


def test_the_program_does_not_import_it() -> None:
    """`rotator.testing` needs pytest, so nothing else in the program knows of it."""
    guilty = [
        path
        for path in [*(ROOT / "rotator").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
        if "testing" not in path.parts and "rotator.testing" in imports(path)
    ]
    assert guilty == []


def imports(path: Path) -> set[str]:
    """The packages two levels deep that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(name.split(".")[:2]) for name in found}
