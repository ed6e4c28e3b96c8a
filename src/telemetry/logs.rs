//! Log lines to standard error, formatted off the request path.
//!
//! A writer thread does the writing; when it cannot keep up, lines are dropped and never waited for.

use std::io;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

/// Lines that may wait for the writer; about 2 MB.
const WAITING: usize = 8192;

/// Why nothing is logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("`log.filter` is `{0}`, which is not a filter such as \"info\" or \"info,mainstay=debug\": {1}")]
    Filter(String, String),
    /// Somebody else logs already.
    #[error("logs are set up already: {0}")]
    Taken(String),
}

/// Installs the subscriber of this process. Lines are written until the guard is dropped.
pub fn init(config: &LogConfig) -> Result<WorkerGuard, LogError> {
    let filter = filter(&config.filter)?;
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING).finish(io::stderr());
    let lines = fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter);
    let installed = match config.format {
        LogFormat::Text => registry.with(lines.with_ansi(is_terminal())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    installed.map(|()| guard).map_err(|error| LogError::Taken(error.to_string()))
}

/// Reads a filter; says what is wrong with one that is none.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let read = EnvFilter::builder().parse(text);
    read.map_err(|error| LogError::Filter(text.into(), error.to_string()))
}

fn is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_named() {
        let config = LogConfig { filter: "mainstay=loud".into(), ..LogConfig::default() };
        let error = init(&config).err().unwrap().to_string();
        assert!(error.contains("`mainstay=loud`"), "{error}");
    }
}
