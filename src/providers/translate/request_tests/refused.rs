//! Parts and wishes that must not be lost, and what may be.

use mainstay_actors::error::ErrorKind;
use serde_json::{Value, json};

use super::{Direction, Sent, chat_with, messages_with, to_chat, to_messages};

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
    let file = |file: Value| part(json!({"type": "file", "file": file}));
    let image = |url: &str| part(json!({"type": "image_url", "image_url": {"url": url}}));
    let table = [
        (
            part(json!({"type": "input_audio", "input_audio": {}})),
            Unsupported,
            "audio (`messages[0].content[1]`)",
        ),
        (file(json!({"file_id": "f"})), Unsupported, "file store (`messages[0].content[1].file.file_id`)"),
        (file(json!({"file_data": "data:text/csv;base64,QQ=="})), Unsupported, "no PDF"),
        (file(json!({"file_data": "QQ=="})), Unsupported, "(`messages[0].content[1].file.file_data`)"),
        (file(json!({})), BadRequest, "`file_data` is missing"),
        (part(json!({"type": "file"})), BadRequest, "`file` is missing"),
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
    let document = |source: Value| block(json!({"type": "document", "source": source}));
    let pdf = json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="}});
    let result =
        |content: Value| block(json!({"type": "tool_result", "tool_use_id": "t", "content": content}));
    let table = [
        (
            document(json!({"type": "url", "url": "https://x"})),
            Unsupported,
            "address (`messages[0].content[1].source`)",
        ),
        (document(json!({"type": "file", "file_id": "f"})), Unsupported, "file store"),
        (document(json!({"type": "content", "content": "x"})), Unsupported, "made of blocks"),
        (
            document(json!({"type": "base64", "media_type": "text/csv", "data": "QQ=="})),
            Unsupported,
            "no PDF",
        ),
        (document(json!({"type": "hologram"})), Unsupported, "an unknown type"),
        (document(json!({"type": "text"})), BadRequest, "`data` is missing"),
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
        (result(json!([pdf])), Unsupported, "a document in the result of a tool"),
        (result(json!([{"type": "document"}])), BadRequest, "content[1].content[0]"),
        (json!({"role": "assistant", "content": [pdf]}), Unsupported, "a document that is not the user's"),
        (
            result(json!([{"type": "tool_use", "id": "t", "name": "f", "input": {}}])),
            BadRequest,
            "texts, images and documents",
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
        {"role": "user", "content": [cached("a"), cached("b"), {
            "type": "document", "title": "t", "context": "c", "citations": {"enabled": true},
            "source": {"type": "text", "media_type": "text/plain", "data": "x"},
        }]},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "c"}]},
        {"role": "user", "content": "d"},
    ]}));
    let (body, lacks) = to_chat(&asked).unwrap();
    assert_eq!(lacks, ["cache_control", "citations", "context", "title", "thinking"]);
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
