//! Is it the providers that cannot be reached, or this machine's own way out?
//!
//! When several providers fall silent at once and none has answered since, an independent target is tried before
//! they are blamed. While that one is silent too, nobody's circuit opens, and one reason tells why. [`rule`] decides
//! when to try; the [`actor`] tries and tells; how a target is reached comes in as a
//! [`Reach`](crate::ports::Reach). Without one there is no doubt, and providers are blamed as ever.

pub mod actor;
pub mod rule;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use self::{
    actor::EgressNews,
    rule::{Sign, Silence},
};
use crate::{error::ErrorKind, supervision::Handle};

#[cfg(test)]
mod tests;

/// What is known of the way out; it outlives every life of the actor behind it.
#[derive(Clone, Default)]
pub struct Egress(Arc<Inner>);

#[derive(Default)]
struct Inner {
    down: AtomicBool,
    silence: Mutex<Silence>,
    /// Nothing, where nobody checks.
    actor: OnceLock<Handle<EgressNews>>,
}

impl Egress {
    /// The actor that watches it, for supervision scenarios; nothing, where nobody checks.
    pub fn actor(&self) -> Option<&Handle<EgressNews>> {
        self.0.actor.get()
    }

    /// Is the way out known to be down? Then silence is nobody's fault.
    pub fn is_down(&self) -> bool {
        self.0.down.load(Ordering::Acquire)
    }

    /// Is this failure the way out's fault, as far as is known?
    pub fn excuses(&self, failure: ErrorKind) -> bool {
        self.is_down() && Sign::of(Some(failure)) == Sign::Silent
    }

    /// Takes in how an attempt at a provider ended.
    pub(crate) fn heard(&self, provider: &Arc<str>, failure: Option<ErrorKind>, now: Instant) {
        let Some(actor) = self.actor() else { return };
        let sign = Sign::of(failure);
        let suspected = self.silence().heard(provider, sign, now) && !self.is_down();
        let is_back = sign == Sign::Answered && self.0.down.swap(false, Ordering::AcqRel);
        if suspected || is_back {
            // One that is lost is made up for by the next failure.
            let _ = actor.tell(EgressNews::Look);
        }
    }

    fn suspected_since(&self, now: Instant) -> Option<Instant> {
        self.silence().suspected_since(now)
    }

    /// The target answered: what was silent before has no excuse, and does not raise the question again.
    fn is_fine(&self) {
        self.0.down.store(false, Ordering::Release);
        *self.silence() = Silence::default();
    }

    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.0.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
