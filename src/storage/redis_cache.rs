//! The tier of the cache that machines share: a Redis (6 or later) or a Valkey.
//!
//! Whoever reads the network or writes into that server must not be able to make answers: each value bears a seal,
//! and one that does not fit is taken out and never given. With a secret of one's own nobody else can make seals;
//! without one they only tell damage. TLS (`rediss://`) hides the values on their way; in the server they are
//! readable. The server itself expires and evicts: give it a `maxmemory` and `maxmemory-policy allkeys-lru`. A
//! queue needs the opposite (`noeviction`), so the two must not share a server. How long a call may take, and when to
//! stop asking, is decided above. A Redis Cluster is not supported.

mod address;
mod link;
mod marks;

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use mainstay_actors::{
    cache::{
        control::LONGEST,
        entry::{Entry, UnixMs},
        key::Key,
        marks::{Mark, Marks},
    },
    ports::{CacheStore, Clock, Fill, Found, StoreError, Tidied},
};
use redis::{Pipeline, Value, pipe};
use secrecy::{ExposeSecret, SecretString};

use self::{
    address::{Address, refusal},
    link::Link,
    marks::SharedMarks,
};
use super::row::{self, Corrupt, Secret};

/// The largest answer that any policy allows to be kept, in bytes.
const LARGEST: usize = 16 << 20;
/// No row of ours is longer, in bytes; of a longer value no more than this is fetched.
const LONGEST_ROW: usize = LARGEST + (2 << 20);

/// Where the shared tier is, and how it is used.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://USER:PASSWORD@HOST:PORT/DATABASE`, `rediss://` for TLS, or `redis+unix:///PATH`. It is a secret.
    pub url: SecretString,
    /// What the names of all our keys begin with, 1 to 256 bytes. Those who share answers need the same one.
    pub prefix: String,
    /// Seals what is kept there; all who share answers need the same one. Without it, whoever may write into the server
    /// can plant answers.
    pub secret: Option<SecretString>,
}

impl RedisSettings {
    /// What keys begin with unless told otherwise.
    pub const PREFIX: &str = "mainstay:cache:";

    /// A Redis, used with the default prefix and without a secret.
    pub fn new(url: SecretString) -> Self {
        Self { url, prefix: Self::PREFIX.into(), secret: None }
    }
}

/// A tier of the cache that others may share.
pub struct RedisCache {
    link: Link,
    prefix: String,
    secret: Secret,
    marks: SharedMarks,
    clock: Arc<dyn Clock>,
}

impl RedisCache {
    /// Checks the settings; it connects when it is first asked something.
    pub fn new(settings: RedisSettings, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::at(Address::new(&settings.url)?, settings, clock)
    }

    fn at(address: Address, settings: RedisSettings, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let RedisSettings { prefix, secret, .. } = settings;
        if !(1..=256).contains(&prefix.len()) {
            return Err(
                address.failed("`prefix` must have 1 to 256 bytes, so that our keys are told from others'")
            );
        }
        let secret = secret.as_ref().map_or("", |secret| secret.expose_secret());
        let derived = |purpose| blake3::derive_key(purpose, secret.as_bytes());
        let marks = SharedMarks::new(format!("{prefix}marks"), derived("mainstay redis cache 1: marks"));
        let secret = derived("mainstay redis cache 1: rows");
        Ok(Self { link: Link::new(address), prefix, secret, marks, clock })
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn look_up(&self, key: Key) -> Result<Found, StoreError> {
        let mut commands = pipe();
        commands.cmd("GETRANGE").arg(self.name(&key)).arg(0).arg(LONGEST_ROW);
        let found = match self.link.ask(&commands).await?.pop() {
            Some(Value::BulkString(row)) if row.is_empty() => return Ok(Found::Nothing),
            Some(Value::BulkString(row)) => row::open(&key, &row, &self.secret, LARGEST),
            Some(Value::ServerError(error)) if error.code() == "WRONGTYPE" => Err(Corrupt::Senseless),
            Some(Value::ServerError(error)) => return Err(self.link.failed(refusal(error.code()))),
            _ => return Err(self.link.failed(refusal(""))),
        };
        match found {
            Ok(entry) => Ok(Found::Entry(Arc::new(entry))),
            Err(_) => {
                // Whether it is gone or not, it is not given.
                let _ = self.take_out(&[key]).await;
                Ok(Found::Corrupt)
            }
        }
    }

    async fn keep(&self, entries: Vec<(Key, Arc<Entry>)>) -> Result<(), StoreError> {
        let now = self.clock.unix_time().as_millis() as UnixMs;
        let mut commands = pipe();
        for (key, entry) in &entries {
            self.set(&mut commands, key, entry, now);
        }
        if commands.is_empty() { Ok(()) } else { self.link.done(&commands).await.map(|_| ()) }
    }

    /// Nothing, for what must not leave the memory or is of no use any more.
    fn set(&self, commands: &mut Pipeline, key: &Key, entry: &Entry, now: UnixMs) {
        let most = 3 * LONGEST.as_millis() as UnixMs;
        let time_left = entry.windows.error.saturating_sub(now).min(most);
        if time_left > 0
            && let Some(row) = row::seal(key, entry, &self.secret)
        {
            commands.cmd("SET").arg(self.name(key)).arg(row).arg("PX").arg(time_left);
        }
    }

    async fn take_out(&self, keys: &[Key]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = keys.iter().map(|key| self.name(key)).collect();
        self.link.done(pipe().cmd("UNLINK").arg(names)).await.map(|_| ())
    }

    async fn measure(&self) -> Result<Fill, StoreError> {
        let answers = self.link.done(pipe().cmd("DBSIZE").cmd("INFO").arg("memory")).await?;
        match &answers[..] {
            [Value::Int(entries), Value::BulkString(info)] => {
                Ok(fill(*entries, &String::from_utf8_lossy(info)))
            }
            _ => Err(self.link.failed(refusal(""))),
        }
    }
}

/// Zero says that a server has no limit of its own.
fn fill(entries: i64, info: &str) -> Fill {
    let number = |name: &str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| *key == name).find_map(|(_, value)| value.trim().parse::<u64>().ok())
    };
    Fill {
        entries: entries.try_into().unwrap_or_default(),
        bytes: number("used_memory").unwrap_or_default(),
        capacity: number("maxmemory").filter(|bytes| *bytes > 0),
    }
}

impl CacheStore for RedisCache {
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Found, StoreError>> {
        Box::pin(self.look_up(key))
    }

    fn put(&self, entries: Vec<(Key, Arc<Entry>)>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.keep(entries))
    }

    /// The marks are as durable as the server is; each process that uses it also writes them again if they are lost.
    fn exchange(&self, marks: Vec<Mark>) -> BoxFuture<'_, Result<Vec<Mark>, StoreError>> {
        Box::pin(self.marks.exchange(&self.link, marks))
    }

    /// The server expires and evicts by itself.
    fn tidy(&self, _: UnixMs, _: &Marks) -> BoxFuture<'_, Result<Tidied, StoreError>> {
        Box::pin(async { Ok(Tidied::default()) })
    }

    /// How full the server is, whoever filled it: the keys of the database, the memory of the whole server.
    fn fill(&self) -> BoxFuture<'_, Result<Fill, StoreError>> {
        Box::pin(self.measure())
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.link.address().place();
        f.debug_struct("RedisCache")
            .field("place", &place)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
