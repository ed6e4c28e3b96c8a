"""The official OpenAI SDK works against the gateway unchanged (GW1)."""

import openai
import pytest

HELLO = [{"role": "user", "content": "hello there"}]


def test_a_whole_answer(client):
    answer = client.chat.completions.create(model="chat", messages=HELLO)
    assert answer.choices[0].message.content == "Echo from mock: hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens > 0


def test_who_answered_stands_in_the_headers(client):
    raw = client.chat.completions.with_raw_response.create(model="chat", messages=HELLO)
    assert raw.headers["x-mainstay-provider"] == "chat"
    assert raw.headers["x-mainstay-attempts"] == "1"
    assert raw.headers["x-mainstay-mode"] == "NORMAL"
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_a_stream_arrives_piece_by_piece_and_complete(client):
    stream = client.chat.completions.create(
        model="chat", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    words = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(words) == 5 and "".join(words) == "Echo from mock: hello there"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens > 0


def test_a_stream_that_breaks_off_raises_and_keeps_what_came_before(client):
    words = []
    with pytest.raises(openai.APIError) as broken:
        for chunk in client.chat.completions.create(model="cut", messages=HELLO, stream=True):
            words.append(chunk.choices[0].delta.content or "")
    assert "".join(words) == "Echo from "
    assert broken.value.code == "truncated"  # RS6: the SDK alone would take it for complete


def test_the_models_are_the_chains(client):
    assert "chat" in [model.id for model in client.models.list()]
    assert client.models.retrieve("chat").owned_by == "mainstay"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("bad-request", openai.BadRequestError),
        ("bad-key", openai.AuthenticationError),
        ("no-such-model", openai.NotFoundError),
        ("rate-limited", openai.RateLimitError),
        ("broken", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_error_has_the_class_the_sdk_knows(client, model, error, stream):
    with pytest.raises(error) as raised:
        client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    assert raised.value.request_id
    assert raised.value.message and raised.value.body["type"]


def test_a_rate_limit_says_how_long_to_wait(client):
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model="rate-limited", messages=HELLO)
    assert limited.value.response.headers["retry-after"] == "1"


def test_our_own_refusals_have_the_vendors_form_too(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="chat", messages=[])
    assert refused.value.type == "invalid_request_error" and refused.value.param == "messages"


def test_the_sdks_own_retries_and_the_gateway_get_along(gateway):
    patient = openai.OpenAI(base_url=f"{gateway}/v1", api_key="unused", max_retries=1, timeout=20)
    with pytest.raises(openai.InternalServerError):
        patient.chat.completions.create(model="broken", messages=HELLO)


WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}}


def test_a_tool_call_arrives_whole_and_streamed(client):
    asked = dict(model="chat", messages=HELLO, tools=[{"type": "function", "function": WEATHER}], tool_choice="required")
    choice = client.chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].function.arguments == '{"text":"hello there"}'
    deltas = [c.choices[0].delta.tool_calls for c in client.chat.completions.create(**asked, stream=True)]
    calls = [calls[0].function for calls in deltas if calls]
    assert calls[0].name == "weather"
    assert "".join(call.arguments for call in calls) == '{"text":"hello there"}'


def test_a_response_arrives_whole_and_streamed(client):
    whole = client.responses.create(model="chat", input="hello there")
    assert whole.output_text == "Echo from mock: hello there" and whole.usage.output_tokens == 5
    with client.responses.stream(model="chat", input="hello there") as stream:
        words = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert len(words) == 5 and "".join(words) == stream.get_final_response().output_text


def test_a_response_that_breaks_off_raises(client):
    words = []
    with pytest.raises(openai.APIError) as broken:
        for event in client.responses.create(model="response-cut", input="hello there", stream=True):
            words += [event.delta] if event.type == "response.output_text.delta" else []
    assert "".join(words) == "Echo from "
    assert broken.value.code == "truncated"  # RS6


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_a_response_has_the_class_the_sdk_knows(client, stream):
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="rate-limited", input="hello", stream=stream)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="no-such-model", input="hello", stream=stream)


def test_embeddings_come_in_the_order_of_their_inputs(client):
    answer = client.embeddings.create(model="chat", input=["hi", "hello there"])
    assert [e.embedding for e in answer.data] == [[2, 1, ord("h")], [11, 2, ord("h")]]
    assert answer.usage.prompt_tokens == 3
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model="broken", input="hi")
