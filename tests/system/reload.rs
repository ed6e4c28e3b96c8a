//! Another configuration while calls run: over real HTTP, and through SIGHUP of the real binary.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use mainstay::{
    Config, Runtime,
    actors::event::{EventKind, Heard},
    providers::scripted::Fault,
    server::GatewayLimits,
};
use serde_json::Value;

use crate::{
    process::{Folder, Process},
    support::{answered, http, scripted, until},
};

const BODY: &str = r#"{"model":"chat","messages":[{"role":"user","content":"hello"}]}"#;

fn provider(name: &str, base_url: &str, more: &str) -> String {
    format!("[provider.{name}]\nkind = \"openai\"\nbase_url = \"{base_url}\"\n{more}\n")
}

fn chain(targets: &str) -> String {
    format!("[chain.chat]\ntargets = [{targets}]\nretries = 0\n")
}

fn config(text: &str) -> Config {
    Config::from_toml(text, "test.toml", &|_| None).unwrap_or_else(|error| panic!("{error}"))
}

fn names(status: &Value) -> Vec<String> {
    let name = |provider: &Value| provider["name"].as_str().unwrap().to_string();
    status["providers"].as_array().unwrap().iter().map(name).collect()
}

async fn status(url: &str) -> Value {
    answered(http().get(format!("{url}/status.json"))).await.json()
}

#[tokio::test]
async fn fifty_reloads_under_load_fail_no_call_and_an_open_circuit_stays_open() {
    let (a, b) = (scripted("a").await, scripted("b").await);
    let open = "breaker = { failures = 3, open_min = \"10m\", open_max = \"10m\" }";
    let one =
        provider("a", &a.base_url(), open) + &provider("b", &b.base_url(), "") + &chain("\"a/m\", \"b/m\"");
    let other = provider("a", &a.base_url(), &format!("{open}\nmax_concurrent = 7"))
        + &provider("b", &b.base_url(), "timeouts.connect = \"3s\"")
        + "[provider.c]\nkind = \"scripted\"\n"
        + &chain("\"a/m\", \"c/m\", \"b/m\"");
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let builder = Runtime::builder().config(config(&one)).gateway(socket, GatewayLimits::default(), None);
    let mut runtime = builder.start().await.unwrap();
    a.set_default_fault(Some(Fault::status(503)));
    let desk = runtime.system().provider("a").unwrap();
    let circuit = || desk.models()[0].state();
    until("a's circuit opens", async || {
        answered(http().post(format!("{url}/v1/chat/completions")).body(BODY)).await;
        !desk.is_usable()
    })
    .await;
    let before = circuit();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (stop, url, http) = (stop.clone(), url.clone(), http());
            let body = if caller % 2 == 0 {
                BODY.into()
            } else {
                BODY.replace("\"chat\",", "\"chat\",\"stream\":true,")
            };
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let call = http.post(format!("{url}/v1/chat/completions")).body(body.clone());
                    let answer = answered(call).await;
                    let is_whole = caller % 2 == 0 || answer.is_signed_off();
                    answers.push((answer.status, is_whole, answer.header("x-mainstay-provider").to_string()));
                }
                answers
            })
        })
        .collect();
    for round in 0..50 {
        let next = if round % 2 == 0 { &other } else { &one };
        let reloaded = runtime.reload(config(next)).await.unwrap();
        assert!(reloaded.chains.changed == ["chat"], "{reloaded}");
        let expected = if round % 2 == 0 { vec!["a", "b", "c"] } else { vec!["a", "b"] };
        let status = status(&url).await;
        assert_eq!(names(&status), expected);
        let is_in_tree = runtime.tree().find("root/providers/c").is_some();
        assert_eq!((is_in_tree, circuit()), (round % 2 == 0, before)); // GW8
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let answers: Vec<_> =
        futures_util::future::join_all(callers).await.into_iter().flat_map(Result::unwrap).collect();
    let failed = answers.iter().filter(|(status, is_whole, _)| *status != 200 || !is_whole);
    assert_eq!((failed.count(), circuit()), (0, before), "of {} calls", answers.len()); // GW8
    for by in ["b", "c"] {
        assert!(
            answers.iter().any(|(_, _, provider)| provider == by),
            "nothing by {by} of {}",
            answers.len()
        );
    }
    assert!(runtime.shutdown(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test]
async fn a_wrong_configuration_changes_nothing_and_says_all_that_is_wrong() {
    let a = scripted("a").await;
    let one = provider("a", &a.base_url(), "") + &chain("\"a/m\"");
    let mut runtime = Runtime::builder().config(config(&one)).start().await.unwrap();
    let before = runtime.chain("chat").unwrap();
    let wrong = provider("b", &a.base_url(), "") + &chain("\"x/m\", \"y/m\"");
    let error = runtime.reload(config(&wrong)).await.unwrap_err().to_string();
    assert!(error.contains("`x` is not defined") && error.contains("`y` is not defined"), "{error}"); // GW8
    assert!(Arc::ptr_eq(&before, &runtime.chain("chat").unwrap()));
    assert!(runtime.system().provider("b").is_none() && runtime.tree().find("root/providers/b").is_none());
    let mut listening = config(&one);
    listening.server.listen = "127.0.0.1:9".parse().unwrap();
    for _ in 0..2 {
        let reloaded = runtime.reload(listening.clone()).await.unwrap().to_string();
        assert_eq!(reloaded, "not applied before a restart: server.listen", "also the second time");
    }
    let told = runtime.events().since(0).filter_map(async |heard| match heard {
        Heard::Item(event) => {
            matches!(&event.kind, EventKind::ConfigRejected { reason } if **reason == error).then_some(())
        }
        Heard::Gap(_) => None,
    });
    let told = tokio::time::timeout(Duration::from_secs(20), Box::pin(told).next()).await;
    assert_eq!(told, Ok(Some(())), "the rejection is an event");
}

#[tokio::test]
async fn providers_and_chains_that_were_added_in_code_stay() {
    let (a, b) = (scripted("a").await, scripted("b").await);
    let http = mainstay::providers::http_client(Duration::from_secs(5)).unwrap();
    let adapter =
        |url: &str| mainstay::providers::bilingual::Bilingual::new(http.clone(), url, None).unwrap();
    let builder = Runtime::builder().provider("own", adapter(&a.base_url())).chain("mine", ["own", "b"]);
    let text = provider("b", &b.base_url(), "") + &chain("\"own/m\"");
    let mut runtime = builder.config(config(&text)).start().await.unwrap();
    runtime.reload(config(&text.replace("own/m", "b/m"))).await.unwrap();
    let ask =
        async |chain| runtime.chain(chain).unwrap().call(mainstay::completion("hi")).await.unwrap().story;
    assert_eq!((&*ask("mine").await.provider, &*ask("chat").await.provider), ("own", "b"));
    let without = provider("c", &b.base_url(), "") + &chain("\"own/m\"");
    let error = runtime.reload(config(&without)).await.unwrap_err().to_string();
    assert!(error.contains("chain `mine` asks provider `b`"), "{error}");
}

#[tokio::test]
async fn a_hangup_reads_the_file_again_and_a_wrong_one_keeps_the_old_and_says_so() {
    let (a, b) = (scripted("a").await, scripted("b").await);
    let folder = Folder::new("hangup");
    let text = provider("a", &a.base_url(), "") + &chain("\"a/m\"");
    let path = folder.write("mainstay.toml", &text);
    let log = folder.path("log");
    let process = Process::start_with(folder, &["--listen", "127.0.0.1:0", "--config", "mainstay.toml"], &[]);
    assert_eq!(process.ask().await.said(), "Echo from a: hello");

    let other = provider("b", &b.base_url(), "") + &chain("\"b/m\"");
    fs::write(&path, format!("[server]\nmax_body = \"1MiB\"\n{other}")).unwrap();
    process.signal("HUP");
    until("b answers", async || process.ask().await.said() == "Echo from b: hello").await; // GW8
    let metrics = async || answered(http().get(format!("{}/metrics", process.url))).await.text;
    let states = |metrics: &str, of: &str| {
        let states = metrics.lines().filter(|line| line.starts_with("mainstay_breaker_state{"));
        let states = states.filter(|line| line.contains(&format!("provider=\"{of}\",model=\"m\"")));
        states.filter(|line| line.ends_with(" 1")).count()
    };
    until("no state of a is told any more", async || {
        let metrics = metrics().await;
        metrics.contains("provider=\"a\",model=\"m\"")
            && states(&metrics, "a") == 0
            && states(&metrics, "b") == 1
    })
    .await;
    until("a is gone", async || {
        let status = status(&process.url).await;
        let tree = status["tree"].to_string();
        names(&status) == ["b"] && tree.contains("root/providers/b") && !tree.contains("root/providers/a")
    })
    .await;

    fs::write(&path, "[provider.a]\nkind = \"opnai\"\n[chain.chat]\ntargets = 3\n").unwrap();
    process.signal("HUP");
    let said = || fs::read_to_string(&log).unwrap();
    until("the log tells all problems", async || {
        said().contains("mainstay.toml:2:8") && said().contains("mainstay.toml:4:11") // GW8
    })
    .await;
    assert!(said().contains("not applied before a restart: server.max_body"), "{}", said());
    assert_eq!(process.ask().await.said(), "Echo from b: hello");
    let first = format!("{}-0", status(&process.url).await["boot"]);
    let asked = http().get(format!("{}/events", process.url)).header("last-event-id", first);
    let mut events = asked.send().await.unwrap();
    let mut told = String::new();
    while !(told.contains("config_applied") && told.contains("config_rejected")) {
        let chunk = tokio::time::timeout(Duration::from_secs(20), events.chunk()).await.expect("both events");
        told.push_str(&String::from_utf8_lossy(&chunk.unwrap().expect("the events go on")));
    }
}

#[tokio::test]
async fn a_hangup_without_a_file_changes_nothing_and_says_why() {
    let folder = Folder::new("hangup-demo");
    let log = folder.path("log");
    let mut process = Process::start_with(folder, &["--listen", "127.0.0.1:0"], &[]);
    process.signal("HUP");
    until("the log tells", async || fs::read_to_string(&log).unwrap().contains("no configuration file"))
        .await;
    assert_eq!(process.ask().await.status, 200);
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
}
