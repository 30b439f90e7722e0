"""The page at ``/``: static files from the package, no key needed to load them."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response

router = APIRouter(include_in_schema=False)

TYPES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "stream.js": "text/javascript; charset=utf-8",
}
"""All there is to serve."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


@router.api_route("/", methods=["GET", "HEAD"])
async def index() -> Response:
    """The page."""
    return _file("index.html")


@router.api_route("/static/{name}", methods=["GET", "HEAD"])
async def static(name: str) -> Response:
    """What the page is made of. Raises a 404 for any other name."""
    return _file(name)


def _file(name: str) -> Response:
    if name not in TYPES:
        raise HTTPException(404)
    body = (files("api") / "static" / name).read_bytes()
    return Response(body, headers={**HEADERS, "content-type": TYPES[name]})
