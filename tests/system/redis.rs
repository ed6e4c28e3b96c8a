//! A real redis-server on a port of its own, which can hang, die, fill up and come back.
//!
//! Used by the system tests and by those of the store.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct RedisServer {
    port: u16,
    args: Vec<String>,
    dir: PathBuf,
    child: Option<Child>,
}

#[allow(dead_code)] // Each of its users needs another part.
impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further arguments, such as `--maxmemory 2mb`.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        let mut server = Self::absent();
        server.args = args.iter().map(ToString::to_string).collect();
        server.restart();
        server
    }

    /// A place where no server is, until it is restarted.
    pub(crate) fn absent() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("mainstay-redis-{}-{number}", std::process::id()));
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { port: free.local_addr().unwrap().port(), args: Vec::new(), dir, child: None }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A folder that is gone with the server.
    pub(crate) fn dir(&self) -> PathBuf {
        fs::create_dir_all(&self.dir).unwrap();
        self.dir.clone()
    }

    /// Starts it on the same port; it remembers nothing.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(self.dir()).args(&self.args);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child =
            Some(child.unwrap_or_else(|error| panic!("redis-server: {error}; install it: tests/all does")));
        let started = Instant::now();
        while !self.answers() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "redis-server ended: its port was taken, or an argument is wrong");
            assert!(started.elapsed() < PATIENCE, "redis-server does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut [0]).is_ok()
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It hangs: connections stay open, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// It goes on where it was.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), id]).status().unwrap().success());
    }

    /// Lets it take no further byte of data.
    pub(crate) fn fill(&self) {
        self.say(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        self.say(&["CONFIG", "SET", "maxmemory", "1"]);
    }

    /// Gives one command, as somebody else would; the answer is raw.
    pub(crate) fn say(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let args: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        stream.write_all(format!("*{}\r\n{args}*1\r\n$4\r\nQUIT\r\n", words.len()).as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_string()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
