//! SIGHUP: the configuration file is read again.
//!
//! A file that is wrong changes nothing and ends nothing: it is told in the log and as an event, with all its
//! problems and their places.

use std::convert::Infallible;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ServeArgs, serve::configured};
use crate::{Config, ConfigError, Runtime};

/// SIGHUP, which from here on does not end the process.
pub(super) struct Hangups(Option<Signal>);

impl Hangups {
    pub(super) fn catch() -> Self {
        let caught = signal(SignalKind::hangup());
        Self(caught.inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be caught")).ok())
    }

    async fn next(&mut self) {
        let heard = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if heard.is_none() {
            std::future::pending().await
        }
    }
}

/// Reads the file again at every signal. Dropping this at any time leaves a whole configuration, old or new.
pub(super) async fn at_hangups(runtime: &mut Runtime, args: &ServeArgs, hangups: &mut Hangups) -> Infallible {
    loop {
        hangups.next().await;
        if args.config.is_none() {
            tracing::warn!("SIGHUP: there is no configuration file to read again; start with --config");
            continue;
        }
        // What came of it is told by the runtime.
        let _ = match read(args.clone()).await {
            Ok(config) => runtime.reload(config).await,
            Err(error) => Err(runtime.reject(error.into())),
        };
    }
}

/// A file on a disk that hangs holds nobody up but the reading itself.
async fn read(args: ServeArgs) -> Result<Config, ConfigError> {
    let reading = tokio::task::spawn_blocking(move || configured(args));
    reading
        .await
        .unwrap_or_else(|_| Err(ConfigError::one("reading it panicked: report this as a bug".into())))
}
