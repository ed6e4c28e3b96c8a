//! The marks that all who share a Redis know: one hash, joined by a script.
//!
//! Asking whether there is any news costs one command, however many marks there are, and keeps Redis from
//! forgetting the hash as the least recently used. If it is lost nevertheless, whoever asks next writes down again
//! what it knows. Each mark bears a seal: one that somebody else made is taken out and purges nothing. What is read
//! is bounded by the script before it leaves the server.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_actors::{
    cache::{
        entry::UnixMs,
        marks::{Mark, Marks, Purge},
    },
    ports::StoreError,
};
use redis::{Cmd, Value};

use super::{address::refusal, link::Link};
use crate::storage::row::Secret;

const SCRIPT: &str = include_str!("marks.lua");
/// More fields than honest writers leave between two joinings of the older half.
const MOST_FIELDS: usize = 30_000;
/// The longest field that the script gives away, in bytes.
const LONGEST_FIELD: usize = 1024;
/// Digits of an instant, so that the script can compare two of them as text.
const DIGITS: usize = 20;
/// How often one exchange asks: for its news, for what the others lack, and once more in case somebody interfered.
const ROUNDS: usize = 3;

/// A field of the hash and its value: a mark, if the seal fits.
type Pair = (Vec<u8>, Vec<u8>);

/// The marks that one process shares with others.
pub(super) struct SharedMarks {
    key: String,
    secret: Secret,
    known: Mutex<Known>,
}

/// What was seen of the hash.
#[derive(Default)]
struct Known {
    /// That of a hash which holds these marks and no others.
    version: Option<String>,
    /// In order of what they purge.
    marks: Vec<Mark>,
}

/// What the script answered.
struct Answer {
    version: String,
    /// All pairs, unless the version was known.
    found: Option<Vec<Pair>>,
}

impl SharedMarks {
    pub(super) fn new(key: String, secret: Secret) -> Self {
        Self { key, secret, known: Mutex::default() }
    }

    /// Tells the others these marks, and gives all.
    pub(super) async fn exchange(&self, link: &Link, marks: Vec<Mark>) -> Result<Vec<Mark>, StoreError> {
        let mut news = missing(&marks, &self.known().marks);
        let mut wrong = Vec::new();
        for _ in 0..ROUNDS {
            let pairs = self.sealed(&news).map_err(|problem| link.failed(problem))?;
            let answer = link.done(redis::pipe().add_command(self.command(&wrong, &pairs))).await?;
            let answer = Answer::read(answer).ok_or_else(|| link.failed(refusal("")))?;
            let Some(found) = answer.found else { break };
            let right;
            (right, wrong) = self.opened(found);
            let mut known = self.known();
            known.join(news, &right);
            news = missing(&known.marks, &right);
            let is_done = news.is_empty() && wrong.is_empty();
            known.version = is_done.then_some(answer.version);
            if is_done {
                break;
            }
        }
        Ok(self.known().marks.clone())
    }

    fn command(&self, wrong: &[Pair], news: &[Pair]) -> Cmd {
        let version = self.known().version.clone();
        let mut command = redis::cmd("EVAL");
        command.arg(SCRIPT).arg(1).arg(&self.key);
        command.arg(version.as_deref().unwrap_or("none")).arg(format!("{:016x}", fastrand::u64(..)));
        command.arg(MOST_FIELDS).arg(wrong.len());
        wrong.iter().chain(news).for_each(|(field, value)| _ = command.arg(field).arg(value));
        command
    }

    fn sealed(&self, marks: &[Mark]) -> Result<Vec<Pair>, &'static str> {
        marks.iter().map(|(what, at)| self.seal(what, *at)).collect()
    }

    fn seal(&self, what: &Purge, at: UnixMs) -> Result<Pair, &'static str> {
        let field = serde_json::to_string(what).unwrap_or_default();
        if !(1..=LONGEST_FIELD).contains(&field.len()) {
            return Err("a purge of a name that long cannot be shared: use tags below 900 bytes");
        }
        let value = self.value(&field, at);
        Ok((field.into_bytes(), value.into_bytes()))
    }

    fn value(&self, field: &str, at: UnixMs) -> String {
        let instant = format!("{at:0DIGITS$}");
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(instant.as_bytes()).update(field.as_bytes());
        format!("{instant}{}", hasher.finalize())
    }

    /// Those that one of us made, in order, and those that nobody did.
    fn opened(&self, found: Vec<Pair>) -> (Vec<Mark>, Vec<Pair>) {
        let (mut right, mut wrong) = (Vec::new(), Vec::new());
        for (field, value) in found {
            match self.open(&field, &value) {
                Some(mark) => right.push(mark),
                None => wrong.push((field, value)),
            }
        }
        right.sort_unstable();
        (right, wrong)
    }

    fn open(&self, field: &[u8], value: &[u8]) -> Option<Mark> {
        let (field, value) = (str::from_utf8(field).ok()?, str::from_utf8(value).ok()?);
        let at = value.get(..DIGITS)?.parse().ok()?;
        let seal = |text: &str| blake3::Hash::from_hex(text.get(DIGITS..)?).ok();
        // Comparing two hashes takes equally long wherever they differ.
        let is_ours = seal(value)? == seal(&self.value(field, at))?;
        is_ours.then(|| serde_json::from_str(field).ok().map(|what| (what, at)))?
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn join(&mut self, told: Vec<Mark>, found: &[Mark]) {
        let table = Marks::default();
        table.join(self.marks.drain(..).chain(told).chain(found.iter().cloned()));
        self.marks = table.all();
    }
}

impl Answer {
    fn read(mut answers: Vec<Value>) -> Option<Self> {
        let Value::Array(mut parts) = answers.pop()? else { return None };
        let found = if parts.len() > 1 { Some(pairs(parts.pop()?)?) } else { None };
        let version = String::from_utf8(bytes(parts.pop()?)?).ok()?;
        Some(Self { version, found })
    }
}

fn pairs(value: Value) -> Option<Vec<Pair>> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter().map(bytes);
    let mut all = Vec::new();
    while let Some(field) = parts.next() {
        all.push((field?, parts.next()??));
    }
    Some(all)
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// Those marks that say something which the others, in order, do not say.
fn missing(marks: &[Mark], others: &[Mark]) -> Vec<Mark> {
    let until = |what: &Purge| {
        let at = others.binary_search_by(|(other, _)| other.cmp(what)).ok()?;
        Some(others[at].1)
    };
    let everything = until(&Purge::All);
    let is_news = |(what, at): &&Mark| until(what).max(everything).is_none_or(|other| other < *at);
    marks.iter().filter(is_news).cloned().collect()
}
