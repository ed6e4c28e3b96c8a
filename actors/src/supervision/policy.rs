//! The settings of supervision, with Erlang/OTP's words where OTP has one.
//!
//! What follows from them is decided in [`decision`](super::decision).

use std::time::Duration;

use serde::Serialize;

use crate::backoff::{Backoff, Jitter};

/// Who is restarted along with a child that crashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nobody.
    #[default]
    OneForOne,
    /// All its siblings: they cannot do without each other.
    OneForAll,
    /// The siblings that were started after it: they build on it.
    RestForOne,
}

/// Whether a child that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only if it ended otherwise than by itself in order: a crash, a kill.
    Transient,
    /// Never; its supervisor forgets it.
    Temporary,
}

/// Whether the end of significant children ends their supervisor in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoShutdown {
    /// No.
    #[default]
    Never,
    /// The end of any of them does.
    AnySignificant,
    /// The end of the last of them does.
    AllSignificant,
}

/// How a child is brought to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It is killed at its next await, without a chance to clean up.
    Brutal,
    /// It is asked to end in order, and killed when this time is over. Default 5 s.
    Within(Duration),
    /// It is asked, and has all the time it wants: for supervisors, whose children have limits of their own.
    Infinity,
}

impl Shutdown {
    /// How long a kill may take before its actor is taken to block its thread.
    pub(crate) const GRACE: Duration = Duration::from_secs(5);
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::Within(Duration::from_secs(5))
    }
}

/// How a supervisor treats its children, and how patient it is with them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestartPolicy {
    /// Who is restarted along with a child that crashed. Default one_for_one.
    pub strategy: Strategy,
    /// More restarts than this within `within` and the supervisor gives up: it stops its children, ends, and
    /// its own parent decides. A group that is restarted together counts once. Default 10.
    pub restarts: usize,
    /// The period the restarts are counted over. Default 60 s.
    pub within: Duration,
    /// How long a child stays down, by the number of restarts in a row. Default 100 ms, doubling to 10 s,
    /// ± 20 %.
    pub backoff: Backoff,
    /// A life of at least this length ends the row: the next restart is fast again. Default 10 s.
    pub reset_after: Duration,
    /// After this many restarts in a row without a healthy life between, a child is left down and the others
    /// go on; where siblings are restarted along, the supervisor gives up instead. Default: no limit but
    /// `restarts`.
    pub in_a_row: Option<u32>,
    /// Does the end of significant children end the supervisor? Default never.
    pub auto_shutdown: AutoShutdown,
    /// Are all children asked to end at the same time, not one after the other in reverse order of start? For
    /// many children that do not need each other. Default false.
    pub stop_together: bool,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        let backoff = Backoff {
            min: Duration::from_millis(100),
            max: Duration::from_secs(10),
            jitter: Jitter::Spread(0.2),
        };
        Self {
            strategy: Strategy::OneForOne,
            restarts: 10,
            within: Duration::from_secs(60),
            backoff,
            reset_after: Duration::from_secs(10),
            in_a_row: None,
            auto_shutdown: AutoShutdown::Never,
            stop_together: false,
        }
    }
}

impl RestartPolicy {
    /// Says which setting is out of its range, if one is.
    pub fn check(&self) -> Result<(), &'static str> {
        match (self.within, self.in_a_row) {
            (Duration::ZERO, _) => Err("`within` must be longer than 0"),
            (_, Some(0)) => Err("`in_a_row` must be at least 1"),
            _ => self.backoff.check(),
        }
    }
}
