"""Where the plan meets I/O.

`tick` is one step of one key set: `gather` loads, looks and absorbs, `rotator.plan` decides, `steps` carries
out, `finish` mends the targets. `site` is what a tick needs from outside, `view` what it knows, `look` and
`mend` are its eyes and hands, `telling` its voice; `settle` ticks until nothing changes.
"""
