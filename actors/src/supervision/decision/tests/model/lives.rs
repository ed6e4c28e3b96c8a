//! Every life and every wait there ever was, as things of their own, whatever number they go by.
//!
//! Each action is carried out here, and must make sense by itself: nobody lives twice, nobody is started or
//! stopped out of turn, whoever goes is spoken of. Which action is due is not known here.

use std::collections::{BTreeMap, BTreeSet};

use super::{reference::Reference, *};

#[derive(Clone, Copy)]
pub(super) struct Body {
    pub(super) child: Id,
    pub(super) incarnation: u64,
    pub(super) state: State,
    /// Did the supervisor start it of its own accord?
    is_restart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Starting,
    Up,
    Asked,
    Killed,
    LeftBehind,
    Gone,
}

impl State {
    pub(super) const ALIVE: [Self; 4] = [Self::Starting, Self::Up, Self::Asked, Self::Killed];
    pub(super) const ENDING: [Self; 2] = [Self::Asked, Self::Killed];
    pub(super) const OVER: [Self; 2] = [Self::LeftBehind, Self::Gone];
}

/// What will be told one day, also if nobody is concerned any more.
#[derive(Clone, Copy)]
pub(super) enum Timer {
    /// A life has had its time.
    Overdue(usize),
    /// The n-th wait is over.
    Waited { wait: usize, child: Id, incarnation: u64 },
}

#[derive(Default)]
pub(super) struct Lives {
    pub(super) bodies: Vec<Body>,
    pub(super) timers: Vec<Timer>,
    /// How many waits there were, and which is the last of each child.
    waits: usize,
    last_waits: BTreeMap<Id, usize>,
    /// Those that were wanted and did not live, since all was well.
    missed: BTreeSet<Id>,
    /// Those of whom it was said that they are down.
    down: BTreeSet<Id>,
    finished: bool,
}

impl Lives {
    pub(super) fn begin(&mut self, child: Id, incarnation: u64, state: State, is_restart: bool) {
        let earlier = self.bodies.iter().filter(|body| body.child == child);
        assert!(earlier.map(|body| body.incarnation).all(|life| life < incarnation), "no life returns");
        assert!(self.alive(child).is_none(), "nobody lives twice");
        self.down.remove(&child);
        self.bodies.push(Body { child, incarnation, state, is_restart });
    }

    pub(super) fn is_down(&mut self, child: Id) {
        assert!(self.alive(child).is_none(), "it lives");
        self.down.insert(child);
    }

    /// One of the lives in one of these states.
    pub(super) fn pick(&self, pick: usize, states: &[State]) -> Option<usize> {
        let fits = |life: &usize| states.contains(&self.bodies[*life].state);
        let lives: Vec<usize> = (0..self.bodies.len()).filter(fits).collect();
        lives.get(pick % lives.len().max(1)).copied()
    }

    fn alive(&self, child: Id) -> Option<usize> {
        self.bodies.iter().rposition(|body| body.child == child && State::ALIVE.contains(&body.state))
    }

    pub(super) fn is_last_wait(&self, child: Id, wait: usize) -> bool {
        self.last_waits.get(&child) == Some(&wait)
    }

    pub(super) fn miss(&mut self, children: impl Iterator<Item = Id>) {
        self.missed.extend(children);
    }

    pub(super) fn all_is_well(&mut self) {
        self.missed.clear();
    }

    pub(super) fn has_finished(&self) -> bool {
        self.finished
    }

    pub(super) fn carry_out(&mut self, action: Action, cause: Event, reference: &Reference) {
        assert!(!self.finished, "{action:?} after the end");
        match action {
            Action::AwaitBackoff { child, incarnation, .. } => self.wait(child, incarnation),
            Action::Start { child, incarnation } => self.start(child, incarnation, cause, reference),
            Action::Stop { child, incarnation } => self.stop(child, incarnation, reference),
            Action::Kill { child, incarnation } => {
                let life = self.moves(child, &[State::Up, State::Asked], State::Killed);
                assert_eq!(self.bodies[life].incarnation, incarnation);
                self.timers.push(Timer::Overdue(life));
            }
            Action::Abandon { child } => drop(self.moves(child, &[State::Killed], State::LeftBehind)),
            Action::StayDown { child } | Action::Forget { child } => self.is_down(child),
            Action::HoldBack { child, .. } => assert!(self.alive(child).is_none(), "it lives"),
            Action::GiveUp { .. } => assert!(reference.is_closing(), "nobody gives up and goes on"),
            Action::Finish => self.finish(reference),
        }
    }

    fn wait(&mut self, child: Id, incarnation: u64) {
        assert!(self.alive(child).is_none(), "it lives");
        self.timers.push(Timer::Waited { wait: self.waits, child, incarnation });
        self.last_waits.insert(child, self.waits);
        self.waits += 1;
    }

    fn start(&mut self, child: Id, incarnation: u64, cause: Event, reference: &Reference) {
        let is_restart = !matches!(cause, Event::Revive { .. });
        assert!(!reference.is_closing(), "nobody is started while all end"); // P4
        if is_restart {
            assert!(self.is_concerned(child, reference), "it needs nobody who ended"); // R1, R4
        }
        if is_restart && reference.strategy() != Strategy::OneForOne {
            let is_under_way = |body: &Body| body.is_restart && body.state == State::Starting;
            assert!(!self.bodies.iter().any(is_under_way), "one at a time");
            assert!(reference.missing().all(|other| other > child), "in order"); // P5
        }
        self.begin(child, incarnation, State::Starting, is_restart);
    }

    fn stop(&mut self, child: Id, incarnation: u64, reference: &Reference) {
        if reference.is_closing() || reference.wants(child) {
            let is_later = |body: &&Body| body.child > child && State::ALIVE.contains(&body.state);
            let later = self.bodies.iter().filter(is_later).count();
            assert!(later == 0 || reference.stops_together(), "in reverse order, one at a time"); // P5
            assert!(
                reference.is_closing() || self.is_concerned(child, reference),
                "it needs nobody who ended"
            );
        }
        let life = self.moves(child, &[State::Up], State::Asked);
        assert_eq!(self.bodies[life].incarnation, incarnation);
        self.timers.push(Timer::Overdue(life));
    }

    fn finish(&mut self, reference: &Reference) {
        assert!(reference.is_closing());
        assert!(self.pick(0, &State::ALIVE).is_none(), "the supervisor goes last");
        assert!(reference.known().all(|child| self.down.contains(&child)), "nothing was said of somebody");
        self.finished = true;
    }

    /// Whoever is restarted ended itself, or goes along with one that did.
    fn is_concerned(&self, child: Id, reference: &Reference) -> bool {
        match reference.strategy() {
            Strategy::OneForOne => self.missed.contains(&child),
            Strategy::OneForAll => !self.missed.is_empty(),
            Strategy::RestForOne => self.missed.first().is_some_and(|first| *first <= child),
        }
    }

    fn moves(&mut self, child: Id, from: &[State], to: State) -> usize {
        let life = self.alive(child).expect("it does not live");
        assert!(from.contains(&self.bodies[life].state), "{:?} -> {to:?}", self.bodies[life].state);
        self.bodies[life].state = to;
        life
    }
}
