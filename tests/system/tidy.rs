//! Keeps the architecture: what may import what, and the nine rules that make a run repeat itself from its
//! seed. The compiler and clippy keep the rest.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Rules are plain structs: `(state, event, now) -> (state, actions)`.
const PURE: &[&str] = &[
    "actors/src/backoff.rs",
    "actors/src/error/kind.rs",
    "actors/src/error/mod.rs",
    "actors/src/supervision/decision.rs",
    "actors/src/supervision/decision/groups.rs",
    "actors/src/supervision/decision/operator.rs",
    "actors/src/supervision/decision/restarts.rs",
    "actors/src/supervision/decision/words.rs",
    "actors/src/supervision/policy.rs",
    "actors/src/provider/adaptive.rs",
    "actors/src/provider/breaker.rs",
    "actors/src/provider/budget.rs",
    "actors/src/provider/limiter/dimension.rs",
    "actors/src/provider/limiter/mod.rs",
    "actors/src/provider/limiter/policy.rs",
    "actors/src/provider/policy.rs",
    "actors/src/provider/story.rs",
    "actors/src/provider/window.rs",
    "actors/src/provider/sliding.rs",
    "actors/src/chain/plan.rs",
    "actors/src/chain/policy.rs",
    "actors/src/retry/strategy.rs",
    "actors/src/mode/mod.rs",
    "actors/src/mode/rules.rs",
];

struct Source {
    path: String,
    /// The lines of code before any test module, without comments.
    code: Vec<String>,
    whole: String,
}

fn sources(dirs: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    dirs.iter().for_each(|dir| collect(&root.join(dir), &mut files));
    assert!(files.len() > 10, "the sources were not found");
    files.sort();
    files.iter().map(|file| source(root, file)).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn source(root: &Path, file: &Path) -> Source {
    let whole = fs::read_to_string(file).unwrap();
    let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
    let before_tests = whole.split("#[cfg(test)]").next().unwrap();
    let code = before_tests.lines().map(|line| line.split("//").next().unwrap().to_string()).collect();
    Source { path, code, whole }
}

/// The sources of a folder without its tests.
fn shipped(dirs: &[&str]) -> Vec<Source> {
    let is_test =
        |path: &str| path.ends_with("tests.rs") || path.contains("tests/") || path.contains("/src/testing");
    sources(dirs).into_iter().filter(|source| !is_test(&source.path)).collect()
}

/// Fails with every line that holds one of `words`, except in `allowed` files.
fn forbid(sources: &[Source], words: &[&str], allowed: &[&str], reason: &str) {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !allowed.contains(&&*source.path)) {
        for (number, line) in source.code.iter().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(format!("{}:{}: `{word}`", source.path, number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{reason}:\n{}", found.join("\n"));
}

#[test]
fn pure_rules_know_no_runtime_and_tell_nobody() {
    let all = sources(&["actors/src"]);
    for pure in PURE {
        let source = all.iter().find(|source| source.path == *pure);
        let source = source.unwrap_or_else(|| panic!("{pure} is gone: take it off the list"));
        let words = ["tokio", "ractor", "tracing", "metrics", "async ", "Mutex", "Atomic"];
        forbid(std::slice::from_ref(source), &words, &[], "a rule is pure");
    }
}

#[test]
fn only_the_shell_implements_ractors_actor() {
    let implementing: Vec<_> = shipped(&["actors/src", "src"])
        .into_iter()
        .filter(|source| source.code.iter().any(|line| line.contains("Actor for ")))
        .map(|source| source.path)
        .collect();
    assert_eq!(implementing, ["actors/src/shell.rs"]);
}

#[test]
fn the_actors_know_no_network_and_no_disk() {
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names: Vec<_> = dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).collect();
    for name in ["reqwest", "hyper", "axum", "redb", "redis", "rustls", "mainstay", "serde_json"] {
        assert!(!names.contains(&name), "{name} does not belong into actors/Cargo.toml");
    }
    let words = ["std::fs", "std::net", "tokio::net", "tokio::fs", "std::process", "std::env"];
    forbid(&shipped(&["actors/src"]), &words, &[], "the world is touched in src/ only");
}

#[test]
fn rule_1_time_is_read_in_one_place() {
    let words = ["Instant::now", "SystemTime::now", ".elapsed()"];
    forbid(&shipped(&["actors/src"]), &words, &["actors/src/clock.rs"], "time comes from the Clock");
}

#[test]
fn rule_2_every_select_is_biased() {
    let all = sources(&["actors/src", "src", "examples", "tests"]);
    for source in all.iter().filter(|source| source.path != "tests/system/tidy.rs") {
        let text = source.whole.replace(char::is_whitespace, "");
        let selects = text.matches("select!{").count();
        assert_eq!(
            selects,
            text.matches("select!{biased;").count(),
            "an unbiased select! in {}",
            source.path
        );
    }
}

#[test]
fn rule_3_no_random_order_reaches_an_effect() {
    let words = ["HashMap", "HashSet", "DashMap"];
    forbid(&shipped(&["actors/src"]), &words, &[], "a map in an actor has an order");
}

#[test]
fn rule_4_nothing_blocks_inside_an_actor() {
    let words = ["spawn_blocking", "std::thread", "thread::", "block_on", "block_in_place"];
    forbid(&shipped(&["actors/src"]), &words, &[], "blocking work belongs into the adapters");
}

#[test]
fn rule_5_chance_follows_from_the_seed() {
    let words = ["rand::rng", "Rng::new()", "fastrand::u", "fastrand::f", "fastrand::bool", "getrandom"];
    forbid(&shipped(&["actors/src"]), &words, &[], "chance comes from the seed");
}

#[test]
fn rule_6_a_watch_is_used_only_where_the_order_of_waking_does_not_matter() {
    // The end of the tree wakes waiters who only read; the mode's watch is for tasks outside.
    let allowed = ["actors/src/mode/handle.rs", "actors/src/system.rs"];
    forbid(&shipped(&["actors/src"]), &["watch::channel"], &allowed, "a watch wakes in random order");
}

#[test]
fn rule_7_ids_come_from_the_injected_source() {
    let words = ["now_v7", "new_v4", "now_v1", "now_v6"];
    forbid(&shipped(&["actors/src", "src"]), &words, &[], "ids come from Commons");
}

#[test]
fn rule_8_children_are_stopped_by_their_supervisor_in_order() {
    let words = ["stop_children", "drain_children", "pg::", "registry::"];
    forbid(&shipped(&["actors/src", "src"]), &words, &[], "ractor's own lists have no order");
}

#[test]
fn tasks_of_actors_are_spawned_through_the_commons() {
    let allowed = ["actors/src/commons.rs"];
    let words = ["tokio::spawn", "task::spawn", "JoinSet", "tracker.spawn"];
    forbid(&shipped(&["actors/src"]), &words, &allowed, "spawning is a seam");
}

#[test]
fn every_file_says_why_it_exists() {
    for source in sources(&["actors/src", "src", "examples", "benches", "tests"]) {
        assert!(source.whole.starts_with("//!"), "{} does not open with a //! comment", source.path);
    }
}

#[test]
fn unsafe_code_is_forbidden_and_panics_unwind() {
    for lib in ["actors/src/lib.rs", "src/lib.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(lib)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{lib}");
    }
    let shell =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/src/shell.rs")).unwrap();
    assert!(shell.contains("#[cfg(panic = \"abort\")]\ncompile_error!"));
}

#[test]
fn every_test_that_the_guide_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guides = ["admin", "supervision", "policies", "providers", "caching"];
    let guides = guides.map(|guide| format!("docs/{guide}.md"));
    let guide = guides.map(|guide| fs::read_to_string(root.join(guide)).unwrap()).concat();
    let all: String =
        sources(&["actors/src", "src", "tests"]).into_iter().map(|source| source.whole).collect();
    let proofs =
        guide.lines().filter(|line| line.starts_with("| ")).flat_map(|line| line.rsplit(" | ").next());
    let named = proofs
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.matches('_').count() > 2);
    let named: Vec<_> = named.collect();
    assert!(named.len() > 15, "the names were not found");
    for name in named {
        assert!(all.contains(&format!("fn {name}(")), "a guide names `{name}`, which is no test");
    }
}
