//! Each example runs without keys, ends by itself, and prints exactly what its documentation promises.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// Where the examples stand: built as this test was, which takes a moment if nothing is older than its source.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_BIN_EXE_mainstay")).parent().unwrap();
    let profile = folder.file_name().unwrap().to_str().unwrap().replace("debug", "dev");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--examples", "--profile", &profile]);
    // What cargo tells this test of its package would make dependencies look changed.
    let of_this_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars().filter(|(name, _)| of_this_test(name)) {
        build.env_remove(name);
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success(), "the examples do not build; see why with: cargo build --examples");
    folder.join("examples")
});

fn promised(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
    let source = fs::read_to_string(file).unwrap();
    let block = source.split("//! ```text\n").nth(1).unwrap().split("//! ```").next().unwrap();
    block
        .lines()
        .map(|line| line.trim_start_matches("//!").trim_start_matches(' ').to_string() + "\n")
        .collect()
}

fn printed(name: &str) -> String {
    printed_with(name, &[])
}

fn printed_with(name: &str, args: &[&str]) -> String {
    let output = Command::new(EXAMPLES.join(name)).args(args).env_clear().output();
    let output = output.unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.trim_start().to_string() + "\n")
        .collect()
}

#[test]
fn an_orchestrator_combines_what_several_providers_answer() {
    let name = "embed_in_an_orchestrator";
    assert_eq!(printed(name), promised(name));
}

#[test]
fn a_provider_crashes_and_restarts_and_no_call_fails() {
    let name = "provider_crashes_and_restarts";
    assert_eq!(printed(name), promised(name));
}

#[test]
fn when_all_providers_are_down_what_was_answered_before_is_answered_on() {
    let name = "all_providers_down_serves_from_cache";
    assert_eq!(printed(name), promised(name)); // CA9
}

#[test]
fn everybody_hears_of_mode_changes() {
    let name = "subscribe_to_mode_changes";
    assert_eq!(printed(name), promised(name));
}

#[test]
fn actors_of_the_host_are_supervised_like_our_own() {
    let name = "own_actor_under_supervision";
    assert_eq!(printed(name), promised(name));
}

#[test]
fn a_storm_of_crashes_ends_in_an_emergency_and_passes() {
    let name = "crash_storm";
    assert_eq!(printed(name), promised(name));
}

#[test]
fn a_queue_is_restarted_from_the_one_that_crashed_on() {
    let name = "rest_for_one_queue";
    assert_eq!(printed(name), promised(name));
}

#[test]
fn twenty_random_schedules_of_faults_end_well_and_tell_the_same_story_twice() {
    let told = printed_with("simulate", &["--seeds", "20"]);
    assert!(told.starts_with("20 seeds, each tenth twice: every invariant held\n"), "{told}");
    let nothing = |line: &str| line.split([' ', ',']).any(|word| word == "0");
    assert!(!told.lines().any(nothing), "something never happened: {told}");
}

#[test]
fn there_is_no_example_without_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "all_providers_down_serves_from_cache.rs",
            "crash_storm.rs",
            "embed_in_an_orchestrator.rs",
            "own_actor_under_supervision.rs",
            "provider_crashes_and_restarts.rs",
            "rest_for_one_queue.rs",
            "simulate",
            "subscribe_to_mode_changes.rs"
        ]
    );
}
