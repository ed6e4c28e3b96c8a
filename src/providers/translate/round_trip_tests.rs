//! Any conversation, from one dialect into the other and back (GW2).

use mainstay_actors::call::Api;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Back, request};

const THERE: (Api, Api) = (Api::Chat, Api::Messages);
const BACK: (Api, Api) = (Api::Messages, Api::Chat);

fn translated(way: (Api, Api), body: &Value) -> (Value, Vec<&'static str>) {
    let sent = request(way, body.to_string().as_bytes(), "m", false, 0).unwrap();
    (serde_json::from_slice(&sent.body).unwrap(), sent.lacks)
}

fn words() -> impl Strategy<Value = String> {
    "[a-zäö\"\\\\\n ]{0,8}[a-z]"
}

fn shown() -> impl Strategy<Value = Value> {
    let image = |url: String| json!({"type": "image_url", "image_url": {"url": url}});
    prop_oneof![
        words().prop_map(|text| json!({"type": "text", "text": text})),
        "[A-Za-z0-9+/]{0,12}".prop_map(move |data| image(format!("data:image/png;base64,{data}"))),
        "https://example.com/[a-z]{1,8}".prop_map(image),
        ("[a-z]{1,8}", "[A-Za-z0-9+/]{0,12}").prop_map(|(name, data)| {
            json!({"type": "file", "file": {"filename": name, "file_data": format!("data:application/pdf;base64,{data}")}})
        }),
    ]
}

fn user() -> impl Strategy<Value = Value> {
    let content = prop_oneof![
        words().prop_map(Value::from),
        prop::collection::vec(shown(), 1..3).prop_map(Value::from)
    ];
    content.prop_map(|content| json!({"role": "user", "content": content}))
}

/// A call and its result; the id is given later.
fn call() -> impl Strategy<Value = (String, String)> {
    let arguments = prop::collection::btree_map("[a-z]{1,3}", words(), 0..3);
    (arguments.prop_map(|members| json!(members).to_string()), words())
}

/// What the user says, and how the assistant goes on.
fn round() -> impl Strategy<Value = Vec<Value>> {
    let said = (words(), prop::collection::vec(call(), 0..3));
    (prop::collection::vec(user(), 1..3), said).prop_map(|(mut round, (text, calls))| {
        let function = |arguments: &str| json!({"name": "f", "arguments": arguments});
        let calling = calls.iter().enumerate().map(|(i, (arguments, _))| {
            json!({"id": format!("c-{i}"), "type": "function", "function": function(arguments)})
        });
        let mut message = json!({"role": "assistant", "content": text});
        if !calls.is_empty() {
            message["tool_calls"] = calling.collect();
        }
        round.push(message);
        let results = calls.iter().enumerate();
        round.extend(results.map(
            |(i, (_, text))| json!({"role": "tool", "tool_call_id": format!("c-{i}"), "content": text}),
        ));
        round
    })
}

fn tool() -> impl Strategy<Value = Value> {
    ("[a-z_]{1,9}", words(), any::<u16>()).prop_map(|(name, description, n)| {
        let parameters = json!({"type": "object", "properties": {"x": {"type": "integer", "maximum": n}}});
        json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters}})
    })
}

/// Members that stand on their own; those with a `null` are left out.
fn wishes() -> impl Strategy<Value = Map<String, Value>> {
    let sampling = prop_oneof![
        Just(json!({})),
        (0u8..=10).prop_map(|tenth| json!({"temperature": f64::from(tenth) / 10.0})),
        (0u8..=10).prop_map(|tenth| json!({"top_p": f64::from(tenth) / 10.0})),
    ];
    let choice = prop_oneof![
        Just(json!(null)),
        Just(json!("auto")),
        Just(json!("none")),
        Just(json!("required")),
        Just(json!({"type": "function", "function": {"name": "f"}})),
    ];
    let stop = prop::collection::vec("[a-z]{1,4}", 0..4);
    (1u64..100_000, sampling, stop, prop::option::of("[a-z]{1,6}"), choice).prop_map(
        |(limit, sampling, stop, user, choice)| {
            let mut all = sampling.as_object().unwrap().clone();
            all.insert("max_completion_tokens".into(), limit.into());
            all.insert("stop".into(), if stop.is_empty() { Value::Null } else { stop.into() });
            all.insert("user".into(), user.into());
            all.insert("tool_choice".into(), choice);
            all
        },
    )
}

fn chats() -> impl Strategy<Value = Value> {
    let system = prop::collection::vec(words(), 0..3);
    let rounds = prop::collection::vec(round(), 0..3);
    (system, rounds, user(), prop::collection::vec(tool(), 1..3), wishes()).prop_map(
        |(system, rounds, last, tools, mut body)| {
            let system = system.into_iter().map(|text| json!({"role": "system", "content": text}));
            let messages = system.chain(rounds.into_iter().flatten()).chain([last]).collect();
            body.insert("messages".into(), messages);
            body.insert("tools".into(), tools.into());
            body.insert("model".into(), "m".into());
            body.retain(|_, value| !value.is_null());
            body.into()
        },
    )
}

/// All that is said, one after the other, however it is put into messages.
fn said(chat: &Value) -> Vec<Value> {
    let mut said = Vec::new();
    for message in chat["messages"].as_array().unwrap() {
        let who = &message["role"];
        let id = &message["tool_call_id"];
        match &message["content"] {
            Value::String(text) => said.push(json!([who, id, {"type": "text", "text": text}])),
            Value::Array(parts) => said.extend(parts.iter().map(|part| json!([who, id, part]))),
            _ => {}
        }
        said.extend(message["tool_calls"].as_array().into_iter().flatten().map(|call| json!([who, call])));
    }
    said
}

proptest! {
    #[test]
    fn a_chat_is_the_same_there_and_back(chat in chats()) {
        let (messages, lacks) = translated(THERE, &chat);
        prop_assert_eq!(lacks, [""; 0]);
        let (back, lacks) = translated(BACK, &messages);
        prop_assert_eq!(lacks, [""; 0]);
        prop_assert_eq!(said(&back), said(&chat)); // GW2
        for member in chat.as_object().unwrap().keys().filter(|name| *name != "messages") {
            prop_assert_eq!(&back[member], &chat[member], "{}", member);
        }
        prop_assert_eq!(translated(THERE, &back).0, messages);
    }

    #[test]
    fn an_answer_is_the_same_there_and_back(
        text in words(),
        calls in prop::collection::vec(call(), 0..3),
        (input, cached, output) in (0u64..1000, 0u64..1000, 0u64..1000),
    ) {
        let calls: Vec<_> = calls.iter().enumerate().map(|(i, (arguments, _))| {
            json!({"id": format!("c{i}"), "type": "function", "function": {"name": "f", "arguments": arguments}})
        }).collect();
        let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
        let mut message = json!({"role": "assistant", "content": text, "refusal": null});
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        let answer = json!({
            "id": "x", "object": "chat.completion", "created": 3, "model": "m",
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": reason}],
            "usage": {
                "prompt_tokens": input + cached, "completion_tokens": output, "total_tokens": input + cached + output,
                "prompt_tokens_details": {"cached_tokens": cached},
            },
        });
        let back = |to| Back { to, created: 3, tell_usage: false };
        let there = back(Api::Messages).answer(answer.to_string().as_bytes()).unwrap();
        let again: Value = serde_json::from_slice(&back(Api::Chat).answer(&there).unwrap()).unwrap();
        prop_assert_eq!(again, answer); // GW2
    }

    #[test]
    fn hostile_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        for way in [THERE, BACK] {
            let _ = request(way, &body, "m", false, 0);
            let _ = Back { to: way.0, created: 0, tell_usage: false }.answer(&body);
        }
    }

    /// One value of a good request is replaced by another one, somewhere in it.
    #[test]
    fn a_request_with_anything_in_any_place_never_panics(chat in chats(), place in any::<prop::sample::Index>(), odd in 0usize..6) {
        let odd = [json!(null), json!(7), json!("x"), json!([]), json!({}), json!([{"type": "text"}])][odd].clone();
        for (way, body) in [(THERE, chat.clone()), (BACK, translated(THERE, &chat).0)] {
            let mut body = body;
            let mut paths = Vec::new();
            collect(&body, String::new(), &mut paths);
            let place = &paths[place.index(paths.len())];
            *body.pointer_mut(place).unwrap() = odd.clone();
            let _ = request(way, body.to_string().as_bytes(), "m", true, 0);
        }
    }
}

/// The place of every value in `value`.
fn collect(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| collect(item, format!("{place}/{i}"), places));
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, item)| collect(item, format!("{place}/{name}"), places));
        }
        _ => {}
    }
    places.push(place);
}

#[test]
fn deep_nesting_costs_a_message_and_no_stack() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    for body in [
        format!(r#"{{"messages":{deep}}}"#),
        format!(r#"{{"max_tokens":1,"messages":[{{"role":"user","content":{deep}}}]}}"#),
        format!(
            r#"{{"messages":[{{"role":"user","content":"x"}}],"tools":[{{"function":{{"name":"f","parameters":{deep}}}}}]}}"#
        ),
        deep.clone(),
    ] {
        for way in [THERE, BACK] {
            let _ = request(way, body.as_bytes(), "m", false, 0); // GW6
        }
    }
}

#[test]
fn a_large_image_is_passed_on_without_growing() {
    let data = "QUJD".repeat(1 << 20);
    let url = format!("data:image/png;base64,{data}");
    let part = json!({"type": "image_url", "image_url": {"url": url}});
    let chat = json!({"messages": [{"role": "user", "content": [part]}]}).to_string();
    let sent = request(THERE, chat.as_bytes(), "m", false, 0).unwrap().body;
    assert!(sent.len() < chat.len() + 200, "{} of {}", sent.len(), chat.len());
}
