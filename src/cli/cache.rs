//! `mainstay cache`: what the cache of a running gateway holds and saves, and orders to forget something of it.
//!
//! How the gateway is reached is not known here.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{
    Stopped,
    admin::{Admin, AdminArgs, print, said},
};

/// Which gateway, and what of its cache.
#[derive(Clone, Debug, Args)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    order: Option<Order>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum Order {
    /// Show how each tier is, and what each namespace saved (the default).
    Stats {
        /// As the admin API tells it.
        #[arg(long)]
        json: bool,
    },
    /// Have it forget something, in every tier and in all gateways that share one.
    Purge {
        #[command(flatten)]
        what: What,
        /// Whose namespace or tag, where callers are told apart.
        #[arg(long, conflicts_with_all = ["all", "key"])]
        tenant: Option<String>,
    },
}

/// Exactly one of them.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Everything.
    #[arg(long)]
    all: bool,
    /// What is kept in this namespace; that of callers who name none is `default`.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// What callers said depends on this.
    #[arg(long)]
    tag: Option<String>,
    /// One answer, by its `x-mainstay-cache-key`.
    #[arg(long, value_name = "HEX")]
    key: Option<String>,
}

pub(super) async fn run(args: CacheArgs) -> Result<(), Stopped> {
    let admin = Admin::find(args.admin)?;
    match args.order.unwrap_or(Order::Stats { json: false }) {
        Order::Stats { json } => {
            let status = admin.ask(Method::GET, &["cache"], None).await?;
            print(&if json { format!("{status:#}\n") } else { tables(&status) });
        }
        Order::Purge { what, tenant } => {
            let What { all, namespace, tag, key } = what;
            let all = all.then_some(true);
            let body =
                json!({ "all": all, "namespace": namespace, "tag": tag, "key": key, "tenant": tenant });
            print(&purged(&admin.ask(Method::POST, &["cache", "purge"], Some(body)).await?));
        }
    }
    Ok(())
}

fn tables(status: &Value) -> String {
    let tiers = list(&status["tiers"]).iter().map(tier);
    let namespaces = list(&status["namespaces"]).iter().map(namespace);
    let tier_heads = ["TIER", "STATE", "ENTRIES", "BYTES", "CAPACITY", "HITS", "MISSES", "LOST", "WHY"];
    let heads = ["NAMESPACE", "CALLS", "HITS", "STALE", "IF ERROR", "JOINED", "SAVED", "TOKENS", "SECONDS"];
    table(tier_heads, tiers) + "\n" + &table(heads, namespaces)
}

fn tier(tier: &Value) -> [String; 9] {
    let lost = ["errors", "timeouts", "corrupt", "dropped", "skipped"];
    let lost: u64 = lost.iter().filter_map(|word| tier[word].as_u64()).sum();
    let state = if tier["up"] == true { "up" } else { "out" };
    [
        said(&tier["tier"]),
        state.into(),
        number(&tier["entries"]),
        number(&tier["bytes"]),
        number(&tier["capacity"]),
        number(&tier["hits"]),
        number(&tier["misses"]),
        lost.to_string(),
        said(&tier["trouble"]),
    ]
}

fn namespace(saved: &Value) -> [String; 9] {
    let (tenant, name) = (said(&saved["scope"]["tenant"]), said(&saved["scope"]["namespace"]));
    let tokens = ["saved_input_tokens", "saved_output_tokens"].iter().filter_map(|word| saved[word].as_u64());
    [
        if tenant.is_empty() { name } else { format!("{tenant}/{name}") },
        number(&saved["lookups"]),
        number(&saved["hits"]),
        number(&saved["stale"]),
        number(&saved["if_error"]),
        number(&saved["joined"]),
        format!("{:.1} %", 100.0 * saved["hit_ratio"].as_f64().unwrap_or_default()),
        tokens.sum::<u64>().to_string(),
        format!("{:.1}", saved["saved_seconds"].as_f64().unwrap_or_default()),
    ]
}

fn table(heads: [&str; 9], rows: impl Iterator<Item = [String; 9]>) -> String {
    let heads = heads.map(String::from);
    std::iter::once(heads).chain(rows).fold(String::new(), |text, row| text + &line(row))
}

fn line(cells: [String; 9]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip([16, 8, 9, 12, 12, 9, 9, 9, 0]) {
        let _ = write!(line, "{cell:<width$} ");
    }
    format!("{}\n", line.trim_end())
}

fn purged(purged: &Value) -> String {
    let names = |levels: &Value| list(levels).iter().map(said).collect::<Vec<_>>().join(", ");
    let (kept_by, pending) = (names(&purged["kept_by"]), names(&purged["pending"]));
    let mut text = format!("purged in this gateway; kept for good by: {kept_by}\n");
    if !pending.is_empty() {
        text += &format!(
            "not answering: {pending}. It hears of the purge before it is asked for anything again; if the gateway \
             ends before that, purge again\n"
        );
    }
    text
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".into(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_a_line_and_so_is_a_namespace() {
        let shown = tables(&json!({
            "tiers": [
                {"tier": "memory", "up": true, "trouble": null, "entries": 2, "bytes": 900, "capacity": 1024,
                 "hits": 3, "misses": 4},
                {"tier": "redis", "up": false, "trouble": "no \u{1b}[31mroute", "entries": 0, "bytes": 0,
                 "capacity": null, "errors": 5, "skipped": 6},
            ],
            "namespaces": [
                {"scope": {"tenant": "", "namespace": "default"}, "lookups": 8, "hits": 4, "stale": 1, "if_error": 0,
                 "joined": 1, "hit_ratio": 0.75, "saved_input_tokens": 10, "saved_output_tokens": 20,
                 "saved_seconds": 1.25},
            ],
        }));
        let lines: Vec<_> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[1], ["memory", "up", "2", "900", "1024", "3", "4", "0"]);
        assert_eq!(lines[2], ["redis", "out", "0", "0", "-", "-", "-", "11", "no", "[31mroute"]);
        assert_eq!(lines[5], ["default", "8", "4", "1", "0", "1", "75.0", "%", "30", "1.2"]);
    }

    #[test]
    fn a_purge_says_who_has_not_heard_of_it() {
        let done = purged(&json!({"kept_by": ["memory", "disk"], "pending": []}));
        assert_eq!(done, "purged in this gateway; kept for good by: memory, disk\n");
        let pending = purged(&json!({"kept_by": ["memory"], "pending": ["redis"]}));
        assert!(pending.contains("not answering: redis.") && pending.contains("purge again"), "{pending}");
    }
}
