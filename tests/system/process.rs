//! The binary as a process: how it starts, what it says, how it stops, with which code it ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{answered, http, scripted, until};

/// A folder of its own, gone with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mainstay-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary. Its log is the file `log` in its folder.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    /// Where the admin API is.
    pub(crate) admin: String,
    welcome: String,
    _folder: Folder,
}

fn command(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command.current_dir(&folder.0).env_clear().stdin(Stdio::null());
    command
}

impl Process {
    fn start(name: &str, args: &[&str]) -> Self {
        Self::start_with(Folder::new(name), args, &[])
    }

    pub(crate) fn start_with(folder: Folder, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = command(&folder);
        command.args(args).envs(env.iter().copied());
        Self::spawned(command, folder)
    }

    fn spawned(mut command: Command, folder: Folder) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(fs::File::create(folder.path("log")).unwrap());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut welcome = String::new();
        while !welcome.contains("Events: ") {
            assert_ne!(out.read_line(&mut welcome).unwrap(), 0, "it ended: {welcome}");
        }
        let url = welcome.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let url = url.trim_end_matches(',').to_string();
        let admin = welcome.split("Admin:  ").nth(1).and_then(|rest| rest.split("/admin/").next());
        let admin = admin.unwrap_or_default().to_string();
        Self { child, url, admin, welcome, _folder: folder }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "it does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn ask(&self) -> crate::support::Answer {
        let body = r#"{"model":"chat","messages":[{"role":"user","content":"hello"}]}"#;
        answered(http().post(format!("{}/v1/chat/completions", self.url)).body(body)).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn without_key_or_config_it_answers_through_the_flaky_provider() {
    let process = Process::start("demo", &["--listen", "127.0.0.1:0"]);
    for part in ["chain chat: flaky/", "-> steady/", "Try:    curl ", "Status: ", "providers: up", "mode: up"]
    {
        assert!(process.welcome.contains(part), "no `{part}` in:\n{}", process.welcome);
    }
    let mut by = Vec::new();
    for _ in 0..20 {
        let answer = process.ask().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        by.push(answer.header("x-mainstay-provider").to_string());
    }
    assert!(by.contains(&"steady".to_string()), "{by:?}");
    let body = r#"{"model":"chat","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;
    let message = answered(http().post(format!("{}/v1/messages", process.url)).body(body)).await;
    assert!(message.said().ends_with(": hello"), "in the other dialect too: {message:?}");
    let metrics = answered(http().get(format!("{}/metrics", process.url))).await.text;
    for name in ["mainstay_calls_total{", "mainstay_attempts_total{", "mainstay_attempt_seconds_bucket{"] {
        assert!(metrics.contains(name), "no {name} in:\n{metrics}");
    }
}

#[tokio::test]
async fn with_a_key_in_the_environment_openai_stands_first_and_the_key_is_never_shown() {
    let openai = scripted("openai").await;
    let env = [("OPENAI_API_KEY", "sk-canary-123"), ("OPENAI_BASE_URL", &openai.base_url())];
    let folder = Folder::new("key");
    let process = Process::start_with(folder, &["--listen", "127.0.0.1:0"], &env);
    assert!(process.welcome.contains("chain chat: openai/gpt-4o-mini -> flaky/"), "{}", process.welcome);
    let answer = process.ask().await;
    assert_eq!(answer.said(), "Echo from openai: hello");
    for path in ["/status.json", "/metrics", "/v1/models"] {
        let text = answered(http().get(format!("{}{path}", process.url))).await.text;
        assert!(!text.contains("canary"), "{path}: {text}");
    }
    assert!(!process.welcome.contains("canary"));
}

#[tokio::test]
async fn a_signal_drains_and_ends_in_order() {
    for signal in ["TERM", "INT"] {
        let mut process = Process::start(&format!("drain-{signal}"), &["--listen", "127.0.0.1:0"]);
        let address = process.url.trim_start_matches("http://").to_string();
        let mut slow_loris = tokio::net::TcpStream::connect(&address).await.unwrap();
        slow_loris.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: loc").await.unwrap();
        let mut events = tokio::net::TcpStream::connect(&address).await.unwrap();
        events.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        events.read_u8().await.unwrap();
        process.signal(signal);
        assert_eq!(process.ended().await.code(), Some(0), "{signal}"); // B16
    }
}

#[tokio::test]
async fn the_log_tells_when_a_client_s_sdk_asks_again() {
    let folder = Folder::new("sdk-retries");
    let log = folder.path("log");
    let process = Process::start_with(folder, &["--listen", "127.0.0.1:0"], &[]);
    let body = r#"{"model":"chat","messages":[{"role":"user","content":"hello"}]}"#;
    for (count, id) in [("0", "first-1"), ("2", "again-1")] {
        let call = http().post(format!("{}/v1/chat/completions", process.url)).body(body);
        let call = call.header("x-stainless-retry-count", count).header("x-request-id", id);
        assert_eq!(answered(call).await.status, 200);
    }
    let said = || fs::read_to_string(&log).unwrap();
    let line = |text: &str| text.lines().find(|line| line.contains("asks again")).map(String::from);
    until("the log tells", async || line(&said()).is_some()).await;
    let line = line(&said()).unwrap();
    assert!(line.contains("again-1") && line.contains("retries") && line.contains('2'), "{line}");
    assert_eq!(said().matches("asks again").count(), 1, "the first one is no retry");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let hanging = scripted("hanging").await;
    hanging.set_default_fault(Some(mainstay::providers::scripted::Fault::Hang));
    let folder = Folder::new("second");
    let text = format!(
        "[provider.a]\nkind = \"openai\"\nbase_url = \"{}\"\n[chain.chat]\ntargets = [\"a/m\"]\n",
        hanging.base_url()
    );
    let config = folder.write("mainstay.toml", &text);
    let args = ["--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
    let mut process = Process::start_with(folder, &args, &[]);
    let url = format!("{}/v1/chat/completions", process.url);
    let body = r#"{"model":"chat","messages":[{"role":"user","content":"hello"}]}"#;
    let waiting = tokio::spawn(http().post(url).body(body).send());
    until("the call hangs", async || hanging.counts().in_progress == 1).await;
    process.signal("TERM");
    until("it drains", async || {
        let ready = http().get(format!("{}/readyz", process.url)).send().await;
        ready.map_or(true, |answer| answer.status() == 503)
    })
    .await;
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(1)); // B16
    assert!(waiting.await.unwrap().is_err());
}

async fn refused(folder: &Folder, args: &[&str]) -> (Option<i32>, String) {
    let (code, _, said) = ran(folder, args).await;
    (code, said)
}

/// The code that the command ended with, what it printed, and what it complained of.
pub(crate) async fn ran(folder: &Folder, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = tokio::process::Command::from(command(folder));
    let output = command.args(args).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(20), output).await.expect("it runs").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_file_line_and_column() {
    let folder = Folder::new("config");
    let cases = [
        ("[provider.a\n", "1:"),
        ("[server]\nlisten = 8080\n", "2:10"),
        ("[provider.a]\nkind = \"openai\"\nbase_ur = \"http://127.0.0.1:1/v1\"\n", "3:1"),
        ("[provider.a]\nkind = \"scripted\"\n[chain.chat]\ntargets = [\"b/x\"]\n", "4:12"),
    ];
    for (text, place) in cases {
        let path = folder.write("bad.toml", text);
        let (code, said) = refused(&folder, &["--config", path.to_str().unwrap()]).await;
        assert_eq!(code, Some(78), "{text}: {said}");
        assert!(said.contains(&format!("bad.toml:{place}")), "{text}: {said}");
    }
    let (code, said) = refused(&folder, &["--config", "nowhere.toml"]).await;
    assert!(code == Some(78) && said.contains("nowhere.toml"), "{said}");
}

#[tokio::test]
async fn a_key_in_the_file_is_refused_without_being_shown() {
    let folder = Folder::new("key-in-file");
    let text = "[provider.a]\nkind = \"openai\"\napi_key = \"sk-canary-123\"\n";
    let path = folder.write("bad.toml", text);
    let (code, said) = refused(&folder, &["--config", path.to_str().unwrap()]).await;
    assert_eq!(code, Some(78));
    assert!(said.contains("key_env") && !said.contains("canary"), "{said}");
}

#[tokio::test]
async fn what_is_in_use_is_named_and_ends_with_the_code_for_try_again() {
    let process = Process::start("in-use", &["--listen", "127.0.0.1:0"]);
    let address = process.url.trim_start_matches("http://");
    let (code, said) = refused(&Folder::new("in-use-2"), &["--listen", address]).await;
    assert!(code == Some(75) && said.contains(address) && said.contains("--listen"), "{said}");
    let (code, said) = refused(&process._folder, &["--listen", "127.0.0.1:0"]).await;
    assert!(code == Some(75) && said.contains("mainstay-data"), "{said}");
}

#[tokio::test]
async fn an_address_beyond_this_machine_and_wrong_usage_are_refused() {
    let folder = Folder::new("usage");
    let (code, said) = refused(&folder, &["--listen", "0.0.0.0:0"]).await;
    assert!(code == Some(78) && said.contains("loopback"), "{said}");
    assert_eq!(refused(&folder, &["--liste", "x"]).await.0, Some(2));
}

#[tokio::test]
async fn the_mock_provider_runs_as_a_command_of_its_own() {
    let folder = Folder::new("mock");
    let mut command = command(&folder);
    command.args(["mock-provider", "--listen", "127.0.0.1:0", "--word-delay-ms", "0"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut out, mut line) = (BufReader::new(child.stdout.take().unwrap()), String::new());
    out.read_line(&mut line).unwrap();
    let at = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_string();
    let at = at.trim_end_matches("/v1").to_string();
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
    let answer = answered(http().post(format!("{at}/v1/chat/completions")).body(body)).await;
    assert!(answer.said().ends_with(": hello"), "{answer:?}");
    let faulty = http().post(format!("{at}/v1/chat/completions")).header("x-mock-fault", "status=418");
    assert_eq!(answered(faulty.body(body)).await.status, 418);
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn with_few_descriptors_it_serves_fewer_at_once_and_goes_on() {
    let folder = Folder::new("descriptors");
    let binary = env!("CARGO_BIN_EXE_mainstay");
    let mut shell = Command::new("sh");
    let script = format!("ulimit -n 64; exec {binary} --listen 127.0.0.1:0");
    shell.args(["-c", &script]).current_dir(&folder.0);
    let process = Process::spawned(shell, folder);
    let asking = (0..80).map(|_| process.ask());
    let answers = futures_util::future::join_all(asking).await;
    // Some are refused for want of a slot or a descriptor; that says nothing about the provider.
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    let status = answered(http().get(format!("{}/status.json", process.url))).await.json();
    let steady = &status["providers"][1];
    assert_eq!((steady["name"].as_str(), steady["circuit"].as_str()), (Some("steady"), Some("closed")));
    assert_eq!(process.ask().await.status, 200);
}
