//! Whatever happens in whatever order: every action makes sense, nobody lives twice, and it always comes to
//! its end.

use proptest::{
    collection::vec,
    prelude::{Strategy as _, any, prop_assert, prop_oneof, proptest},
};

use super::*;

/// What a world may bring about; a child is picked among those it can happen to.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A child ends, also while it starts, or long after it was left behind.
    Exit(usize),
    /// A start succeeds.
    Start(usize),
    /// A wait is over, of whomever, also much too late.
    Timer(usize),
    /// An event of an earlier life.
    Stale(usize, u64),
    Passing(u64),
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Starting(u64),
    Up(u64),
    Stopping(u64),
    Killed(u64),
    LeftBehind(u64),
    None,
}

/// What carries out the actions; it fails as soon as one of them makes no sense.
struct World {
    scene: Scene,
    lives: Vec<Life>,
    /// The latest life of each.
    latest: Vec<u64>,
    timers: Vec<Event>,
    crashes: Vec<Instant>,
    closing: bool,
    finished: bool,
}

impl World {
    fn new(children: usize) -> Self {
        Self {
            scene: Scene::new(POLICY, children),
            lives: vec![Life::Up(1); children],
            latest: vec![1; children],
            timers: Vec::new(),
            crashes: Vec::new(),
            closing: false,
            finished: false,
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Exit(of) => self.exits(of % self.lives.len()),
            Happening::Start(of) => self.starts(of % self.lives.len()),
            Happening::Timer(of) if !self.timers.is_empty() => {
                let event = self.timers.remove(of % self.timers.len());
                self.tell(event);
            }
            Happening::Timer(_) => {}
            Happening::Stale(of, age) => {
                let at = of % self.lives.len();
                let (child, incarnation) = (at as Id, self.latest[at].saturating_sub(1 + age));
                let before = self.scene.whole();
                self.tell(exited(child, incarnation));
                self.tell(Event::Started { child, incarnation });
                assert_eq!(self.scene.whole(), before);
            }
            Happening::Passing(ms) => self.scene.now += Duration::from_millis(ms),
            Happening::Shutdown => {
                self.closing = true;
                self.tell(Event::Shutdown);
            }
        }
    }

    fn exits(&mut self, at: usize) {
        let child = at as Id;
        let (Life::Starting(incarnation)
        | Life::Up(incarnation)
        | Life::Stopping(incarnation)
        | Life::Killed(incarnation)
        | Life::LeftBehind(incarnation)) = self.lives[at]
        else {
            return;
        };
        self.lives[at] = Life::None;
        if self.closing {
            return self.tell(exited(child, incarnation));
        }
        let (now, within) = (self.scene.now, POLICY.within);
        self.crashes.push(now);
        let recent = self.crashes.iter().filter(|at| now - **at < within).count();
        let actions = self.scene.on(exited(child, incarnation));
        let gives_up = actions.contains(&Action::GiveUp { child });
        assert_eq!(gives_up, recent > POLICY.restarts, "{recent} crashes within the window"); // R1, R2
        self.carry_out(actions);
    }

    fn starts(&mut self, at: usize) {
        let child = at as Id;
        if let Life::Starting(incarnation) = self.lives[at] {
            self.lives[at] = Life::Up(incarnation);
            self.tell(Event::Started { child, incarnation });
        }
    }

    /// Did all children from this one on end, or were they given up?
    fn are_over(&self, from: usize) -> bool {
        self.lives[from..].iter().all(|life| matches!(life, Life::None | Life::LeftBehind(_)))
    }

    fn tell(&mut self, event: Event) {
        let actions = self.scene.on(event);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert!(!self.finished, "{action:?} after the end");
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::AwaitBackoff { child, incarnation, delay, .. } => {
                assert!(!self.closing && self.lives[at(child)] == Life::None);
                assert!(incarnation > self.latest[at(child)] && SECOND <= delay && delay <= 5 * SECOND);
                self.timers.push(Event::BackoffOver { child, incarnation });
            }
            Action::Start { child, incarnation } => {
                assert!(!self.closing, "nobody is started while all end"); // P4
                assert_eq!(self.lives[at(child)], Life::None, "nobody lives twice");
                assert!(incarnation > self.latest[at(child)], "no life returns");
                self.latest[at(child)] = incarnation;
                self.lives[at(child)] = Life::Starting(incarnation);
            }
            Action::Stop { child, incarnation } => {
                assert!(self.closing);
                assert_eq!(self.lives[at(child)], Life::Up(incarnation));
                assert!(self.are_over(at(child) + 1), "in reverse order");
                self.lives[at(child)] = Life::Stopping(incarnation);
                self.timers.push(Event::Overdue { child, incarnation });
            }
            Action::Kill { child, incarnation } => {
                assert_eq!(self.lives[at(child)], Life::Stopping(incarnation));
                self.lives[at(child)] = Life::Killed(incarnation);
                self.timers.push(Event::Overdue { child, incarnation });
            }
            Action::Abandon { child } => {
                let Life::Killed(incarnation) = self.lives[at(child)] else {
                    panic!("it was not even killed")
                };
                self.lives[at(child)] = Life::LeftBehind(incarnation);
            }
            Action::HoldBack { .. } | Action::StayDown { .. } | Action::Forget { .. } => {
                panic!("{action:?}: nobody here has a group, or goes without being stopped")
            }
            Action::GiveUp { child } => {
                assert!(!self.closing && self.lives[at(child)] == Life::None);
                self.closing = true;
            }
            Action::Finish => {
                assert!(self.closing);
                assert!(self.are_over(0), "the supervisor goes last");
                self.finished = true;
            }
        }
    }
}

fn at(child: Id) -> usize {
    child as usize
}

fn happening() -> impl proptest::strategy::Strategy<Value = Happening> {
    prop_oneof![
        6 => (0usize..5).prop_map(Happening::Exit),
        6 => (0usize..5).prop_map(Happening::Start),
        8 => any::<usize>().prop_map(Happening::Timer),
        2 => (0usize..5, 0u64..3).prop_map(|(of, age)| Happening::Stale(of, age)),
        8 => (0u64..40_000).prop_map(Happening::Passing),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_every_action_makes_sense_and_a_shutdown_comes_to_its_end(
        children in 1usize..5,
        before in vec(happening(), 0..60),
        after in vec(happening(), 0..10),
    ) {
        let mut world = World::new(children);
        before.into_iter().for_each(|happening| world.happens(happening)); // B20
        world.happens(Happening::Shutdown);
        after.into_iter().for_each(|happening| world.happens(happening));
        // At last every start succeeds and every life ends; what waits is over.
        for child in (0..children).rev() {
            world.starts(child);
            prop_assert!(!matches!(world.lives[child], Life::Up(_)), "nobody asked it to end");
            world.exits(child);
        }
        prop_assert!(world.finished);
        while !world.timers.is_empty() {
            world.happens(Happening::Timer(0));
        }
    }

    #[test]
    fn no_window_holds_more_restarts_than_allowed(
        crashes in vec((0u64..3, 0u64..40_000), 1..60),
    ) {
        let mut scene = Scene::new(POLICY, 3);
        let mut restarts: Vec<Instant> = Vec::new();
        for (child, pause) in crashes {
            scene.now += Duration::from_millis(pause);
            if !matches!(scene.exit(child)[..], [Action::AwaitBackoff { .. }]) {
                break;
            }
            restarts.push(scene.now);
            scene.backoff_over(child);
            scene.started(child);
        }
        for many in restarts.windows(POLICY.restarts + 1) {
            prop_assert!(many[POLICY.restarts] - many[0] >= POLICY.within); // R1
        }
    }
}
