//! Which requests fail, and what was counted.
//!
//! Plain state behind one lock that is never held across an await. What a fault does is not known here.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize, Serializer};

use super::fault::Fault;

/// Which of the coming requests fail with the fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// None.
    Never,
    /// All.
    Always(#[serde(serialize_with = "as_text")] Fault),
    /// The next few.
    Next {
        /// With what.
        #[serde(serialize_with = "as_text")]
        fault: Fault,
        /// How many are still to fail.
        left: u32,
    },
    /// The first few of every so many.
    OfEvery {
        /// With what.
        #[serde(serialize_with = "as_text")]
        fault: Fault,
        /// How many fail.
        first: u32,
        /// Of how many.
        every: u32,
        /// How many have come since the plan was made.
        seen: u32,
    },
}

/// A plan as it is asked for over the control endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanRequest {
    fault: String,
    next: Option<u32>,
    first: Option<u32>,
    every: Option<u32>,
}

impl TryFrom<PlanRequest> for Plan {
    type Error = String;

    fn try_from(asked: PlanRequest) -> Result<Self, String> {
        let fault: Fault = asked.fault.parse().map_err(|e: super::UnknownFault| e.to_string())?;
        match (asked.next, asked.first, asked.every) {
            (None, None, None) => Ok(Self::Always(fault)),
            (Some(left), None, None) => Ok(Self::Next { fault, left }),
            (None, Some(first), Some(every)) if every > 0 => {
                Ok(Self::OfEvery { fault, first, every, seen: 0 })
            }
            _ => Err("give `fault` alone, or with `next`, or with `first` and `every` (at least 1)".into()),
        }
    }
}

impl Plan {
    /// What the next request fails with.
    fn draw(&mut self) -> Option<Fault> {
        match self {
            Self::Never => None,
            Self::Always(fault) => Some(fault.clone()),
            Self::Next { left: 0, .. } => None,
            Self::Next { fault, left } => {
                *left -= 1;
                Some(fault.clone())
            }
            Self::OfEvery { fault, first, every, seen } => {
                let position = *seen % (*every).max(1);
                *seen = position + 1;
                (position < *first).then(|| fault.clone())
            }
        }
    }
}

fn as_text<S: Serializer>(fault: &Fault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(fault)
}

/// What has happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections taken.
    pub connections: u64,
    /// Requests taken, of every API.
    pub requests: u64,
    /// Those whose answer is not over.
    pub in_progress: u64,
    /// Those whose caller went away before the answer was over.
    pub aborted: u64,
    /// Those that failed on purpose, by the fault's word.
    pub faults: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    counts: Counts,
}

/// The plan and the counts of one server.
#[derive(Debug)]
pub(super) struct Book(Mutex<State>);

impl Book {
    pub(super) fn new(plan: Plan) -> Self {
        Self(Mutex::new(State { plan, counts: Counts::default() }))
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    pub(super) fn plan(&self) -> Plan {
        self.state().plan.clone()
    }

    pub(super) fn set_plan(&self, plan: Plan) {
        self.state().plan = plan;
    }

    pub(super) fn connected(&self) {
        self.state().counts.connections += 1;
    }

    /// Counts a request that has come; its number, from 1.
    pub(super) fn begin(&self) -> u64 {
        let counts = &mut self.state().counts;
        counts.requests += 1;
        counts.in_progress += 1;
        counts.requests
    }

    /// What a request fails with: what it asks for itself, else what the plan says.
    pub(super) fn draw(&self, asked: Option<Fault>) -> Option<Fault> {
        let mut state = self.state();
        let fault = asked.or_else(|| state.plan.draw())?;
        *state.counts.faults.entry(fault.name()).or_default() += 1;
        Some(fault)
    }

    pub(super) fn end(&self, aborted: bool) {
        let counts = &mut self.state().counts;
        counts.in_progress -= 1;
        counts.aborted += u64::from(aborted);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Result<Plan, String> {
        serde_json::from_str::<PlanRequest>(json).map_err(|e| e.to_string())?.try_into()
    }

    fn drawn(json: &str) -> String {
        let book = Book::new(asked(json).unwrap());
        (0..8).map(|_| if book.draw(None).is_some() { 'x' } else { '.' }).collect()
    }

    #[test]
    fn each_plan_fails_the_requests_it_names() {
        assert_eq!(drawn(r#"{"fault":"hang"}"#), "xxxxxxxx");
        assert_eq!(drawn(r#"{"fault":"hang","next":3}"#), "xxx.....");
        assert_eq!(drawn(r#"{"fault":"hang","first":1,"every":3}"#), "x..x..x.");
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused() {
        for json in [
            r#"{"fault":"hung"}"#,
            r#"{"fault":"hang","first":1}"#,
            r#"{"fault":"hang","first":1,"every":0}"#,
            r#"{"fault":"hang","next":1,"every":2,"first":1}"#,
            r#"{"fault":"hang","nxt":1}"#,
        ] {
            assert!(asked(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_request_s_own_fault_leaves_the_plan_alone() {
        let book = Book::new(Plan::Next { fault: Fault::Hang, left: 1 });
        assert_eq!(book.draw(Some(Fault::Empty)), Some(Fault::Empty));
        assert_eq!(book.draw(None), Some(Fault::Hang));
        assert_eq!(book.counts().faults, BTreeMap::from([("empty", 1), ("hang", 1)]));
    }
}
