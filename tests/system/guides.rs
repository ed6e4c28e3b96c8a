//! What the guides show is true: their files load, their settings have the defaults that they tell, their code runs.

use std::{collections::BTreeMap, error::Error, fs, path::Path, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use mainstay::{
    ChainPolicy, Config, ConfigError, Provider, ProviderCall, ProviderError, ProviderPolicy, Runtime,
    actors::call::{FullReply, ProviderReply},
    completion,
};

use crate::support::until;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn guides() -> Vec<(String, String)> {
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let files = folder.map(|file| format!("docs/{}", file.unwrap().file_name().to_str().unwrap()));
    files.map(|file| (file.clone(), read(&file))).collect()
}

/// The code of this language in a guide.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let opens = format!("```{language}\n");
    text.split(&opens).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_toml(text, "guide.toml", &|_| Some("some-key".into()))
}

#[test]
fn every_file_that_a_guide_shows_is_a_whole_configuration() {
    let guides = guides();
    let files =
        guides.iter().flat_map(|(guide, text)| blocks(text, "toml").into_iter().map(move |b| (guide, b)));
    let mut shown = 0;
    for (guide, text) in files {
        let config = load(text).unwrap_or_else(|wrong| panic!("{guide}: {wrong}\n{text}"));
        config.check_targets(&[]).unwrap_or_else(|wrong| panic!("{guide}: {wrong}\n{text}"));
        config.check_gateway().unwrap_or_else(|wrong| panic!("{guide}: {wrong}\n{text}"));
        shown += 1;
    }
    assert!(shown >= 3, "the files were not found");
}

#[test]
fn the_composite_of_the_guide_is_the_one_of_the_library() {
    let guide = read("docs/policies.md");
    let config = load(blocks(&guide, "toml")[0]).unwrap();
    assert_eq!(config.providers[0].policy, ProviderPolicy::composite()); // PC23
    assert_eq!((config.chains[0].policy, config.chains[0].targets.len()), (ChainPolicy::default(), 2)); // PC23
}

/// The settings that the guides' tables describe, with the default as it would stand in a file, if it is one value.
fn described(of: &str) -> BTreeMap<String, Option<String>> {
    let mut settings = BTreeMap::new();
    for (_, text) in guides() {
        for table in text.split(&format!("| setting of a {of} |")).skip(1) {
            let rows = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
            for row in rows {
                let cells: Vec<_> = row.trim_matches(['|', ' ']).split(" | ").collect();
                let value = |cell: &str| cell.strip_prefix('`')?.strip_suffix('`').map(String::from);
                let name = value(cells[0]).unwrap_or_else(|| panic!("no setting: {row}"));
                assert_eq!(
                    settings.insert(name.clone(), value(cells[1])),
                    None,
                    "`{name}` is described twice"
                );
            }
        }
    }
    settings
}

/// With the setting, and with the part that it belongs to alone.
fn with_and_without(name: &str, default: &str) -> [String; 2] {
    let part = name.rsplit_once('.').map(|(part, _)| format!("{part} = {{}}"));
    [format!("{name} = {default}\n"), part.unwrap_or_default() + "\n"]
}

#[test]
fn a_setting_of_a_provider_has_the_default_that_its_guide_tells() {
    let settings = described("provider");
    assert!(settings.len() > 25, "the settings were not found: {settings:?}");
    for (name, default) in settings.iter().filter_map(|(name, default)| Some((name, default.as_ref()?))) {
        let [with, without] = with_and_without(name, default).map(|setting| {
            let config = load(&format!("[provider.p]\nkind = \"scripted\"\n{setting}"));
            config.unwrap_or_else(|wrong| panic!("{name}: {wrong}")).providers[0].policy
        });
        assert_eq!(with, without, "{name}");
    }
}

#[test]
fn a_setting_of_a_chain_has_the_default_that_its_guide_tells() {
    let settings = described("chain");
    assert!(settings.len() > 5, "the settings were not found: {settings:?}");
    for (name, default) in settings.iter().filter_map(|(name, default)| Some((name, default.as_ref()?))) {
        let chain = with_and_without(name, default).map(|setting| {
            let config = load(&format!("[chain.c]\ntargets = [\"p/m\"]\n{setting}"));
            let chain = config.unwrap_or_else(|wrong| panic!("{name}: {wrong}")).chains.remove(0);
            (chain.policy, chain.targets.len())
        });
        assert_eq!(chain[0], chain[1], "{name}");
    }
}

/// The settings in the example file under `head` and its parts, commented or not.
fn shown(head: &str) -> Vec<String> {
    let (mut names, mut prefix) = (Vec::new(), None);
    for line in read("mainstay.toml").lines() {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let part = section.strip_prefix(head).filter(|part| part.is_empty() || part.starts_with('.'));
            prefix = part.map(|part| part.trim_start_matches('.').to_string());
        }
        let Some((name, _)) = line.trim_start_matches("# ").split_once(" = ") else { continue };
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if let Some(part) = prefix.as_ref().filter(|_| is_name) {
            names.push(format!("{part}.{name}").trim_start_matches('.').into());
        }
    }
    names
}

#[test]
fn every_setting_of_the_example_file_stands_in_a_guide_and_no_other() {
    for (of, head) in [("provider", "provider.openai"), ("chain", "chain.chat")] {
        let (described, shown) = (described(of), shown(head));
        assert!(shown.len() > 5, "the settings were not found: {shown:?}");
        for name in &shown {
            let parts = format!("{name}.");
            let known = described.keys().any(|known| known == name || known.starts_with(&parts));
            assert!(known, "no guide describes `{name}` of a {of}");
        }
        for name in described.keys() {
            // What is off in the example is shown in one line with its parts.
            let whole = name.split('.').next().unwrap();
            assert!(shown.iter().any(|known| known == name || known == whole), "there is no `{name}`");
        }
    }
}

struct Answers;

impl Provider for Answers {
    fn call<'a>(&'a self, _: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        async { Ok(ProviderReply::Full(FullReply::new("{}"))) }.boxed()
    }
}

#[tokio::test]
#[rustfmt::skip] // Its lines are those of the guides.
async fn the_code_of_the_guides_is_run_here() -> Result<(), Box<dyn Error>> {
    let (first, second) = (Answers, Answers);
    let runtime = Runtime::builder().provider_with("first", first, ProviderPolicy::composite()).provider("second", second).chain("chat", ["first", "second"]).start().await?;
    let chat = runtime.chain("chat")?;
    assert_eq!(&*chat.call(completion("hello")).await?.story.provider, "first");

    let desk = runtime.system().provider("first").ok_or("no such provider")?;
    desk.isolate(Some(Duration::from_secs(3600)), "maintenance, ordered by Ada");
    until("it is out", || async { !desk.is_usable() }).await;
    assert_eq!(&*chat.call(completion("hello")).await?.story.provider, "second");
    desk.close();
    until("it is back", || async { desk.is_usable() }).await;
    assert_eq!(&*chat.call(completion("hello")).await?.story.provider, "first");
    desk.adapt(ProviderPolicy { max_concurrent: Some(5), ..**desk.policy() })?;
    assert_eq!(desk.policy().max_concurrent, Some(5));

    let own = include_str!("guides.rs");
    let guides = ["docs/policies.md", "docs/providers.md"].map(read);
    let shown = guides.iter().flat_map(|guide| blocks(guide, "rust")).flat_map(str::lines);
    let missing: Vec<_> = shown.filter(|line| !own.contains(line.split(" //").next().unwrap())).collect();
    assert!(missing.is_empty(), "this is shown and not run: {missing:#?}");
    Ok(())
}
