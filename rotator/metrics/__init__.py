"""What `/metrics`, `--metrics-file` and `--pushgateway` tell; `docs/metrics.md` lists the metrics.

Importing this costs next to nothing: prometheus-client is loaded when there is something to render.
"""

from __future__ import annotations

from rotator.metrics.meter import Meter

__all__ = ["Meter"]
