//! A world around a supervisor: it lets things happen, tells of them, and has the answers carried out.
//!
//! Each decision is compared with the [`reference`](super::reference)'s. That one is told no old news; the
//! supervisor is, and has to notice by itself.

use super::{
    lives::{Body, Lives, State, Timer},
    reference::{Life, Reference, Wisher},
    *,
};

/// More steps than peace can take.
const LONG: usize = 1000;
const NOBODY: Id = 999;

pub(super) struct World {
    decision: Decision,
    reference: Reference,
    lives: Lives,
    now: Instant,
    chance: f64,
}

impl World {
    /// Over children that run, or skipped their start.
    pub(super) fn new(policy: RestartPolicy, children: &[(Role, bool)]) -> Self {
        let mut world = Self {
            decision: Decision::new(policy),
            reference: Reference::new(policy),
            lives: Lives::default(),
            now: SystemClock.now(),
            chance: 0.0,
        };
        children.iter().for_each(|(role, runs)| world.adopt(*role, *runs));
        world
    }

    fn adopt(&mut self, role: Role, runs: bool) {
        let up = runs.then_some(self.now);
        let child = self.decision.adopt(role, 1, up);
        self.reference.add(child, role, up.map(|_| Life::Up), self.now);
        match runs {
            true => self.lives.begin(child, 1, State::Up, false),
            false => self.lives.is_down(child),
        }
    }

    pub(super) fn happens(&mut self, happening: Happening) {
        let life = |pick, states: &[State]| self.lives.pick(pick, states);
        match happening {
            Happening::Starts(pick) => self.starts(life(pick, &[State::Starting])),
            Happening::Skips(pick) => self.ends(life(pick, &[State::Starting]), Ending::Skipped),
            Happening::Fails(pick) => self.ends(life(pick, &State::ALIVE), Ending::Abnormal),
            Happening::Ends(pick) => self.ends(life(pick, &[State::Up, State::Asked]), Ending::Normal),
            Happening::Hangs(pick) => self.hangs(life(pick, &State::ALIVE[1..])),
            Happening::Timer(pick) => self.rings(pick),
            Happening::OldNews(pick) => self.old_news(life(pick, &State::OVER)),
            Happening::Terminate(pick) => self.news(Event::Terminate { child: self.anybody(pick) }),
            Happening::Revive(pick) => self.news(Event::Revive { child: self.anybody(pick) }),
            Happening::Delete(pick) => self.delete(self.anybody(pick)),
            Happening::Add(role) => self.add(role),
            Happening::Passing(ms) => self.now += Duration::from_millis(ms),
            Happening::Peace => self.peace(),
            Happening::Shutdown => self.news(Event::Shutdown),
        }
    }

    fn anybody(&self, pick: usize) -> Id {
        let known: Vec<Id> = self.reference.known().chain([NOBODY]).collect();
        known[pick % known.len()]
    }

    fn starts(&mut self, life: Option<usize>) {
        let Some(body) = life.map(|life| &mut self.lives.bodies[life]) else { return };
        body.state = State::Up;
        let Body { child, incarnation, .. } = *body;
        self.news(Event::Started { child, incarnation });
    }

    fn ends(&mut self, life: Option<usize>, ending: Ending) {
        let Some(body) = life.map(|life| &mut self.lives.bodies[life]) else { return };
        body.state = State::Gone;
        let Body { child, incarnation, .. } = *body;
        self.news(Event::Exited { child, incarnation, ending });
    }

    fn hangs(&mut self, life: Option<usize>) {
        let Some(Body { child, incarnation, .. }) = life.map(|life| self.lives.bodies[life]) else { return };
        self.news(Event::Hung { child, incarnation });
    }

    fn rings(&mut self, pick: usize) {
        if self.lives.timers.is_empty() {
            return;
        }
        let timer = pick % self.lives.timers.len();
        match self.lives.timers.remove(timer) {
            Timer::Overdue(life) => {
                let Body { child, incarnation, state, .. } = self.lives.bodies[life];
                self.tell(Event::Overdue { child, incarnation }, State::ENDING.contains(&state));
            }
            Timer::Waited { wait, child, incarnation } => {
                let is_news = self.reference.waits(child) && self.lives.is_last_wait(child, wait);
                self.tell(Event::BackoffOver { child, incarnation }, is_news);
            }
        }
    }

    /// Whatever is still told of a life that is over leaves no trace.
    fn old_news(&mut self, life: Option<usize>) {
        let Some(Body { child, incarnation, .. }) = life.map(|life| self.lives.bodies[life]) else { return };
        let before = format!("{:?}", self.decision);
        for event in [
            Event::BackoffOver { child, incarnation },
            Event::Started { child, incarnation },
            Event::Hung { child, incarnation },
            Event::Overdue { child, incarnation },
            Event::Exited { child, incarnation, ending: Ending::Abnormal },
        ] {
            self.tell(event, false);
        }
        assert_eq!(format!("{:?}", self.decision), before); // R12
    }

    fn delete(&mut self, child: Id) {
        assert_eq!(self.decision.delete(child), self.reference.delete(child), "deleting {child}");
        self.agree();
    }

    fn add(&mut self, role: Role) {
        if self.reference.is_closing() {
            return;
        }
        let (child, action) = self.decision.add(role, 1);
        assert_eq!(action, Action::Start { child, incarnation: 1 });
        self.reference.add(child, role, Some(Life::Starting(Wisher::Adder)), self.now);
        self.lives.begin(child, 1, State::Starting, false);
        self.agree();
    }

    /// Nothing goes wrong any more: what was begun comes to its end, and then all is well.
    fn peace(&mut self) {
        for _ in 0..LONG {
            let wait = self.lives.timers.iter().position(|timer| matches!(timer, Timer::Waited { .. }));
            match (self.lives.pick(0, &[State::Starting]), self.lives.pick(0, &State::ENDING), wait) {
                (None, None, None) => break,
                (None, None, Some(wait)) => self.rings(wait),
                (None, ending, _) => self.ends(ending, Ending::Normal),
                (starting, ..) => self.starts(starting),
            }
        }
        match self.reference.is_closing() {
            true => assert!(self.lives.has_finished(), "it is closing and does not end"),
            false => assert!(self.reference.is_whole(), "somebody was left out: {:?}", self.decision),
        }
    }

    /// Whatever happened so far, a shutdown comes to its end, and nothing follows.
    pub(super) fn ends_well(mut self) {
        self.happens(Happening::Shutdown);
        self.peace();
        for pick in 0..self.lives.timers.len() + self.lives.bodies.len() {
            self.happens(Happening::Timer(pick));
            self.happens(Happening::OldNews(pick));
        }
    }

    fn news(&mut self, event: Event) {
        self.tell(event, true);
    }

    fn tell(&mut self, event: Event, is_news: bool) {
        self.chance = (self.chance + 0.37) % 1.0;
        let expected = if is_news { self.reference.on(event, self.now, self.chance) } else { vec![] };
        let actions = self.decision.on(event, self.now, self.chance);
        let unnumbered: Vec<Action> = actions.iter().copied().map(unnumbered).collect();
        assert_eq!(unnumbered, expected, "after {event:?}");
        self.lives.miss(self.reference.missing());
        actions.into_iter().for_each(|action| self.lives.carry_out(action, event, &self.reference));
        self.agree();
    }

    /// Both must say the same of everybody.
    fn agree(&mut self) {
        for child in self.reference.known().chain([NOBODY]) {
            assert_eq!(self.decision.standing(child), self.reference.standing(child), "child {child}");
        }
        assert_eq!(self.decision.is_closing(), self.reference.is_closing());
        if self.reference.is_whole() {
            self.lives.all_is_well();
        }
    }
}

/// The reference knows no numbers of lives; whether they are right is seen from what is taken for old news.
fn unnumbered(action: Action) -> Action {
    let incarnation = 0;
    match action {
        Action::AwaitBackoff { child, attempt, delay, .. } => {
            Action::AwaitBackoff { child, incarnation, attempt, delay }
        }
        Action::Start { child, .. } => Action::Start { child, incarnation },
        Action::Stop { child, .. } => Action::Stop { child, incarnation },
        Action::Kill { child, .. } => Action::Kill { child, incarnation },
        other => other,
    }
}
