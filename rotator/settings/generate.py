"""`python -m rotator.settings.generate [ROOT]`: write the files of this repository that are made from code.

`--check` writes nothing and exits with 1 when one of them is out of date; a test does the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from rotator.settings.reference import tables
from rotator.settings.schema import json_schema
from rotator.settings.template import Answers, render

EXAMPLE: Final = Answers("15m", "5m", root=".", schema="rotator.schema.json")
BEGIN: Final = "<!-- generated: python -m rotator.settings.generate -->"
END: Final = "<!-- end of what is generated -->"


def generated(root: Path) -> dict[Path, str]:
    """Return what every generated file of a repository should hold."""
    page = root / "docs" / "configuration.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return {
        root / "config" / "rotator.schema.json": json.dumps(
            json_schema(), indent=2, ensure_ascii=False
        )
        + "\n",
        root / "config" / "rotator.example.yaml": render(EXAMPLE),
        page: f"{before}{BEGIN}\n\n{tables()}\n{END}{after}",
    }


def stale(root: Path) -> list[Path]:
    """Return the generated files that differ from what they should hold."""
    return [
        path
        for path, text in generated(root).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write, or with `--check` only compare; return the exit code."""
    roots = [argument for argument in arguments if argument != "--check"]
    root = Path(roots[0]) if roots else Path.cwd()
    old = stale(root)
    for path in old:
        if "--check" not in arguments:
            path.write_text(generated(root)[path], encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(root)}\n")
    return int("--check" in arguments and bool(old))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
