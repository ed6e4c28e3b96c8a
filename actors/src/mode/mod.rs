//! How the system is: NORMAL, DEGRADED or EMERGENCY, and why.
//!
//! Whoever has a health writes a row on the [`board`]; the [`manager`] looks at all rows, lets the pure
//! [`rules`] judge them, and publishes a [`ModeSnapshot`] when the judgement differs from the last one. So a
//! missed or doubled report heals itself at the next look, and a restarted manager knows at once what its
//! predecessor knew.

pub mod board;
pub mod handle;
pub mod manager;
pub mod rules;

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

pub use handle::{ModeChange, ModeHandle};

/// How the whole system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Everything works.
    Normal,
    /// Calls are answered, but something is out or about to be.
    Degraded,
    /// What the system is for does not work.
    Emergency,
}

impl Mode {
    /// All modes, best first.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Degraded, Self::Emergency];

    /// Its name, as it stands in headers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Degraded => "DEGRADED",
            Self::Emergency => "EMERGENCY",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The mode at one moment, with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModeSnapshot {
    /// Grows with every published snapshot.
    pub epoch: u64,
    /// How the system is.
    pub mode: Mode,
    /// Since when it is in this mode, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// Why it is not NORMAL, most important first; one per component and cause.
    pub reasons: Vec<Reason>,
}

/// Why the system is not NORMAL.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// Who is not well.
    pub component: Arc<str>,
    /// Which of its troubles this is.
    pub cause: &'static str,
    /// One sentence for people.
    pub text: Arc<str>,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// When it may be over, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_until_unix_ms: Option<u64>,
}

impl ModeSnapshot {
    /// What a user should be told; nothing in NORMAL. Safe as the value of an HTTP header.
    pub fn notice(&self) -> Option<String> {
        let (first, more) = self.reasons.split_first()?;
        let more = match more.len() {
            0 => String::new(),
            n => format!(" (and {n} more: see /status.json)"),
        };
        let text = format!("{}: {}{more}", self.mode, first.text);
        Some(text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect())
    }
}

#[cfg(test)]
mod tests;
