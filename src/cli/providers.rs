//! `mainstay providers`: how the providers of a running gateway are, and orders to take one out or let it back in.
//!
//! How the gateway is reached is not known here.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Stopped,
    admin::{Admin, AdminArgs, print, said},
};
use crate::config::duration;

/// Which gateway, and what of it.
#[derive(Clone, Debug, Args)]
pub(super) struct ProvidersArgs {
    #[command(subcommand)]
    order: Option<Order>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum Order {
    /// Show all of them (the default).
    List,
    /// Take one out: calls go to the others.
    Isolate {
        /// The provider.
        name: String,
        /// For how long, such as 10m or 2h; without it, until it is closed.
        #[arg(long = "for", value_name = "TIME", value_parser = whole_seconds)]
        time: Option<u64>,
        /// Who does it and why, for everybody who sees that it is out.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Only this model of it.
        #[arg(long)]
        model: Option<String>,
    },
    /// Let one back in at once, with all of its models.
    Close {
        /// The provider.
        name: String,
    },
}

fn whole_seconds(text: &str) -> Result<u64, String> {
    let time = duration(text).filter(|time| time.subsec_nanos() == 0 && !time.is_zero());
    time.map(|time| time.as_secs()).ok_or_else(|| "give a time such as 30s, 10m or 2h".into())
}

pub(super) async fn run(args: ProvidersArgs) -> Result<(), Stopped> {
    let admin = Admin::find(args.admin)?;
    let providers = match args.order.unwrap_or(Order::List) {
        Order::List => admin.ask(Method::GET, &["providers"], None).await?["providers"].take(),
        Order::Isolate { name, time, reason, model } => {
            let body = json!({ "seconds": time, "reason": reason, "model": model });
            json!([admin.ask(Method::POST, &["providers", &name, "isolate"], Some(body)).await?])
        }
        Order::Close { name } => {
            json!([admin.ask(Method::POST, &["providers", &name, "close"], None).await?])
        }
    };
    print(&table(providers.as_array().map_or(&[], Vec::as_slice)));
    Ok(())
}

/// A line per provider, and one per model that is not closed.
fn table(providers: &[Value]) -> String {
    let mut text = row(["PROVIDER", "CIRCUIT", "SINCE", "UNTIL", "RUNNING"], "WHY");
    for provider in providers {
        let running = match (&provider["in_flight"], &provider["max_concurrent"]) {
            (running, Value::Null) => running.to_string(),
            (running, most) => format!("{running}/{most}"),
        };
        text += &circuit(&said(&provider["name"]), provider, &running);
        let models = provider["models"].as_array().map_or(&[][..], Vec::as_slice);
        for model in models.iter().filter(|model| model["circuit"] != "closed") {
            text += &circuit(&format!("  {}", said(&model["model"])), model, "");
        }
    }
    text
}

fn circuit(name: &str, circuit: &Value, running: &str) -> String {
    let (since, until) = (time(&circuit["since_unix_ms"]), time(&circuit["until_unix_ms"]));
    row([name, &said(&circuit["circuit"]), &since, &until, running], &said(&circuit["reason"]))
}

fn row(cells: [&str; 5], why: &str) -> String {
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip([24, 10, 21, 21, 9]) {
        let _ = write!(line, "{cell:<width$} ");
    }
    format!("{}\n", (line + why).trim_end())
}

fn time(unix_ms: &Value) -> String {
    let time = unix_ms.as_i64().and_then(|ms| Timestamp::from_second(ms / 1000).ok());
    time.map_or_else(|| "-".into(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_seconds_are_a_time() {
        assert_eq!(whole_seconds("10m"), Ok(600));
        for wrong in ["", "0s", "500ms", "10", "-1s", "soon"] {
            assert!(whole_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_provider_is_a_line_and_what_is_out_of_it_another() {
        let shown = table(&[json!({
            "name": "a", "circuit": "isolated", "since_unix_ms": 0, "reason": "by \u{1b}[31mAda", "in_flight": 2,
            "max_concurrent": 20, "models": [{"model": "m", "circuit": "open"}, {"model": "n", "circuit": "closed"}],
        })]);
        let lines: Vec<_> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[1], ["a", "isolated", "1970-01-01T00:00:00Z", "-", "2/20", "by", "[31mAda"]);
        assert_eq!((lines.len(), &lines[2][..2]), (3, &["m", "open"][..]));
    }
}
