"""How often Python looks for cycles of dead objects, in processes that hold many live ones."""

from __future__ import annotations

import gc

_YOUNG = 50_000
"""Objects more than at the last look. The default, 700, comes with every read of a busy connection; measured at 20,000
events a second, more than a quarter of a node's time went into looking (docs/performance.md)."""
_MIDDLE = 20


def look_rarely() -> None:
    """Leave out what is there for good (call it at start-up, when all is imported) and look rarely for the rest.

    Memory stays bounded: nearly all objects go by their reference counts, and cycles wait a little longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _MIDDLE)
