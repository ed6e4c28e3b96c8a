//! What an answer says of itself, and what must hold when it is given.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mainstay::actors::cache::{
    CacheStory,
    control::CacheControl,
    entry::Windows,
    key::{Key, Scope},
    marks::Purge,
    stats::Use,
};

/// Whom and what an answer was made for, and when its making began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// Tenant, namespace, targets, question and shape: all that no entry crosses.
    pub(super) whole: String,
    pub(super) scope: Scope,
    pub(super) tags: Vec<Arc<str>>,
    /// The process it was asked in.
    pub(super) process: usize,
    /// Its place in the order of all calls and purges.
    pub(super) begun: u64,
}

/// An answer as its author knows it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) asked: Asked,
    pub(super) windows: Option<Windows>,
    /// May it be kept?
    pub(super) good: bool,
}

struct Purged {
    what: Purge,
    /// Of one key: the question.
    whole: Option<String>,
    process: usize,
    begun: u64,
    /// Nothing while it is under way.
    returned: Option<u64>,
}

/// All answers and purges there were.
#[derive(Default)]
pub(super) struct Claims {
    order: AtomicU64,
    answers: Mutex<BTreeMap<u64, Answer>>,
    purges: Mutex<Vec<Purged>>,
    keys: Mutex<BTreeMap<String, Key>>,
    /// Since when all processes know all purges.
    calm: AtomicU64,
    /// How often the stores and their actors were meddled with.
    pub(super) weathers: AtomicU64,
    broken: Mutex<Option<String>>,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Claims {
    pub(super) fn next(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    /// The number under which an answer is known.
    pub(super) fn make(&self, answer: Answer) -> u64 {
        let number = self.next();
        locked(&self.answers).insert(number, answer);
        number
    }

    /// A streamed answer was refused in the end.
    pub(super) fn refuse(&self, number: u64) {
        locked(&self.answers).entry(number).and_modify(|answer| answer.good = false);
    }

    /// A streamed answer is complete.
    pub(super) fn complete(&self, number: u64, windows: Windows) {
        locked(&self.answers).entry(number).and_modify(|answer| answer.windows = Some(windows));
    }

    /// A question that has a key, if any has.
    pub(super) fn some_key(&self, chance: u64) -> Option<(String, Key)> {
        let keys = locked(&self.keys);
        keys.iter().nth(chance as usize % keys.len().max(1)).map(|(whole, key)| (whole.clone(), *key))
    }

    /// A purge begins; its place among all.
    pub(super) fn purges(&self, what: Purge, whole: Option<String>, process: usize) -> usize {
        let mut purges = locked(&self.purges);
        purges.push(Purged { what, whole, process, begun: self.next(), returned: None });
        purges.len() - 1
    }

    pub(super) fn purged(&self, place: usize) {
        locked(&self.purges)[place].returned = Some(self.next());
    }

    pub(super) fn is_calm(&self) {
        self.calm.store(self.next(), Ordering::Relaxed);
    }

    /// May equal questions of a process part, of which the first was asked then? What others purged is heard of
    /// whenever it is.
    pub(super) fn may_part(&self, process: usize, since: u64) -> bool {
        let concerns = |purge: &Purged| {
            purge.process != process || purge.returned.is_none_or(|returned| returned > since)
        };
        locked(&self.purges).iter().any(concerns)
    }

    pub(super) fn fail(&self, what: String) {
        locked(&self.broken).get_or_insert(what);
    }

    pub(super) fn broken(&self) -> Option<String> {
        locked(&self.broken).clone()
    }

    /// Checks an answer as it is given at `now`.
    pub(super) fn given(
        &self,
        number: u64,
        asked: &Asked,
        control: &CacheControl,
        story: &CacheStory,
        now: u64,
    ) -> Result<(), String> {
        let answer = locked(&self.answers).get(&number).cloned().ok_or("nobody made this answer")?;
        let told = || format!("{number} {answer:?}, given to {asked:?}: {story:?} at {now}");
        if answer.asked.whole != asked.whole {
            return Err(format!("it was made for somebody else: {}", told()));
        }
        if let CacheStory::Answered { key, .. } | CacheStory::Missed { key, .. } = story {
            locked(&self.keys).insert(asked.whole.clone(), *key);
        }
        if self.was_purged_between(&answer.asked, asked) {
            return Err(format!("it was purged: {}", told()));
        }
        let CacheStory::Answered { how, age, .. } = story else { return Ok(()) };
        if !answer.good {
            return Err(format!("it was not to be kept: {}", told()));
        }
        let windows = answer.windows.ok_or_else(|| format!("it was not complete: {}", told()))?;
        let (age_now, stale_for) =
            (now - windows.made, Duration::from_millis(now.saturating_sub(windows.fresh)));
        let young =
            !control.no_cache && control.max_age.is_none_or(|limit| Duration::from_millis(age_now) <= limit);
        let is_so = match how {
            Use::Hit => now < windows.fresh && young,
            Use::Stale => (windows.fresh..windows.stale).contains(&now) && young,
            Use::IfError => {
                let limit = control.stale_if_error;
                now < windows.error && limit.is_none_or(|limit| !limit.is_zero() && stale_for <= limit)
            }
            Use::Joined | Use::Miss => false,
        };
        match is_so && age.as_millis() as u64 == age_now {
            true => Ok(()),
            false => Err(format!("it is not what is said of it: {}", told())),
        }
    }

    /// Was it begun before a purge that had returned when this one asked? Other processes know when all is calm.
    fn was_purged_between(&self, made: &Asked, asked: &Asked) -> bool {
        let calm = self.calm.load(Ordering::Relaxed);
        locked(&self.purges).iter().any(|purge| {
            let concerns = match &purge.what {
                Purge::All => true,
                Purge::Namespace(scope) => *scope == made.scope,
                Purge::Tag { tenant, tag } => *tenant == made.scope.tenant && made.tags.contains(tag),
                Purge::Key(_) => purge.whole.as_ref() == Some(&made.whole),
            };
            let is_known = purge.process == asked.process || (calm > 0 && asked.begun > calm);
            let returned = purge.returned.is_some_and(|returned| returned < asked.begun);
            concerns && is_known && returned && made.begun < purge.begun
        })
    }
}
