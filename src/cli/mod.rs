//! The command line: which command, and with which exit code it ends.
//!
//! 0 is an orderly end, also after a signal; 1 a failure; 2 wrong usage; 75 something that may be gone in a
//! moment (an address or a data directory in use); 78 a wrong configuration (as in `sysexits.h`).

mod admin;
mod cache;
pub mod mock_provider;
mod providers;
mod reload;
mod serve;

use std::{
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Keeps LLM applications answering while their providers fail.
#[derive(Debug, Parser)]
#[command(
    version,
    about = "Keeps LLM applications answering while their providers fail.",
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway (the default).
    Serve(ServeArgs),
    /// Show how the providers of a running gateway are, take one out, or let it back in.
    Providers(providers::ProvidersArgs),
    /// Show what the cache of a running gateway saves, or have it forget something.
    Cache(cache::CacheArgs),
    /// Serve a scripted provider in the OpenAI dialect, with faults on demand.
    MockProvider(mock_provider::MockProviderArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct ServeArgs {
    /// Configuration file; without one, two scripted providers are served, and OpenAI before them if
    /// OPENAI_API_KEY is set. SIGHUP reads it again.
    #[arg(long, env = "MAINSTAY_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
    /// Address to listen on, in place of the configured one.
    #[arg(long, env = "MAINSTAY_LISTEN", value_name = "ADDR")]
    listen: Option<std::net::SocketAddr>,
    /// Address of the admin API, in place of the configured one; with a --listen at port 0 it takes any free port
    /// too.
    #[arg(long, env = "MAINSTAY_ADMIN_LISTEN", value_name = "ADDR")]
    admin_listen: Option<std::net::SocketAddr>,
    /// Directory for what outlives the process, in place of the configured one.
    #[arg(long, env = "MAINSTAY_DATA_DIR", value_name = "PATH")]
    data_dir: Option<PathBuf>,
}

/// Why a command failed.
struct Stopped {
    code: u8,
    message: String,
}

impl Stopped {
    const FAILED: u8 = 1;
    const USAGE: u8 = 2;
    const TEMPORARY: u8 = 75;
    const CONFIG: u8 = 78;

    fn new(code: u8, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Stopped::new(Stopped::FAILED, error)),
    };
    let done = runtime.block_on(async {
        match cli.command {
            None => serve::run(cli.serve).await,
            Some(Command::Serve(args)) => serve::run(args).await,
            Some(Command::Providers(args)) => providers::run(args).await,
            Some(Command::Cache(args)) => cache::run(args).await,
            Some(Command::MockProvider(args)) => {
                let run = mock_provider::run(args, serve::asked_to_stop());
                run.await.map_err(|error| Stopped::new(exit_code(&error), error))
            }
        }
    });
    // Whatever still blocks a thread may not keep the process from ending.
    runtime.shutdown_background();
    done.map_or_else(|stopped| failed(&stopped), |()| ExitCode::SUCCESS)
}

fn exit_code(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::AddrInUse => Stopped::TEMPORARY,
        io::ErrorKind::InvalidInput => Stopped::USAGE,
        _ => Stopped::FAILED,
    }
}

fn failed(stopped: &Stopped) -> ExitCode {
    let _ = writeln!(io::stderr(), "mainstay: {}", stopped.message);
    ExitCode::from(stopped.code)
}
