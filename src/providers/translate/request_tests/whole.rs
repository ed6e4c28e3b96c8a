//! Whole conversations, word by word.

use mainstay_actors::call::Api;
use serde_json::json;

use super::{chat_with, request, to_chat, to_messages};

#[test]
fn a_chat_keeps_its_system_texts_turns_images_files_and_tools() {
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
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD"}},
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
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "QUJD"});
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
                {"type": "document", "title": "a.pdf", "source": pdf},
                {"type": "document", "source": pdf},
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
fn messages_keep_their_system_texts_turns_images_documents_and_tools() {
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "QUJD"});
    let plain = json!({"type": "text", "media_type": "text/plain", "data": "all of it"});
    let asked = json!({
        "model": "chain",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "be kind"}, {"type": "text", "text": "be brief"}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {"type": "document", "title": "a.pdf", "source": pdf},
                {"type": "document", "citations": {"enabled": false}, "source": pdf},
                {"type": "document", "source": plain},
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
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
                {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
                {"type": "text", "text": "all of it"},
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
