//! Answers that are kept, as callers see them: what they may ask for, and what the answer says happened.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all};
use mainstay::{
    Mode,
    providers::scripted::{Fault, Scripted},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Keeps, Speaks, World, answered, until};

const BOTH: [Speaks; 2] = [Speaks::OpenAi, Speaks::Anthropic];

async fn world(section: &str) -> World {
    World::keeping(Speaks::OpenAi, Keeps { section, ..Keeps::default() }).await
}

/// What has one answer only.
fn question(world: &World, prompt: &str, stream: bool) -> Value {
    let mut body = world.body(prompt, stream);
    body["temperature"] = json!(0);
    body
}

/// Asks with further headers, each as `name: value`.
async fn ask_with(world: &World, body: &Value, headers: &[&str]) -> Answer {
    let request = world.request(Method::POST, world.speaks.path()).body(body.to_string());
    let headers = headers.iter().map(|header| header.split_once(": ").unwrap());
    answered(headers.fold(request, |request, (name, value)| request.header(name, value))).await
}

async fn ask(world: &World, prompt: &str, headers: &[&str]) -> Answer {
    ask_with(world, &question(world, prompt, false), headers).await
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status")
}

fn is_hit(answer: &Answer) -> bool {
    status(answer).starts_with("mainstay; hit;")
}

fn requests(a: &Scripted, b: &Scripted) -> u64 {
    a.requests() + b.requests()
}

#[tokio::test]
async fn a_repeated_question_is_answered_in_the_same_words_without_asking_anybody() {
    for speaks in BOTH {
        let world = World::keeping(speaks, Keeps::default()).await;
        for stream in [false, true] {
            let body = question(&world, "hi", stream);
            let first = ask_with(&world, &body, &[]).await;
            let asked = world.a.requests();
            let second = ask_with(&world, &body, &["x-request-id: mine"]).await;
            assert_eq!((first.status, status(&first)), (200, "mainstay; fwd=miss"), "{first:?}"); // CA13
            assert!(is_hit(&second) && status(&second).ends_with("; detail=memory"), "{second:?}"); // CA13
            assert_eq!((&second.text, world.a.requests()), (&first.text, asked));
            assert_eq!((first.header("x-mainstay-attempts"), first.header("age")), ("1", ""));
            assert_eq!((second.header("x-mainstay-attempts"), second.header("age")), ("0", "0"));
            assert_eq!((second.header("x-mainstay-provider"), second.header("x-request-id")), ("a", "mine"));
            let key = first.header("x-mainstay-cache-key");
            assert_eq!((key.len(), second.header("x-mainstay-cache-key")), (64, key));
            assert_eq!(second.header("content-type"), first.header("content-type"));
            assert!(!stream || second.is_signed_off());
        }
    }
}

#[tokio::test]
async fn a_caller_says_what_may_be_given_to_it_and_what_may_be_kept() {
    let world = world("").await;
    let (no_store, no_cache) = ("cache-control: no-store", "cache-control: no-cache");
    assert_eq!(status(&ask(&world, "hi", &[no_store]).await), "mainstay; fwd=miss");
    assert_eq!(status(&ask(&world, "hi", &[]).await), "mainstay; fwd=miss", "it was not kept"); // CA13
    assert!(is_hit(&ask(&world, "hi", &[]).await));
    assert_eq!(status(&ask(&world, "hi", &[no_cache]).await), "mainstay; fwd=request"); // CA13
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let old = ask(&world, "hi", &["cache-control: max-age=60"]).await;
    assert!(is_hit(&old) && old.header("age") == "1", "{old:?}");
    assert_eq!(status(&ask(&world, "hi", &["cache-control: max-age=0"]).await), "mainstay; fwd=request"); // CA13
    assert_eq!(world.a.requests(), 4);
}

#[tokio::test]
async fn what_chance_had_a_part_in_is_kept_only_for_a_caller_that_says_how_long() {
    let world = world("").await;
    for _ in 0..2 {
        let answer = world.ask("hi").await;
        assert_eq!(status(&answer), "mainstay; fwd=bypass; detail=sampled");
        assert_eq!(answer.header("x-mainstay-cache-key"), "");
    }
    let body = world.body("hi", false);
    let minute = ["x-mainstay-cache-ttl: 60"];
    assert_eq!(status(&ask_with(&world, &body, &minute).await), "mainstay; fwd=miss");
    let hit = ask_with(&world, &body, &minute).await;
    let ttl = status(&hit).strip_prefix("mainstay; hit; ttl=").and_then(|rest| rest.split(';').next());
    assert!(ttl.is_some_and(|ttl| (50..=60).contains(&ttl.parse::<i64>().unwrap())), "{hit:?}"); // CA13
    assert_eq!(world.a.requests(), 3);
}

#[tokio::test]
async fn who_asks_for_what_is_kept_alone_is_told_when_there_is_nothing() {
    for speaks in BOTH {
        let world = World::keeping(speaks, Keeps::default()).await;
        for stream in [false, true] {
            let body = question(&world, "hi", stream);
            let only = ["cache-control: only-if-cached"];
            let refused = ask_with(&world, &body, &only).await;
            assert_eq!((refused.status, status(&refused)), (504, "mainstay; detail=only-if-cached"));
            let error = refused.json()["error"].clone();
            let code =
                if speaks == Speaks::OpenAi { &error["code"] } else { &error["details"]["error_code"] };
            assert_eq!(code, "not_cached", "{error}"); // GW4
            assert!(error["message"].as_str().unwrap().contains("only-if-cached"), "{error}");
            let asked = world.a.requests();
            ask_with(&world, &body, &[]).await;
            assert!(is_hit(&ask_with(&world, &body, &only).await)); // CA13
            assert_eq!(world.a.requests(), asked + 1);
        }
    }
}

#[tokio::test]
async fn namespaces_see_nothing_of_each_other() {
    let world = world("").await;
    let (one, other) = (["x-mainstay-cache-namespace: one"], ["x-mainstay-cache-namespace: other"]);
    assert!(!is_hit(&ask(&world, "hi", &one).await));
    assert!(!is_hit(&ask(&world, "hi", &other).await) && !is_hit(&ask(&world, "hi", &[]).await)); // CA13
    assert!(is_hit(&ask(&world, "hi", &one).await));
}

#[tokio::test]
async fn a_caller_names_the_tiers_that_are_used() {
    let world = world("").await;
    let disk = ["x-mainstay-cache-levels: disk"];
    ask(&world, "hi", &disk).await;
    assert!(!is_hit(&ask(&world, "hi", &[]).await), "there is no disk here, and the memory was left out"); // CA13
    assert!(!is_hit(&ask(&world, "hi", &disk).await));
    assert!(is_hit(&ask(&world, "hi", &["x-mainstay-cache-levels: memory, disk"]).await));
}

#[tokio::test]
async fn a_header_that_makes_no_sense_is_refused_before_anybody_is_asked() {
    let long = format!("x-mainstay-cache-namespace: {}", "x".repeat(65));
    let hostile = [
        "cache-control: max-age=soon",
        "cache-control: no-store=\"all\"",
        "x-mainstay-cache-ttl: 0",
        "x-mainstay-cache-ttl: 31536001",
        "x-mainstay-cache-tags: two words",
        "x-mainstay-cache-levels: everywhere",
        &long,
    ];
    for speaks in BOTH {
        let world = World::keeping(speaks, Keeps::default()).await;
        for header in hostile {
            let refused = ask(&world, "hi", &[header]).await;
            let error = refused.json()["error"].clone();
            assert_eq!((refused.status, &error["type"]), (400, &json!("invalid_request_error")), "{header}"); // GW4
            let name = header.split_once(':').unwrap().0;
            assert!(error["message"].as_str().unwrap().contains(name), "{error}"); // CA13
        }
        assert_eq!(requests(&world.a, &world.b), 0);
        let strange = ask(&world, "hi", &["cache-control: max-stale=never, x=\"a, no-store\""]).await;
        assert_eq!(strange.status, 200, "{strange:?}");
        assert!(is_hit(&ask(&world, "hi", &[]).await));
    }
}

#[tokio::test]
async fn a_verdict_on_the_request_is_kept_for_as_long_as_it_is_configured_and_by_default_not_at_all() {
    for (section, asked) in [("", 3), ("[cache]\nnegative_ttl = \"1m\"\n", 1)] {
        let world = world(section).await;
        world.a.set_default_fault(Some(Fault::status(400)));
        let first = ask(&world, "hi", &[]).await;
        let again = [ask(&world, "hi", &[]).await, ask(&world, "hi", &[]).await];
        assert_eq!((first.status, world.a.requests()), (400, asked), "{section}: {first:?}"); // CA2
        for answer in &again {
            assert_eq!((answer.status, &answer.text), (400, &first.text));
            assert_eq!((is_hit(answer), answer.header("x-mainstay-provider")), (asked == 1, "a"));
            assert_eq!(answer.header("x-mainstay-attempts"), if asked == 1 { "0" } else { "1" });
        }
    }
    let world = world("[cache]\nnegative_ttl = \"1s\"\n").await;
    world.a.set_default_fault(Some(Fault::status(400)));
    ask(&world, "hi", &[]).await;
    world.a.set_default_fault(None);
    assert_eq!(ask(&world, "hi", &[]).await.status, 400);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(ask(&world, "hi", &[]).await.status, 200); // CA2
}

#[tokio::test]
async fn what_its_provider_broke_off_is_never_kept() {
    for speaks in BOTH {
        let world = World::keeping(speaks, Keeps::default()).await;
        let words = speaks.before() + 1;
        for fault in
            [Fault::CutAfter(words), Fault::ResetAfter(words), Fault::NoDone, Fault::ErrorAfter(words)]
        {
            let body = question(&world, &fault.to_string(), true);
            world.a.set_default_fault(Some(fault.clone()));
            let broken = ask_with(&world, &body, &[]).await;
            assert!(!broken.is_signed_off() && broken.text.contains("error"), "{fault}: {broken:?}");
            world.a.set_default_fault(None);
            let asked = world.a.requests();
            let whole = ask_with(&world, &body, &[]).await;
            assert_eq!((status(&whole), whole.is_signed_off()), ("mainstay; fwd=miss", true), "{fault}"); // CA5
            assert_eq!(requests(&world.a, &world.b), asked + world.b.requests() + 1);
        }
        for fault in [Fault::ErrorAfter(0), Fault::CutAfter(0), Fault::Malformed] {
            let body = question(&world, &format!("whole {fault}"), false);
            world.a.set_default_fault(Some(fault.clone()));
            world.b.set_default_fault(Some(fault.clone()));
            assert_ne!(ask_with(&world, &body, &[]).await.status, 200, "{fault}");
            world.a.set_default_fault(None);
            world.b.set_default_fault(None);
            let whole = ask_with(&world, &body, &[]).await;
            assert_eq!((whole.status, status(&whole)), (200, "mainstay; fwd=miss"), "{fault}"); // CA5
        }
    }
}

#[tokio::test]
async fn a_stream_that_its_caller_leaves_is_not_kept() {
    let world = world("").await;
    let body = question(&world, "hi", true);
    world.a.set_default_fault(Some(Fault::HangAfter(3)));
    let request = world.request(Method::POST, world.speaks.path()).body(body.to_string());
    let mut pieces = request.send().await.unwrap().bytes_stream();
    pieces.next().await.unwrap().unwrap();
    drop(pieces);
    until("a notices", async || world.a.counts().aborted == 1).await;
    world.a.set_default_fault(None);
    let whole = ask_with(&world, &body, &[]).await;
    assert_eq!((status(&whole), whole.is_signed_off()), ("mainstay; fwd=miss", true)); // CA5
}

#[tokio::test]
async fn two_hundred_equal_questions_at_once_ask_a_provider_once() {
    let world = world("").await;
    for stream in [false, true] {
        let (body, before) = (question(&world, "hi", stream), world.a.requests());
        world.a.set_default_fault(Some(Fault::Slow(Duration::from_secs(2))));
        let answers = join_all((0..200).map(|_| ask_with(&world, &body, &[]))).await;
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.text == answers[0].text));
        assert_eq!(world.a.requests(), before + 1); // CA8
        let alone = answers.iter().filter(|answer| status(answer) == "mainstay; fwd=miss").count();
        let together = |answer: &&Answer| status(answer) == "mainstay; fwd=miss; collapsed" || is_hit(answer);
        assert_eq!((alone, answers.iter().filter(together).count()), (1, 199));
    }
}

#[tokio::test]
async fn when_all_providers_are_down_what_was_asked_before_is_answered_and_says_how_old_it_is() {
    for speaks in BOTH {
        let section = "[cache]\nttl = \"1s\"\nstale = \"0s\"\nstale_if_error = \"1h\"\n";
        let world = World::keeping(speaks, Keeps { section, ..Keeps::default() }).await;
        let questions = |stream| (0..50).map(move |n| (format!("question {n}"), stream)).collect::<Vec<_>>();
        let questions = [questions(false), questions(true)].concat();
        let known = |n: usize| n % 5 < 3;
        for (_, (prompt, stream)) in questions.iter().enumerate().filter(|(n, _)| known(*n)) {
            assert_eq!(ask_with(&world, &question(&world, prompt, *stream), &[]).await.status, 200);
        }
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        world.a.set_default_fault(Some(Fault::status(503)));
        world.b.set_default_fault(Some(Fault::Reset));
        let mut good = 0;
        for (n, (prompt, stream)) in questions.iter().enumerate() {
            let answer = ask_with(&world, &question(&world, prompt, *stream), &[]).await;
            assert_eq!(answer.status == 200, known(n), "{prompt}: {answer:?}");
            if answer.status != 200 {
                continue;
            }
            good += 1;
            assert!(status(&answer).starts_with("mainstay; fwd=stale; ttl=-"), "{answer:?}"); // CA9
            let age: u64 = answer.header("age").parse().unwrap();
            assert!((1..60).contains(&age), "{answer:?}");
            let notice = "nobody answers: this answer was kept and is ";
            assert!(answer.header("x-mainstay-notice").contains(notice), "{answer:?}"); // CA9
            assert_eq!(answer.header("x-mainstay-provider"), "a");
        }
        assert!(good * 10 >= questions.len() * 6, "{good}"); // CA9
        let strict = ["cache-control: stale-if-error=0"];
        assert_ne!(ask(&world, "question 0", &strict).await.status, 200); // CA13
        assert_ne!(world.runtime.mode().now(), Mode::Normal);
        world.a.set_default_fault(None);
        world.b.set_default_fault(None);
        until("a new answer comes", async || {
            status(&ask(&world, "question 0", &[]).await) == "mainstay; fwd=stale"
        })
        .await;
    }
}

#[tokio::test]
async fn a_stale_answer_is_given_at_once_and_the_next_caller_has_a_new_one() {
    let world = world("[cache]\nttl = \"1s\"\nstale = \"1h\"\n").await;
    ask(&world, "hi", &[]).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let stale = ask(&world, "hi", &[]).await;
    assert!(status(&stale).starts_with("mainstay; hit; ttl=-"), "{stale:?}");
    assert_eq!(stale.header("x-mainstay-notice"), "");
    until("it is fetched anew", async || ask(&world, "hi", &[]).await.header("age") == "0").await;
}
