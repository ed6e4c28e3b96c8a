//! Keeps `docs/errors.md` true: its tables are made from the code, and a test compares.
//!
//! `MAINSTAY_WRITE_DOCS=1 cargo test --lib errors::catalogue` writes them anew. The words around them are the
//! guide's own.

use std::{fs, iter, path::Path};

use mainstay_actors::error::{Class, FallOver, Isolate, Scope, Verdict};

use super::{
    table::{Row, Sign, TABLE},
    *,
};

const KINDS_HEAD: &str = "| Code | What happened | Status | Circuit | Retry | Next provider | Taken out | What to do next |\n|---|---|---|---|---|---|---|---|";
const ROWS_HEAD: &str = "| Status | Type | Code | Text | Means |\n|---|---|---|---|---|";

fn kinds() -> String {
    let kinds = ErrorKind::ALL.iter().zip(abouts()).map(|(kind, about)| kind_row(kind.class(), &about));
    iter::once(KINDS_HEAD.to_string()).chain(kinds).collect::<Vec<_>>().join("\n")
}

fn kind_row(class: Class, about: &str) -> String {
    let Class { verdict, retry, fall_over, isolate, status, code, advice } = class;
    let circuit = match verdict {
        Verdict::Failing => "failure",
        Verdict::Healthy => "healthy",
        Verdict::Neutral => "–",
    };
    let next = match fall_over {
        FallOver::No => "no",
        FallOver::Yes => "yes",
        FallOver::LargerContext => "with a larger context",
        FallOver::IfAllowed => "where the chain allows it",
    };
    let (retry, out) = (if retry { "yes" } else { "no" }, taken_out(isolate));
    format!("| `{code}` | {about} | {status} | {circuit} | {retry} | {next} | {out} | {advice} |")
}

fn taken_out(isolate: Isolate) -> String {
    let of = |scope| match scope {
        Scope::Model => "model",
        Scope::Account => "account",
    };
    match isolate {
        Isolate::No => "–".into(),
        Isolate::Pause(scope, wait) => {
            format!("{}: as long as asked, else {} s, doubling", of(scope), wait.as_secs())
        }
        Isolate::Long(scope, wait) => {
            format!("{}: as long as asked, at least {} min", of(scope), wait.as_secs() / 60)
        }
    }
}

/// What each kind says of itself in the source, in its order.
fn abouts() -> impl Iterator<Item = String> {
    let source = file("actors/src/error/kind.rs");
    let (_, variants) = source.split_once("pub enum ErrorKind {\n").unwrap();
    let (variants, _) = variants.split_once("\n}\n").unwrap();
    let abouts: Vec<_> = variants.lines().filter_map(|line| line.trim().strip_prefix("/// ")).collect();
    assert_eq!(abouts.len(), ErrorKind::ALL.len(), "each kind says in one line what it is");
    abouts.into_iter().map(|about| about.trim_end_matches('.').to_string()).collect::<Vec<_>>().into_iter()
}

fn vendors() -> String {
    let vendor = |(name, rows): &(&str, &[Row])| {
        let rows: Vec<_> = rows.iter().map(vendor_row).collect();
        format!("### {name}\n\n{ROWS_HEAD}\n{}", rows.join("\n"))
    };
    TABLE.iter().map(vendor).collect::<Vec<_>>().join("\n\n")
}

fn vendor_row(row: &Row) -> String {
    let cell = |text: String, decides: bool| match (text.is_empty(), decides) {
        (true, _) => text,
        (_, false) => format!("`{text}`"),
        (_, true) => format!("**`{text}`**"),
    };
    let text = match row.decides {
        Sign::Opening => format!("{}…", row.text),
        Sign::Text => format!("…{}…", row.text),
        _ => String::new(),
    };
    format!(
        "| {} | {} | {} | {} | `{}` |",
        cell(row.status.to_string(), row.decides == Sign::Status),
        cell(row.kind.into(), false),
        cell(row.code.into(), row.decides == Sign::Code),
        cell(text, true),
        row.means.code(),
    )
}

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Puts `table` between its marks.
fn filled(guide: &str, name: &str, table: &str) -> String {
    let (begin, end) =
        (format!("<!-- {name}: made from the code -->\n"), format!("\n<!-- end of {name} -->"));
    let (before, rest) = guide.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}{table}{end}{after}")
}

#[test]
fn the_catalogue_of_errors_says_what_the_code_does() {
    let guide = file("docs/errors.md");
    let made = filled(&filled(&guide, "kinds", &kinds()), "vendors", &vendors());
    if std::env::var_os("MAINSTAY_WRITE_DOCS").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md"), &made).unwrap();
    } else {
        let wrong = "write it anew: MAINSTAY_WRITE_DOCS=1 cargo test --lib errors::catalogue";
        assert!(made == guide, "docs/errors.md is out of date; {wrong}");
    }
}
