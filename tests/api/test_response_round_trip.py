"""Output items that come back: as the input of the next request, or by their ids alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.formats.response_items import HOME, ItemPlace, place_of_item
from api.formats.response_resource import response_resource
from broker.content import Block
from broker.dialects.from_responses import from_responses
from broker.dialects.response_turns import Previous
from broker.dialects.translated import Translated
from broker.events import Entry
from broker.request import ContentPart, ReasoningPart, StoredRequest, TextPart
from tests.api.responses_wire import SUBMISSION, known
from tests.contracts.formats import effort
from tests.contracts.histories import GENERATION, ended_logs


def test_the_id_of_an_item_says_where_it_stands() -> None:
    """For a client that only refers to it; what is no id of ours stands nowhere."""
    resource = response_resource(SUBMISSION, [Block("reasoning"), Block("text", "t")], attempt=12)
    places = [place_of_item(item["id"]) for item in resource["output"]]
    assert places == [ItemPlace(GENERATION, 12, 0), ItemPlace(GENERATION, 12, 1)]
    for foreign in ("", "msg_1", "msg_1_2", "msg_1_2_x", "call_1_2_3", "msg_1_2_3\n", "msg_a/b_1_0", "msg_1_٣_0"):
        assert place_of_item(foreign) is None


@effort
@given(ended_logs, st.sampled_from(["demo", "anthropic", "openai-responses"]))
def test_an_answer_given_back_as_input_is_the_answer(log: list[Entry], provider: str) -> None:
    """A client without ``previous_response_id`` sends our items: nothing of them is lost, and no seal is broken."""
    whole: dict[str, Any] = {**known(log), "provider": provider}
    output = response_resource(SUBMISSION, **whole)["output"]
    items = [item for item in output if item["type"] != "function_call" or item["status"] == "completed"]
    user = {"role": "user", "content": "go on"}
    asked_first = StoredRequest(model="demo/demo-1", input="hi")
    body = {"model": "demo/demo-1", "input": [{"role": "user", "content": "hi"}, *items, user]}
    again = {"model": "demo/demo-1", "input": [user]}
    previous = Previous(asked_first, whole["blocks"], provider)
    assert spoken(from_responses(body, "demo")) == spoken(from_responses(again, "demo", previous))


def spoken(translated: Translated) -> list[Any]:
    """Who says what, one thing after the other: items of the input may stand in messages of their own."""
    things: list[Any] = []
    for message in translated.request.conversation():
        content = [TextPart(type="text", text=message.content)] if isinstance(message.content, str) else message.content
        things += [(message.role, _whose(part)) for part in content or ()]
        things += [(message.role, call) for call in message.tool_calls or ()]
    return things


def _whose(part: ContentPart) -> ContentPart:
    """Reasoning that is not sealed is nobody's; OpenAI has one field for both kinds of seal."""
    if not isinstance(part, ReasoningPart):
        return part
    if part.signature is None and part.opaque is None:
        return part.model_copy(update={"provider": None})
    if part.provider == HOME:
        sealed = part.opaque if part.signature is None else part.signature
        return part.model_copy(update={"signature": sealed, "opaque": None})
    return part
