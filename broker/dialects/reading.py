"""Reading a request of another vendor's, so that whatever is wrong with it is said with the name of the field: pure.

A value is wrapped with its path. An object is read field by field, and :meth:`Fields.done` refuses what was not read,
so that a misspelt field is never passed over in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from broker.errors import InvalidRequest
from broker.routing import Vendor

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reading:
    """For which vendor a request is read, and what of it was left out."""

    vendor: Vendor
    marks: bool
    """Whether this vendor is told what to cache."""
    ignored: dict[str, None] = field(default_factory=dict[str, None])
    """The names of the hints that say nothing to this vendor, in the order in which they were met."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its dotted path in the body."""

    value: Any
    path: str
    reading: Reading

    @property
    def vendor(self) -> Vendor:
        """Whose model is asked."""
        return self.reading.vendor

    def refused(self, why: str) -> InvalidRequest:
        """The error that names this field."""
        return InvalidRequest(f"{self.path}: {why}", field=self.path)

    def ignore(self) -> None:
        """Note that this field says nothing to the vendor. Positions in lists are left out of its name."""
        name = ".".join(part for part in self.path.split(".") if not part.isdecimal())
        self.reading.ignored[name] = None

    def text(self) -> str:
        """The value as a string."""
        if not isinstance(self.value, str):
            raise self.refused("must be a string")
        return self.value

    def name(self) -> str:
        """The value as a string that is not empty."""
        if not self.text():
            raise self.refused("must not be empty")
        return self.text()

    def flag(self) -> bool:
        """The value as true or false."""
        if not isinstance(self.value, bool):
            raise self.refused("must be true or false")
        return self.value

    def number(self) -> float:
        """The value as a number; a whole one stays whole."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.refused("must be a number")
        return self.value

    def word(self, words: Iterable[str]) -> str:
        """The value as one of these words."""
        known = list(words)
        if self.value not in known:
            raise self.refused(f"must be one of {', '.join(known)}")
        return self.text()

    def items(self) -> list[Node]:
        """The elements of the value."""
        value: object = self.value
        if not isinstance(value, list):
            raise self.refused("must be an array")
        found = cast("list[Any]", value)
        return [Node(item, f"{self.path}.{index}", self.reading) for index, item in enumerate(found)]

    def object(self) -> dict[str, Any]:
        """The value as an object, as it is."""
        value: object = self.value
        if not isinstance(value, dict):
            raise self.refused("must be an object")
        return cast("dict[str, Any]", value)

    def fields(self) -> Fields:
        """The value as an object, to be read field by field."""
        return Fields(self, self.object())

    def made(self, kind: type[M], given: Mapping[str, Any]) -> M:
        """A part of the canonical request from what was read here; what its model finds wrong is this field's."""
        try:
            return kind.model_validate(given)
        except ValidationError as error:
            raise self.refused(reason_of(error)) from error


class Fields:
    """The fields of an object. ``null`` counts as absent."""

    def __init__(self, node: Node, given: dict[str, Any]) -> None:
        self.node = node
        self.vendor = node.vendor
        self._given = given
        self._left = dict.fromkeys(given)

    def has(self, name: str) -> bool:
        """Whether a field is there, read or not."""
        return self._given.get(name) is not None

    def take(self, name: str) -> Node | None:
        """A field, if it is there and has not been read yet."""
        value = self._given[name] if name in self._left else None
        self._left.pop(name, None)
        return None if value is None else Node(value, self._path(name), self.node.reading)

    def need(self, name: str) -> Node:
        """A field that must be there."""
        node = self.take(name)
        if node is None:
            raise InvalidRequest(f"{self._path(name)} is missing", field=self._path(name))
        return node

    def skip(self, *names: str) -> None:
        """Fields that say nothing to any model: ids and states of things that are given back to us."""
        for name in names:
            self._left.pop(name, None)

    def hint(self, name: str, *neutral: Any) -> None:
        """A field that would say something, but nothing that changes what the answer means."""
        node = self.take(name)
        if node is not None and node.value not in neutral:
            node.ignore()

    def refuse(self, name: str, why: str, *neutral: Any) -> None:
        """A field that may only have a value that changes nothing."""
        node = self.take(name)
        if node is not None and node.value not in neutral:
            raise node.refused(why)

    def left(self, *but: str) -> dict[str, Any]:
        """What nobody has read, which is then read; ``but``: what is not to be."""
        left = {name: self._given[name] for name in self._left if self._given[name] is not None and name not in but}
        self._left = dict.fromkeys(name for name in but if name in self._left)
        return left

    def done(self) -> None:
        """Refuse what nobody has read; a null says nothing, whatever its name."""
        for name in self.left():
            raise InvalidRequest(f"{self._path(name)}: there is no such field here", field=self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.node.path}.{name}" if self.node.path else name


def reason_of(error: ValidationError) -> str:
    """The first thing that a model finds wrong, for people."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
