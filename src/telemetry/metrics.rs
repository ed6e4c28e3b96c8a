//! What is measured, for Prometheus.
//!
//! Every metric has its line here; a test compares this list with the sources. Histograms have fixed buckets:
//! summaries cannot be added up over several processes.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// From a cache-like answer to the longest one allowed, about three to a decade.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// Installs the recorder of this process. Whoever holds the handle must let it do its upkeep now and then.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?;
    let handle = builder.install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    let count = Unit::Count;
    describe_counter!(
        "mainstay_calls_total",
        count,
        "Calls by chain and outcome: `ok`, or the kind of failure"
    );
    describe_counter!(
        "mainstay_attempts_total",
        count,
        "Attempts and refusals by provider and outcome: `ok`, or the kind of failure"
    );
    describe_histogram!(
        "mainstay_attempt_seconds",
        Unit::Seconds,
        "From the start of an attempt to its end, by provider"
    );
    describe_histogram!(
        "mainstay_first_token_seconds",
        Unit::Seconds,
        "Streams: from the start of an attempt to its first content, by provider"
    );
    describe_counter!(
        "mainstay_outcomes_dropped_total",
        count,
        "Outcomes that a provider's actor did not hear of, because it was down or overloaded"
    );
    describe_counter!(
        "mainstay_streams_interrupted_total",
        count,
        "Streams that broke off after their first content, by provider; their calls count as `ok`"
    );
    describe_counter!(
        "mainstay_probes_total",
        count,
        "Probes without a caller, by provider and outcome: `ok`, or the kind of failure"
    );
    describe_gauge!(
        "mainstay_breaker_state",
        count,
        "1 for the state that a provider's circuit is in; 0 for every state once the provider is gone"
    );
    describe_counter!("mainstay_breaker_transitions_total", count, "Changes of a provider's circuit");
    describe_counter!(
        "mainstay_config_reloads_total",
        count,
        "Configurations that were read while running, by result: `applied`, or `rejected`"
    );
    describe_gauge!("mainstay_mode", count, "1 for the mode that the system is in");
    describe_counter!("mainstay_mode_transitions_total", count, "Changes of the mode");
    describe_counter!("mainstay_actor_restarts_total", count, "Restarts by actor");
    describe_counter!(
        "mainstay_actors_abandoned_total",
        count,
        "Lives that block a thread, could not be killed and were replaced, by actor"
    );
    describe_counter!(
        "mainstay_late_news_total",
        count,
        "News of lives that were over already, by supervisor: they changed nothing"
    );
    describe_counter!(
        "mainstay_requests_expired_total",
        count,
        "Calls to actors that were skipped because nobody waited for the answer any more"
    );
    describe_counter!(
        "mainstay_subscriber_gaps_total",
        count,
        "Times that a slow subscriber missed something"
    );
    describe_counter!(
        "mainstay_runtime_blocked_total",
        count,
        "Times that nothing ran on the runtime because its threads were blocked"
    );
    describe_counter!(
        "mainstay_cache_lookups_total",
        count,
        "Calls that looked for a kept answer, by result: `hit`, `stale`, `if_error`, `joined` or `miss`"
    );
    describe_counter!(
        "mainstay_cache_saved_tokens_total",
        count,
        "Tokens that no provider had to read or write again, by direction"
    );
    describe_histogram!(
        "mainstay_cache_saved_seconds",
        Unit::Seconds,
        "How long a kept answer took to make, each time that it is given"
    );
    describe_counter!(
        "mainstay_cache_tier_total",
        count,
        "What happened at a tier, by event: `hits`, `misses`, `fills`, `evictions`, `expiries`, `errors`, `timeouts`, \
         `corrupt`, `dropped` or `skipped`"
    );
    describe_histogram!("mainstay_cache_lookup_seconds", Unit::Seconds, "Lookups at a tier below the memory");
    describe_gauge!("mainstay_cache_tier_up", count, "1 while a tier is asked, 0 while it is left out");
    describe_gauge!("mainstay_cache_entries", count, "Entries by tier");
    describe_gauge!("mainstay_cache_bytes", Unit::Bytes, "What the entries of a tier take");
    describe_gauge!("mainstay_cache_capacity_bytes", Unit::Bytes, "What the entries of a tier may take");
    describe_gauge!("mainstay_connections", count, "Open connections of clients and operators");
    describe_counter!("mainstay_accept_errors_total", count, "Connections that could not be accepted");
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    fn names(dir: &Path, found: &mut BTreeSet<String>, of: impl Fn(&str) -> Vec<String> + Copy) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names(&path, found, of);
            } else if !path.ends_with("telemetry/metrics.rs") {
                found.extend(of(&fs::read_to_string(path).unwrap()));
            }
        }
    }

    fn quoted_after(text: &str, words: &[&str]) -> Vec<String> {
        let flat: String = text.split_whitespace().collect();
        let after =
            words.iter().flat_map(|word| flat.split(word).skip(1).map(String::from).collect::<Vec<_>>());
        after.filter_map(|rest| Some(rest.strip_prefix('"')?.split('"').next()?.to_string())).collect()
    }

    #[test]
    fn every_metric_is_described_and_every_description_has_its_metric() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut used = BTreeSet::new();
        let macros = ["metrics::counter!(", "metrics::gauge!(", "metrics::histogram!("];
        for dir in ["src", "actors/src"] {
            names(&root.join(dir), &mut used, |text| quoted_after(text, &macros));
        }
        let described = ["describe_counter!(", "describe_gauge!(", "describe_histogram!("];
        let described = quoted_after(include_str!("metrics.rs"), &described);
        let described: BTreeSet<_> =
            described.into_iter().filter(|name| name.starts_with("mainstay")).collect();
        assert_eq!(used, described);
    }
}
