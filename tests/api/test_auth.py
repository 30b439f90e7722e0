"""Who may ask: keys, tenants, and what an open node refuses."""

from __future__ import annotations

import httpx2
import pytest

from api.app import create_app
from api.auth import InsecureBind, Keyring, bearer, is_loopback
from api.node import node_name
from broker.events import Completed
from tests.api.conftest import MakeClient, node_settings
from tests.api.fake_door import FakeDoor

KEYS = "acme:key-one,umbrella:key-zwei-ü"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer key-one"},
        {"authorization": "bearer   key-one "},
        {"x-api-key": "key-one"},
        {"authorization": "Basic abc", "x-api-key": "key-one"},
    ],
)
async def test_a_key_is_taken_from_either_header(make_client: MakeClient, headers: dict[str, str]) -> None:
    """Anthropic's SDKs send one or the other (wires.md R9)."""
    async with make_client(api_keys=KEYS) as client:
        assert (await client.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer key-two"},
        {"authorization": "key-one"},
        {"authorization": "Bearer key-two", "x-api-key": "key-one"},
        {"x-api-key": ""},
        {"x-api-key": "acme:key-one"},
    ],
)
async def test_without_a_right_key_there_is_only_401(make_client: MakeClient, headers: dict[str, str]) -> None:
    """With a challenge, and before anything else about the request is judged."""
    async with make_client(api_keys=KEYS) as client:
        for path in ("/v1/models", "/v1/generations", "/v1/generations?limit=wrong", "/v1/generations/x/events"):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["code"] == "unauthorized"
            assert answer.headers["www-authenticate"].startswith("Bearer")
        answer = await client.post("/v1/generations", headers=headers, content=b"{")
        assert answer.status_code == 401


async def test_a_key_need_not_be_ascii(make_client: MakeClient) -> None:
    """Header bytes are compared as they came."""
    async with make_client(api_keys=KEYS) as client:
        headers = [(b"authorization", "Bearer key-zwei-ü".encode())]
        assert (await client.get("/v1/models", headers=headers)).status_code == 200


def test_no_key_is_kept_as_it_was_given() -> None:
    """Only its hash stays in memory."""
    keyring = Keyring(node_settings(api_keys=KEYS).api_keys)
    assert "key-one" not in repr(vars(keyring))
    assert not keyring.open
    assert Keyring({}).open


async def test_tenants_do_not_see_each_other(make_client: MakeClient, door: FakeDoor) -> None:
    """Another's generation is as absent as one that never was, on every route."""
    mine = door.create(Completed("stop"), tenant="acme")
    async with make_client(api_keys=KEYS) as client:
        own = {"x-api-key": "key-one"}
        other = [(b"x-api-key", "key-zwei-ü".encode())]
        path = f"/v1/generations/{mine}"
        assert (await client.get(path, headers=own)).status_code == 200
        absent = await client.get("/v1/generations/gen_none", headers=other)
        for answer in (
            await client.get(path, headers=other),
            await client.get(f"{path}?wait=1", headers=other),
            await client.get(f"{path}/events", headers=other),
            await client.post(f"{path}/cancel", headers=other),
            await client.delete(path, headers=other),
        ):
            assert answer.status_code == 404
            assert answer.json() == absent.json()
        assert (await client.get("/v1/generations", headers=other)).json()["data"] == []
        assert len((await client.get("/v1/generations", headers=own)).json()["data"]) == 1


async def test_probes_and_metrics_need_no_key(make_client: MakeClient) -> None:
    """Kubernetes and Prometheus have none."""
    async with make_client(api_keys=KEYS) as client:
        for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
            assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST.", "a.localhost"])
def test_an_open_node_may_listen_on_loopback(host: str) -> None:
    """Nobody else can reach it there."""
    assert is_loopback(host)
    create_app(node_settings(), host=host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "", "localhost.example.com", "1"])
def test_an_open_node_refuses_to_listen_elsewhere(host: str) -> None:
    """Unless there are keys, or it was told to."""
    assert not is_loopback(host)
    with pytest.raises(InsecureBind):
        create_app(node_settings(), host=host)
    create_app(node_settings(), host=host, insecure=True)
    create_app(node_settings(api_keys=KEYS), host=host)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "app.localhost:1"])
async def test_an_open_node_answers_to_this_machines_names(client: httpx2.AsyncClient, host: str) -> None:
    """Whatever the port."""
    assert (await client.get("/v1/models", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::1", "", "10.0.0.1"]
)
async def test_dns_rebinding_is_refused(client: httpx2.AsyncClient, host: str) -> None:
    """A page whose name was made to point at 127.0.0.1 still says its own name."""
    answer = await client.get("/v1/models", headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:5173", "http://localhost.evil"])
async def test_another_sites_page_is_refused(client: httpx2.AsyncClient, door: FakeDoor, origin: str) -> None:
    """A POST needs no CORS permission to do its harm."""
    answer = await client.post(
        "/v1/generations", json={"model": "demo/demo-1", "input": "x"}, headers={"origin": origin}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert door.requests == []


async def test_our_own_page_and_a_configured_one_may_call(make_client: MakeClient) -> None:
    """Same origin, or named in the settings."""
    async with make_client(cors_origins="http://localhost:5173") as client:
        for origin in ("http://localhost", "http://localhost:5173"):
            assert (await client.get("/v1/models", headers={"origin": origin})).status_code == 200
    async with make_client(cors_origins="*") as client:
        assert (await client.get("/v1/models", headers={"origin": "https://any.example"})).status_code == 200


async def test_with_keys_or_insecure_no_name_is_refused(make_client: MakeClient) -> None:
    """Then the key is the guard, or there is meant to be none."""
    headers = {"host": "api.example", "origin": "https://app.example", "x-api-key": "key-one"}
    async with make_client(api_keys=KEYS) as client:
        assert (await client.get("/v1/models", headers=headers)).status_code == 200
    async with make_client(insecure=True) as client:
        assert (await client.get("/v1/models", headers=headers)).status_code == 200


def test_a_bearer_is_read_as_the_rfc_says() -> None:
    """The scheme in any case, and nothing else is one."""
    assert [bearer(h) for h in ("Bearer a", "BEARER a", "Basic a", "Bearer", None)] == ["a", "a", None, "", None]


def test_a_nodes_name_fits_into_a_header() -> None:
    """Whatever somebody configured."""
    assert node_name(node_settings(node_name="nöde 1\r\nx: y")) == b"n-de-1-x:-y"
    assert node_name(node_settings(node_name=None))
