"""The official Anthropic SDK works against the gateway unchanged (GW1)."""

import anthropic
import pytest

ASKED = {"max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}}}
CALLED = ASKED | {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "weather"}}


def test_a_whole_message(claude):
    message = claude.messages.create(model="claude", **ASKED)
    assert message.content[0].text == "Echo from mock: hello there"
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (2, 5)
    assert message._request_id


def test_who_answered_stands_in_the_headers(claude):
    raw = claude.messages.with_raw_response.create(model="claude", **ASKED)
    assert raw.headers["x-mainstay-provider"] == "claude"
    assert raw.headers["x-mainstay-attempts"] == "1"
    assert raw.parse()._request_id == raw.headers["request-id"] == raw.headers["x-request-id"]


def test_a_stream_arrives_piece_by_piece_and_complete(claude):
    with claude.messages.stream(model="claude", **ASKED) as stream:
        words = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(words) == 5 and "".join(words) == message.content[0].text == "Echo from mock: hello there"
    assert message.stop_reason == "end_turn" and message.usage.output_tokens == 5


def test_a_tool_call_arrives_whole_and_streamed(claude):
    whole = claude.messages.create(model="claude", **CALLED)
    with claude.messages.stream(model="claude", **CALLED) as stream:
        streamed = stream.get_final_message()
    for message in [whole, streamed]:
        assert message.stop_reason == "tool_use"
        assert (message.content[0].name, message.content[0].input) == ("weather", {"text": "hello there"})


@pytest.mark.parametrize(("model", "code"), [("claude-cut", "truncated"), ("claude-error", "server_error")])
def test_a_stream_that_breaks_off_raises_and_keeps_what_came_before(claude, model, code):
    words = []
    with pytest.raises(anthropic.APIStatusError) as broken, claude.messages.stream(model=model, **ASKED) as stream:
        words.extend(stream.text_stream)
    assert "".join(words) == "Echo from "
    assert broken.value.error_code == code  # RS6: the SDK alone would take it for complete


def test_the_models_are_the_chains(claude):
    models = list(claude.models.list())
    assert {"claude", "chat"} <= {model.id for model in models}
    one = claude.models.retrieve("claude")
    assert (one.display_name, one.created_at.tzinfo is not None) == ("claude", True)


CLASSES = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    413: anthropic.RequestTooLargeError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    529: anthropic.OverloadedError,
}


@pytest.mark.parametrize("status", CLASSES)
@pytest.mark.parametrize("stream", [False, True])
def test_each_error_has_the_class_the_sdk_knows(claude, status, stream):
    with pytest.raises(CLASSES[status]) as raised:
        claude.messages.create(model=f"claude-{status}", **ASKED, stream=stream)
    assert raised.value.status_code == status
    assert raised.value.request_id and raised.value.type and raised.value.api_message


def test_our_own_refusals_have_the_vendors_form_too(claude):
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(model="claude", max_tokens=1, messages=[])
    assert refused.value.type == "invalid_request_error"
    assert refused.value.api_message == "messages: at least one message is required"
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.messages.create(model="no-such-model", **ASKED)
    assert (unknown.value.type, unknown.value.error_code) == ("not_found_error", "model_not_found")


def test_the_sdks_timeout_is_a_deadline_for_the_gateway(claude, upstream_counts):
    before = upstream_counts()["aborted"]
    with pytest.raises((anthropic.APITimeoutError, anthropic.APIStatusError)):
        claude.with_options(timeout=0.5).messages.create(model="claude-slow", **ASKED)
    assert upstream_counts(until=lambda counts: counts["aborted"] > before)["in_progress"] == 0
