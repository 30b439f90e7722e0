"""The page's files: served without a key, and nothing but them."""

from __future__ import annotations

import httpx2
import pytest

from api.app import create_app
from api.pages import TYPES
from tests.api.conftest import node_settings
from tests.api.fake_door import FakeDoor


@pytest.fixture
async def http() -> httpx2.AsyncClient:
    """A client of a node that wants a key for everything else."""
    app = create_app(node_settings(api_keys={"acme": "secret"}), broker=FakeDoor())
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1")


@pytest.mark.parametrize("name", TYPES)
async def test_files_are_served_under_a_strict_policy(http: httpx2.AsyncClient, name: str) -> None:
    """Right type, no sniffing, scripts and styles from here only, always asked for anew."""
    response = await http.get("/" if name == "index.html" else f"/static/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"] == TYPES[name]
    assert "script-src 'self'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"


async def test_a_head_has_no_body(http: httpx2.AsyncClient) -> None:
    """As HTTP wants it."""
    response = await http.head("/")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("name", ["secret", "..%2fapp.py", "%2e%2e/app.py", "index.html/", "STYLE.CSS", ""])
async def test_other_names_are_not_found(http: httpx2.AsyncClient, name: str) -> None:
    """No way out of the folder, and no listing of it."""
    response = await http.get(f"/static/{name}")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


async def test_the_page_takes_no_posts(http: httpx2.AsyncClient) -> None:
    """405, and which methods there are."""
    response = await http.post("/")
    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"


async def test_the_page_is_no_part_of_the_api(http: httpx2.AsyncClient) -> None:
    """The schema speaks of the service only."""
    paths = (await http.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith("/static")]
