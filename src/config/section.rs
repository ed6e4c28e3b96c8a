//! A walk through a TOML file that remembers places and collects every problem.
//!
//! A section is asked for its members by name; what is left in the end is unknown. Which settings there are,
//! and what they mean, is not known here.

use std::{borrow::Cow, fmt::Display, ops::RangeInclusive, str::FromStr, sync::Arc, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Place, Problem, units};

/// A file and what was found wrong with it.
pub(super) struct Source<'a> {
    file: Arc<str>,
    text: &'a str,
    problems: Vec<(usize, Problem)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &str, text: &'a str) -> Self {
        Self { file: file.into(), text, problems: Vec::new() }
    }

    pub(super) fn wrong(&mut self, at: usize, message: impl Into<String>) {
        let problem = Problem { place: Some(self.place(at)), message: message.into() };
        self.problems.push((at, problem));
    }

    pub(super) fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        Place { file: self.file.clone(), line, column: before[line_start..].chars().count() + 1 }
    }

    /// All problems, in the order of the file.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|(at, _)| *at);
        self.problems.into_iter().map(|(_, problem)| problem).collect()
    }
}

type Value<'a> = Spanned<DeValue<'a>>;

/// A table, and which of its members have been asked for.
pub(super) struct Section<'a> {
    /// As in `[provider.NAME]`; empty for the whole file.
    name: String,
    pub(super) at: usize,
    members: Vec<(&'a str, usize, &'a Value<'a>)>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: String, at: usize, table: &'a DeTable<'a>) -> Self {
        let member = |(key, value): (&'a Spanned<Cow<'a, str>>, &'a Value<'a>)| {
            (key.get_ref().as_ref(), key.span().start, value)
        };
        let mut members: Vec<_> = table.iter().map(member).collect();
        members.sort_by_key(|(_, at, _)| *at);
        Self { name, at, members, asked: Vec::new() }
    }

    fn member(&mut self, key: &'static str) -> Option<&'a Value<'a>> {
        self.asked.push(key);
        let found = self.members.iter().position(|(name, ..)| *name == key)?;
        Some(self.members.remove(found).2)
    }

    /// The member's place, or the section's.
    pub(super) fn place_of(&self, key: &str) -> usize {
        self.members
            .iter()
            .find(|(name, ..)| *name == key)
            .map_or(self.at, |(_, _, value)| value.span().start)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.members.iter().any(|(name, ..)| *name == key)
    }

    /// A table within this one.
    pub(super) fn section(&mut self, key: &'static str, source: &mut Source<'_>) -> Option<Section<'a>> {
        let value = self.member(key)?;
        let name = if self.name.is_empty() { key.into() } else { format!("{}.{key}", self.name) };
        table(name, value.span().start, value, source)
    }

    /// All tables of a table of tables, by name.
    pub(super) fn named(mut self, source: &mut Source<'_>) -> Vec<(&'a str, Section<'a>)> {
        let members = std::mem::take(&mut self.members);
        let sections = members.into_iter().filter_map(|(name, at, value)| {
            let section = table(format!("{}.{name}", self.name), at, value, source)?;
            Some((name, section))
        });
        sections.collect()
    }

    /// Is the member `false`, which turns off what it would set up? Then it is taken.
    pub(super) fn is_off(&mut self, key: &'static str) -> bool {
        let off = |(name, _, value): &(&str, usize, &Value<'_>)| {
            *name == key && matches!(value.get_ref(), DeValue::Boolean(false))
        };
        self.members.iter().any(off) && self.member(key).is_some()
    }

    pub(super) fn text(&mut self, key: &'static str, source: &mut Source<'_>) -> Option<&'a str> {
        let value = self.member(key)?;
        let text = as_text(value);
        if text.is_none() {
            source.wrong(value.span().start, format!("`{key}` must be a text in quotes"));
        }
        text
    }

    /// A text of a form of its own; `form` says which.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        key: &'static str,
        form: &str,
        default: T,
        source: &mut Source<'_>,
    ) -> T {
        let Some(value) = self.member(key) else { return default };
        as_text(value).and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            source.wrong(value.span().start, format!("`{key}` must be {form}"));
            default
        })
    }

    pub(super) fn texts(&mut self, key: &'static str, source: &mut Source<'_>) -> Vec<(&'a str, usize)> {
        let Some(value) = self.member(key) else { return Vec::new() };
        let list = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|i| Some((as_text(i)?, i.span().start))).collect(),
            _ => None,
        };
        list.unwrap_or_else(|| {
            source.wrong(value.span().start, format!("`{key}` must be a list of texts in quotes"));
            Vec::new()
        })
    }

    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
        source: &mut Source<'_>,
    ) -> u64 {
        let read = |value: &DeValue<'_>| match value {
            DeValue::Integer(n) => u64::from_str_radix(&n.as_str().replace('_', ""), n.radix()).ok(),
            _ => None,
        };
        self.ranged(key, "a whole number", range, default, read, |n| n.to_string(), source)
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        default: Duration,
        source: &mut Source<'_>,
    ) -> Duration {
        let read = |value: &DeValue<'_>| match value {
            DeValue::String(text) => units::duration(text),
            _ => None,
        };
        let form = "a duration such as \"250ms\", \"5s\" or \"2m\"";
        self.ranged(key, form, range, default, read, |d| units::show_duration(*d), source)
    }

    /// A part of a whole, above 0.
    pub(super) fn share(&mut self, key: &'static str, default: f64, source: &mut Source<'_>) -> f64 {
        self.part(key, f64::MIN_POSITIVE..=1.0, default, source)
    }

    /// A part of a whole, or nothing of it.
    pub(super) fn share_or_none(&mut self, key: &'static str, default: f64, source: &mut Source<'_>) -> f64 {
        self.part(key, 0.0..=1.0, default, source)
    }

    fn part(
        &mut self,
        key: &'static str,
        range: RangeInclusive<f64>,
        default: f64,
        source: &mut Source<'_>,
    ) -> f64 {
        let read = |value: &DeValue<'_>| match value {
            DeValue::Float(share) => share.as_str().parse().ok(),
            DeValue::Integer(whole) => whole.as_str().parse().ok(),
            _ => None,
        };
        self.ranged(key, "a share", range, default, read, |share| format!("{share:.0}"), source)
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool, source: &mut Source<'_>) -> bool {
        let Some(value) = self.member(key) else { return default };
        match value.get_ref() {
            DeValue::Boolean(flag) => *flag,
            _ => {
                source.wrong(value.span().start, format!("`{key}` must be true or false"));
                default
            }
        }
    }

    /// Is the member a number?
    pub(super) fn is_number(&self, key: &str) -> bool {
        let number = |(name, _, value): &(&str, usize, &Value<'_>)| {
            *name == key && matches!(value.get_ref(), DeValue::Integer(_))
        };
        self.members.iter().any(number)
    }

    pub(super) fn size(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
        source: &mut Source<'_>,
    ) -> u64 {
        let read = |value: &DeValue<'_>| match value {
            DeValue::String(text) => units::size(text),
            _ => None,
        };
        let form = "a size such as \"512KiB\" or \"8MiB\"";
        self.ranged(key, form, range, default, read, |n| units::show_size(*n), source)
    }

    #[allow(clippy::too_many_arguments)] // Private: each of the callers above is one line.
    fn ranged<T: PartialOrd>(
        &mut self,
        key: &'static str,
        form: &str,
        range: RangeInclusive<T>,
        default: T,
        read: impl Fn(&DeValue<'_>) -> Option<T>,
        show: impl Fn(&T) -> String,
        source: &mut Source<'_>,
    ) -> T {
        let Some(value) = self.member(key) else { return default };
        match read(value.get_ref()).filter(|value| range.contains(value)) {
            Some(value) => value,
            None => {
                let (from, to) = (show(range.start()), show(range.end()));
                source.wrong(value.span().start, format!("`{key}` must be {form}, from {from} to {to}"));
                default
            }
        }
    }

    /// Whatever has not been asked for is not known.
    pub(super) fn finish(self, source: &mut Source<'_>) {
        let within = if self.name.is_empty() { "".into() } else { format!(" in [{}]", self.name) };
        for (name, at, _) in &self.members {
            let hint = did_you_mean(name, &self.asked);
            source.wrong(*at, format!("`{}` is not a setting{within}{hint}", shortened(name)));
        }
    }
}

fn table<'a>(name: String, at: usize, value: &'a Value<'a>, source: &mut Source<'_>) -> Option<Section<'a>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(Section::new(name, at, table)),
        _ => {
            source.wrong(value.span().start, format!("`{}` must be a table: [{name}]", shortened(&name)));
            None
        }
    }
}

fn as_text<'a>(value: &'a Value<'a>) -> Option<&'a str> {
    match value.get_ref() {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

fn shortened(name: impl Display) -> String {
    name.to_string().chars().take(64).collect()
}

/// The known name that differs in at most two letters, else all of them.
pub(super) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|k| (distance(name, k), k)).filter(|(d, _)| *d <= 2).min();
    match near {
        Some((_, near)) => format!(": did you mean `{near}`?"),
        None if known.is_empty() => String::new(),
        None => format!(": known are {}", known.join(", ")),
    }
}

/// Levenshtein's distance, of texts short enough to be names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(66).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
