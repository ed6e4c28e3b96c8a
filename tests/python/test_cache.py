"""The official SDKs are given kept answers and notice nothing, in an outage too (GW1, CA9)."""

import time

import anthropic
import openai
import pytest

SAID = "Echo from mock: "

# The SDK has no argument for it any more.
COLD = {"temperature": 0}


def openai_call(client, model, prompt):
    messages = [{"role": "user", "content": prompt}]
    raw = client.chat.completions.with_raw_response.create(model=model, messages=messages, temperature=0)
    return raw.headers, raw.parse().choices[0].message.content


def openai_stream(client, model, prompt):
    messages = [{"role": "user", "content": prompt}]
    asked = {"model": model, "messages": messages, "temperature": 0, "stream": True}
    raw = client.chat.completions.with_raw_response.create(**asked)
    chunks = list(raw.parse())
    assert chunks[-1].choices[0].finish_reason == "stop"
    return raw.headers, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def anthropic_call(claude, model, prompt):
    messages = [{"role": "user", "content": prompt}]
    asked = {"model": model, "messages": messages, "extra_body": COLD, "max_tokens": 100}
    raw = claude.messages.with_raw_response.create(**asked)
    return raw.headers, raw.parse().content[0].text


def anthropic_stream(claude, model, prompt):
    messages = [{"role": "user", "content": prompt}]
    asked = {"model": model, "messages": messages, "extra_body": COLD, "max_tokens": 100}
    with claude.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        assert stream.get_final_message().stop_reason == "end_turn"
        return stream.response.headers, text


CALLS = {"openai": [openai_call, openai_stream], "anthropic": [anthropic_call, anthropic_stream]}


@pytest.mark.parametrize("call", CALLS["openai"])
def test_openai_s_client_is_given_the_same_answer_twice(client, call):
    twice(call, client, "chat")


@pytest.mark.parametrize("call", CALLS["anthropic"])
def test_anthropic_s_client_is_given_the_same_answer_twice(claude, call):
    twice(call, claude, "claude")


def twice(call, client, model):
    prompt = f"once and again, by {call.__name__}"
    first, said = call(client, model, prompt)
    second, again = call(client, model, prompt)
    assert said == again == SAID + prompt
    assert (first["x-mainstay-attempts"], second["x-mainstay-attempts"]) == ("1", "0")
    assert second["cache-status"].startswith("mainstay; hit; ttl=") and "age" in second  # CA13
    assert first["x-mainstay-cache-key"] == second["x-mainstay-cache-key"]


def test_when_the_provider_is_gone_both_clients_are_given_what_they_asked_before(fragile):
    address, take_the_provider_away = fragile
    clients = {
        "openai": openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0),
        "anthropic": anthropic.Anthropic(base_url=address, api_key="unused", max_retries=0),
    }
    calls = [(call, clients[vendor], vendor) for vendor, calls in CALLS.items() for call in calls]
    for call, client, vendor in calls:
        call(client, vendor, "known")
    take_the_provider_away()
    time.sleep(1.1)
    for call, client, vendor in calls:
        headers, said = call(client, vendor, "known")
        assert said == SAID + "known"
        assert headers["cache-status"].startswith("mainstay; fwd=stale; ttl=-")
        assert "nobody answers: this answer was kept and is " in headers["x-mainstay-notice"]  # CA9
    with pytest.raises(openai.APIStatusError):
        openai_call(clients["openai"], "openai", "unknown")
    with pytest.raises(anthropic.APIStatusError):
        anthropic_call(clients["anthropic"], "anthropic", "unknown")
