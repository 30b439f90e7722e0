"""Files in a conversation, PDFs above all: read from any dialect, written for any vendor. Pure."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping
from typing import Any, NamedTuple

from broker.dialects.reading import Node
from broker.dialects.vendors import CHAT, Untranslatable, Vendor
from broker.request import CacheControl, FilePart

_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+);base64,(?P<data>.*)", re.DOTALL)
_PDF, _TEXT = "application/pdf", "text/plain"
_NAMES = {_PDF: "file.pdf", _TEXT: "file.txt"}
"""What a file is called that nobody has named: OpenAI wants a name beside a file's data."""
_NO_URLS = "the provider of this model takes no files by URL: give the file itself"
_FORMS = "Anthropic takes PDF and plain text only, as data URLs in base64 or by https"


class Data(NamedTuple):
    """What a data URL in base64 holds."""

    media_type: str
    base64: str


def data_of(url: str) -> Data | None:
    """None = it is no data URL in base64."""
    match = _DATA_URL.fullmatch(url)
    return Data(match["type"], match["data"]) if match else None


def text_url(text: str) -> str:
    """A plain text as the data of a file."""
    return f"data:{_TEXT};base64,{b64encode(text.encode()).decode()}"


def file_part(
    node: Node, given: Mapping[str, Node | None], ids: frozenset[Vendor], mark: CacheControl | None = None
) -> FilePart:
    """A file by its data, by URL, or by the id that its provider gave it and that the vendors ``ids`` know.

    ``given``: the fields of a canonical file.
    """
    said = {name: found for name, found in given.items() if found is not None}
    vendor = node.vendor
    if "file_id" in said and vendor not in ids:
        raise said["file_id"].refused("the provider of this model does not know this file: give the file itself")
    if "file_url" in said and vendor in CHAT:
        raise said["file_url"].refused(_NO_URLS)
    if "context" in said and vendor not in ("anthropic", "demo"):
        raise said["context"].refused("the provider of this model cannot be told of a file's context")
    file = {name: found.text() for name, found in said.items()}
    part = node.made(FilePart, {"type": "file", "file": file, "cache_control": mark})
    if vendor == "anthropic":
        try:
            document(part, "")
        except Untranslatable:
            raise said.get("file_data", said.get("file_url", node)).refused(_FORMS) from None
    return part


def chat_file(part: FilePart, path: str) -> dict[str, Any]:
    """As chat completions have it. Raises :class:`Untranslatable` for a URL and for a context."""
    file = _without_context(part, path)
    if "file_url" in file:
        raise Untranslatable(_NO_URLS, field=f"{path}.file.file_url")
    return {"type": "file", "file": file}


def input_file(part: FilePart, path: str) -> dict[str, Any]:
    """As the Responses API has it. Raises :class:`Untranslatable` for a context."""
    return {"type": "input_file", **_without_context(part, path)}


def document(part: FilePart, path: str) -> dict[str, Any]:
    """Anthropic's block, without its mark. Raises :class:`Untranslatable` for what is neither PDF nor plain text."""
    file = part.file
    about = {"title": file.filename, "context": file.context}
    said = {name: value for name, value in about.items() if value is not None}
    return {"type": "document", "source": _source(part, path), **said}


def _source(part: FilePart, path: str) -> dict[str, Any]:
    file = part.file
    if file.file_id is not None:
        return {"type": "file", "file_id": file.file_id}
    if file.file_url is not None and file.file_url.startswith("https://"):
        return {"type": "url", "url": file.file_url}
    data = data_of(file.file_data or "")
    if data is not None and data.media_type == _PDF:
        return {"type": "base64", "media_type": _PDF, "data": data.base64}
    text = _text_of(data) if data is not None and data.media_type == _TEXT else None
    if text is None:
        raise Untranslatable(_FORMS, field=f"{path}.file")
    return {"type": "text", "media_type": _TEXT, "data": text}


def _text_of(data: Data) -> str | None:
    try:
        return b64decode(data.base64, validate=True).decode()
    except (Error, UnicodeDecodeError):
        return None


def _without_context(part: FilePart, path: str) -> dict[str, str]:
    file = part.file
    if file.context is not None:
        raise Untranslatable("only Anthropic can be told of a file's context", field=f"{path}.file.context")
    said: dict[str, str] = file.model_dump(exclude_none=True)
    if file.file_data is not None and file.filename is None:
        data = data_of(file.file_data)
        said["filename"] = _NAMES.get(data.media_type if data else "", "file")
    return said
