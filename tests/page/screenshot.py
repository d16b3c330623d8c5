"""Makes `docs/status-page.png` anew: `python -m tests.page.screenshot`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.page.browser import counting_proxy, shown
from tests.page.stage import MINUTE, Stage, edge
from tests.page.test_browser import SCREENSHOT, SIZE, staged


def main() -> None:
    """Stage three key sets, a failing probe and a hold, and take a picture."""
    with tempfile.TemporaryDirectory(prefix="issuer-", dir="/tmp") as name:
        path = Path(name)
        stage = Stage(path)
        with edge(path / "web.json") as found:
            sites = staged(stage, found.url)
            found.status = 503
            stage.live(sites[0], 5 * MINUTE)
        with stage.listening() as url, counting_proxy(url) as proxy:
            shown(f"{url}/", path / "profile", proxy, SIZE, f"--screenshot={SCREENSHOT}")


if __name__ == "__main__":
    main()
