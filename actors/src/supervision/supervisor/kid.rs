//! What a supervisor keeps of one child, and the sweep that finds those that hang.
//!
//! A sweep only looks at what a life shows of its work; which of them is ended follows from a decision.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Answer, ChildNews, News, Supervisor};
use crate::{
    commons::Timer,
    shell::{Cx, Exit, Failure},
    supervision::{
        admin::AdminError,
        child::ChildSpec,
        decision::{Event, Id},
        life::Running,
        policy::Restart,
    },
};

/// How often handlers are looked at that might hang.
const SWEEP: Duration = Duration::from_secs(1);

/// Who is told when a child has reached the state that was asked for.
pub(super) enum Waiter {
    Up(Answer),
    Down(Answer),
}

pub(super) struct Kid {
    pub(super) spec: Arc<ChildSpec>,
    pub(super) running: Option<Running>,
    /// Since when its beat has not changed.
    pub(super) beat: (u64, Instant),
    /// How many pings were sent, and when the last one.
    pub(super) ping: (u64, Instant),
    /// What it has to be done with in time.
    pub(super) wait: Option<Timer>,
    pub(super) last_exit: Option<Exit>,
    /// Was it up since its last restart was told of? If not, a start has failed.
    pub(super) lived: bool,
    /// What the health board is told if an instant restart turns out to be none.
    pub(super) untold: Option<Arc<str>>,
    pub(super) waiters: Vec<Waiter>,
}

impl Kid {
    fn new(spec: Arc<ChildSpec>, cx: &Cx<ChildNews>) -> Self {
        let never = (0, cx.commons().now());
        Self {
            spec,
            running: None,
            beat: never,
            ping: never,
            wait: None,
            last_exit: None,
            lived: false,
            untold: None,
            waiters: Vec::new(),
        }
    }

    pub(super) fn how_it_ended(&self) -> &Exit {
        self.last_exit.as_ref().unwrap_or(&Exit::Normal)
    }

    /// Tells those who wait for it to be up, or down; a failure if it is not what they waited for.
    pub(super) fn answer(&mut self, up: bool, failed: Option<Exit>) {
        let (told, rest) =
            std::mem::take(&mut self.waiters).into_iter().partition(|w| matches!(w, Waiter::Up(_)) == up);
        self.waiters = rest;
        let told: Vec<Waiter> = told;
        for Waiter::Up(answer) | Waiter::Down(answer) in told {
            answer.send(failed.clone().map_or(Ok(()), |exit| Err(AdminError::Failed(exit))));
        }
    }

    /// A temporary child, or one that somebody waits for, may be down without being a trouble.
    pub(super) fn is_expected_down(&self) -> bool {
        self.spec.role.restart == Restart::Temporary || !self.waiters.is_empty()
    }

    fn is_watched(&self) -> bool {
        self.spec.hang_after.is_some() || self.spec.answer_within.is_some()
    }

    /// Has one callback run, or one ping waited, for too long? Then its life is killed. The last callback has the
    /// time that its end may take, and answers no ping.
    fn hangs(&mut self, now: Instant) -> bool {
        let Some(running) = &self.running else { return false };
        let beats = running.beats();
        if beats != self.beat.0 || beats.is_multiple_of(2) {
            self.beat = (beats, now);
        }
        if running.pongs() == self.ping.0 && self.spec.answer_within.is_some() {
            self.ping = (self.ping.0 + 1, now);
            running.ping();
        }
        let (hang_after, answer_within) = match running.is_winding_up() {
            true => (self.spec.patience(), None),
            false => (self.spec.hang_after, self.spec.answer_within),
        };
        let over = |limit: Option<Duration>, since: Instant| {
            let waited = now.saturating_duration_since(since);
            limit.is_some_and(|limit| waited >= limit).then_some(waited)
        };
        let hung = over(hang_after, self.beat.1).or(over(answer_within, self.ping.1));
        hung.into_iter().for_each(|waited| running.kill_hung(waited));
        hung.is_some()
    }
}

impl Supervisor {
    pub(super) fn take_in(&mut self, child: Id, spec: Arc<ChildSpec>, cx: &Cx<ChildNews>) -> &mut Kid {
        self.ids.insert(spec.path().clone(), child);
        self.below.insert(child, &spec);
        let kid = Kid::new(spec, cx);
        self.look_for_hangs(kid.is_watched(), cx);
        self.kids.entry(child).insert_entry(kid).into_mut()
    }

    pub(super) fn take_out(&mut self, child: Id) {
        if let Some(kid) = self.kids.remove(&child) {
            self.ids.remove(kid.spec.path());
            self.below.remove(child);
        }
    }

    fn look_for_hangs(&mut self, watched: bool, cx: &Cx<ChildNews>) {
        if watched && self.sweep.is_none() {
            self.sweep = Some(cx.after(SWEEP, ChildNews(News::Sweep)));
        }
    }

    pub(super) fn sweep(&mut self, cx: &Cx<ChildNews>) -> Result<(), Failure> {
        let now = cx.commons().now();
        let hung = self.kids.iter_mut().filter_map(|(child, kid)| kid.hangs(now).then_some(*child));
        let hung: Vec<_> = hung.collect();
        for child in hung {
            tracing::error!(actor = %self.path_of(child), "it hangs: its life is killed");
            let Some(incarnation) = self.decision.incarnation(child) else { continue };
            self.decide(Event::Hung { child, incarnation }, cx)?;
        }
        self.sweep = None;
        self.look_for_hangs(self.kids.values().any(Kid::is_watched), cx);
        Ok(())
    }
}
