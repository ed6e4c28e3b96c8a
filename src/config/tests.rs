//! The example file is true, every problem has its place, and no input panics.

use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = include_str!("../../mainstay.toml");

fn env(name: &str) -> Option<String> {
    (name == "OPENAI_API_KEY").then(|| "sk-canary".into())
}

fn problems(text: &str) -> Vec<String> {
    let error = Config::from_toml(text, "m.toml", &env).err();
    error.map(|e| e.problems.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn shown(config: &Config) -> String {
    format!("{config:#?}").lines().filter(|l| !l.contains("line: ") && !l.contains("column: ")).collect()
}

/// Every commented setting of the example, uncommented.
fn uncommented(text: &str) -> String {
    let setting = |line: &str| {
        let name = line.strip_prefix("# ")?.split(" = ").next()?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        (is_name && line.contains(" = ")).then(|| line[2..].to_string())
    };
    text.lines().map(|line| setting(line).unwrap_or_else(|| line.into()) + "\n").collect()
}

#[test]
fn the_example_file_is_valid_and_shows_the_real_defaults() {
    let as_it_is = Config::from_toml(EXAMPLE, "mainstay.toml", &env).unwrap_or_else(|e| panic!("{e}"));
    as_it_is.check_targets(&[]).unwrap();
    as_it_is.check_gateway().unwrap();
    let spelled_out = uncommented(EXAMPLE);
    assert!(spelled_out.matches(" = ").count() > 25, "the settings were not found");
    let spelled_out =
        Config::from_toml(&spelled_out, "mainstay.toml", &env).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(shown(&as_it_is), shown(&spelled_out));
}

#[test]
fn the_example_file_shows_every_setting() {
    for source in [include_str!("check.rs"), include_str!("policy.rs")] {
        let calls = [
            "text(\"",
            "number(\"",
            "duration(\"",
            "size(\"",
            "parsed(\"",
            "within(\"",
            "section(\"",
            "share(\"",
            "share_or_none(\"",
            "is_off(\"",
            "texts(\"",
        ];
        let names = calls.iter().flat_map(|call| source.split(call).skip(1));
        let names: Vec<_> = names.map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(names.len() > 12, "the settings were not found: {names:?}");
        let more = [
            "open_min",
            "open_max",
            "backoff_min",
            "backoff_max",
            "when_too_long",
            "when_filtered",
            "key_env",
            "token_env",
        ];
        for name in names.into_iter().chain(more) {
            let known = EXAMPLE.contains(&format!("{name} = ")) || EXAMPLE.contains(&format!("[{name}"));
            assert!(known || EXAMPLE.contains(&format!(".{name}]")), "mainstay.toml does not show `{name}`");
        }
    }
}

#[test]
fn all_problems_are_told_at_once_each_with_its_place() {
    let text = "\
[server]
listen = \"0.0.0.0:80\"
max_body = \"1GiB\"

[provider.a]
kind = \"opnai\"
max_concurent = 5
timeouts = { total = \"5\", idle = \"2h\" }

[chain.chat]
targets = []
";
    assert_eq!(
        problems(text),
        [
            "m.toml:2:10: cannot listen on 0.0.0.0:80: clients are not authenticated, so only a loopback address \
             such as 127.0.0.1 is allowed",
            "m.toml:3:12: `max_body` must be a size such as \"512KiB\" or \"8MiB\", from 1KiB to 64MiB",
            "m.toml:6:8: `kind` cannot be `opnai`: did you mean `openai`?",
            "m.toml:7:1: `max_concurent` is not a setting in [provider.a]: did you mean `max_concurrent`?",
            "m.toml:8:22: `total` must be a duration such as \"250ms\", \"5s\" or \"2m\", from 1ms to 1h",
            "m.toml:8:34: `idle` must be a duration such as \"250ms\", \"5s\" or \"2m\", from 1ms to 2m",
            "m.toml:11:11: `targets` must name at least one \"provider/model\"",
        ]
    );
}

#[test]
fn an_address_or_a_filter_that_cannot_be_used_is_told_with_its_place() {
    let openai = "[provider.a]\nkind = \"openai\"\nkey_env = \"OPENAI_API_KEY\"\nbase_url = ";
    for (url, says) in [
        ("https://", "not a URL"),
        ("ftp://h/v1", "must begin with"),
        ("https://user:pw@h/v1", "no credentials"),
        ("http://192.0.2.1/v1", "plain http"),
    ] {
        let told = problems(&format!("{openai}\"{url}\"\n")).join("\n");
        assert!(told.starts_with("m.toml:4:12: ") && told.contains(says), "{url}: {told}");
        assert!(!told.contains("pw"), "{told}");
    }
    let told = problems("[log]\nfilter = \"mainstay=loud\"\n").join("\n");
    assert!(told.starts_with("m.toml:2:10: ") && told.contains("mainstay=loud"), "{told}");
    let told = problems("[provider.a]\nkind = \"openai\"\nkey_env = \"sk-canary\"\n").join("\n");
    assert!(told.starts_with("m.toml:3:11: `key_env` must name") && !told.contains("canary"), "{told}");
}

#[test]
fn broken_toml_is_told_with_its_place() {
    assert!(problems("[server\n")[0].starts_with("m.toml:1:8: "), "{:?}", problems("[server\n"));
    assert!(problems("a = 1\na = 2\n")[0].starts_with("m.toml:2:1: "), "{:?}", problems("a = 1\na = 2\n"));
}

#[test]
fn egress_targets_are_addresses_and_few() {
    let read = |list: &str| Config::from_toml(&format!("egress = {list}\n"), "m.toml", &env).unwrap().egress;
    assert_eq!(
        read("[\"1.1.1.1:443\", \"[::1]:53\"]"),
        ["1.1.1.1:443", "[::1]:53"].map(|a| a.parse().unwrap())
    );
    assert!(Config::from_toml("", "m.toml", &env).unwrap().egress.is_empty());
    for wrong in ["example.com:443", "1.1.1.1", "1.1.1.1:0", ""] {
        let told = problems(&format!("egress = [\"{wrong}\"]\n"));
        assert!(told[0].starts_with("m.toml:1:11: an `egress` target is"), "{told:?}");
    }
    let many = vec!["\"1.1.1.1:443\""; 17].join(", ");
    assert_eq!(problems(&format!("egress = [{many}]\n")).len(), 1);
}

#[test]
fn an_unknown_provider_is_told_with_its_place_unless_the_host_brings_it() {
    let text = "[provider.alpha]\nkind = \"scripted\"\n[chain.chat]\ntargets = [\"alpha/m\", \"alpa/m\"]\n";
    let config = Config::from_toml(text, "m.toml", &env).unwrap();
    let told = config.check_targets(&[]).unwrap_err().to_string();
    assert!(told.ends_with("m.toml:4:23: provider `alpa` is not defined: did you mean `alpha`?"), "{told}");
    config.check_targets(&["alpa"]).unwrap();
}

#[test]
fn each_protection_can_be_turned_off_alone() {
    let config = |setting: &str| {
        let text = format!("[provider.a]\nkind = \"scripted\"\n{setting}\n");
        Config::from_toml(&text, "m.toml", &env).unwrap().providers[0].policy
    };
    let all = ProviderPolicy::default();
    assert_eq!(config("timeouts = false"), ProviderPolicy { timeouts: None, ..all }); // PC1
    assert_eq!(config("breaker = false"), ProviderPolicy { breaker: None, ..all });
    assert_eq!(config("probe = false"), ProviderPolicy { probe: None, ..all });
    assert_eq!(config("max_concurrent = false"), ProviderPolicy { max_concurrent: None, ..all });
    let told = problems("[provider.a]\nkind = \"scripted\"\nbreaker = true\n");
    assert_eq!(told, ["m.toml:3:11: `provider.a.breaker` must be a table: [provider.a.breaker]"]);
}

#[test]
fn a_retry_budget_may_be_nothing_or_off() {
    let config = |text: &str| Config::from_toml(text, "m.toml", &env).unwrap();
    let nothing = BudgetPolicy { share: 0.0, floor: 0.0, burst: 0 };
    let settings = "share = 0\nfloor = 0.0\nburst = 0\n";
    assert_eq!(config(&format!("[retry_budget]\n{settings}")).retry_budget, Some(nothing)); // PC15
    assert_eq!(config("retry_budget = false").retry_budget, None); // PC1
    assert_eq!(config("").retry_budget, Some(BudgetPolicy::OVERALL));
    assert_eq!(Config::default().retry_budget, Some(BudgetPolicy::OVERALL));
    let own = config(&format!("[provider.a]\nkind = \"scripted\"\n[provider.a.budget]\n{settings}"));
    assert_eq!(own.providers[0].policy.budget, Some(nothing));
    let told = problems("[retry_budget]\nshare = 1.5\nfloor = -1\n");
    let range = "must be a share, from 0 to 1";
    assert_eq!(told, [format!("m.toml:2:9: `share` {range}"), format!("m.toml:3:9: `floor` {range}")]);
}

#[test]
fn a_key_comes_from_the_environment_and_is_never_shown() {
    let text = "[provider.a]\nkind = \"openai\"\nkey_env = \"OPENAI_API_KEY\"\n";
    let config = Config::from_toml(text, "m.toml", &env).unwrap();
    assert!(!format!("{config:?}").contains("canary"));
    let told = problems("[provider.a]\nkind = \"openai\"\nkey_env = \"NOT_SET\"\n");
    assert_eq!(told, ["m.toml:3:11: the environment variable `NOT_SET` is not set: put the key there"]);
    let told = problems("[provider.a]\nkind = \"openai\"\napi_key = \"sk-canary\"\n").join("\n");
    assert!(told.contains("m.toml:3:11: ") && told.contains("key_env") && !told.contains("canary"), "{told}");
}

#[test]
fn the_admin_api_is_for_this_machine_unless_there_is_a_token() {
    let env = |name: &str| (name == "TOKEN").then(|| "canary-0123456789".to_string());
    let read = |text: &str| Config::from_toml(text, "m.toml", &env);
    let default = read("").unwrap().admin.unwrap();
    assert!(default.listen == "127.0.0.1:8081".parse().unwrap() && default.token.is_none()); // GW10
    assert!(read("admin = false\n").unwrap().admin.is_none());
    let open = read("[admin]\nlisten = \"0.0.0.0:8081\"\ntoken_env = \"TOKEN\"\n").unwrap();
    open.check_targets(&[]).unwrap();
    assert!(open.admin.as_ref().unwrap().token.is_some() && !format!("{open:?}").contains("canary"));
    let told = |text| read(text).unwrap_err().to_string();
    assert!(told("[admin]\nlisten = \"[::]:1\"\n").contains("m.toml:2:10: cannot serve")); // GW10
    assert!(told("[admin]\nlisten = \"[::]:1\"\ntoken_env = false\n").contains("without a token"));
    assert!(told("[admin]\ntoken_env = \"NOT_SET\"\n").contains("`NOT_SET` is not set"));
    let shown = told("[admin]\ntoken = \"canary\"\n");
    assert!(shown.contains("m.toml:2:9") && shown.contains("`token_env`") && !shown.contains("canary"));
}

#[test]
fn a_server_of_either_dialect_has_its_vendor_s_address_unless_told_otherwise() {
    let kind = |kind: &str, more: &str| {
        let text = format!("[provider.a]\nkind = \"{kind}\"\n{more}\n");
        Config::from_toml(&text, "m.toml", &env).unwrap().providers.remove(0).kind
    };
    let openai = "https://api.openai.com/v1";
    assert!(
        matches!(kind("openai", ""), ProviderKind::OpenAi { base_url, key: None, auth: Auth::Bearer } if base_url == openai)
    );
    let anthropic = "https://api.anthropic.com/v1";
    let keyed = kind("anthropic", "key_env = \"OPENAI_API_KEY\"");
    assert!(matches!(keyed, ProviderKind::Anthropic { base_url, key: Some(_) } if base_url == anthropic));
    let own = kind("anthropic", "base_url = \"http://localhost:1/v1\"");
    assert!(matches!(own, ProviderKind::Anthropic { base_url, .. } if base_url == "http://localhost:1/v1"));
    let told = problems("[provider.a]\nkind = \"anthropic\"\nbase_url = \"ftp://h\"\n").join("\n");
    assert!(told.starts_with("m.toml:3:12: base_url must begin with"), "{told}");
    assert!(matches!(kind("openai", "auth = \"api-key\""), ProviderKind::OpenAi { auth: Auth::ApiKey, .. }));
    let told = problems("[provider.a]\nkind = \"openai\"\nauth = \"x-api-key\"\n").join("\n");
    assert_eq!(told, "m.toml:3:8: `auth` must be \"authorization\" or \"api-key\"");
    let told = problems("[provider.a]\nkind = \"antropic\"\n").join("\n");
    assert!(told.contains("did you mean `anthropic`?"), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let told = Config::from_path("/nowhere/m.toml").unwrap_err().to_string();
    assert!(told.contains("/nowhere/m.toml: cannot be read: "), "{told}");
    assert!(Config::from_path("/").is_err());
}

#[test]
fn without_a_file_a_flaky_provider_stands_before_a_steady_one_and_openai_before_both() {
    let targets = |config: &Config| {
        config.chains[0].targets.iter().map(|t| t.provider.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(targets(&Config::demo(&|_| None)), "flaky steady");
    assert_eq!(targets(&Config::demo(&env)), "openai flaky steady");
    assert_eq!(targets(&Config::demo(&|_| Some(String::new()))), "flaky steady");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = Config::from_toml(&text, "m.toml", &env);
    }

    #[test]
    fn no_change_of_the_example_makes_it_panic(at in 0..EXAMPLE.len(), with in "\\PC{0,3}", cut in 0usize..4) {
        let mut at = at;
        while !EXAMPLE.is_char_boundary(at) {
            at -= 1;
        }
        let rest: String = EXAMPLE[at..].chars().skip(cut).collect();
        let _ = Config::from_toml(&format!("{}{with}{rest}", &EXAMPLE[..at]), "m.toml", &env);
    }
}
