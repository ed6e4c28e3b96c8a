//! Requests: each member's fate, both ways (GW2).

use mainstay_actors::{
    call::Api,
    error::{ErrorKind, ProviderError},
};
use serde_json::{Value, json};

use super::{chat, is_possible, loss::UNKNOWN, messages, request};

type Sent = Result<(Value, Vec<&'static str>), ProviderError>;

/// How a request is translated, and how a good one with further members is made.
type Direction = (fn(&Value) -> Sent, fn(&Value) -> Value);

fn sent(from: Api, to: Api, body: &Value) -> Sent {
    let translated = request((from, to), body.to_string().as_bytes(), "m", false, 0)?;
    Ok((serde_json::from_slice(&translated.body).unwrap(), translated.lacks))
}

fn to_messages(body: &Value) -> Sent {
    sent(Api::Chat, Api::Messages, body)
}

fn to_chat(body: &Value) -> Sent {
    sent(Api::Messages, Api::Chat, body)
}

/// `base` with the members of `more`.
fn with(mut base: Value, more: &Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

fn chat_with(more: &Value) -> Value {
    with(json!({"model": "chain", "messages": [{"role": "user", "content": "hi"}]}), more)
}

fn messages_with(more: &Value) -> Value {
    let messages = json!([{"role": "user", "content": "hi"}]);
    with(json!({"model": "chain", "max_tokens": 9, "messages": messages}), more)
}

/// The part of `body` that a table speaks of.
fn only(body: &Value, expected: &Value) -> Value {
    let names = expected.as_object().unwrap().keys();
    names.map(|name| (name.clone(), body[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn a_chat_keeps_its_system_texts_turns_images_and_tools() {
    let asked = json!({
        "model": "chain",
        "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
            {"role": "user", "content": "first"},
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "auto"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ]},
            {"role": "assistant", "content": "let me see", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"b\":1.0,\"a\":2}"}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
            {"role": "user", "content": "and now?"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},
            {"type": "function", "function": {"name": "g"}},
        ],
    });
    let (body, lacks) = to_messages(&asked).unwrap();
    let expected = json!({
        "model": "m",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "be kind"}, {"type": "text", "text": "be brief"}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "first"},
                {"type": "text", "text": "look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"b": 1.0, "a": 2}},
                {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "one"}]},
                {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "two"}]},
                {"type": "text", "text": "and now?"},
            ]},
        ],
        "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object"}},
            {"name": "g", "input_schema": {"type": "object"}},
        ],
    });
    assert_eq!((body, lacks), (expected, vec![])); // GW2
}

#[test]
fn messages_keep_their_system_texts_turns_images_and_tools() {
    let asked = json!({
        "model": "chain",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "be kind"}, {"type": "text", "text": "be brief"}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1]}},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": [
                    {"type": "text", "text": "no such file"},
                ]},
                {"type": "text", "text": "and now?"},
            ]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "type": "custom"}],
    });
    let (body, lacks) = to_chat(&asked).unwrap();
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let expected = json!({
        "model": "m",
        "max_completion_tokens": 100,
        "messages": [
            {"role": "system", "content": [
                {"type": "text", "text": "be kind"},
                {"type": "text", "text": "be brief"},
            ]},
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ]},
            {"role": "assistant", "content": "let me see", "tool_calls": [
                call("t1", "f", "{\"a\":[1]}"),
                call("t2", "g", "{}"),
            ]},
            {"role": "tool", "tool_call_id": "t1", "content": "one"},
            {"role": "tool", "tool_call_id": "t2", "content": "Error: no such file"},
            {"role": "user", "content": "and now?"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},
        ],
    });
    assert_eq!((body, lacks), (expected, vec![])); // GW2
}

#[test]
fn schemas_and_inputs_are_passed_on_as_they_were_written() {
    let written = r#"{ "z": 12345678901234567890123, "a": 1.50 }"#;
    let asked = format!(
        r#"{{"max_tokens":1,"messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":[
        {{"type":"tool_use","id":"t","name":"f","input":{written}}}]}},{{"role":"user","content":[
        {{"type":"tool_result","tool_use_id":"t"}}]}}],"tools":[{{"name":"f","input_schema":{written}}}]}}"#
    );
    let chat = request((Api::Messages, Api::Chat), asked.as_bytes(), "m", false, 0).unwrap().body;
    let chat = std::str::from_utf8(&chat).unwrap();
    assert!(chat.contains(&format!("\"parameters\":{written}")), "{chat}"); // GW2
    assert!(chat.contains(&written.replace('"', "\\\"")), "{chat}");
    let back = request((Api::Chat, Api::Messages), chat.as_bytes(), "m", false, 0).unwrap().body;
    let back = std::str::from_utf8(&back).unwrap();
    assert!(back.contains(&format!("\"input\":{written}")), "{back}");
}

#[test]
fn each_member_of_a_chat_has_its_place() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let choice = |choice: Value| json!({"tools": tools, "tool_choice": choice});
    let one = json!({"tools": tools, "parallel_tool_calls": false});
    let named = json!({"type": "function", "function": {"name": "f"}});
    let schema = json!({"type": "json_schema", "json_schema": {
        "name": "n", "strict": true, "schema": {"type": "object"},
    }});
    let format = json!({"format": {"type": "json_schema", "schema": {"type": "object"}}});
    let table: Vec<(Value, Value, &[&str])> = vec![
        (json!({"max_tokens": 5}), json!({"max_tokens": 5}), &[]),
        (json!({"max_tokens": 5, "max_completion_tokens": 7}), json!({"max_tokens": 7}), &[]),
        (json!({"temperature": 0.5}), json!({"temperature": 0.5}), &[]),
        (json!({"temperature": 1.5}), json!({"temperature": 1.0}), &["temperature"]),
        (json!({"top_p": 0.5}), json!({"top_p": 0.5}), &[]),
        (json!({"temperature": 0, "top_p": 1}), json!({"temperature": 0.0, "top_p": null}), &[]),
        (json!({"temperature": 0, "top_p": 0.1}), json!({"temperature": 0.0, "top_p": null}), &["top_p"]),
        (json!({"stop": "x"}), json!({"stop_sequences": ["x"]}), &[]),
        (json!({"stop": ["x", "y"]}), json!({"stop_sequences": ["x", "y"]}), &[]),
        (json!({"stop": null}), json!({"stop_sequences": null}), &[]),
        (json!({"user": "u"}), json!({"metadata": {"user_id": "u"}}), &[]),
        (json!({"safety_identifier": "u"}), json!({"metadata": {"user_id": "u"}}), &[]),
        (
            json!({"user": "u", "safety_identifier": "v"}),
            json!({"metadata": {"user_id": "u"}}),
            &["safety_identifier"],
        ),
        (json!({"tool_choice": "auto"}), json!({"tool_choice": null}), &[]),
        (choice(json!("auto")), json!({"tool_choice": {"type": "auto"}}), &[]),
        (choice(json!("none")), json!({"tool_choice": {"type": "none"}}), &[]),
        (choice(json!("required")), json!({"tool_choice": {"type": "any"}}), &[]),
        (choice(named), json!({"tool_choice": {"type": "tool", "name": "f"}}), &[]),
        (one, json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}), &[]),
        (json!({"response_format": {"type": "text"}}), json!({"output_config": null}), &[]),
        (json!({"response_format": schema}), json!({"output_config": format}), &[]),
        (
            json!({"stream": true, "stream_options": {"include_usage": true}}),
            json!({"stream_options": null}),
            &[],
        ),
        (json!({"brand_new": 1}), json!({"brand_new": null}), &[UNKNOWN]),
    ];
    for (more, expected, lacks) in table {
        let (body, lacking) =
            to_messages(&chat_with(&more)).unwrap_or_else(|error| panic!("{more}: {error}"));
        assert_eq!((only(&body, &expected), &*lacking), (expected, lacks), "{more}");
    }
}

#[test]
fn each_member_of_messages_has_its_place() {
    let tools = json!([{"name": "f", "input_schema": {}}]);
    let choice = |choice: Value| json!({"tools": tools, "tool_choice": choice});
    let one = choice(json!({"type": "any", "disable_parallel_tool_use": true}));
    let schema = json!({"type": "json_schema", "schema": {"type": "object"}});
    let format = json!({"type": "json_schema", "json_schema": {
        "name": "answer", "strict": true, "schema": {"type": "object"},
    }});
    let function = json!({"type": "function", "function": {"name": "f"}});
    let table: Vec<(Value, Value, &[&str])> = vec![
        (json!({"max_tokens": 5}), json!({"max_completion_tokens": 5, "max_tokens": null}), &[]),
        (json!({"temperature": 1}), json!({"temperature": 1.0}), &[]),
        (json!({"top_p": 0.5}), json!({"top_p": 0.5}), &[]),
        (json!({"stop_sequences": ["x"]}), json!({"stop": ["x"]}), &[]),
        (json!({"metadata": {"user_id": "u"}}), json!({"user": "u"}), &[]),
        (json!({"tool_choice": {"type": "auto"}}), json!({"tool_choice": null}), &[]),
        (choice(json!({"type": "auto"})), json!({"tool_choice": "auto"}), &[]),
        (choice(json!({"type": "none"})), json!({"tool_choice": "none"}), &[]),
        (choice(json!({"type": "any"})), json!({"tool_choice": "required"}), &[]),
        (choice(json!({"type": "tool", "name": "f"})), json!({"tool_choice": function}), &[]),
        (one, json!({"tool_choice": "required", "parallel_tool_calls": false}), &[]),
        (json!({"output_config": {"format": schema}}), json!({"response_format": format}), &[]),
        (json!({"output_config": {"effort": "low"}}), json!({"response_format": null}), &["effort"]),
        (json!({"thinking": {"type": "disabled"}}), json!({"thinking": null}), &[]),
        (json!({"metadata": {"x": 1}}), json!({"user": null}), &[UNKNOWN]),
        (json!({"brand_new": 1}), json!({"brand_new": null}), &[UNKNOWN]),
    ];
    for (more, expected, lacks) in table {
        let (body, lacking) =
            to_chat(&messages_with(&more)).unwrap_or_else(|error| panic!("{more}: {error}"));
        assert_eq!((only(&body, &expected), &*lacking), (expected, lacks), "{more}");
    }
}

#[test]
fn what_no_member_can_say_is_named_or_refused_as_the_tables_have_it() {
    let directions: [(Direction, &[super::loss::Loss]); 2] = [
        ((to_messages, chat_with), chat::request_in::REQUEST),
        ((to_chat, messages_with), messages::request_in::REQUEST),
    ];
    for ((translated, with), losses) in directions {
        for loss in losses.iter().filter(|loss| loss.member != "safety_identifier") {
            let asked = with(&json!({loss.member: "something"}));
            match translated(&asked) {
                Ok((body, lacks)) => {
                    assert!(!loss.refused, "{}", loss.member);
                    assert_eq!(lacks, [loss.member]);
                    assert_eq!(body[loss.member], Value::Null);
                }
                Err(error) => {
                    assert!(loss.refused, "{}: {error}", loss.member);
                    assert_eq!(error.kind, ErrorKind::Unsupported);
                    assert!(error.message.contains(&format!("`{}`", loss.member)), "{error}");
                }
            }
            assert_eq!(translated(&with(&json!({loss.member: null}))).unwrap().1, [""; 0], "{}", loss.member);
            for harmless in loss.harmless {
                let value: Value = serde_json::from_str(harmless).unwrap();
                let (_, lacks) = translated(&with(&json!({loss.member: value}))).unwrap();
                assert_eq!(lacks, [""; 0], "{}: {harmless}", loss.member);
            }
        }
    }
}

/// Every message of the table is the first of a conversation that is fine otherwise.
fn faults(translated: fn(&Value) -> Sent, base: &Value, table: &[(Value, ErrorKind, &str)]) {
    for (message, kind, part) in table {
        let mut asked = base.clone();
        asked["messages"].as_array_mut().unwrap().insert(0, message.clone());
        let error = translated(&asked).err().unwrap_or_else(|| panic!("{message} was taken"));
        assert_eq!(error.kind, *kind, "{message}: {error}");
        assert!(error.message.contains(part), "{message}: {error}");
    }
}

#[test]
fn parts_of_a_chat_that_must_not_be_lost_are_refused_by_name_and_place() {
    use ErrorKind::{BadRequest, Unsupported};
    let part = |part: Value| json!({"role": "user", "content": [{"type": "text", "text": "a"}, part]});
    let call = |call: Value| json!({"role": "assistant", "tool_calls": [call]});
    let image = |url: &str| part(json!({"type": "image_url", "image_url": {"url": url}}));
    let table = [
        (
            part(json!({"type": "input_audio", "input_audio": {}})),
            Unsupported,
            "audio (`messages[0].content[1]`)",
        ),
        (part(json!({"type": "file", "file": {}})), Unsupported, "a file"),
        (part(json!({"type": "hologram"})), Unsupported, "an unknown type"),
        (image("ftp://x"), Unsupported, "(`messages[0].content[1].image_url.url`)"),
        (image("data:image/png,raw"), Unsupported, "base64"),
        (part(json!({"text": "no type"})), BadRequest, "`type` is missing"),
        (part(json!("text")), BadRequest, "expected an object"),
        (json!({"role": "user", "content": 7}), BadRequest, "expected an array (`messages[0].content`)"),
        (json!({"role": "user", "content": [{"type": "text", "text": 7}]}), BadRequest, "content[0].text"),
        (json!({"role": "owl", "content": "hu"}), BadRequest, "an unknown role (`messages[0].role`)"),
        (json!({"content": "x"}), BadRequest, "`role` is missing"),
        (json!({"role": "function", "name": "f", "content": "x"}), Unsupported, "function_call"),
        (json!({"role": "assistant", "function_call": {}}), Unsupported, "`function_call`"),
        (json!({"role": "assistant", "audio": {"id": "a"}}), Unsupported, "`audio`"),
        (
            json!({"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}),
            Unsupported,
            "an image",
        ),
        (json!({"role": "tool", "content": "x"}), BadRequest, "`tool_call_id` is missing"),
        (call(json!({"id": "c", "type": "custom", "custom": {}})), Unsupported, "a custom tool"),
        (
            call(json!({"id": "c", "function": {"name": "f", "arguments": "[1]"}})),
            Unsupported,
            "no JSON object",
        ),
        (
            call(json!({"id": "c", "function": {"name": "f", "arguments": "{\"a\":"}})),
            Unsupported,
            "no JSON object",
        ),
        (call(json!({"function": {"name": "f", "arguments": ""}})), BadRequest, "tool_calls[0]"),
    ];
    faults(to_messages, &chat_with(&json!({})), &table);
}

#[test]
fn parts_of_messages_that_must_not_be_lost_are_refused_by_name_and_place() {
    use ErrorKind::{BadRequest, Unsupported};
    let block = |block: Value| json!({"role": "user", "content": [{"type": "text", "text": "a"}, block]});
    let image = json!({"type": "image", "source": {"type": "url", "url": "https://x"}});
    let result =
        |content: Value| block(json!({"type": "tool_result", "tool_use_id": "t", "content": content}));
    let table = [
        (
            block(json!({"type": "document", "source": {}})),
            Unsupported,
            "a document (`messages[0].content[1]`)",
        ),
        (block(json!({"type": "search_result"})), Unsupported, "a search result"),
        (block(json!({"type": "container_upload"})), Unsupported, "a file"),
        (block(json!({"type": "server_tool_use"})), Unsupported, "a server tool"),
        (block(json!({"type": "web_search_tool_result"})), Unsupported, "a server tool"),
        (block(json!({"type": "hologram"})), Unsupported, "an unknown type"),
        (
            block(json!({"type": "image", "source": {"type": "file", "file_id": "f"}})),
            Unsupported,
            "file store",
        ),
        (block(json!({"type": "image"})), BadRequest, "`source` is missing"),
        (
            block(json!({"type": "tool_use", "id": "t", "name": "f", "input": "x"})),
            BadRequest,
            "expected an object",
        ),
        (result(json!([image])), Unsupported, "an image in the result of a tool"),
        (result(json!([{"type": "document"}])), Unsupported, "content[1].content[0]"),
        (
            result(json!([{"type": "tool_use", "id": "t", "name": "f", "input": {}}])),
            BadRequest,
            "texts and images",
        ),
        (json!({"role": "assistant", "content": [image]}), Unsupported, "an image that is not the user's"),
        (json!({"role": "owl", "content": "hu"}), BadRequest, "an unknown role"),
    ];
    faults(to_chat, &messages_with(&json!({})), &table);
}

#[test]
fn wishes_that_only_one_dialect_has_are_refused() {
    let long = "n".repeat(65);
    let tables: [(Direction, Vec<Value>); 2] = [
        (
            (to_messages, chat_with),
            vec![
                json!({"n": 2}),
                json!({"logprobs": true}),
                json!({"stop": [" \n"]}),
                json!({"response_format": {"type": "json_object"}}),
                json!({"tools": [{"type": "custom", "custom": {"name": "c"}}]}),
                json!({"tools": [{"type": "web_search"}]}),
                json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}),
                json!({"messages": [{"role": "system", "content": "only this"}]}),
                json!({"messages": [{"role": "user", "content": " "}]}),
                json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
            ],
        ),
        (
            (to_chat, messages_with),
            vec![
                json!({"stop_sequences": ["1", "2", "3", "4", "5"]}),
                json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
                json!({"tools": [{"type": "computer_20250124", "name": "computer"}]}),
                json!({"tools": [{"name": long, "input_schema": {}}]}),
                json!({"output_config": {"format": {"type": "regex"}}}),
                json!({"max_tokens": 0}),
                json!({"tool_choice": {"type": "some"}}),
                json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
                json!({"messages": []}),
            ],
        ),
    ];
    for ((translated, with), wishes) in tables {
        for wish in wishes {
            let error = translated(&with(&wish)).err().unwrap_or_else(|| panic!("{wish} was taken"));
            assert_eq!(error.kind, ErrorKind::Unsupported, "{wish}: {error}");
        }
    }
}

#[test]
fn what_is_dropped_inside_messages_is_named_once() {
    let cached = |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let asked = messages_with(&json!({"system": [cached("s")], "messages": [
        {"role": "user", "content": [cached("a"), cached("b")]},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "c"}]},
        {"role": "user", "content": "d"},
    ]}));
    let (body, lacks) = to_chat(&asked).unwrap();
    assert_eq!(lacks, ["cache_control", "thinking"]);
    assert_eq!(body["messages"][2], json!({"role": "assistant", "content": "c"}));

    let asked = chat_with(&json!({"messages": [
        {"role": "user", "name": "ann", "content": [
            {"type": "image_url", "image_url": {"url": "http://x", "detail": "high"}},
        ]},
        {"role": "assistant", "content": "a", "reasoning_content": "hm"},
        {"role": "user", "name": "bob", "content": "b"},
    ], "tools": [{"type": "function", "function": {"name": "f", "strict": true}}]}));
    assert_eq!(to_messages(&asked).unwrap().1, ["detail", "name", "reasoning_content", "strict"]);
}

#[test]
fn a_conversation_is_put_into_the_order_that_messages_ask_for() {
    let asked = chat_with(&json!({"messages": [
        {"role": "assistant", "content": "hello"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "late"},
        {"role": "user", "content": [{"type": "text", "text": "\n"}, {"type": "text", "text": "there"}]},
        {"role": "tool", "tool_call_id": "a.b", "content": ""},
    ]}));
    let (body, lacks) = to_messages(&asked).unwrap();
    assert_eq!(lacks, ["system_position", "opening"]);
    assert_eq!(body["system"], json!([{"type": "text", "text": "late"}]));
    let expected = json!([
        {"role": "user", "content": [{"type": "text", "text": "(The assistant opens the conversation.)"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "hello"}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a_2e_b"},
            {"type": "text", "text": "hi"},
            {"type": "text", "text": "there"},
        ]},
    ]);
    assert_eq!(body["messages"], expected);
}

#[test]
fn a_stream_is_asked_for_with_its_tokens() {
    let ask = |from, to, body: Value| {
        let body = request((from, to), body.to_string().as_bytes(), "m", true, 0).unwrap().body;
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let chat = ask(Api::Messages, Api::Chat, messages_with(&json!({"stream": false})));
    assert_eq!((&chat["stream"], &chat["stream_options"]["include_usage"]), (&json!(true), &json!(true)));
    let messages = ask(Api::Chat, Api::Messages, chat_with(&json!({})));
    assert_eq!(messages["stream"], true);
}

#[test]
fn only_chats_and_messages_are_translated() {
    let apis = [Api::Chat, Api::Messages, Api::Responses, Api::Embeddings];
    for (from, to) in apis.into_iter().flat_map(|from| apis.map(|to| (from, to))) {
        let translated =
            request((from, to), chat_with(&json!({"max_tokens": 1})).to_string().as_bytes(), "m", false, 0);
        assert_eq!(translated.is_ok(), is_possible(from, to), "{from:?} to {to:?}");
        if let Err(error) = translated {
            assert_eq!(error.kind, ErrorKind::Unsupported);
        }
    }
}

#[test]
fn no_error_quotes_the_prompt() {
    let secret = "ssssecret";
    for body in [
        json!({"messages": [{"role": secret}]}),
        json!({"messages": [{"role": "user", "content": [{"type": secret}]}]}),
        json!({"messages": [{"role": "user", "content": {secret: secret}}]}),
        json!({"messages": secret}),
        json!({"max_tokens": secret, "messages": []}),
    ] {
        for (from, to) in [(Api::Chat, Api::Messages), (Api::Messages, Api::Chat)] {
            let error = request((from, to), body.to_string().as_bytes(), "m", false, 0).unwrap_err();
            assert!(!error.message.contains(secret), "{error}"); // SE4
        }
    }
}

/// The guide's table under `heading`, as rows of member and fate.
fn guide(heading: &str) -> Vec<(&'static str, &'static str)> {
    let guide = include_str!("../../../docs/dialects.md");
    let section = guide.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    section.lines().filter_map(|row| row.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")).collect()
}

#[test]
fn the_guide_tells_the_fate_of_every_member_in_the_tables() {
    let tables = [
        ("From chat completions to messages", [chat::request_in::REQUEST, chat::request_in::PARTS]),
        ("From messages to chat completions", [messages::request_in::REQUEST, messages::request_in::PARTS]),
    ];
    for (heading, losses) in tables {
        let rows = guide(heading);
        for loss in losses.into_iter().flatten() {
            let fate = if loss.refused { "refused" } else { "named" };
            let told = |(member, told): &(&str, &str)| {
                member.contains(&format!("`{}`", loss.member)) && told.starts_with(fate)
            };
            assert!(rows.iter().any(told), "{heading}: no row says that `{}` is {fate}", loss.member);
        }
    }
}
