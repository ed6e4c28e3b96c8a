//! What determines an answer, in the dialects that are spoken here: under which key it is kept, and whether it may be.
//!
//! A request becomes its [canonical] form, the [rules] look at that, and what counts of it is digested together with
//! who asks and who is asked. Where answers are kept, and for how long, is decided elsewhere.

mod canonical;
mod number;
mod reader;
mod rules;
#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod tests;

use mainstay_actors::{
    cache::key::{Key, Scope},
    call::Request,
    ports::{CacheRules, NotKept},
};

use canonical::Value;

/// Changes with anything that changes what is digested, or how: no key of another form is ever met again.
const FORM: &str = "mainstay key 1";

/// The rules for the APIs of OpenAI and Anthropic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules;

impl CacheRules for Rules {
    fn key(&self, request: &Request, scope: &Scope, targets: &str, sampled: bool) -> Result<Key, NotKept> {
        let bytes = reader::read(&request.body).ok_or(NotKept::Unreadable)?;
        let body = Value::of(&bytes).filter(|value| value.is_object()).ok_or(NotKept::Unreadable)?;
        rules::of(request.api).judge(body, sampled)?;
        Ok(digest(request, scope, targets, body))
    }
}

fn digest(request: &Request, scope: &Scope, targets: &str, body: Value<'_>) -> Key {
    let rules = rules::of(request.api);
    let whole = if request.stream { "stream" } else { "whole" };
    let words = [FORM, &scope.tenant, &scope.namespace, targets, rules.dialect, whole];
    let headers = request.headers.iter().flat_map(|(name, value)| [*name, value]);
    let mut all = Vec::with_capacity(2 * request.body.len());
    words.into_iter().chain(headers).for_each(|word| add(&mut all, Value::text(word)));
    // The headers end here, for they are texts.
    add(&mut all, Value::NULL);
    for (name, value) in body.members().filter(|(name, _)| rules.counts(*name)) {
        add(&mut all, name);
        add(&mut all, value);
    }
    // In one go, which takes half the time.
    Key(blake3::hash(&all).into())
}

/// With its length before it, so that no two rows of values are the same bytes.
fn add(all: &mut Vec<u8>, Value { kind, content }: Value<'_>) {
    all.push(kind);
    all.extend_from_slice(&(content.len() as u64).to_le_bytes());
    all.extend_from_slice(content);
}
