"""Settings, requests, keys and ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from broker.keys import Keys
from broker.records import new_id
from broker.request import GenerationRequest
from broker.settings import Settings


def test_api_keys_are_read_from_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """tenant:key,tenant2:key2; secrets do not show."""
    monkeypatch.setenv("REJOINDER_API_KEYS", "acme:s3cret, other:k:with:colons")
    settings = Settings()
    assert {tenant: key.get_secret_value() for tenant, key in settings.api_keys.items()} == {
        "acme": "s3cret",
        "other": "k:with:colons",
    }
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEYS", "nocolon"),
        ("API_KEYS", "a:1,a:2"),
        ("REDIS_URL", "http://x"),
        ("LEASE_S", "0"),
        ("RATE_LIMIT", "lots"),
        ("LOG_FORMAT", "xml"),
        ("CONFIG", "/nowhere/at/all.toml"),
    ],
)
def test_bad_values_stop_the_process_and_are_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validated at start."""
    monkeypatch.setenv(f"REJOINDER_{name}", value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert name.lower() in str(refused.value).lower() or name == "CONFIG"


def test_the_file_adds_providers(tmp_path: Path) -> None:
    """[providers.NAME] and [routes]; what it can't read, it refuses."""
    path = tmp_path / "rejoinder.toml"
    path.write_text('[providers.local]\nbase_url = "http://127.0.0.1:1/v1"\nmodels = ["m"]\n[routes]\n"m*" = "local"\n')
    file = Settings(config=path).file()
    assert file.providers["local"].models == ["m"]
    assert file.routes == {"m*": "local"}
    path.write_text("[providers.local]\nurl = 1\n")
    with pytest.raises(ValidationError, match="base_url"):
        Settings(config=path)


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"messages": [{"role": "user", "content": "x"}]},
        {"input": None},
        {"temperature": 3},
        {"retention_s": 0},
        {"deadline_s": 86401},
        {"on_disconnect": {"cancel_after_s": 0}},
        {"metadata": {"k": 1}},
        {"messages": [{"role": "tool", "content": "x"}], "input": None},
        {"messages": [{"role": "user", "content": None}], "input": None},
        {"tools": [{"type": "function", "function": {"name": ""}}]},
    ],
)
def test_requests_are_checked_at_the_door(change: dict[str, Any]) -> None:
    """Unknown fields, both or neither prompt, and values out of bounds."""
    GenerationRequest.model_validate({"model": "demo/demo-1", "input": "x"})
    with pytest.raises(ValidationError):
        GenerationRequest.model_validate({"model": "demo/demo-1", "input": "x", **change})


def test_an_input_is_one_user_message() -> None:
    """The two prompts mean the same."""
    message = GenerationRequest(model="m", input="hello").conversation()[0]
    assert (message.role, message.content) == ("user", "hello")
    assert GenerationRequest(model="m", input="x", stop="end").stops() == ["end"]


def test_keys_of_one_generation_share_a_slot() -> None:
    """Each carries the id as its hash tag, so that one script may touch them all on a cluster."""
    keys = Keys("p")
    for name in (keys.job, keys.log, keys.request, keys.viewers, keys.channel):
        assert name("gen_1").startswith("p:{gen_1}")
    assert len({name("gen_1") for name in (keys.job, keys.log, keys.request, keys.viewers, keys.channel)}) == 5


def test_idempotency_keys_are_the_tenants_own() -> None:
    """Two tenants may use the same word, and no trick with separators makes one the other's."""
    keys = Keys("p")
    made = {keys.idempotency(*pair) for pair in (("a", "k"), ("b", "k"), ("a", "kk"), ("ak", "k"))}
    assert len(made) == 4


@given(st.lists(st.integers(1, 10**14), min_size=2, max_size=6, unique=True))
def test_ids_sort_by_time(times: list[int]) -> None:
    """So that a list needs no other order; and no two are the same."""
    ids = [new_id(ms) for ms in sorted(times)]
    assert ids == sorted(ids)
    assert new_id(times[0]) != new_id(times[0])
    assert all(len(made) == 32 and made[4:].isalnum() and made.isascii() for made in ids)
