//! A call's way past the cache: what is kept answers it, and what a provider answers is kept.
//!
//! A fresh entry ends the call here. A stale one does too, and a new answer is fetched behind it. Otherwise providers
//! are asked, once for all who ask the same at the same time; and if none of them answers, an old entry is better
//! than an error. Which tier keeps what is not known here.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture};

use super::{
    Chain,
    recorder::{Playback, Recorder},
    stream::ReplyStream,
};
use crate::{
    cache::{
        Cache, CacheStory, Held, Lack, Landed, Leader, Question,
        entry::{Entry, Freshness, Kept, Windows},
        stats::{Saved, Use},
    },
    call::{FullReply, Reply, Request, Story},
    error::{AttemptReport, CallError, ErrorKind, FallOver, Verdict},
};

/// How long a stream waits for an equal one that is being written, before it goes its own way.
const FOLLOW: Duration = Duration::from_secs(30);

/// One call, and where to look for its answer.
#[derive(Clone, Copy)]
struct Visit<'a> {
    chain: &'a Chain,
    cache: &'a Cache,
    request: &'a Request,
    question: &'a Question,
    /// When its caller began to wait.
    started: Instant,
}

/// Asks for a whole answer.
pub(super) async fn whole(chain: &Chain, cache: &Cache, request: &Request) -> Result<Reply, CallError> {
    let started = chain.commons.now();
    let question = match cache.question(request, chain.identity()) {
        Ok(question) => question,
        Err(why) => {
            let (full, story) = chain.ask_whole(request).await?;
            return Ok(reply(full, Story { cache: Some(CacheStory::Bypassed(why)), ..story }));
        }
    };
    let visit = Visit { chain, cache, request, question: &question, started };
    match visit.look().await {
        Some(held) if held.freshness <= Freshness::Stale => visit.give_whole(&held, Vec::new()),
        held => visit.fetch_whole(held).await,
    }
}

/// Asks for a stream.
pub(super) async fn stream(
    chain: &Chain,
    cache: &Cache,
    request: &Request,
) -> Result<ReplyStream, CallError> {
    let started = chain.commons.now();
    let question = match cache.question(request, chain.identity()) {
        Ok(question) => question,
        Err(why) => {
            let mut stream = chain.ask_stream(request).await?;
            stream.story.cache = Some(CacheStory::Bypassed(why));
            return Ok(stream);
        }
    };
    let visit = Visit { chain, cache, request, question: &question, started };
    match visit.look().await {
        Some(held) if held.freshness <= Freshness::Stale => visit.give_stream(&held, Vec::new()),
        held => visit.fetch_stream(held).await,
    }
}

impl<'a> Visit<'a> {
    /// The best that is kept, as far as it is found in time.
    async fn look(self) -> Option<Held> {
        let looking = self.cache.find(self.question, &self.request.cache);
        match self.patience() {
            Some(patience) => tokio::time::timeout(patience, looking).await.unwrap_or(None),
            None => looking.await,
        }
    }

    async fn fetch_whole(self, held: Option<Held>) -> Result<Reply, CallError> {
        let (landed, joined) = self.land().await;
        match landed {
            Ok((full, story)) => {
                let saved = Saved { usage: full.usage, took_ms: 0 };
                self.count(if joined { Use::Joined } else { Use::Miss }, joined.then_some(saved));
                let id = self.request.id.clone().unwrap_or_else(|| story.id.clone());
                let cache = Some(self.missed(held.as_ref(), joined));
                Ok(reply(full, Story { id, cache, ..story }))
            }
            Err(error) => match self.better_than(&error, held) {
                Some(old) => self.give_whole(&old, error.attempts),
                None => Err(error),
            },
        }
    }

    async fn fetch_stream(self, held: Option<Held>) -> Result<ReplyStream, CallError> {
        let leader = match self.lead().await {
            Ok(leader) => leader,
            Err(kept) => return self.give_stream(&kept, Vec::new()),
        };
        let started = self.chain.commons.now();
        match self.ask_stream().await {
            Ok(mut stream) => {
                self.count(Use::Miss, None);
                stream.story.cache = Some(self.missed(held.as_ref(), false));
                stream.record(self.recorder(&stream.story, started, leader));
                Ok(stream)
            }
            Err(error) => match self.better_than(&error, held) {
                Some(old) => self.give_stream(&old, error.attempts),
                None => Err(error),
            },
        }
    }

    /// Asks the providers for a whole answer, together with all who ask the same now. One whose patience is longer than
    /// that of the one it flew with asks again.
    async fn land(self) -> (Landed, bool) {
        if self.request.cache.only_if_cached {
            return (Err(CallError::unasked(ErrorKind::NotCached)), false);
        }
        if self.request.cache.no_cache || self.request.cache.no_store {
            return (self.fly().await, false);
        }
        let until = self.patience().map(|patience| self.chain.commons.now() + patience);
        loop {
            let (flight, leads) = self.cache.flights().join(self.question.flight(), || self.flight());
            let landed = match until {
                Some(until) => tokio::time::timeout_at(until.into(), flight).await,
                None => Ok(flight.await),
            };
            match landed {
                Ok(Err(error)) if !leads && error.kind == ErrorKind::DeadlineExceeded => {}
                Ok(landed) => return (landed, !leads),
                Err(_) => return (Err(CallError::unasked(ErrorKind::DeadlineExceeded)), !leads),
            }
        }
    }

    /// How much longer the caller waits for an answer to begin.
    fn patience(self) -> Option<Duration> {
        let patience = self.request.patience.into_iter().chain(self.request.timeout).min();
        patience.map(|patience| patience.saturating_sub(self.spent()))
    }

    fn spent(self) -> Duration {
        self.chain.commons.now().saturating_duration_since(self.started)
    }

    /// The request, with as much time as is left of it: looking and waiting took some.
    fn rest(self) -> Cow<'a, Request> {
        let spent = self.spent();
        if spent.is_zero() {
            return Cow::Borrowed(self.request);
        }
        let left = |time: Option<Duration>| time.map(|time| time.saturating_sub(spent));
        let (timeout, patience) = (left(self.request.timeout), left(self.request.patience));
        Cow::Owned(Request { timeout, patience, ..self.request.clone() })
    }

    /// A flight that belongs to nobody alone.
    fn flight(self) -> BoxFuture<'static, Landed> {
        let (chain, cache) = (self.chain.clone(), self.cache.clone());
        let (request, question, started) = (self.request.clone(), self.question.clone(), self.started);
        async move {
            let (chain, cache, request, question) = (&chain, &cache, &request, &question);
            Visit { chain, cache, request, question, started }.fly().await
        }
        .boxed()
    }

    /// Asks the providers, and keeps what they answer.
    async fn fly(self) -> Landed {
        let started = self.chain.commons.now();
        let landed = self.chain.ask_whole(&self.rest()).await;
        let took = self.chain.commons.now().saturating_duration_since(started);
        match &landed {
            Ok((full, story)) => self.keep(full, story, took),
            Err(error) => self.keep_verdict(error, took),
        }
        landed
    }

    fn keep(self, full: &FullReply, story: &Story, took: Duration) {
        let is_good = full.lacks.is_empty() && self.cache.may_keep(full.finish, full.body.len());
        if is_good && !self.request.cache.no_store {
            let upstream_request_id = full.request_id.as_deref().map(Into::into);
            let entry = self.entry(Kept::Whole(full.body.clone()), story, took);
            self.cache.keep(self.question, Entry { usage: full.usage, upstream_request_id, ..entry });
        }
    }

    /// A verdict on the request is the same the next time, for a while (CA2).
    fn keep_verdict(self, error: &CallError, took: Duration) {
        let policy = self.cache.policy();
        if policy.negative_ttl.is_zero() || self.request.cache.no_store || !is_verdict(error.kind) {
            return;
        }
        let entry = self.entry(Kept::Refused(Arc::new(error.clone())), &Story::default(), took);
        let windows = Windows::negative(self.cache.now(), &policy);
        self.cache.keep(self.question, Entry { windows, ..entry });
    }

    fn entry(self, answer: Kept, story: &Story, took: Duration) -> Entry {
        Entry {
            scope: self.question.scope.clone(),
            tags: self.request.cache.tags.clone(),
            begun: self.question.begun,
            windows: self.cache.windows(&self.request.cache),
            provider: story.provider.clone(),
            model: story.model.clone(),
            upstream_request_id: None,
            usage: None,
            took_ms: took.as_millis() as u64,
            answer,
        }
    }

    /// Waits until no equal stream is being written, unless that takes too long or its answer was not kept.
    async fn lead(self) -> Result<Option<Leader>, Held> {
        let control = &self.request.cache;
        if control.no_cache || control.no_store || control.only_if_cached {
            return Ok(None);
        }
        let ended = match self.cache.streams().lead(self.question.flight()) {
            Ok(leader) => return Ok(Some(leader)),
            Err(ended) => ended,
        };
        let patience = self.patience().unwrap_or(FOLLOW).min(FOLLOW);
        let _ = tokio::time::timeout(patience, ended).await;
        match self.look().await {
            Some(kept) if kept.freshness == Freshness::Fresh => Err(kept),
            _ => Ok(None),
        }
    }

    async fn ask_stream(self) -> Result<ReplyStream, CallError> {
        match self.request.cache.only_if_cached {
            true => Err(CallError::unasked(ErrorKind::NotCached)),
            false => self.chain.ask_stream(&self.rest()).await,
        }
    }

    fn recorder(self, story: &Story, started: Instant, leader: Option<Leader>) -> Option<Recorder> {
        let is_good = story.lacks.is_empty() && !self.request.cache.no_store;
        is_good.then(|| {
            let entry = self.entry(Kept::Stream(Vec::new()), story, Duration::ZERO);
            let upstream_request_id = story.upstream_request_id.as_deref().map(Into::into);
            let entry = Entry { upstream_request_id, ..entry };
            let (cache, question) = (self.cache.clone(), self.question.clone());
            Recorder::new(cache, question, self.request.cache.clone(), entry, started, leader)
        })
    }

    fn give_whole(self, held: &Held, failed: Vec<AttemptReport>) -> Result<Reply, CallError> {
        let story = self.given(held, failed);
        match &held.entry.answer {
            Kept::Whole(body) => Ok(Reply { body: body.clone(), story }),
            Kept::Refused(error) => Err(again(error, story)),
            // Its key says that it is whole: only a store that mixes rows up gets here.
            Kept::Stream(_) => Err(CallError::unasked(ErrorKind::NotCached)),
        }
    }

    fn give_stream(self, held: &Held, failed: Vec<AttemptReport>) -> Result<ReplyStream, CallError> {
        let story = self.given(held, failed);
        match &held.entry.answer {
            Kept::Stream(_) => {
                let begins = self.cache.policy().paced.then(|| self.chain.commons.now());
                Ok(ReplyStream::kept(Playback::new(held.entry.clone(), begins), story))
            }
            Kept::Refused(error) => Err(again(error, story)),
            Kept::Whole(_) => Err(CallError::unasked(ErrorKind::NotCached)),
        }
    }

    /// Counts that an entry is given, has a stale one fetched anew, and tells its story.
    fn given(self, held: &Held, failed: Vec<AttemptReport>) -> Story {
        let how = match held.freshness {
            Freshness::Fresh => Use::Hit,
            Freshness::Stale => Use::Stale,
            Freshness::IfError | Freshness::Over => Use::IfError,
        };
        if how == Use::Stale {
            self.refresh();
        }
        let entry = &held.entry;
        self.count(how, Some(Saved { usage: entry.usage, took_ms: entry.took_ms }));
        let now = self.cache.now();
        let (millis, fresh) = (Duration::from_millis, entry.windows.fresh);
        let (fresh_for, stale_for) = (millis(fresh.saturating_sub(now)), millis(now.saturating_sub(fresh)));
        let (key, level, age) = (self.question.key, held.level, millis(entry.windows.age(now)));
        Story {
            id: self.request.id.clone().unwrap_or_else(|| self.chain.commons.new_id()),
            chain: self.chain.name.clone(),
            provider: entry.provider.clone(),
            model: entry.model.clone(),
            upstream_request_id: entry.upstream_request_id.as_deref().map(Into::into),
            lacks: Vec::new(),
            failed,
            cache: Some(CacheStory::Answered { key, level, how, age, fresh_for, stale_for }),
        }
    }

    /// Fetches a new answer behind a stale one, unless enough of that is going on.
    fn refresh(self) {
        let Ok(place) = self.cache.refreshing().clone().try_acquire_owned() else { return };
        let (chain, cache) = (self.chain.clone(), self.cache.clone());
        let (request, question) = (self.request.clone(), self.question.clone());
        self.chain.commons.tasks.spawn(async move {
            let (chain, cache, request, question) = (&chain, &cache, &request, &question);
            let started = chain.commons.now();
            Visit { chain, cache, request, question, started }.fetch_anew().await;
            drop(place);
        });
    }

    async fn fetch_anew(self) {
        if !self.request.stream {
            self.cache.flights().join(self.question.flight(), || self.flight()).0.await.ok();
            return;
        }
        let Ok(leader) = self.cache.streams().lead(self.question.flight()) else { return };
        let started = self.chain.commons.now();
        if let Ok(mut stream) = self.chain.ask_stream(self.request).await {
            stream.record(self.recorder(&stream.story, started, Some(leader)));
            while stream.next().await.is_some() {}
        }
    }

    /// An old entry, when it is better than this error, and still is: the providers had their time.
    fn better_than(self, error: &CallError, held: Option<Held>) -> Option<Held> {
        let old = held.filter(|_| !is_verdict(error.kind));
        let old = old.and_then(|held| self.cache.still(self.question, held, &self.request.cache));
        if old.is_none() {
            self.count(Use::Miss, None);
        }
        old
    }

    fn missed(self, held: Option<&Held>, joined: bool) -> CacheStory {
        let own = held.map(|held| held.entry.windows.at(self.cache.now()));
        let why = match own {
            _ if self.request.cache.no_cache => Lack::Unwanted,
            None => Lack::Nothing,
            Some(Freshness::Fresh | Freshness::Stale) => Lack::Unwanted,
            Some(Freshness::IfError | Freshness::Over) => Lack::TooOld,
        };
        CacheStory::Missed { key: self.question.key, why, joined }
    }

    fn count(self, how: Use, saved: Option<Saved>) {
        self.cache.efficiency().count(&self.question.scope, how, saved);
    }
}

pub(super) fn reply(full: FullReply, story: Story) -> Reply {
    let FullReply { body, request_id, lacks, .. } = full;
    Reply { body, story: Story { upstream_request_id: request_id, lacks, ..story } }
}

/// A verdict that was kept, told again.
fn again(error: &CallError, story: Story) -> CallError {
    CallError { cache: story.cache.map(Box::new), ..error.clone() }
}

/// Does the error say something about the request itself, which is true whoever is asked and whenever?
fn is_verdict(kind: ErrorKind) -> bool {
    let class = kind.class();
    class.verdict == Verdict::Healthy && class.fall_over != FallOver::Yes
}
