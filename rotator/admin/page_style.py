"""The style of the status page: dark and light, contrast of at least 4.5 : 1 for text and 3 : 1 for bars."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

CSS: Final = """
:root{color-scheme:light dark;--ground:#fff;--raised:#f6f8fa;--text:#1f2328;--quiet:#59636e;--line:#8c959f;
--link:#0550ae;--bad:#a40e26;--warn:#7d4e00;--good:#116329;--pending:#0969da;--active:#1a7f37;--retiring:#9a6700;
--creating:#6e7781}
@media (prefers-color-scheme:dark){:root{--ground:#0d1117;--raised:#161b22;--text:#f0f6fc;--quiet:#9da7b1;
--line:#6e7681;--link:#79c0ff;--bad:#ff9a94;--warn:#e3b341;--good:#56d364;--pending:#58a6ff;--active:#3fb950;
--retiring:#d29922;--creating:#8b949e}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:75rem;padding:1rem;background:var(--ground);color:var(--text);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
a{color:var(--link)}
a:focus-visible,[tabindex]:focus-visible,summary:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-99rem}.skip:focus{position:static}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.25rem;margin:0 0 .25rem}h3{font-size:1rem;margin:1rem 0 .25rem}
p,ul{margin:.25rem 0}ul{padding-left:1.25rem}
section{border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:1rem 0}
table{border-collapse:collapse;width:100%;font-size:.875rem;overflow-wrap:break-word}
caption{text-align:left;font-weight:600;padding:.5rem 0 .25rem}
th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--quiet);font-weight:600}
tbody th{font-weight:400;min-width:9rem;overflow-wrap:anywhere}
time{white-space:nowrap}
code,.kid{font-family:ui-monospace,monospace;font-size:.8125rem}
.quiet{color:var(--quiet)}.bad{color:var(--bad);font-weight:600}.warn{color:var(--warn);font-weight:600}
.good{color:var(--good);font-weight:600}
.wide{overflow-x:auto}
.wide svg{display:block;min-width:46rem;width:100%;height:auto}
.key{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;padding:0}
.key svg{width:2rem;height:.875rem;vertical-align:-.1rem;margin-right:.375rem}
svg text{fill:var(--text);font:13px system-ui,sans-serif}svg .quiet{fill:var(--quiet)}
svg .mono{font-family:ui-monospace,monospace}
.grid{stroke:var(--line);stroke-width:1;opacity:.5}.now{stroke:var(--text);stroke-width:2}
.was-creating,.was-active{stroke-width:1}
.was-creating{fill:var(--creating);stroke:var(--creating)}
.was-pending{fill:url(#dots);stroke:var(--pending)}
.was-active{fill:var(--active);stroke:var(--active)}
.was-retiring{fill:url(#stripes);stroke:var(--retiring)}
.comes-creating,.comes-pending,.comes-active,.comes-retiring{stroke-width:1.5;stroke-dasharray:5 3;fill-opacity:.25}
.comes-creating{fill:var(--creating);stroke:var(--creating)}
.comes-pending{fill:url(#dots);stroke:var(--pending)}
.comes-active{fill:var(--active);stroke:var(--active)}
.comes-retiring{fill:url(#stripes);stroke:var(--retiring)}
.dot{fill:var(--pending)}.stripe{stroke:var(--retiring);stroke-width:3}
.none{position:absolute;width:0;height:0}
@media (forced-colors:active){.was-active,.comes-active{fill:CanvasText}svg text{fill:CanvasText}}
@media print{section{break-inside:avoid}}
"""

_HASH: Final = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()

POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""Content-Security-Policy: nothing is loaded or run but this very style, nothing is sent, nobody frames it."""
