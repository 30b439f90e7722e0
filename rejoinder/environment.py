"""The one place of the command that touches the process environment as a whole: what children inherit, what is set."""

from __future__ import annotations

import os
from collections.abc import Mapping


def inherited(**extra: str) -> dict[str, str]:
    """This process's environment with some variables on top, for a child."""
    return {**os.environ, **extra}  # noqa: TID251 - the home of it


def variable(name: str) -> str | None:
    """One variable; empty counts as unset."""
    return os.environ.get(name) or None  # noqa: TID251 - the home of it


def set_names() -> Mapping[str, str]:
    """Upper-case name -> the name as it is spelt in the environment, as pydantic-settings looks them up."""
    return {name.upper(): name for name in os.environ}  # noqa: TID251 - the home of it
