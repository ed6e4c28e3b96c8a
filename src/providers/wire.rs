//! Whose fault it is when the wire fails.
//!
//! Failures only: what a server answers is judged in [`errors`](super::errors).

use std::{error::Error, io};

use hyper_util::client::legacy;
use mainstay_actors::error::{ErrorKind, ProviderError};

use super::redact::Redactor;

/// A provider's settings that cannot work; says what to change.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadProvider(String);

impl BadProvider {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// Why the wire failed, and whose fault that is.
pub(super) fn broken(error: &(dyn Error + 'static), secrets: &Redactor) -> ProviderError {
    // None of these names an address, which would say more about the set-up than a client should read.
    let story: Vec<_> = causes(error).map(ToString::to_string).collect();
    ProviderError::new(kind_of(error), secrets.line(&story.join(": ")))
}

fn kind_of(error: &(dyn Error + 'static)) -> ErrorKind {
    let connecting = error.downcast_ref().is_some_and(legacy::Error::is_connect);
    if is_local(error) {
        ErrorKind::Local
    } else if connecting && is_late(error) {
        ErrorKind::ConnectTimeout
    } else if connecting {
        ErrorKind::Connect
    } else if causes(error).filter_map(|e| e.downcast_ref()).any(hyper::Error::is_parse) {
        ErrorKind::Malformed
    } else {
        ErrorKind::Reset
    }
}

/// Is it this machine that ran out of something?
fn is_local(error: &(dyn Error + 'static)) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    io_errors(error).filter_map(io::Error::raw_os_error).any(|code| matches!(code, ENOMEM | ENFILE | EMFILE))
}

fn is_late(error: &(dyn Error + 'static)) -> bool {
    io_errors(error).any(|error| error.kind() == io::ErrorKind::TimedOut)
}

fn io_errors<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a io::Error> {
    causes(error).filter_map(|error| error.downcast_ref())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, vec};

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper_util::{
        client::legacy::{Client, connect::HttpConnector},
        rt::TokioExecutor,
    };
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn a_machine_out_of_descriptors_does_not_blame_the_provider() {
        let out = service_fn(async |_| Err::<vec::IntoIter<SocketAddr>, _>(io::Error::from_raw_os_error(24)));
        let tcp = HttpConnector::new_with_resolver(out);
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(tcp);
        let error = client.get("http://localhost:1/v1".parse().unwrap()).await.unwrap_err();
        assert_eq!(broken(&error, &Redactor::default()).kind, ErrorKind::Local); // PC5
    }
}
