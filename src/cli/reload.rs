//! SIGHUP, or an order over the admin API: the configuration file is read again.
//!
//! A file that is wrong changes nothing and ends nothing: it is told in the log and as an event, with all its
//! problems and their places.

use std::convert::Infallible;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ServeArgs, serve::configured};
use crate::{
    Config, ConfigError, Runtime,
    server::admin::{ReloadReply, ReloadRequests},
};

/// Everybody who may ask for it.
pub(super) struct Asked {
    hangups: Option<Signal>,
    requests: ReloadRequests,
}

impl Asked {
    /// From here on SIGHUP does not end the process.
    pub(super) fn new(requests: ReloadRequests) -> Self {
        let caught = signal(SignalKind::hangup());
        let hangups = caught.inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be caught")).ok();
        Self { hangups, requests }
    }

    /// Waits until somebody asks; where the answer goes, if it goes anywhere.
    async fn next(&mut self) -> Option<ReloadReply> {
        let Self { hangups, requests } = self;
        let hangup = async {
            let heard = match hangups {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if heard.is_none() {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = hangup => None,
            reply = requests.next() => Some(reply),
        }
    }
}

/// Reads the file again whenever it is asked for. Dropping this at any time leaves a whole configuration, old or
/// new.
pub(super) async fn when_asked(runtime: &mut Runtime, args: &ServeArgs, asked: &mut Asked) -> Infallible {
    loop {
        let reply = asked.next().await;
        let done = match read(args.clone()).await {
            Ok(config) => runtime.reload(config).await,
            Err(error) => Err(runtime.reject(error.into())),
        };
        // The runtime has told everybody; whoever asked over HTTP may have left.
        if let Some(reply) = reply {
            let _ = reply.send(done);
        }
    }
}

/// A file on a disk that hangs holds nobody up but the reading itself.
async fn read(args: ServeArgs) -> Result<Config, ConfigError> {
    if args.config.is_none() {
        let problem = "there is no configuration file to read again: start with --config";
        return Err(ConfigError::one(problem.into()));
    }
    let reading = tokio::task::spawn_blocking(move || configured(args));
    reading
        .await
        .unwrap_or_else(|_| Err(ConfigError::one("reading it panicked: report this as a bug".into())))
}
