"""The official SDKs notice nothing when a provider of the other dialect answers (GW1, GW2)."""

import anthropic
import openai
import pytest

MESSAGES = [{"role": "user", "content": "hello there"}]
SAID = "Echo from mock: hello there"
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
FUNCTION = {"type": "function", "function": {"name": "say", "parameters": SCHEMA, "strict": True}}
TOOL = {"name": "say", "input_schema": SCHEMA}


def test_openai_s_client_is_answered_by_anthropic(client):
    raw = client.chat.completions.with_raw_response.create(model="claude", messages=MESSAGES, seed=1)
    assert raw.headers["x-mainstay-provider"] == "claude"
    assert raw.headers["x-mainstay-lacks"] == "seed"
    answer = raw.parse()
    assert answer.choices[0].message.content == SAID and answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 5)


def test_anthropic_s_client_is_answered_by_openai(claude):
    raw = claude.messages.with_raw_response.create(model="chat", max_tokens=100, system="be kind", messages=MESSAGES)
    assert raw.headers["x-mainstay-provider"] == "chat"
    answer = raw.parse()
    assert answer.content[0].text == SAID and answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 5)


def test_openai_s_stream_with_a_tool_is_put_together(client):
    asked = {"model": "claude", "messages": MESSAGES, "stream_options": {"include_usage": True}}
    with client.chat.completions.stream(**asked, tools=[FUNCTION], tool_choice="required") as stream:
        answer = [event for event in stream] and stream.get_final_completion()
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.parsed_arguments) == ("say", {"text": "hello there"})
    assert answer.choices[0].finish_reason == "tool_calls" and answer.usage.prompt_tokens == 2


def test_anthropic_s_stream_with_a_tool_is_put_together(claude):
    asked = {"model": "chat", "max_tokens": 100, "messages": MESSAGES}
    with claude.messages.stream(**asked, tools=[TOOL], tool_choice={"type": "any"}) as stream:
        answer = stream.get_final_message()
    assert (answer.content[0].name, answer.content[0].input) == ("say", {"text": "hello there"})
    assert answer.stop_reason == "tool_use" and answer.usage.input_tokens == 2


def test_calls_woven_together_are_put_together_one_by_one(claude):
    asked = {"model": "woven", "max_tokens": 100, "messages": MESSAGES}
    with claude.messages.stream(**asked, tools=[TOOL]) as stream:
        answer = stream.get_final_message()
    assert [block.input for block in answer.content] == [{"text": "one"}, {"text": "two"}]
    assert answer.stop_reason == "tool_use"


def test_a_pdf_gets_through_to_the_other_dialect_and_what_cannot_is_refused(client, claude):
    text = {"type": "text", "text": "hello there"}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}}
    asked = {"model": "claude", "messages": [{"role": "user", "content": [file, text]}]}
    raw = client.chat.completions.with_raw_response.create(**asked)
    assert "x-mainstay-lacks" not in raw.headers and raw.parse().choices[0].message.content == SAID
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}}
    asked = {"model": "chat", "max_tokens": 100, "messages": [{"role": "user", "content": [document, text]}]}
    raw = claude.messages.with_raw_response.create(**asked)
    assert "x-mainstay-lacks" not in raw.headers and raw.parse().content[0].text == SAID
    document["source"] = {"type": "url", "url": "https://example.com/a.pdf"}
    with pytest.raises(anthropic.BadRequestError, match="a document at an address"):
        claude.messages.create(**asked)


def test_a_stream_that_breaks_off_raises_in_either_sdk(client, claude):
    words = []
    with pytest.raises(openai.APIError) as broken:
        for chunk in client.chat.completions.create(model="claude-cut", messages=MESSAGES, stream=True):
            words.append(chunk.choices[0].delta.content)
    assert "".join(words) == "Echo from " and broken.value.code == "truncated"  # RS6
    words = []
    asked = {"model": "cut", "max_tokens": 100, "messages": MESSAGES}
    with pytest.raises(anthropic.APIStatusError) as broken, claude.messages.stream(**asked) as stream:
        words.extend(stream.text_stream)
    assert "".join(words) == "Echo from " and broken.value.error_code == "truncated"


def test_errors_have_the_right_class_and_words(client, claude):
    with pytest.raises(openai.RateLimitError) as error:
        client.chat.completions.create(model="claude-429", messages=MESSAGES)
    assert error.value.code == "rate_limit_exceeded"
    with pytest.raises(anthropic.RateLimitError) as error:
        claude.messages.create(model="rate-limited", max_tokens=100, messages=MESSAGES)
    assert error.value.body["error"]["type"] == "rate_limit_error"
    with pytest.raises(openai.BadRequestError, match="cannot be said in the other dialect"):
        client.chat.completions.create(model="claude", messages=MESSAGES, n=2)
