//! An answer as OpenAI's embeddings: for each input its length, its words, and its first byte.

use serde_json::{Value, json};

use super::Answer;

pub(super) fn whole(answer: &Answer) -> Value {
    let data =
        answer.inputs.iter().enumerate().map(
            |(i, input)| json!({"object": "embedding", "index": i, "embedding": vector(&in_words(input))}),
        );
    let read: usize = answer.inputs.iter().map(|input| in_words(input).split_whitespace().count()).sum();
    json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": answer.model,
        "usage": {"prompt_tokens": read, "total_tokens": read},
    })
}

/// Several texts, several lists of tokens, or one of either.
pub(super) fn inputs(input: &Value) -> Vec<Value> {
    match input {
        Value::Array(items) if items.iter().all(|item| item.is_string() || item.is_array()) => items.clone(),
        one => vec![one.clone()],
    }
}

fn in_words(input: &Value) -> String {
    input.as_str().map_or_else(|| input.to_string(), String::from)
}

fn vector(text: &str) -> [f32; 3] {
    let first = text.bytes().next().unwrap_or_default();
    [text.len() as f32, text.split_whitespace().count() as f32, f32::from(first)]
}
