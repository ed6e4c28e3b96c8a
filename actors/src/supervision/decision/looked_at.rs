//! Counts how often a child is looked at, in tests only: that is what a decision costs, on any machine.

use std::ops::{Deref, DerefMut};

/// Something that costs a look.
#[derive(Debug)]
pub(super) struct LookedAt<T>(pub(super) T);

impl<T> Deref for LookedAt<T> {
    type Target = T;

    fn deref(&self) -> &T {
        #[cfg(test)]
        count::one();
        &self.0
    }
}

impl<T> DerefMut for LookedAt<T> {
    fn deref_mut(&mut self) -> &mut T {
        #[cfg(test)]
        count::one();
        &mut self.0
    }
}

#[cfg(test)]
pub(super) mod count {
    use std::cell::Cell;

    thread_local! {
        static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn one() {
        LOOKS.set(LOOKS.get() + 1);
    }

    /// How many looks `work` takes on this thread.
    pub(in crate::supervision::decision) fn during(work: impl FnOnce()) -> usize {
        let before = LOOKS.get();
        work();
        LOOKS.get() - before
    }
}
