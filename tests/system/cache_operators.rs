//! The cache as operators see it: over the admin API, on the command line, and in the metrics.

use mainstay::{
    Runtime,
    server::{GatewayLimits, admin::AdminAccess},
};
use serde_json::{Value, json};

use crate::{
    admin::problem,
    process::{Folder, Process, ran},
    support::{Answer, Keeps, Speaks, World, answered, http, listening, scripted, until},
};

async fn ask(url: &str, prompt: &str, headers: &[(&str, &str)]) -> Answer {
    let messages = json!([{"role": "user", "content": prompt}]);
    let body = json!({"model": "chat", "temperature": 0, "messages": messages});
    let request = http().post(format!("{url}/v1/chat/completions")).body(body.to_string());
    answered(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

fn is_hit(answer: &Answer) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("cache-status").starts_with("mainstay; hit;")
}

#[tokio::test]
async fn an_operator_sees_each_tier_and_what_each_namespace_saved() {
    let section = "[cache]\nmemory = \"2MiB\"\nttl = \"90s\"\n";
    let world = World::keeping(Speaks::OpenAi, Keeps { section, ..Keeps::default() }).await;
    for namespace in ["one", "one", "one", "other"] {
        ask(&world.url, "hello there", &[("x-mainstay-cache-namespace", namespace)]).await;
    }
    let status = world.see("/admin/cache").await.json();
    let (tier, policy) = (&status["tiers"][0], &status["policy"]);
    assert_eq!(
        (&tier["tier"], &tier["up"], &tier["capacity"]),
        (&json!("memory"), &json!(true), &json!(2 << 20))
    );
    let count = |word: &str| tier[word].as_u64().unwrap();
    assert_eq!((count("hits"), count("misses"), count("fills")), (2, 2, 2), "{tier}"); // CA12
    assert_eq!((&policy["ttl_seconds"], &policy["sampled"]), (&json!(90.0), &json!(false)));
    let [one, other] = &status["namespaces"].as_array().unwrap()[..] else { panic!("{status}") };
    assert_eq!(
        (&one["scope"]["namespace"], &one["lookups"], &one["hits"]),
        (&json!("one"), &json!(3), &json!(2))
    );
    assert_eq!((&one["saved_input_tokens"], &one["saved_output_tokens"]), (&json!(4), &json!(10)), "{one}"); // CA12
    assert_eq!((&other["hit_ratio"], &other["misses"]), (&json!(0.0), &json!(1)));
}

#[tokio::test]
async fn an_operator_has_the_cache_forget_exactly_what_was_named() {
    let world = World::keeping(Speaks::OpenAi, Keeps::default()).await;
    let tagged = [("x-mainstay-cache-tags", "v1, doc:7")];
    let apart = [("x-mainstay-cache-namespace", "apart")];
    let key = ask(&world.url, "keyed", &[]).await.header("x-mainstay-cache-key").to_string();
    let orders = [
        (json!({ "tag": "doc:7" }), [true, false, true]),
        (json!({ "namespace": "apart" }), [true, true, false]),
        (json!({ "key": key }), [false, true, true]),
        (json!({ "all": true }), [false, false, false]),
    ];
    for (order, stay) in orders {
        ask(&world.url, "keyed", &[]).await;
        ask(&world.url, "tagged", &tagged).await;
        ask(&world.url, "apart", &apart).await;
        let purged = world.order("/admin/cache/purge", &order.to_string()).await;
        assert_eq!((purged.status, purged.json()), (200, json!({"kept_by": ["memory"], "pending": []})));
        let keyed = is_hit(&ask(&world.url, "keyed", &[]).await);
        let tagged = is_hit(&ask(&world.url, "tagged", &tagged).await);
        let apart = is_hit(&ask(&world.url, "apart", &apart).await);
        assert_eq!([keyed, tagged, apart], stay, "{order}"); // CA3
    }
}

#[tokio::test]
async fn a_wrong_order_is_told_as_a_problem_and_purges_nothing() {
    let world = World::keeping(Speaks::OpenAi, Keeps::default()).await;
    ask(&world.url, "hi", &[]).await;
    let long = format!(r#"{{"tag": "{}"}}"#, "x".repeat(129));
    let cases = [
        "",
        "{}",
        "[]",
        "{",
        "all",
        &long,
        r#"{"all": false}"#,
        r#"{"all": 1}"#,
        r#"{"all": true, "tag": "v1"}"#,
        r#"{"namespace": ""}"#,
        r#"{"namespace": "a b"}"#,
        r#"{"tag": "a,b"}"#,
        r#"{"key": "00"}"#,
        r#"{"everything": true}"#,
        r#"{"tenant": "ada"}"#,
        r#"{"all": true, "tenant": "ada"}"#,
    ];
    for body in cases {
        let answer = world.order("/admin/cache/purge", body).await;
        assert_eq!((answer.status, problem(&answer).as_str()), (400, "bad-order"), "{body}");
    }
    assert!(is_hit(&ask(&world.url, "hi", &[]).await));
}

#[tokio::test]
async fn a_gateway_that_keeps_nothing_says_so() {
    let (socket, admin) = listening().await;
    let text = "cache = false\n[provider.a]\nkind = \"scripted\"\n[chain.chat]\ntargets = [\"a/m\"]\n";
    let config = mainstay::Config::from_toml(text, "test.toml", &|_| None).unwrap();
    let (public, url) = listening().await;
    let builder = Runtime::builder().config(config).admin(socket, AdminAccess::default());
    let _runtime = builder.gateway(public, GatewayLimits::default(), None).start().await.unwrap();
    let answer = answered(http().get(format!("{admin}/admin/cache"))).await;
    assert_eq!((answer.status, problem(&answer).as_str()), (404, "no-cache"));
    let order = http().post(format!("{admin}/admin/cache/purge")).body(r#"{"all": true}"#);
    assert_eq!(problem(&answered(order).await), "no-cache");
    let answer = ask(&url, "hi", &[]).await;
    assert_eq!((answer.status, answer.header("cache-status")), (200, ""));
}

#[tokio::test]
async fn the_command_line_shows_what_is_kept_and_has_it_forgotten() {
    let folder = Folder::new("cache-cli");
    let process = Process::start_with(folder, &["--listen", "127.0.0.1:0"], &[]);
    let tag = [("x-mainstay-cache-tags", "v1")];
    ask(&process.url, "hi", &tag).await;
    assert!(is_hit(&ask(&process.url, "hi", &tag).await));
    let elsewhere = Folder::new("cache-cli-orders");
    let run = async |words: &str| {
        let words: Vec<_> = words.split(' ').filter(|word| !word.is_empty()).collect();
        ran(&elsewhere, &[&["cache"], &words[..], &["--admin", &process.admin]].concat()).await
    };
    for words in ["", "stats"] {
        let (code, out, said) = run(words).await;
        assert!(code == Some(0) && said.is_empty(), "{words}: {said}");
        for line in ["memory ", "disk ", "default "] {
            assert!(out.lines().any(|shown| shown.starts_with(line)), "no {line}: {out}");
        }
    }
    let (code, out, _) = run("stats --json").await;
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &status["namespaces"][0]["hits"]), (Some(0), &json!(1)));
    let (code, out, said) = run("purge --tag v1").await;
    assert!(code == Some(0) && out.contains("memory, disk"), "{out}{said}");
    assert!(!is_hit(&ask(&process.url, "hi", &tag).await)); // CA3
    for words in ["purge --all", "purge --namespace default", "purge --namespace default --tenant ada"] {
        assert_eq!(run(words).await.0, Some(0), "{words}");
    }
    for words in ["purge", "purge --all --tag v1", "purge --all --tenant ada"] {
        assert_eq!(run(words).await.0, Some(2), "{words}");
    }
    let (code, _, said) = run("purge --key 00").await;
    assert!(code == Some(1) && said.contains("64 hexadecimal digits"), "{said}");
}

#[tokio::test]
async fn the_metrics_count_what_was_given_and_what_it_saved() {
    let a = scripted("a").await;
    let folder = Folder::new("cache-metrics");
    let provider = format!("[provider.a]\nkind = \"openai\"\nbase_url = \"{}\"\n", a.base_url());
    folder.write("mainstay.toml", &(provider + "[chain.chat]\ntargets = [\"a/m\"]\n"));
    let process = Process::start_with(folder, &["--listen", "127.0.0.1:0", "--config", "mainstay.toml"], &[]);
    let metrics = async || answered(http().get(format!("{}/metrics", process.url))).await.text;
    let hits = "mainstay_cache_lookups_total{result=\"hit\"}";
    for seen in 0..3 {
        ask(&process.url, "hello there", &[]).await;
        let text = metrics().await;
        let count = text.lines().find_map(|line| line.strip_prefix(hits)).map(str::trim);
        assert_eq!(count.unwrap_or("0"), seen.to_string(), "{text}"); // CA12
    }
    for line in [
        "mainstay_cache_lookups_total{result=\"miss\"} 1",
        "mainstay_cache_tier_total{tier=\"memory\",event=\"hits\"} 2",
        "mainstay_cache_saved_tokens_total{direction=\"output\"} 10",
        "mainstay_cache_tier_up{tier=\"disk\"} 1",
        "mainstay_cache_capacity_bytes{tier=\"memory\"} 67108864",
        "mainstay_cache_saved_seconds_count 2",
    ] {
        until(line, async || metrics().await.contains(line)).await;
    }
    let text = metrics().await;
    for name in ["lookups_total", "tier_total", "saved_seconds", "entries", "bytes", "lookup_seconds"] {
        assert!(text.contains(&format!("# HELP mainstay_cache_{name} ")), "{name} is not described: {text}");
    }
}
