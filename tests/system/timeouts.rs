//! Each timeout has a name of its own wherever failures are counted.

use std::time::Duration;

use futures_util::StreamExt;
use mainstay::{
    ChainPolicy, ErrorKind, ProviderPolicy,
    actors::{
        provider::policy::Timeouts,
        testing::{Act, Broken, World, request},
    },
};
use metrics_exporter_prometheus::PrometheusBuilder;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn each_timeout_is_counted_under_its_own_name() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let timeouts = Timeouts { connect: SECOND, first_token: 4 * SECOND, idle: 2 * SECOND, total: 9 * SECOND };
    let policy = ProviderPolicy { timeouts: Some(timeouts), ..ProviderPolicy::default() };
    let once = ChainPolicy { retries: 0, ..ChainPolicy::default() };
    let world = World::start(1, 1, policy, once).await.unwrap();
    let (chat, fake) = (world.chat(), &world.fakes[0]);

    fake.set(Act::Fail(ErrorKind::ConnectTimeout));
    assert!(chat.call(request()).await.is_err());
    fake.set(Act::Hang);
    assert!(chat.call(request()).await.is_err());
    assert!(chat.stream(request()).await.is_err());
    fake.set(Act::Break(2, Broken::Hangs));
    let mut stream = chat.stream(request()).await.unwrap();
    while stream.next().await.is_some_and(|frame| frame.is_ok()) {}
    tokio::time::sleep(SECOND).await;

    let told = recorder.handle().render();
    for outcome in ["connect_timeout", "total_timeout", "first_token_timeout", "idle_timeout"] {
        let line = format!("mainstay_attempts_total{{provider=\"a\",outcome=\"{outcome}\"}} 1\n");
        assert!(told.contains(&line), "{line}{told}"); // PC18
    }
}
