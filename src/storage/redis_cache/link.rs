//! One connection, made behind the calls and made anew when it is lost.
//!
//! Only the first call waits for a connection; while a lost one is remade, calls fail at once. A call that is dropped
//! at its deadline harms nobody: answers belong to calls by their order, and one that nobody waits for is thrown away.
//! A server that hangs closes no connection, so one over which calls waited for long without any answer counts as lost.
//! Nothing is sent twice.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mainstay_actors::ports::StoreError;
use redis::{Pipeline, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use super::address::{Address, Line, advice, refusal};

/// How long a connection may take to come up, names, TLS and login included.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a call waits whose caller has no deadline, or a longer one.
const ANSWER: Duration = Duration::from_secs(3);
/// A connection is lost when calls have waited for so long in all since its last answer.
const SILENCE: Duration = Duration::from_millis(250);
/// Between two attempts to connect: at first, and at most, each pause being twice the last one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// A way to a Redis.
pub(super) struct Link {
    address: Arc<Address>,
    state: Arc<watch::Sender<State>>,
    keeper: Mutex<Option<AbortHandle>>,
}

#[derive(Clone)]
enum State {
    Untried,
    Up(Arc<Up>),
    Down(StoreError),
}

struct Up {
    connection: MultiplexedConnection,
    silence: Mutex<Silence>,
    lost: Notify,
}

/// How long calls waited since the last answer. Those that wait together wait once, and time without any call is
/// no silence.
struct Silence {
    until: Instant,
    waited: Duration,
}

impl Link {
    /// Connects when it is first asked something.
    pub(super) fn new(address: Address) -> Self {
        let state = Arc::new(watch::Sender::new(State::Untried));
        Self { address: Arc::new(address), state, keeper: Mutex::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends these commands at once; gives the answer to each, which may be an error.
    pub(super) async fn ask(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let up = self.up().await?;
        let waiting = Waiting::over(&up);
        let mut connection = up.connection.clone();
        let answers = connection.send_packed_commands(commands, 0, commands.len());
        let Ok(answers) = timeout(ANSWER, answers).await else {
            return Err(self.failed(format!("gave no answer within {ANSWER:?}: is it overloaded?")));
        };
        let answers = answers.map_err(|error| self.failed(advice(&error)))?;
        waiting.answered();
        Ok(answers)
    }

    /// Like `ask`, where any error that the server answers with is ours.
    pub(super) async fn done(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let answers = self.ask(commands).await?;
        let refused = answers.iter().find_map(|answer| match answer {
            Value::ServerError(error) => Some(self.failed(refusal(error.code()))),
            _ => None,
        });
        refused.map_or(Ok(answers), Err)
    }

    pub(super) fn failed(&self, problem: impl Into<String>) -> StoreError {
        self.address.failed(problem)
    }

    async fn up(&self) -> Result<Arc<Up>, StoreError> {
        self.keep();
        let mut changes = self.state.subscribe();
        let known = changes.wait_for(|state| !matches!(state, State::Untried)).await;
        match known.as_deref() {
            Ok(State::Up(up)) => Ok(up.clone()),
            Ok(State::Down(error)) => Err(error.clone()),
            _ => Err(self.failed("is not connected yet")),
        }
    }

    /// Sees to it that somebody keeps the connection.
    fn keep(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.as_ref().is_none_or(AbortHandle::is_finished) {
            let keeping = tokio::spawn(keep(self.address.clone(), self.state.clone()));
            *keeper = Some(keeping.abort_handle());
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        keeper.take().inspect(AbortHandle::abort);
    }
}

/// Keeps one connection up, for ever.
async fn keep(address: Arc<Address>, state: Arc<watch::Sender<State>>) {
    let mut pause = PAUSES.0;
    loop {
        let line = timeout(CONNECT, address.connect()).await;
        let line = line.unwrap_or_else(|_| Err(address.failed(format!("did not answer within {CONNECT:?}"))));
        let problem = match line {
            Ok(line) => {
                pause = PAUSES.0;
                serve(line, &state).await;
                address.failed("the connection was lost: a new one is being made")
            }
            Err(error) => error,
        };
        tracing::debug!(%problem, "not connected");
        state.send_replace(State::Down(problem));
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Moves the bytes of a connection until it is lost.
async fn serve((connection, driver): Line, state: &watch::Sender<State>) {
    let up = Arc::new(Up { connection, silence: Mutex::new(Silence::broken()), lost: Notify::new() });
    state.send_replace(State::Up(up.clone()));
    tokio::select! {
        biased;
        () = driver => {}
        () = up.lost.notified() => {}
    }
}

impl Silence {
    fn broken() -> Self {
        Self { until: Instant::now(), waited: Duration::ZERO }
    }

    fn kept_since(&mut self, start: Instant) {
        let now = Instant::now();
        self.waited += now - start.max(self.until);
        self.until = now;
    }
}

impl Up {
    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in progress. Dropped before it is answered, it counts against the connection.
struct Waiting<'a> {
    up: &'a Up,
    since: Instant,
    is_answered: bool,
}

impl<'a> Waiting<'a> {
    fn over(up: &'a Up) -> Self {
        Self { up, since: Instant::now(), is_answered: false }
    }

    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut silence = self.up.silence();
        if self.is_answered {
            *silence = Silence::broken();
            return;
        }
        silence.kept_since(self.since);
        if silence.waited >= SILENCE {
            self.up.lost.notify_one();
        }
    }
}
