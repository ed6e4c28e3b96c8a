//! What an operator sees and orders over the admin API, who may, and how the command line does it.

use std::{fs, time::Duration};

use mainstay::{
    Config, Runtime,
    providers::scripted::Fault,
    server::{GatewayLimits, admin::AdminAccess},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    process::{Folder, Process, ran},
    support::{Answer, Speaks, World, answered, http, listening, scripted, until},
};

const TOKEN: &str = "canary-0123456789";

/// Every route, and what asks for it.
const ROUTES: [(&str, &str); 10] = [
    ("GET", "/admin/cache"),
    ("POST", "/admin/cache/purge"),
    ("GET", "/admin/providers"),
    ("GET", "/admin/providers/a"),
    ("POST", "/admin/providers/a/isolate"),
    ("POST", "/admin/providers/a/close"),
    ("POST", "/admin/reload"),
    ("GET", "/admin/tree"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
];

/// The slug of the problem that an answer tells.
pub(crate) fn problem(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}"); // GW4
    let body = answer.json();
    assert_eq!(body["status"], answer.status, "{body}");
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    assert_eq!(body["request_id"], answer.header("x-request-id"), "{body}");
    let slug = body["type"].as_str().unwrap().strip_prefix("tag:mainstay,2026:").unwrap().to_string();
    let guide = include_str!("../../docs/admin.md");
    assert!(guide.contains(&format!("`{slug}`")), "docs/admin.md does not tell what to do about `{slug}`");
    slug
}

fn provider<'a>(list: &'a Value, name: &str) -> &'a Value {
    let providers = list["providers"].as_array().unwrap();
    providers.iter().find(|provider| provider["name"] == name).unwrap()
}

#[tokio::test]
async fn an_operator_sees_how_every_provider_is_and_the_tree() {
    let world = World::new().await;
    world.break_a(Fault::status(503)).await;
    let answer = world.see("/admin/providers").await;
    let list = answer.json();
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    assert_eq!(list["mode"], "DEGRADED");
    let (a, b) = (provider(&list, "a"), provider(&list, "b"));
    assert_eq!((&a["circuit"], &b["circuit"]), (&json!("open"), &json!("closed")));
    assert!(
        a["reason"].as_str().unwrap().contains("server_error")
            || a["reason"].as_str().unwrap().contains("overloaded"),
        "{a}"
    );
    assert!(a["since_unix_ms"].as_u64() <= a["until_unix_ms"].as_u64() && a["until_unix_ms"].is_u64(), "{a}");
    assert_eq!((&b["in_flight"], &b["max_concurrent"]), (&json!(0), &json!(20)));
    assert_eq!(world.see("/admin/providers/b").await.json()["name"], "b");
    let tree = world.see("/admin/tree").await.json();
    let paths = tree["children"].as_array().unwrap().iter().map(|child| child["path"].as_str().unwrap());
    assert!(paths.eq(["root/mode", "root/cache", "root/providers", "root/server"]), "{tree}");
    assert!(tree.to_string().contains("root/server/admin"), "{tree}");
}

#[tokio::test]
async fn a_provider_that_an_operator_takes_out_is_asked_again_when_it_is_let_back_in() {
    let world = World::new().await;
    assert_eq!(world.ask("hi").await.said(), "Echo from a: hi");
    let order = r#"{"seconds": 600, "reason": "café closed, ordered by Ada"}"#;
    let answer = world.order("/admin/providers/a/isolate", order).await;
    let shown = answer.json();
    assert_eq!((answer.status, &shown["circuit"]), (200, &json!("isolated")));
    let lasts = shown["until_unix_ms"].as_u64().unwrap() - shown["since_unix_ms"].as_u64().unwrap();
    assert!((599_000..=601_000).contains(&lasts), "{shown}");
    let asked = world.a.requests();
    let elsewhere = world.ask("hi").await;
    assert_eq!((elsewhere.said().as_str(), world.a.requests()), ("Echo from b: hi", asked));
    assert!(elsewhere.header("x-mainstay-notice").contains("caf? closed, ordered by Ada"), "{elsewhere:?}");
    let answer = world.order("/admin/providers/a/close", "").await;
    assert_eq!((answer.status, &answer.json()["circuit"]), (200, &json!("closed")));
    assert_eq!(world.ask("hi").await.said(), "Echo from a: hi");
}

#[tokio::test]
async fn one_model_is_taken_out_alone_and_without_a_time_until_it_is_closed() {
    let world = World::new().await;
    let shown = world.order("/admin/providers/a/isolate", r#"{"model": "model-a"}"#).await.json();
    assert_eq!(shown["account"]["circuit"], "closed");
    let model = &shown["models"][0];
    assert_eq!((&model["circuit"], &model["until_unix_ms"]), (&json!("isolated"), &Value::Null));
    assert_eq!(world.ask("hi").await.said(), "Echo from b: hi");
    world.order("/admin/providers/a/close", "{}").await;
    assert_eq!(world.ask("hi").await.said(), "Echo from a: hi");
}

#[tokio::test]
async fn an_order_reaches_an_actor_that_has_just_crashed() {
    let world = World::new().await;
    world.runtime.system().provider("a").unwrap().actor().crash();
    let answer = world.order("/admin/providers/a/isolate", "{}").await;
    assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
    let restarted = async || world.runtime.tree().find("root/providers/a").unwrap().restarts == 1;
    until("a is back", restarted).await;
    let answer = world.order("/admin/providers/a/isolate", "{}").await;
    assert_eq!((answer.status, &answer.json()["circuit"]), (200, &json!("isolated")));
}

#[tokio::test]
async fn a_wrong_order_is_told_as_a_problem_and_changes_nothing() {
    let world = World::new().await;
    let isolate = "/admin/providers/a/isolate";
    let long = format!(r#"{{"reason": "{}"}}"#, "x".repeat(201));
    let large = format!(r#"{{"reason": "{}"}}"#, "x".repeat(20 << 10));
    let cases = [
        (isolate, "{", 400, "bad-order"),
        (isolate, "[]", 400, "bad-order"),
        (isolate, "\u{1}", 400, "bad-order"),
        (isolate, r#"{"second": 5}"#, 400, "bad-order"),
        (isolate, r#"{"seconds": 0}"#, 400, "bad-order"),
        (isolate, r#"{"seconds": -1}"#, 400, "bad-order"),
        (isolate, r#"{"seconds": 99999999999}"#, 400, "bad-order"),
        (isolate, r#"{"reason": "two\nlines"}"#, 400, "bad-order"),
        (isolate, r#"{"reason": ""}"#, 400, "bad-order"),
        (isolate, &long, 400, "bad-order"),
        (isolate, &large, 413, "request-too-large"),
        (isolate, r#"{"model": "gpt-9"}"#, 404, "unknown-model"),
        ("/admin/providers/a/close", r#"{"model": "model-a"}"#, 400, "bad-order"),
        ("/admin/providers/c/isolate", "{}", 404, "unknown-provider"),
        ("/admin/providers/%ff/close", "", 404, "unknown-provider"),
        ("/admin/providers/a", "", 405, "method-not-allowed"),
        ("/admin/nothing", "", 404, "unknown-route"),
        ("/v1/chat/completions", "", 404, "unknown-route"),
        ("/admin/reload", "", 404, "no-reload"),
    ];
    for (path, body, status, slug) in cases {
        let answer = world.order(path, body).await;
        assert_eq!((answer.status, problem(&answer).as_str()), (status, slug), "{path} {body}: {answer:?}");
    }
    assert_eq!(world.order("/admin/providers/a", "").await.header("allow"), "GET,HEAD");
    assert_eq!(world.order("/admin/providers/c/close", "").await.json()["known"], json!(["a", "b"]));
    let list = world.see("/admin/providers").await.json();
    assert_eq!(provider(&list, "a")["circuit"], "closed");
}

#[tokio::test]
async fn pages_in_a_visitor_s_browser_may_neither_see_nor_order_anything() {
    let world = World::new().await;
    let foreign = [
        ("origin", "https://evil.example"),
        ("origin", "http://localhost:3000"),
        ("origin", world.url.as_str()),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("host", "evil.example"),
    ];
    for (method, path) in ROUTES {
        for (name, value) in foreign {
            let request = http().request(method.parse().unwrap(), format!("{}{path}", world.admin));
            let answer = answered(request.header(name, value)).await;
            assert_eq!(answer.status, 403, "{method} {path} {name}: {value}: {answer:?}"); // GW10
            problem(&answer);
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
    }
    assert_eq!(world.circuit("a"), "closed");
    let own = http().get(format!("{}/admin/providers", world.admin)).header("origin", &world.admin);
    assert_eq!(answered(own).await.status, 200);
}

/// A gateway whose admin API wants a token.
async fn with_token(address: &str) -> Result<(Runtime, String), mainstay::Error> {
    let socket = tokio::net::TcpListener::bind(address).await.unwrap();
    let url = format!("http://127.0.0.1:{}", socket.local_addr().unwrap().port());
    let access = AdminAccess { token: Some(TOKEN.into()), reloads: None };
    let builder = Runtime::builder().config(Config::demo(&|_| None));
    Ok((builder.admin(socket, access).start().await?, url))
}

#[tokio::test]
async fn where_other_machines_reach_it_every_route_wants_the_token() {
    let (_runtime, url) = with_token("0.0.0.0:0").await.unwrap();
    let ask = |method: &str, path: &str| {
        let path = path.replace("providers/a", "providers/flaky");
        http().request(method.parse::<Method>().unwrap(), format!("{url}{path}"))
    };
    for (method, path) in ROUTES.into_iter().chain([("GET", "/"), ("DELETE", "/admin/tree")]) {
        for wrong in [None, Some("Bearer canary-012345678"), Some("Bearer canary-01234567890"), Some(TOKEN)] {
            let request = ask(method, path);
            let request =
                if let Some(wrong) = wrong { request.header("authorization", wrong) } else { request };
            let answer = answered(request).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{path}"); // GW10
            assert!(!answer.text.contains("canary"), "{answer:?}");
            problem(&answer);
        }
        let answer = answered(ask(method, path).bearer_auth(TOKEN)).await;
        assert!(![401, 403].contains(&answer.status), "{method} {path}: {answer:?}");
        assert!(!answer.text.contains("canary"), "{answer:?}"); // GW10
    }
    let named = ask("GET", "/admin/tree").bearer_auth(TOKEN).header("host", "gateway.internal");
    assert_eq!(answered(named).await.status, 200, "who knows the token may call it by any name");
}

#[tokio::test]
async fn without_a_token_nothing_is_served_to_other_machines() {
    let socket = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let builder = Runtime::builder().config(Config::demo(&|_| None));
    let error = builder.admin(socket, AdminAccess::default()).start().await.err().unwrap().to_string();
    assert!(error.contains("without a token") && error.contains("token_env"), "{error}"); // GW10
    let folder = Folder::new("admin-open");
    for (text, code, says) in [
        ("listen = \"0.0.0.0:0\"", 78, "mainstay.toml:2:10"),
        ("listen = \"0.0.0.0:0\"\ntoken_env = false", 78, "mainstay.toml:2:10"),
        ("token = \"canary-0123456789\"", 78, "mainstay.toml:2:9"),
        ("token_env = \"canary-0123456789\"", 78, "must name an environment variable"),
        ("token_file = \"short\"", 78, "16 to 512 visible"),
        ("token_file = \"nowhere\"", 78, "mainstay.toml:2:14"),
    ] {
        folder.write("short", "canary-0\n");
        let chain = "[provider.a]\nkind = \"scripted\"\n[chain.chat]\ntargets = [\"a/m\"]\n";
        folder.write("mainstay.toml", &format!("[admin]\n{text}\n{chain}"));
        let (ended, _, said) = ran(&folder, &["--config", "mainstay.toml"]).await;
        assert!(ended == Some(code) && said.contains(says) && !said.contains("canary"), "{text}: {said}");
    }
}

#[tokio::test]
async fn while_the_gateway_drains_the_admin_api_still_answers() {
    let limits = GatewayLimits { drain: Duration::from_secs(3), ..GatewayLimits::default() };
    let world = World::with(Speaks::OpenAi, limits, r#"total = "1h""#).await;
    world.a.set_default_fault(Some(Fault::HangAfter(3)));
    let body = world.body("hi", true);
    let call =
        tokio::spawn(answered(world.request(Method::POST, world.speaks.path()).body(body.to_string())));
    until("a is asked", async || world.a.counts().in_progress == 1).await;
    let World { runtime, url, admin, a: _a, b: _b, .. } = world;
    let ending = tokio::spawn(runtime.shutdown(Duration::from_secs(20)));
    until("the public port is closed", async || http().get(format!("{url}/livez")).send().await.is_err())
        .await;
    let answer = answered(http().get(format!("{admin}/readyz"))).await;
    assert_eq!(answer.status, 503, "{answer:?}"); // GW7
    let answer = answered(http().get(format!("{admin}/admin/providers/a"))).await;
    assert_eq!(answer.json()["in_flight"], 1);
    assert!(call.await.unwrap().text.contains("shutting down"));
    assert!(ending.await.unwrap().is_clean());
}

fn file(base_url: &str, more: &str) -> String {
    format!(
        "{more}[provider.a]\nkind = \"openai\"\nbase_url = \"{base_url}\"\n[chain.chat]\ntargets = [\"a/m\"]\n"
    )
}

#[tokio::test]
async fn a_reload_over_the_admin_api_does_what_a_hangup_does_and_tells_what_came_of_it() {
    let (a, b) = (scripted("a").await, scripted("b").await);
    let folder = Folder::new("admin-reload");
    let path = folder.write("mainstay.toml", &file(&a.base_url(), ""));
    let process = Process::start_with(folder, &["--listen", "127.0.0.1:0", "--config", "mainstay.toml"], &[]);
    assert_eq!(process.ask().await.said(), "Echo from a: hello");
    let reload = async || answered(http().post(format!("{}/admin/reload", process.admin))).await;

    fs::write(&path, file(&b.base_url(), "[server]\nmax_body = \"1MiB\"\n")).unwrap();
    let done = reload().await;
    assert_eq!((done.status, &done.json()["providers"]["changed"]), (200, &json!(["a"])), "{done:?}"); // GW8
    assert_eq!(done.json()["after_restart"], json!(["server.max_body"]));
    assert_eq!(process.ask().await.said(), "Echo from b: hello");

    fs::write(&path, "[provider.a]\nkind = \"opnai\"\n[chain.chat]\ntargets = 3\n").unwrap();
    let refused = reload().await;
    assert_eq!((refused.status, problem(&refused).as_str()), (422, "configuration-rejected")); // GW8
    let problems = refused.json()["problems"].to_string();
    assert!(problems.contains("mainstay.toml:2:8") && problems.contains("mainstay.toml:4:11"), "{problems}");
    assert_eq!(process.ask().await.said(), "Echo from b: hello");
    let metrics = answered(http().get(format!("{}/metrics", process.url))).await.text;
    for result in ["applied", "rejected"] {
        let line = format!("mainstay_config_reloads_total{{result=\"{result}\"}} 1");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn the_command_line_shows_takes_out_and_lets_back_in() {
    let a = scripted("a").await;
    let folder = Folder::new("admin-cli");
    let secret = Folder::new("admin-cli-token");
    let token = secret.write("token", &format!("{TOKEN}\n"));
    let more = format!("[admin]\ntoken_file = \"{}\"\n", token.to_str().unwrap());
    // Whoever gives orders has none of the providers' keys.
    let keyed = file(&a.base_url(), &more).replace("kind", "key_env = \"SOME_KEY\"\nkind");
    let config = folder.write("mainstay.toml", &keyed);
    let config = config.to_str().unwrap().to_string();
    let args = ["--listen", "127.0.0.1:0", "--config", "mainstay.toml"];
    let process = Process::start_with(folder, &args, &[("SOME_KEY", "sk-canary")]);
    let run = async |words: &str| {
        let words = words.split_whitespace().chain(["--config", &config, "--admin", &process.admin]);
        ran(&secret, &[&["providers"][..], &words.collect::<Vec<_>>()].concat()).await
    };
    let (code, out, said) = run("").await;
    assert!(code == Some(0) && out.contains("closed"), "{out}{said}");
    let (code, out, said) = run("isolate a --for 10m --reason by-Ada").await;
    assert!(code == Some(0) && out.contains("isolated") && out.contains("by-Ada"), "{out}{said}");
    assert_eq!(process.ask().await.status, 503);
    assert!(run("list").await.1.contains("isolated"));
    let (code, out, said) = run("close a").await;
    assert!(code == Some(0) && out.contains("closed"), "{out}{said}");
    assert_eq!(process.ask().await.said(), "Echo from a: hello");
    let (code, _, said) = run("close b").await;
    assert!(code == Some(1) && said.contains("no provider `b`") && said.contains("one of: a"), "{said}");
    assert_eq!(run("isolate a --for soon").await.0, Some(2));
    let (code, _, said) = ran(&secret, &["providers", "--admin", &process.admin]).await;
    assert!(code == Some(1) && said.contains("admin token"), "{said}");
}

#[tokio::test]
async fn the_command_line_says_when_nobody_listens_there() {
    let (socket, url) = listening().await;
    drop(socket);
    let folder = Folder::new("admin-nobody");
    let (code, out, said) = ran(&folder, &["providers", "--admin", &url]).await;
    assert!(
        code == Some(1) && out.is_empty() && said.contains("nobody listens at") && said.contains("--admin"),
        "{said}"
    );
    let public = scripted("a").await;
    let (code, _, said) = ran(&folder, &["providers", "--admin", &format!("http://{}", public.addr())]).await;
    assert!(code == Some(1) && said.contains("no admin API"), "{said}");
    folder.write("off.toml", "admin = false\n");
    let (code, _, said) = ran(&folder, &["providers", "--config", "off.toml"]).await;
    assert!(code == Some(78) && said.contains("no admin API"), "{said}");
}
