//! What becomes of a member that the other dialect has no place for: a line in the notice, or a refusal.
//!
//! Each dialect has its tables beside its reader. What stands in no table is new to us; it is named as
//! `unknown_members` and left out, because refusing all that is new would make failing over a matter of luck.

use super::json::Fault;

/// Stands in the notice for members that no table knows.
pub(super) const UNKNOWN: &str = "unknown_members";

/// A member without a counterpart.
pub(super) struct Loss {
    pub(super) member: &'static str,
    /// Values that say nothing else than leaving the member out.
    pub(super) harmless: &'static [&'static str],
    pub(super) refused: bool,
}

/// It may be left out, with notice.
pub(super) const fn dropped(member: &'static str, harmless: &'static [&'static str]) -> Loss {
    Loss { member, harmless, refused: false }
}

/// Without it the answer would not be what was asked for.
pub(super) const fn refused(member: &'static str, harmless: &'static [&'static str]) -> Loss {
    Loss { member, harmless, refused: true }
}

/// What was left out so far, in a word each.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<&'static str>);

impl Notes {
    pub(super) fn lacks(&mut self, word: &'static str) {
        if !self.0.contains(&word) {
            self.0.push(word);
        }
    }

    pub(super) fn judge(&mut self, member: &str, value: &str, losses: &[Loss]) -> Result<(), Fault> {
        match losses.iter().find(|loss| loss.member == member) {
            Some(loss) if loss.harmless.contains(&value) => {}
            Some(loss) if loss.refused => return Err(Fault::unsupported(format!("`{}`", loss.member))),
            Some(loss) => self.lacks(loss.member),
            None => self.lacks(UNKNOWN),
        }
        Ok(())
    }

    pub(super) fn into_words(self) -> Vec<&'static str> {
        self.0
    }
}
