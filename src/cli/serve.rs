//! `mainstay serve`: the runtime as a gateway, until a signal or the end of its tree.

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use mainstay_actors::shell::Exit;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{
    ServeArgs, Stopped,
    reload::{self, Asked},
};
use crate::{
    Config, Error, Runtime,
    config::{AdminConfig, ServerConfig},
    server::{
        GatewayLimits,
        admin::{AdminAccess, Reloads, reloads},
    },
    telemetry::{logs, metrics},
};

/// When nothing runs for so long, something is wrong.
const STANDSTILL: Duration = Duration::from_secs(5);
const UPKEEP: Duration = Duration::from_secs(5);

pub(super) async fn run(args: ServeArgs) -> Result<(), Stopped> {
    let config = configured(args.clone()).map_err(|error| Stopped::new(Stopped::CONFIG, error))?;
    let _logs = logs::init(&config.log).map_err(|error| Stopped::new(Stopped::CONFIG, error))?;
    let recorder = metrics::install().map_err(|error| Stopped::new(Stopped::FAILED, error))?;
    let server = config.server.clone();
    let limits = limits(&server);
    let (asks, requests) = reloads();
    let (socket, at) = bind(server.listen, "--listen").await?;
    let admin = open_admin(config.admin.as_ref(), asks).await?;
    let admin_at = admin.as_ref().map(|(_, at, _)| *at);
    let mut builder = Runtime::builder().config(config).watchdog(STANDSTILL);
    builder = builder.gateway(socket, limits, Some(recorder.clone()));
    if let Some((socket, _, access)) = admin {
        builder = builder.admin(socket, access);
    }
    let _upkeep = tokio::spawn(upkeep(recorder.clone()));
    let runtime = builder.start().await.map_err(|error| Stopped::new(exit_code(&error), error))?;
    // Caught before we say that we are there: whoever reads that may signal at once.
    let (stop, reload) = (asked_to_stop(), Asked::new(requests));
    // Whoever started us may have closed our output; that is no reason to stop.
    let _ = io::stdout().write_all(welcome(&runtime, at, admin_at).as_bytes());
    let _ = io::stdout().flush();
    until_stopped(runtime, limits, stop, (args, reload)).await
}

pub(super) fn configured(args: ServeArgs) -> Result<Config, crate::ConfigError> {
    let mut config = match &args.config {
        Some(path) => Config::from_path(path)?,
        None => Config::demo(&|name| std::env::var(name).ok()),
    };
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    let any_port = args.listen.is_some_and(|listen| listen.port() == 0);
    match (args.admin_listen, &mut config.admin) {
        (Some(listen), admin) => admin.get_or_insert_default().listen = listen,
        (None, Some(admin)) if any_port => admin.listen = ([127, 0, 0, 1], 0).into(),
        _ => {}
    }
    config.data_dir = args.data_dir.or(config.data_dir).or_else(|| Some("mainstay-data".into()));
    config.check_gateway()?;
    config.check_targets(&[])?;
    Ok(config)
}

fn limits(server: &ServerConfig) -> GatewayLimits {
    let &ServerConfig { max_body, max_connections, drain, drain_delay, .. } = server;
    GatewayLimits { max_body, max_connections, drain, drain_delay }
}

async fn bind(listen: SocketAddr, choose: &str) -> Result<(TcpListener, SocketAddr), Stopped> {
    let bound = TcpListener::bind(listen).await.and_then(|socket| socket.local_addr().map(|at| (socket, at)));
    bound.map_err(|error| {
        let problem = format!("cannot listen on {listen}: {error}; choose another with {choose}");
        Stopped::new(super::exit_code(&error), problem)
    })
}

async fn open_admin(
    admin: Option<&AdminConfig>,
    reloads: Reloads,
) -> Result<Option<(TcpListener, SocketAddr, AdminAccess)>, Stopped> {
    let Some(AdminConfig { listen, token }) = admin else { return Ok(None) };
    let (socket, at) = bind(*listen, "--admin-listen").await?;
    Ok(Some((socket, at, AdminAccess { token: token.clone(), reloads: Some(reloads) })))
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Store(error) if error.in_use => Stopped::TEMPORARY,
        Error::Config(_) | Error::Provider { .. } => Stopped::CONFIG,
        _ => Stopped::FAILED,
    }
}

fn welcome(runtime: &Runtime, at: SocketAddr, admin: Option<SocketAddr>) -> String {
    let chains = runtime.system().chains().map(|chain| {
        let targets = chain.targets().iter().map(|t| format!("{}/{}", t.desk.name(), t.model));
        format!("  chain {}: {}\n", chain.name(), targets.collect::<Vec<_>>().join(" -> "))
    });
    let chains: String = chains.collect();
    let admin = admin.map(|at| format!("Admin:  http://{at}/admin/providers\n")).unwrap_or_default();
    let model = runtime.system().chains().next().map_or("chat".into(), |chain| chain.name().clone());
    let tree = runtime.tree().render();
    let flaky = match runtime.system().provider("flaky") {
        Some(_) => {
            "  `flaky` fails 8 of 20 requests on purpose; OPENAI_API_KEY puts the real provider first\n"
        }
        None => "",
    };
    format!(
        "Mainstay {} on http://{at}, mode {}; Ctrl-C ends it\n{chains}{flaky}\n{tree}\n\
         Try:    curl http://{at}/v1/chat/completions -H 'content-type: application/json' \
         -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'\n\
         {admin}Status: http://{at}/status.json\n\
         Events: curl -N http://{at}/events\n",
        env!("CARGO_PKG_VERSION"),
        runtime.mode().now(),
    )
}

/// Histograms hold every value until they are looked at: this bounds them when nobody scrapes.
async fn upkeep(recorder: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        recorder.run_upkeep();
    }
}

/// Whoever asks for it has the configuration read again. A first signal to stop drains, a second one ends at once; a tree that gave up is stopped in order.
async fn until_stopped(
    mut runtime: Runtime,
    limits: GatewayLimits,
    stop: impl Future<Output = ()>,
    (args, mut reload): (ServeArgs, Asked),
) -> Result<(), Stopped> {
    let system = runtime.system().clone();
    let gone = tokio::select! {
        biased;
        () = stop => None,
        exit = system.ended() => Some(exit),
        never = reload::when_asked(&mut runtime, &args, &mut reload) => match never {},
    };
    let report = tokio::select! {
        biased;
        report = runtime.shutdown(limits.longest_end()) => report,
        () = asked_to_stop() => return Err(Stopped::new(Stopped::FAILED, "stopped at once by a second signal")),
    };
    match gone {
        Some(exit) if exit != Exit::Normal => {
            Err(Stopped::new(Stopped::FAILED, format!("the supervision tree is gone: {exit}")))
        }
        _ if report.is_clean() => Ok(()),
        _ => Err(Stopped::new(Stopped::FAILED, format!("not all ended in order: {report:?}"))),
    }
}

/// Resolves at SIGTERM or SIGINT; from the call on, neither ends the process by itself.
pub(super) fn asked_to_stop() -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        let (Ok(mut term), Ok(mut int)) = signals else {
            // Without handlers the signals keep their default: they end the process.
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
}
