"""How much effort the properties make."""

from __future__ import annotations

from hypothesis import settings

# Two busy cores stall a process for longer than hypothesis's 200 ms now and then: that is no finding.
settings.register_profile("rejoinder", deadline=None)
settings.load_profile("rejoinder")
