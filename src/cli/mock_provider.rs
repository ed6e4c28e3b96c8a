//! `mainstay mock-provider`: a provider to try applications against, failures included.
//!
//! It says on the terminal what runs and how to break it. What it answers is the scripted provider's.

use std::{
    future::Future,
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use crate::providers::scripted::{Fault, Script, Scripted};

/// Settings of the mock provider.
#[derive(Clone, Debug, clap::Args)]
pub struct MockProviderArgs {
    /// Where to listen; anything but this machine itself needs --expose.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Lets other machines in; everybody who reaches the port can then control the faults.
    #[arg(long)]
    pub expose: bool,

    /// What it calls itself in its answers.
    #[arg(long, default_value = "mock")]
    pub name: String,

    /// Milliseconds before each event of a stream.
    #[arg(long, default_value_t = 10, value_name = "MS")]
    pub word_delay_ms: u64,

    /// What requests fail with, such as `status=503` or `hang`: all of them, unless --fail-first is given.
    #[arg(long)]
    pub fault: Option<Fault>,

    /// How many requests fail: of each --of-every, or once.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub fail_first: u32,

    /// The length of a round of failing and answering; 0: only one round.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub of_every: u32,
}

impl MockProviderArgs {
    fn script(&self) -> Script {
        Script {
            name: self.name.clone(),
            models: Vec::new(),
            word_delay: Duration::from_millis(self.word_delay_ms),
            fail_first: self.fail_first,
            of_every: self.of_every,
            fault: self.fault.clone(),
        }
    }
}

/// Serves until `shutdown` resolves.
pub async fn run(args: MockProviderArgs, shutdown: impl Future) -> io::Result<()> {
    if !args.listen.ip().is_loopback() && !args.expose {
        let problem =
            format!("{} can be reached from other machines: add --expose if it should", args.listen);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let server = Scripted::start(args.listen, args.script())
        .await
        .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {}: {e}", args.listen)))?;
    // Whoever started us may have closed our output; that is no reason to stop.
    let _ = introduce(&mut io::stdout().lock(), &args, &server);
    shutdown.await;
    server.stop().await;
    Ok(())
}

fn introduce(out: &mut impl Write, args: &MockProviderArgs, server: &Scripted) -> io::Result<()> {
    let (name, base_url, addr) = (&args.name, server.base_url(), server.addr());
    writeln!(
        out,
        r#"Mock provider `{name}` answers at {base_url} (any model, any key). Ctrl-C ends it.

Ask it:
  curl {base_url}/chat/completions -d '{{"model":"m","messages":[{{"role":"user","content":"Hello"}}]}}'
  curl {base_url}/messages -d '{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"Hello"}}]}}'
Let the next two requests fail, and see what has happened:
  curl -X PUT http://{addr}/control -d '{{"fault":"status=503","next":2}}'
  curl http://{addr}/control"#
    )?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: MockProviderArgs,
    }

    fn args(line: &str) -> Result<MockProviderArgs, clap::Error> {
        Command::try_parse_from(line.split_whitespace()).map(|command| command.args)
    }

    #[test]
    fn faults_are_checked_on_the_command_line() {
        assert_eq!(args("mock --fault cut-after=2").unwrap().fault, Some(Fault::CutAfter(2)));
        assert!(args("mock --fault hung").err().unwrap().to_string().contains("try status=503"));
    }

    #[tokio::test]
    async fn other_machines_are_let_in_only_on_purpose() {
        let open = args("mock --listen 0.0.0.0:0").unwrap();
        let error = run(open.clone(), std::future::ready(())).await.unwrap_err();
        assert!(error.to_string().contains("--expose"), "{error}"); // SE1
        run(MockProviderArgs { expose: true, ..open }, std::future::ready(())).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_printed_can_be_tried() {
        let args = args("mock --listen 127.0.0.1:0 --name b").unwrap();
        let server = Scripted::start(args.listen, args.script()).await.unwrap();
        let mut out = Vec::new();
        introduce(&mut out, &args, &server).unwrap();
        let text = String::from_utf8(out).unwrap();
        let bodies: Vec<_> =
            text.lines().filter_map(|line| line.split_once("-d '")?.1.strip_suffix('\'')).collect();
        assert_eq!(bodies.len(), 3, "{text}");
        assert!(bodies.iter().all(|body| serde_json::from_str::<serde_json::Value>(body).is_ok()), "{text}");
        assert!(text.contains(&server.base_url()), "{text}");
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let server = Scripted::start(([127, 0, 0, 1], 0).into(), Script::default()).await.unwrap();
        let taken = args(&format!("mock --listen {}", server.addr())).unwrap();
        let error = run(taken, std::future::ready(())).await.unwrap_err();
        assert!(error.to_string().contains(&server.addr().to_string()), "{error}");
    }
}
