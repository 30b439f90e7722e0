"""``item_reference``: an item of an earlier answer, named by its id alone."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from api import compat_references
from api.compat_references import referenced
from broker.errors import InvalidRequest
from broker.events import Completed, Started, TextDelta, ToolCallCompleted, ToolCallStarted
from tests.api.fake_door import FakeDoor

ASK: dict[str, Any] = {"model": "demo/demo-1", "input": "x"}
SAID = [
    Started(1, "restart", "demo", "demo-1"),
    TextDelta(0, "Hello"),
    ToolCallStarted(1, "call_1", "f"),
    ToolCallCompleted(1, "call_1", "f", "{}"),
]


def refers(*names: str) -> dict[str, Any]:
    """A request that goes on from these items."""
    items = [{"type": "item_reference", "id": name} for name in names]
    return {**ASK, "input": [*items, {"type": "function_call_output", "call_id": "call_1", "output": "1"}]}


async def test_items_are_found_by_their_ids(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """And stand in the new conversation as if they had been given."""
    door.says = [*SAID, Completed("tool_calls")]
    output = (await client.post("/v1/responses", json=ASK)).json()["output"]
    answer = await client.post("/v1/responses", json=refers(*(item["id"] for item in output)))
    assert answer.status_code == 200
    submission = await door.submission(answer.headers["x-generation-id"])
    assert submission.request is not None
    spoken, result = submission.request.conversation()
    assert (spoken.content, [call.id for call in spoken.tool_calls or ()]) == ("Hello", ["call_1"])
    assert (result.role, result.tool_call_id) == ("tool", "call_1")


async def test_what_is_not_there_is_refused(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """Another kind, attempt, index, answer or tenant; an answer that goes on; what is no id of ours."""
    door.says = [*SAID, Completed("tool_calls")]
    [message, call] = [item["id"] for item in (await client.post("/v1/responses", json=ASK)).json()["output"]]
    rest = message.removeprefix("msg_").removesuffix("_1_0")
    wrong = [f"rs_{rest}_1_0", f"msg_{rest}_2_0", f"msg_{rest}_1_1", f"msg_{rest}_1_2", "msg_x_1_0", "msg_1"]
    for name in wrong:
        answer = await client.post("/v1/responses", json=refers(name))
        assert (answer.status_code, "there is no such item" in answer.text) == (400, True), name
    assert list(await referenced(door, "default", refers(message, call, *wrong))) == [message, call]
    assert await referenced(door, "stranger", refers(message, call)) == {}


async def test_an_answer_that_goes_on_has_no_items_yet(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """What is asked must not depend on the moment."""
    door.says = SAID
    made = await client.post("/v1/responses", json={**ASK, "background": True})
    rest = made.json()["id"].removeprefix("resp_")
    assert await referenced(door, "default", refers(f"msg_{rest}_1_0")) == {}


async def test_only_so_many_answers_are_looked_at(door: FakeDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs a look at a whole log; items of one answer cost one."""
    monkeypatch.setattr(compat_references, "MAX_ANSWERS", 2)
    assert await referenced(door, "default", refers("msg_a_1_0", "msg_a_1_1", "msg_b_1_0")) == {}
    with pytest.raises(InvalidRequest):
        await referenced(door, "default", refers("msg_a_1_0", "msg_b_1_0", "msg_c_1_0"))
