//! Whole answers: text, calls, ends and tokens, both ways (GW2).

use mainstay_actors::{
    call::Api,
    error::{ErrorKind, ProviderError},
};
use serde_json::{Value, json};

use super::Back;

fn back(to: Api, answer: &Value) -> Result<Value, ProviderError> {
    let back = Back { to, created: 17, tell_usage: false };
    back.answer(answer.to_string().as_bytes()).map(|body| serde_json::from_slice(&body).unwrap())
}

fn completion(message: &Value, finish_reason: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 3, "model": "gpt", "service_tier": "x",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25,
            "prompt_tokens_details": {"cached_tokens": 12, "audio_tokens": 0},
        },
    })
}

fn message(content: &Value, stop_reason: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {
            "input_tokens": 5, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 12, "output_tokens": 5,
        },
    })
}

#[test]
fn a_completion_becomes_a_message_with_all_it_holds() {
    let arguments = "{\"z\":1.0,\"a\":2}";
    let calls = json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}]);
    let said = json!({"role": "assistant", "content": "hi", "refusal": null, "tool_calls": calls, "annotations": []});
    let expected = json!({
        "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "gpt",
        "content": [
            {"type": "text", "text": "hi"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"z": 1.0, "a": 2}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {
            "input_tokens": 8, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 12, "output_tokens": 5,
        },
    });
    assert_eq!(back(Api::Messages, &completion(&said, "tool_calls")).unwrap(), expected); // GW2
}

#[test]
fn a_message_becomes_a_completion_with_all_it_holds() {
    let content = json!([
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "hi ", "citations": null},
        {"type": "text", "text": "there"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
    ]);
    let call = json!({"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
    let said = json!({"role": "assistant", "content": "hi there", "refusal": null, "tool_calls": [call]});
    let expected = json!({
        "id": "msg_1", "object": "chat.completion", "created": 17, "model": "claude",
        "choices": [{"index": 0, "message": said, "logprobs": null, "finish_reason": "tool_calls"}],
        "usage": {
            "prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25,
            "prompt_tokens_details": {"cached_tokens": 12, "cache_write_tokens": 3},
        },
    });
    assert_eq!(back(Api::Chat, &message(&content, "tool_use")).unwrap(), expected); // GW2
}

#[test]
fn each_end_has_its_counterpart() {
    for (finish, stop) in [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
    ] {
        let translated = back(Api::Messages, &completion(&json!({"content": "x"}), finish)).unwrap();
        assert_eq!(translated["stop_reason"], stop);
    }
    for (stop, finish) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ] {
        let translated = back(Api::Chat, &message(&json!([]), stop)).unwrap();
        assert_eq!(translated["choices"][0]["finish_reason"], finish);
    }
}

#[test]
fn a_refusal_is_told_as_one() {
    let refused = json!({"role": "assistant", "content": null, "refusal": "I cannot"});
    let translated = back(Api::Messages, &completion(&refused, "stop")).unwrap();
    assert_eq!(translated["content"], json!([{"type": "text", "text": "I cannot"}]));
    assert_eq!(translated["stop_reason"], "refusal");

    let mut refused = message(&json!([]), "refusal");
    refused["stop_details"] =
        json!({"type": "refusal", "category": null, "explanation": "against the policy"});
    let choice = back(Api::Chat, &refused).unwrap()["choices"][0].clone();
    assert_eq!(choice["message"]["refusal"], "against the policy");
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&Value::Null, &json!("content_filter"))
    );
}

#[test]
fn a_forced_call_is_a_call_though_its_provider_says_stop() {
    let calls = json!([{"id": "c", "function": {"name": "f", "arguments": ""}}]);
    let translated = back(Api::Messages, &completion(&json!({"tool_calls": calls}), "stop")).unwrap();
    assert_eq!(
        (&translated["stop_reason"], &translated["content"][0]["input"]),
        (&json!("tool_use"), &json!({}))
    );
}

#[test]
fn arguments_that_are_no_object_are_told_only_where_the_limit_cut_them() {
    let calls = json!([{"id": "c", "function": {"name": "f", "arguments": "{\"a\": \"b"}}]);
    let said = json!({"tool_calls": calls});
    let cut = back(Api::Messages, &completion(&said, "length")).unwrap();
    assert_eq!((&cut["stop_reason"], &cut["content"][0]["input"]), (&json!("max_tokens"), &json!({})));
    let error = back(Api::Messages, &completion(&said, "tool_calls")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Malformed);
}

#[test]
fn what_is_no_whole_answer_is_never_passed_off_as_one() {
    let said = json!({"content": "x"});
    let no_reason = json!({"choices": [{"message": said}]});
    let odd_reason = completion(&said, "because");
    let unknown = message(&json!([{"type": "server_tool_use", "id": "x"}]), "end_turn");
    let table = [
        (Api::Messages, json!({}), ErrorKind::Malformed),
        (Api::Messages, json!({"choices": []}), ErrorKind::Malformed),
        (Api::Messages, no_reason, ErrorKind::Malformed),
        (Api::Messages, odd_reason, ErrorKind::Malformed),
        (Api::Messages, json!([]), ErrorKind::Malformed),
        (Api::Chat, json!({}), ErrorKind::Malformed),
        (Api::Chat, json!({"content": []}), ErrorKind::Malformed),
        (Api::Chat, message(&json!([]), "because"), ErrorKind::Malformed),
        (Api::Chat, message(&json!([{"type": "text"}]), "end_turn"), ErrorKind::Malformed),
        (
            Api::Chat,
            message(&json!([{"type": "tool_use", "id": "t", "name": "f", "input": 1}]), "tool_use"),
            ErrorKind::Malformed,
        ),
        (Api::Chat, unknown, ErrorKind::Unsupported),
    ];
    for (to, answer, kind) in table {
        let error = back(to, &answer).err().unwrap_or_else(|| panic!("{answer} was taken"));
        assert_eq!(error.kind, kind, "{answer}: {error}");
    }
}

#[test]
fn answers_without_ids_or_tokens_are_answers() {
    let bare = json!({"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]});
    let translated = back(Api::Messages, &bare).unwrap();
    assert_eq!((&translated["content"], &translated["usage"]["input_tokens"]), (&json!([]), &json!(0)));
    let bare = json!({"content": [{"type": "text", "text": ""}], "stop_reason": "end_turn"});
    let translated = back(Api::Chat, &bare).unwrap();
    assert_eq!(translated["choices"][0]["message"]["content"], "");
}

#[test]
fn an_error_s_body_is_told_in_the_caller_s_words_if_the_vendor_s_was_fit_to_be_shown() {
    let back = Back { to: Api::Messages, created: 0, tell_usage: false };
    let error =
        ProviderError { status: Some(429), ..ProviderError::new(ErrorKind::RateLimited, "slow down") };
    assert!(back.error(error.clone()).body.is_none());
    let told = back.error(ProviderError { body: Some("{}".into()), ..error });
    let body: Value = serde_json::from_slice(&told.body.unwrap()).unwrap();
    assert_eq!(body["error"], json!({"type": "rate_limit_error", "message": "slow down"})); // GW4
}
