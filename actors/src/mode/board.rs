//! Where everybody with a health keeps a row.
//!
//! A row says how a component is now, not what happened; writing it twice changes nothing. Its [`Reporter`]
//! outlives the component's lives, so the last word of one life stands until the next one speaks. Memory is
//! bounded by the components, never by the reports. Judging the rows is not done here.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{ports::Clock, supervision::Handle};

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Well.
    Ok,
    /// It works, but not as it should.
    Degraded,
    /// It does not work.
    Failed,
}

/// Whose trouble a component's failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// The system's own: it cannot do without this component.
    Own,
    /// A group's, whose members stand in for each other: the system cannot do without the last of them.
    OneOf(&'static str),
}

/// One component's health in one respect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub component: Arc<str>,
    /// In which respect.
    pub cause: &'static str,
    /// Whose trouble it is.
    pub concern: Concern,
    /// How it is.
    pub health: Health,
    /// Why, in one sentence.
    pub text: Arc<str>,
    /// Since when it is like that, since the Unix epoch.
    pub since: Duration,
    /// When it may be over, since the Unix epoch.
    pub expected_until: Option<Duration>,
}

impl Row {
    /// Does it matter that it is there? One that is well stands for itself only, unless it stands in for others.
    fn counts(&self) -> bool {
        self.health != Health::Ok || self.concern != Concern::Own
    }
}

/// Tells the mode manager to look at the board.
#[derive(Clone, Copy, Debug)]
pub struct Look;

/// All rows, in order of component and cause.
#[derive(Clone)]
pub struct HealthBoard(Arc<Inner>);

type Key = (Arc<str>, &'static str);
type Rows = BTreeMap<Key, Row>;

struct Inner {
    clock: Arc<dyn Clock>,
    rows: Mutex<Rows>,
    looking: AtomicBool,
    manager: OnceLock<Handle<Look>>,
}

/// The pen of one row. Dropping it takes the row off the board.
pub struct Reporter {
    board: HealthBoard,
    key: Key,
}

impl HealthBoard {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            clock,
            rows: Mutex::default(),
            looking: AtomicBool::new(false),
            manager: OnceLock::new(),
        }))
    }

    pub(crate) fn tell_manager_at(&self, manager: Handle<Look>) {
        let _ = self.0.manager.set(manager);
    }

    /// Where the manager is, once there is one.
    pub fn manager(&self) -> Option<&Handle<Look>> {
        self.0.manager.get()
    }

    /// Puts a row on the board, well until reported otherwise. One reporter a row: a second one would take it
    /// along when it is dropped.
    pub fn reporter(&self, component: &Arc<str>, cause: &'static str, concern: Concern) -> Reporter {
        let key = (component.clone(), cause);
        let row = Row {
            component: component.clone(),
            cause,
            concern,
            health: Health::Ok,
            text: "".into(),
            since: self.0.clock.unix_time(),
            expected_until: None,
        };
        let counts = row.counts();
        self.rows_mut().insert(key.clone(), row);
        if counts {
            self.nudge();
        }
        Reporter { board: self.clone(), key }
    }

    /// The rows that count; reports made after this call lead to another look.
    pub(crate) fn look(&self) -> Vec<Row> {
        self.0.looking.store(false, Ordering::SeqCst);
        self.rows_mut().values().filter(|row| row.counts()).cloned().collect()
    }

    /// All rows.
    pub fn rows(&self) -> Vec<Row> {
        self.rows_mut().values().cloned().collect()
    }

    fn rows_mut(&self) -> MutexGuard<'_, Rows> {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look covers all reports made before it, so at most one waits in the manager's mailbox. A manager
    /// that is down looks when it starts.
    fn nudge(&self) {
        if self.0.looking.swap(true, Ordering::SeqCst) {
            return;
        }
        let told = self.manager().is_some_and(|manager| manager.tell(Look).is_ok());
        if !told {
            self.0.looking.store(false, Ordering::SeqCst);
        }
    }
}

impl Reporter {
    /// Says how the component is now.
    pub fn report(&self, health: Health, text: &str, expected_until: Option<Duration>) {
        {
            let mut rows = self.board.rows_mut();
            let Some(row) = rows.get_mut(&self.key) else { return };
            if row.health == health && *row.text == *text && row.expected_until == expected_until {
                return;
            }
            if row.health != health {
                row.since = self.board.0.clock.unix_time();
            }
            row.health = health;
            row.text = text.into();
            row.expected_until = expected_until;
        }
        self.board.nudge();
    }

    /// Says that all is well.
    pub fn clear(&self) {
        self.report(Health::Ok, "", None);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let row = self.board.rows_mut().remove(&self.key);
        if row.is_some_and(|row| row.counts()) {
            self.board.nudge();
        }
    }
}
