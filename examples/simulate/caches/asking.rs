//! Clients that ask the same few questions again and again, with all that a caller may ask of a cache.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use mainstay::{
    CallError, ErrorKind,
    actors::{
        cache::{CacheStory, control::CacheControl, key::Scope, stats::Use},
        call::{Reply, Request},
        ports::Clock,
    },
};

use super::{CALM, TROUBLE, claims::Asked, process::Process};

pub(super) const TENANTS: [&str; 2] = ["one", "two"];
pub(super) const NAMESPACES: [&str; 2] = ["default", "n"];
pub(super) const TAGS: [&str; 2] = ["v1", "v2"];
const QUESTIONS: [&str; 4] = ["why", "who", "when", "random"];
/// Two hung stores take so long, once each.
const LOOKING: Duration = Duration::from_millis(101);

/// Equal questions must meet.
pub(super) fn often_first(chance: &mut fastrand::Rng, of: usize) -> usize {
    if chance.u8(0..3) > 0 { 0 } else { chance.usize(0..of) }
}

/// Was no provider asked, so that it took only as long as the stores did?
fn is_looked_up(reply: &Result<Reply, CallError>) -> bool {
    match reply {
        Ok(reply) => {
            matches!(reply.story.cache, Some(CacheStory::Answered { how: Use::Hit | Use::Stale, .. }))
        }
        Err(error) => error.kind == ErrorKind::NotCached,
    }
}

struct Client {
    process: Arc<Process>,
    chance: fastrand::Rng,
    told: Vec<String>,
    /// How often it waited for a store, since when they are as they are.
    waited: (u64, usize),
}

/// One client's calls, and what came of them.
pub(super) async fn life(process: Arc<Process>, seed: u64, client: usize) -> Result<Vec<String>, String> {
    let number = (client * 2 + process.number) as u64;
    let chance = fastrand::Rng::with_seed(seed ^ (number + 1) << 40);
    let until = process.wall.now() + TROUBLE + CALM;
    let mut client = Client { process, chance, told: vec![format!("client {number}")], waited: (0, 0) };
    while client.process.wall.now() < until {
        tokio::time::sleep(Duration::from_millis(client.chance.u64(10..1500))).await;
        client.ask().await?;
    }
    Ok(client.told)
}

impl Client {
    async fn ask(&mut self) -> Result<(), String> {
        let chain = self.process.tree.system().chain("chat").ok_or("there is no chain any more")?;
        let targets: Vec<_> = chain.targets().iter().map(|target| &*target.model).collect();
        let (control, stream) = (self.control(), self.chance.bool());
        let what = QUESTIONS[often_first(&mut self.chance, QUESTIONS.len())];
        let asked = self.asked(&control, &format!("{targets:?} {what} {stream}"));
        let timeout = Duration::from_millis(self.chance.u64(110..20_000));
        let id = format!("{}.{}", self.process.number, asked.begun);
        self.process
            .desk
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), asked.clone());
        let request = Request::new(what.into(), 0..0, stream).timeout(timeout).header("x-asked", id);
        let request = Request { cache: control.clone(), ..request };
        let began = self.process.wall.now();
        let came = if stream {
            self.read(chain.stream(request).await, &asked, &control).await?
        } else {
            let reply = chain.call(request).await;
            if is_looked_up(&reply) {
                self.waits(began)?;
            }
            match reply {
                Ok(reply) => {
                    let story = reply.story.cache.ok_or("no word of the cache")?;
                    self.check(&reply.body, &asked, &control, &story, self.process.wall.unix_ms())?
                }
                Err(error) => error.to_string(),
            }
        };
        let took = self.process.wall.now() - began;
        if took > timeout + Duration::from_millis(1) {
            return Err(format!("a call took {took:?} of {timeout:?}: {came}"));
        }
        self.told.push(came);
        Ok(())
    }

    fn control(&mut self) -> CacheControl {
        let chance = &mut self.chance;
        let mut rarely = |n| chance.u8(0..n) == 0;
        let (no_cache, no_store, only_if_cached) = (rarely(12), rarely(12), rarely(6));
        let hours = |n: u64| Duration::from_secs(3600 * n);
        let (aged, strict, ttl, tagged) = (rarely(8), rarely(8), rarely(3), rarely(2));
        CacheControl {
            tenant: Some(TENANTS[often_first(chance, TENANTS.len())].into()),
            namespace: Some(NAMESPACES[often_first(chance, NAMESPACES.len())].into()),
            tags: tagged.then(|| TAGS[chance.usize(0..TAGS.len())].into()).into_iter().collect(),
            ttl: ttl.then(|| hours(chance.u64(1..4))),
            max_age: aged.then(|| hours(chance.u64(0..3))),
            stale_if_error: strict.then(|| hours(chance.u64(0..3))),
            no_cache,
            no_store,
            only_if_cached,
            ..CacheControl::default()
        }
    }

    fn asked(&self, control: &CacheControl, what: &str) -> Asked {
        let scope = Scope {
            tenant: control.tenant.clone().unwrap_or_default(),
            namespace: control.namespace.clone().unwrap_or_default(),
        };
        let (whole, tags) = (format!("{scope:?} {what}"), control.tags.clone());
        Asked { whole, scope, tags, process: self.process.number, begun: self.process.desk.claims.next() }
    }

    async fn read(
        &self,
        stream: Result<mainstay::actors::chain::stream::ReplyStream, CallError>,
        asked: &Asked,
        control: &CacheControl,
    ) -> Result<String, String> {
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => return Ok(error.to_string()),
        };
        let (now, story) = (self.process.wall.unix_ms(), stream.story.cache.clone());
        let story = story.ok_or("no word of the cache")?;
        let mut last = Vec::new();
        while let Some(frame) = stream.next().await {
            match frame {
                Ok(frame) => last = frame.bytes.to_vec(),
                Err(interrupted) if story.is_kept() => {
                    return Err(format!("kept, and broken: {interrupted}"));
                }
                Err(interrupted) => return Ok(interrupted.to_string()),
            }
        }
        self.check(&last, asked, control, &story, now)
    }

    fn check(
        &self,
        body: &[u8],
        asked: &Asked,
        control: &CacheControl,
        story: &CacheStory,
        now: u64,
    ) -> Result<String, String> {
        let number = String::from_utf8_lossy(body);
        let number = number.parse().map_err(|_| format!("nobody says `{number}`"))?;
        self.process.desk.claims.given(number, asked, control, story, now)?;
        Ok(format!("{number} {story:?}"))
    }

    /// A hung store costs its deadline once, until something happens to it (CA6).
    fn waits(&mut self, began: Instant) -> Result<(), String> {
        let took = self.process.wall.now() - began;
        let weathers = self.process.desk.claims.weathers.load(Ordering::Relaxed);
        if self.waited.0 != weathers {
            self.waited = (weathers, 0);
        }
        self.waited.1 += usize::from(took >= LOOKING / 3);
        match took <= LOOKING && self.waited.1 <= 2 {
            true => Ok(()),
            false => Err(format!("looking took {took:?}, and has been slow {} times", self.waited.1)),
        }
    }
}
