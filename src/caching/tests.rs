//! Equal questions have one key and different ones different keys, however they are spelt (CA4).

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use bytes::Bytes;
use fastrand::Rng;
use mainstay_actors::{
    cache::key::{Key, Scope},
    call::{Api, Request},
    ports::CacheRules,
};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestCaseResult};

use super::{
    Rules,
    reader::{DEEPEST, MOVES, read},
};

/// What a JSON text says.
#[derive(Clone, Debug, PartialEq)]
enum Json {
    Word(&'static str),
    /// This, times a power of ten.
    Number(i64, i32),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<&'static str, Json>),
}

/// No byte makes one of another.
const NAMES: [&str; 7] = ["", "ab", "Éé", "😀", "x\"\\\n", "model", "\u{7f}/zz"];

fn number(mut digits: i64, mut power: i32) -> Json {
    while digits != 0 && digits % 10 == 0 {
        (digits, power) = (digits / 10, power + 1);
    }
    Json::Number(digits, if digits == 0 { 0 } else { power })
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        select(&["null", "true", "false"][..]).prop_map(Json::Word),
        (any::<i64>(), -400..400).prop_map(|(digits, power)| number(digits, power)),
        (-9i64..9, -2..2).prop_map(|(digits, power)| number(digits, power)),
        any::<String>().prop_map(Json::Text),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let member = (select(&NAMES[..]), inner.clone());
        prop_oneof![
            vec(inner, 0..6).prop_map(Json::List),
            vec(member, 0..6).prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

/// Any way to spell it.
fn spell(json: &Json, rng: &mut Rng, out: &mut String) {
    space(rng, out);
    match json {
        Json::Word(word) => out.push_str(word),
        Json::Number(digits, power) => spell_number(*digits, *power, rng, out),
        Json::Text(text) => spell_text(text, rng, out),
        Json::List(items) => row('[', ']', items, rng, out, spell),
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            rng.shuffle(&mut members);
            row('{', '}', &members, rng, out, |(name, value), rng, out| {
                space(rng, out);
                spell_text(name, rng, out);
                space(rng, out);
                out.push(':');
                spell(value, rng, out);
            });
        }
    }
    space(rng, out);
}

fn row<T>(
    first: char,
    last: char,
    items: &[T],
    rng: &mut Rng,
    out: &mut String,
    one: impl Fn(&T, &mut Rng, &mut String),
) {
    out.push(first);
    for (i, item) in items.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        one(item, rng, out);
    }
    space(rng, out);
    out.push(last);
}

fn space(rng: &mut Rng, out: &mut String) {
    out.push_str(rng.choice(["", "", "", " ", "\n\t", "\r\n"]).unwrap());
}

fn spell_number(digits: i64, power: i32, rng: &mut Rng, out: &mut String) {
    let zeros = if digits == 0 { 0 } else { rng.usize(0..3) };
    match rng.u8(0..3) {
        0 if power == 0 => write!(out, "{digits}"),
        1 => write!(out, "{digits}{:0<zeros$}E{}", "", power - zeros as i32),
        _ => write!(out, "{digits}.{:0<zeros$}0e{power:+}", ""),
    }
    .unwrap();
}

fn spell_text(text: &str, rng: &mut Rng, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let quoted = serde_json::to_string(&c).unwrap();
        match rng.u8(0..8) {
            0 => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write!(out, "\\u{unit:04x}").unwrap()),
            1 if c == '/' => out.push_str("\\/"),
            _ => out.push_str(&quoted[1..quoted.len() - 1]),
        }
    }
    out.push('"');
}

fn spelt(json: &Json, seed: u64) -> String {
    let mut out = String::new();
    spell(json, &mut Rng::with_seed(seed), &mut out);
    out
}

/// A request that is kept, and whatever may differ in another one.
#[derive(Clone)]
struct Asked {
    api: Api,
    members: BTreeMap<&'static str, String>,
    headers: Vec<(&'static str, String)>,
    stream: bool,
    scope: [&'static str; 2],
    targets: &'static str,
}

impl Asked {
    fn new() -> Self {
        let members = [
            ("model", r#""chat""#),
            ("temperature", "0"),
            ("store", "false"),
            ("messages", r#"[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]"#),
            ("tools", r#"[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#),
        ];
        Self {
            api: Api::Chat,
            members: members.map(|(name, value)| (name, value.to_string())).into(),
            headers: vec![("anthropic-beta", "one".into()), ("anthropic-version", "2023-06-01".into())],
            stream: false,
            scope: ["tenant", "space"],
            targets: "p/m",
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.members.insert(name, value.into());
        self
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn key(&self) -> Key {
        let members = self.members.iter().map(|(name, value)| format!("\"{name}\":{value}"));
        let body = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        let request = Request::new(Bytes::from(body), 0..0, self.stream).api(self.api);
        let request = Request { headers: self.headers.clone(), ..request };
        let [tenant, namespace] = self.scope.map(Arc::from);
        Rules.key(&request, &Scope { tenant, namespace }, self.targets, true).unwrap()
    }
}

#[test]
fn any_change_of_what_determines_the_answer_makes_another_key() {
    let new = Asked::new;
    let asked = [
        new(),
        new().with("model", r#""chat2""#),
        new().with("messages", r#"[{"role":"user","content":"hi"}]"#),
        new().with("messages", r#"[{"role":"user","content":"hi"},{"role":"system","content":"be brief"}]"#),
        new().with("messages", r#"[{"role":"system","content":"be Brief"},{"role":"user","content":"hi"}]"#),
        new().with("tools", "[]"),
        new().with("tools", "null"),
        new()
            .with("tools", r#"[{"type":"function","function":{"name":"g","parameters":{"type":"object"}}}]"#),
        new().with("tools", r#"[{"type":"function","function":{"name":"f","parameters":{"type":"array"}}}]"#),
        new().with("temperature", "0.1"),
        new().with("temperature", "null"),
        new().with("store", "null"),
        new().with("max_tokens", "9007199254740992"),
        new().with("max_tokens", "9007199254740993"),
        new().with("max_tokens", "1e400"),
        new().with("max_tokens", "1e401"),
        new().with("max_tokens", r#""1e401""#),
        new().with("n", "2"),
        new().with("seed", "2"),
        new().with("stop", "[]"),
        new().with("user", r#""ada""#),
        new().with("metadata", r#"{"a":"b"}"#),
        new().with("service_tier", r#""flex""#),
        new().with("stream_options", r#"{"include_usage":true}"#),
        new().with("stream_options", r#"{"include_usage":false}"#),
        new().with("unheard_of", "1"),
        new().change(|asked| drop(asked.members.remove("temperature"))),
        new().change(|asked| asked.stream = true),
        new().change(|asked| asked.api = Api::Embeddings),
        new().change(|asked| asked.api = Api::Responses),
        new().change(|asked| asked.targets = "p/m2"),
        new().change(|asked| asked.targets = ""),
        new().change(|asked| asked.scope = ["tenants", "pace"]),
        new().change(|asked| asked.scope = ["space", "tenant"]),
        new().change(|asked| asked.scope = ["", "space"]),
        new().change(|asked| asked.scope = ["tenant", "p/m"]),
        new().change(|asked| asked.headers[0].1 = "two".into()),
        new().change(|asked| asked.headers[0].1 = "oneanthropic-version".into()),
        new().change(|asked| asked.headers.reverse()),
        new().change(|asked| asked.headers.truncate(1)),
        new().change(|asked| asked.headers.clear()),
    ];
    let keys: Vec<_> = asked.iter().map(Asked::key).collect();
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(keys.iter().position(|other| other == key), Some(i), "{}", asked[i].members["model"]); // CA4
    }
}

#[test]
fn what_changes_nothing_in_the_answer_changes_no_key() {
    let table: [(Api, &[&str], &[&str]); 4] = [
        (
            Api::Chat,
            &["stream", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"],
            &["user", "metadata"],
        ),
        (Api::Messages, &["stream"], &["metadata", "user", "service_tier"]),
        // The answer repeats them.
        (Api::Responses, &["stream"], &["user", "metadata", "safety_identifier", "prompt_cache_key"]),
        (Api::Embeddings, &["user"], &["stream", "dimensions"]),
    ];
    for (api, idle, counting) in table {
        let asked = || Asked::new().change(|asked| asked.api = api);
        // Messages has other tools.
        let asked = || asked().with("tools", "[]");
        for name in idle {
            assert_eq!(asked().with(name, "\"x\"").key(), asked().key(), "{api:?} {name}");
            let deeper = asked().with("messages", &format!("[{{\"{name}\":1}}]")).key();
            assert_ne!(
                deeper,
                asked().with("messages", &format!("[{{\"{name}\":2}}]")).key(),
                "{api:?} {name}"
            );
        }
        for name in counting {
            assert_ne!(asked().with(name, "\"x\"").key(), asked().key(), "{api:?} {name}");
        }
    }
}

#[test]
fn a_key_stays_the_same_from_one_version_to_the_next() {
    // Whoever changes this on purpose changes `FORM` too: a disk full of entries is not met again.
    let key = "e37c199a2958bf408ea983761905dc7d49fbe24f200dac5aa248e3106e0a9eca";
    assert_eq!(Asked::new().key().to_string(), key);
}

/// What is read is what serde reads, but for numbers that no machine's type holds.
fn agrees_with_serde(text: &[u8]) -> TestCaseResult {
    let by_serde = serde_json::from_slice::<serde_json::Value>(text);
    let beyond = by_serde.as_ref().is_err_and(|e| e.to_string().starts_with("number out of range"));
    prop_assert!(beyond || read(text).is_some() == by_serde.is_ok(), "{}", String::from_utf8_lossy(text));
    Ok(())
}

proptest! {
    #[test]
    fn all_spellings_have_one_form(json in json(), seeds: [u64; 2]) {
        let [one, other] = seeds.map(|seed| spelt(&json, seed));
        let form = read(one.as_bytes());
        prop_assert!(form.is_some(), "{one}");
        prop_assert_eq!(form, read(other.as_bytes()), "{} {}", one, other); // CA4
        agrees_with_serde(one.as_bytes())?;
    }

    #[test]
    fn what_says_something_else_has_another_form(one in json(), other in json(), seeds: [u64; 2]) {
        let forms = [(&one, seeds[0]), (&other, seeds[1])].map(|(json, seed)| read(spelt(json, seed).as_bytes()));
        prop_assert_eq!(one == other, forms[0] == forms[1]); // CA4
    }

    #[test]
    fn one_other_byte_is_read_as_by_serde(json in json(), seed: u64, at: prop::sample::Index, byte: u8) {
        let mut text = spelt(&json, seed).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        agrees_with_serde(&text)?;
        agrees_with_serde(&text[..at])?;
    }

    #[test]
    fn one_change_anywhere_makes_another_key(
        json in json(), other in json(), name in select(&NAMES[..]), seeds: [u64; 2]
    ) {
        let key = |value: &Json, seed| {
            let inside = Json::Object([(name, value.clone())].into());
            Asked::new().with("metadata", &spelt(&Json::List(vec![inside]), seed)).key()
        };
        prop_assert_eq!(key(&json, seeds[0]), key(&json, seeds[1])); // CA4
        prop_assert_eq!(json == other, key(&json, seeds[0]) == key(&other, seeds[1])); // CA4
    }

    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>, pieces in vec(select(&PIECES[..]), 0..40)) {
        for body in [Bytes::from(bytes), Bytes::from(pieces.concat())] {
            for api in [Api::Chat, Api::Messages, Api::Responses, Api::Embeddings] {
                let request = Request::new(body.clone(), 0..0, false).api(api);
                let _ = Rules.key(&request, &Scope::default(), "", true);
            }
        }
    }
}

const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u",
    "d83d",
    "\\ude00",
    ":",
    ",",
    " ",
    "-",
    "0",
    "1e",
    "+9",
    ".",
    "null",
    "tru",
    "é",
    "\"tools\":[{",
    "\"type\"",
    "\"temperature\":",
    "\"a\":1",
];

#[test]
fn what_stands_too_deep_is_not_read() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(DEEPEST).as_bytes()).is_some());
    assert!(read(nested(DEEPEST + 1).as_bytes()).is_none());
    assert!(read("[".repeat(1 << 20).as_bytes()).is_none());
    assert!(read("{\"a\":".repeat(1 << 20).as_bytes()).is_none());
}

#[test]
fn nesting_that_only_costs_is_not_read() {
    let bulk = "x".repeat(1 << 16);
    let unordered = |depth| format!("{}\"{bulk}\"{}", "{\"b\":".repeat(depth), ",\"a\":1}".repeat(depth));
    assert!(read(unordered(MOVES).as_bytes()).is_some());
    assert!(read(unordered(MOVES + 1).as_bytes()).is_none());
}
