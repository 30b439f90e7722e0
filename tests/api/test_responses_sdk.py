"""Generated logs through the real OpenAI SDK: what it makes of our bytes is what the log says."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from openai import APIError, OpenAI
from openai.types.responses import Response

from api.formats.openai_responses import ResponsesFold
from api.formats.response_resource import response_resource
from api.sse import HEARTBEAT
from broker.events import Completed, Entry, TextDelta
from tests.api.responses_wire import SUBMISSION, known, log_of, read, standing, steps
from tests.api.test_responses_fold import BEGIN
from tests.contracts.formats import effort
from tests.contracts.histories import ended_logs, logs
from tests.contracts.stage import said


def client(body: bytes, media_type: str = "text/event-stream") -> OpenAI:
    """An SDK to whom the server says this."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/v1/responses"
        return httpx2.Response(200, headers={"content-type": media_type}, content=body)

    transport = httpx2.MockTransport(answer)
    return OpenAI(api_key="k", base_url="http://server/v1", http_client=httpx2.Client(transport=transport))


def body_of(frames: list[bytes]) -> bytes:
    """As a server writes it: ids, and a heartbeat here and there."""
    return b"".join(b"%bid: 7-%d\n%b" % (HEARTBEAT, n, frame) for n, frame in enumerate(frames, 1))


@effort
@given(logs)
def test_the_stream_is_read_event_by_event(log: list[Entry]) -> None:
    """``responses.create(stream=True)``: each event with all its fields."""
    frames = standing(log)
    with client(body_of(frames)) as sdk, sdk.responses.create(model="m1", input="hi", stream=True) as stream:
        got = [event.to_dict(exclude_unset=True, exclude_none=False) for event in stream]
    assert got == read(frames)


@effort
@given(ended_logs)
def test_the_high_level_stream_ends_with_the_whole_response(log: list[Entry]) -> None:
    """``responses.stream()``: its checks of identity and order hold, and the final response says what the log says."""
    frames = standing(log)
    completed = read(frames)[-1]["type"] == "response.completed"
    with client(body_of(frames)) as sdk, sdk.responses.stream(model="m1", input="hi") as stream:
        kinds = [event.type for event in stream]
        assert kinds == [event["type"] for event in read(frames)]
        if not completed:
            with pytest.raises(RuntimeError, match=r"response\.completed"):
                stream.get_final_response()
            return
        final = stream.get_final_response()
    whole = said(log)
    assert final.output_text == whole.text
    calls = {item.call_id: (item.name, item.arguments, True) for item in final.output if item.type == "function_call"}
    assert calls == whole.calls
    summaries = [part.text for item in final.output if item.type == "reasoning" for part in item.summary]
    assert "".join(summaries) == whole.reasoning


@effort
@given(ended_logs)
def test_the_resource_is_read_as_it_is(log: list[Entry]) -> None:
    """Not streamed."""
    resource = response_resource(SUBMISSION, **known(log))
    with client(json.dumps(resource).encode(), "application/json") as sdk:
        got: Response = sdk.responses.create(model="m1", input="hi")
    assert got.to_dict(exclude_unset=True, exclude_none=False) == resource


def test_a_void_attempt_is_an_error_that_is_raised() -> None:
    """In both shapes: the flat one alone would be passed on as an event like any other."""
    log = log_of(*BEGIN, TextDelta(0, "void"), Completed("stop"))
    told = steps(log)
    frames: list[Any] = [frame for _, _, made in told[:3] for frame in made]
    body = body_of([*frames, *ResponsesFold(SUBMISSION).void(told[2][1])])
    with client(body) as sdk, sdk.responses.create(model="m1", input="hi", stream=True) as stream:
        got = [next(stream).sequence_number for _ in frames]
        with pytest.raises(APIError, match="begun again") as raised:
            next(stream)
    assert got == [0, 1, 2, 3, 4]
    assert raised.value.code == "restarted"
