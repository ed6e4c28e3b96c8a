//! Where a provider is: checked once, so that no key leaves for a place it must not reach.

use std::net::IpAddr;

use http::Uri;
use url::Url;

use super::wire::BadProvider;

/// Says what is wrong with a `base_url` that cannot be used.
pub(crate) fn check(base_url: &str, with_key: bool) -> Result<(), BadProvider> {
    route(&base(base_url, with_key)?, "models").map(|_| ())
}

/// The address that routes are added to.
///
/// A key is never sent unencrypted to another machine: with one, `http` goes to loopback addresses only.
pub(super) fn base(base_url: &str, with_key: bool) -> Result<Url, BadProvider> {
    let url = Url::parse(base_url).map_err(|e| BadProvider::new(format!("base_url is not a URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadProvider::new("base_url must begin with https:// or http://"));
    }
    // Said without quoting it: what stands there may be a key.
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(BadProvider::new(
            "base_url must hold no credentials, query or fragment; set the key apart",
        ));
    }
    if with_key && url.scheme() == "http" && !is_loopback(&url) {
        return Err(BadProvider::new(
            "base_url: an API key must not be sent over plain http to another machine; use https",
        ));
    }
    Ok(url)
}

/// The address of one API below `base`.
pub(super) fn route(base: &Url, name: &str) -> Result<Uri, BadProvider> {
    let mut url = base.clone();
    url.set_path(&format!("{}/{name}", base.path().trim_end_matches('/')));
    url.as_str().parse().map_err(|_| BadProvider::new("base_url holds characters that no request can carry"))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
