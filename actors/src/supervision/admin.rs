//! What an operator or a host can ask of a supervisor: to start, end, revive and delete children by name.
//!
//! Reading needs no actor: what there is stands in the published tree. The supervisor's own answers come when
//! the work is done, and never hold it up.

use std::{sync::Arc, time::Duration};

use super::{
    child::ChildSpec,
    policy::{AutoShutdown, Restart, RestartPolicy},
    slot::{CallError, Handle, Patience},
    supervisor::{ChildNews, News},
    tree::{Node, TreeSnapshot},
};
use crate::shell::Exit;

/// How long an operator waits: longer than any ordinary start or end.
const PATIENCE: Duration = Duration::from_secs(300);

/// A supervisor's children, to look at and to change.
#[derive(Clone)]
pub struct Children {
    supervisor: Handle<ChildNews>,
    node: Arc<Node>,
}

/// Why a supervisor did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// A child of that name runs, or will run again.
    #[error("child `{0}` is started already: choose another name")]
    AlreadyStarted(String),
    /// A child of that name is known and down.
    #[error("child `{0}` is known and down: restart or delete it")]
    AlreadyPresent(String),
    /// Nobody of that name.
    #[error("there is no child `{0}`")]
    NotFound(String),
    /// It runs.
    #[error("child `{0}` runs: terminate it first")]
    Running(String),
    /// It waits for its next life.
    #[error("child `{0}` is being restarted: terminate it first, or wait")]
    Restarting(String),
    /// It did not start.
    #[error("it did not start: {0}")]
    Failed(Exit),
    /// The spec makes no sense.
    #[error(transparent)]
    BadSpec(#[from] BadSpec),
    /// The supervisor is on its way to its end.
    #[error("the supervisor is shutting down")]
    ShuttingDown,
    /// The supervisor did not answer.
    #[error("the supervisor did not answer: {0}")]
    Unanswered(CallError),
}

/// A spec that makes no sense; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct BadSpec {
    /// Whose spec.
    pub place: String,
    /// What is wrong, and what would be right.
    pub problem: &'static str,
}

pub(super) enum Order {
    Start(Box<ChildSpec>),
    Terminate(String),
    Restart(String),
    Delete(String),
    Hire(String),
    Dismiss(String),
}

impl Children {
    pub(super) fn new(supervisor: Handle<ChildNews>, node: Arc<Node>) -> Self {
        Self { supervisor, node }
    }

    /// Adds a child after all others and starts it, for the supervisor's present life. If it fails to start,
    /// nothing of it stays.
    pub async fn start(&self, spec: ChildSpec) -> Result<(), AdminError> {
        self.ask(Order::Start(Box::new(spec))).await
    }

    /// The same, for further lives of the supervisor too.
    pub async fn hire(&self, spec: ChildSpec) -> Result<(), AdminError> {
        let name = spec.name().to_string();
        self.start(spec).await?;
        self.ask(Order::Hire(name)).await
    }

    /// Ends a child and forgets it; no further life of the supervisor has it again.
    pub async fn dismiss(&self, name: &str) -> Result<(), AdminError> {
        self.terminate(name).await?;
        match self.ask(Order::Dismiss(name.into())).await {
            // A temporary one is forgotten when it has ended.
            Err(AdminError::NotFound(_)) => Ok(()),
            dismissed => dismissed,
        }
    }

    /// Ends a child, or its wait for a next life; it stays down until it is restarted. A temporary one is
    /// forgotten. One that is down already stays so.
    pub async fn terminate(&self, name: &str) -> Result<(), AdminError> {
        self.ask(Order::Terminate(name.into())).await
    }

    /// Starts a child that is down. If it fails to start, it stays down.
    pub async fn restart(&self, name: &str) -> Result<(), AdminError> {
        self.ask(Order::Restart(name.into())).await
    }

    /// Forgets a child that is down.
    pub async fn delete(&self, name: &str) -> Result<(), AdminError> {
        self.ask(Order::Delete(name.into())).await
    }

    /// The supervisor and its children, in start order, as they are now.
    pub fn snapshot(&self) -> TreeSnapshot {
        self.node.snapshot()
    }

    /// The supervisor's address, for supervision scenarios.
    pub fn supervisor(&self) -> &Handle<ChildNews> {
        &self.supervisor
    }

    async fn ask(&self, order: Order) -> Result<(), AdminError> {
        let asked =
            self.supervisor.call(|answer| ChildNews(News::Asked(order, answer)), PATIENCE, Patience::Wait);
        asked.await.unwrap_or_else(|error| Err(AdminError::Unanswered(error)))
    }
}

impl BadSpec {
    /// Of a supervisor and those it is made with.
    pub(super) fn check_all(path: &str, policy: &RestartPolicy, children: &[ChildSpec]) -> Result<(), Self> {
        policy.check().map_err(|problem| Self { place: path.into(), problem })?;
        children.iter().try_for_each(|child| Self::check(path, policy, child))?;
        Self::check_names(children)
    }

    /// Of one child that a supervisor is given.
    pub(super) fn check(above: &str, policy: &RestartPolicy, spec: &ChildSpec) -> Result<(), Self> {
        let bad = |problem| Self { place: spec.path().to_string(), problem };
        match spec.path().rsplit_once('/') {
            Some((_, "")) => return Err(bad("a child needs a name")),
            Some((place, _)) if place == above => {}
            _ => return Err(bad("its path must be that of its supervisor, a `/` and its name")),
        }
        if spec.role.significant && policy.auto_shutdown == AutoShutdown::Never {
            return Err(bad("it is significant, but its supervisor's `auto_shutdown` is never"));
        }
        if spec.role.significant && spec.role.restart == Restart::Permanent {
            return Err(bad("a permanent child never ends by itself, so it cannot be significant"));
        }
        match [spec.hang_after, spec.answer_within].contains(&Some(Duration::ZERO)) {
            true => Err(bad("`hang_after` and `answer_within` must be longer than 0")),
            false => Ok(()),
        }
    }

    fn check_names(children: &[ChildSpec]) -> Result<(), Self> {
        let mut names: Vec<_> = children.iter().map(|child| child.name()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(Self { place: twice[0].into(), problem: "two children have this name" }),
            None => Ok(()),
        }
    }
}
