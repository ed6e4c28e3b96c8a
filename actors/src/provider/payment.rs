//! Paying from a retry budget that many callers share.
//!
//! Who pays does so before it is known whether it will be admitted: a payment that is dropped goes back. How much
//! there is to spend is decided by [`budget`](super::budget); who pays, and to whom, by the callers.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::budget::{BudgetPolicy, RetryBudget, Withdrawal};

/// A budget that may be off, and then lends to everybody.
#[derive(Debug)]
pub struct SharedBudget(Mutex<Account>);

#[derive(Debug)]
struct Account {
    is_on: bool,
    budget: RetryBudget,
}

impl SharedBudget {
    /// `None`: it is off.
    pub fn new(policy: Option<BudgetPolicy>, now: Instant) -> Self {
        let budget = RetryBudget::new(policy.unwrap_or_default(), now);
        Self(Mutex::new(Account { is_on: policy.is_some(), budget }))
    }

    /// Puts other settings in force; what was earned stays.
    pub fn configure(&self, policy: Option<BudgetPolicy>) {
        let mut account = self.account();
        account.is_on = policy.is_some();
        account.budget.configure(policy.unwrap_or_default());
    }

    /// Earns a first attempt's share.
    pub fn earn(&self, now: Instant) {
        self.account().budget.deposit(now);
    }

    /// Pays for an extra attempt; nothing: there must be none.
    pub fn pay(&self, now: Instant) -> Option<Payment<'_>> {
        let Account { is_on, budget } = &mut *self.account();
        let withdrawal = if *is_on { Some(budget.withdraw(now)?) } else { None };
        Some(Payment { to: self, withdrawal })
    }

    /// How many extra attempts could be paid now; nothing, if as many as wanted.
    pub fn left(&self, now: Instant) -> Option<u64> {
        let Account { is_on, budget } = &mut *self.account();
        is_on.then(|| budget.left(now))
    }

    /// Held for a few additions at a time, and never across an await.
    fn account(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One extra attempt, paid. Unless it is [`spent`](Self::spend), it goes back.
#[must_use = "a payment that is dropped goes back"]
#[derive(Debug)]
pub struct Payment<'a> {
    to: &'a SharedBudget,
    withdrawal: Option<Withdrawal>,
}

impl Payment<'_> {
    /// The attempt is made.
    pub fn spend(mut self) {
        self.withdrawal = None;
    }
}

impl Drop for Payment<'_> {
    fn drop(&mut self) {
        if let Some(withdrawal) = self.withdrawal.take() {
            self.to.account().budget.give_back(withdrawal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn budget(policy: Option<BudgetPolicy>) -> (SharedBudget, Instant) {
        let now = crate::provider::agenda_tests::Agenda::<()>::new().now();
        (SharedBudget::new(policy, now), now)
    }

    #[test]
    fn what_is_not_spent_goes_back_whole() {
        let (budget, now) = budget(Some(BudgetPolicy::default()));
        for (deposits, left) in [(0, 3), (50, 5)] {
            (0..deposits).for_each(|_| budget.earn(now));
            assert_eq!(budget.left(now), Some(left));
            for taken in 1..=left {
                let paid: Vec<_> = (0..taken).map(|_| budget.pay(now).unwrap()).collect();
                assert_eq!(budget.left(now), Some(left - taken));
                drop(paid);
                assert_eq!(budget.left(now), Some(left), "after {taken}"); // PC15
            }
        }
        (0..5).for_each(|_| budget.pay(now).unwrap().spend());
        assert!(budget.pay(now).is_none());
        assert_eq!(budget.left(now), Some(0));
    }

    #[test]
    fn going_back_makes_nothing_of_nothing() {
        let policy = BudgetPolicy { burst: 1, ..BudgetPolicy::default() };
        let (budget, now) = budget(Some(policy));
        (0..20).for_each(|_| budget.earn(now));
        budget.pay(now).unwrap().spend();
        // The floor is empty by now: this is of the share alone, and goes back to it alone.
        drop(budget.pay(now));
        assert_eq!(budget.left(now), Some(1));
        budget.pay(now).unwrap().spend();
        assert!(budget.pay(now).is_none()); // PC15
    }

    #[test]
    fn what_comes_back_late_saves_up_no_more_than_the_burst() {
        let (budget, now) = budget(Some(BudgetPolicy::default()));
        let paid = budget.pay(now).unwrap();
        assert_eq!(budget.left(now + 60 * SECOND), Some(3));
        drop(paid);
        assert_eq!(budget.left(now + 60 * SECOND), Some(3)); // PC15
    }

    #[test]
    fn a_budget_that_is_off_pays_for_everything_and_learns_all_the_same() {
        let (budget, now) = budget(None);
        (0..1000).for_each(|_| budget.pay(now).unwrap().spend());
        assert_eq!(budget.left(now), None); // PC1
        (0..50).for_each(|_| budget.earn(now));
        budget.configure(Some(BudgetPolicy::default()));
        assert_eq!(budget.left(now), Some(5));
    }
}
