//! The members of a request that stand on their own: each has its place, or is named or refused.

use mainstay_actors::error::ErrorKind;
use serde_json::{Value, json};

use super::{Direction, chat_with, messages_with, to_chat, to_messages};
use crate::providers::translate::{
    chat,
    loss::{Loss, UNKNOWN},
    messages,
};

/// The part of `body` that a table speaks of.
fn only(body: &Value, expected: &Value) -> Value {
    let names = expected.as_object().unwrap().keys();
    names.map(|name| (name.clone(), body[name].clone())).collect::<serde_json::Map<_, _>>().into()
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
    let directions: [(Direction, &[Loss]); 2] = [
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

/// The guide's table under `heading`, as rows of member and fate.
fn guide(heading: &str) -> Vec<(&'static str, &'static str)> {
    let guide = include_str!("../../../../docs/dialects.md");
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
