"""Each viewer and each call to a provider is an open file, and shells allow a process 1,024 of them by default."""

from __future__ import annotations

import contextlib
import resource

WANTED = 65_536


def allow_open_files(wanted: int = WANTED) -> int:
    """Allow this process so many, or as many as the system lets it; never fewer than before. Answers how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        # Some systems have a further limit of their own.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
