//! Who may come in: passwords, TLS, sockets, URLs.

use std::{path::Path, process::Command};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::*;

const PASSWORD: &str = "canary-password";

fn with_args(line: &str) -> RedisServer {
    RedisServer::start_with(&line.split(' ').collect::<Vec<_>>())
}

async fn error_at(url: String) -> String {
    let store = RedisCache::new(settings(&url), Arc::new(SystemClock)).unwrap();
    let error = store.get(key(1)).await.unwrap_err();
    let said = format!("{error} {error:?} {store:?} {:?}", settings(&url));
    assert!(!said.contains("canary"), "{said}"); // SE4
    said
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let server = with_args(&format!("--requirepass {PASSWORD} --user app on >canary-app ~mainstay:* +@all"));
    let at = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port());
    for wrong in [":canary-wrong@", "app:canary-wrong@", "nobody:canary-app@"] {
        let said = error_at(at(wrong)).await;
        assert!(said.contains("refuses the user name or the password"), "{said}");
    }
    let said = error_at(at("")).await;
    assert!(said.contains("asks for a password"), "{said}");
    for right in [format!(":{PASSWORD}@"), "app:canary-app@".into()] {
        let store = RedisCache::new(settings(&at(&right)), Arc::new(SystemClock)).unwrap();
        store.put(vec![(key(1), whole("x"))]).await.unwrap(); // SE9
    }
    let open = RedisServer::start();
    let said = error_at(format!("redis://:{PASSWORD}@127.0.0.1:{}", open.port())).await;
    assert!(said.contains("leave them out if it has none"), "{said}");
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_ones_it_needs() {
    let server = with_args("--user app on >canary-app ~other:* +@all");
    let said = error_at(format!("redis://app:canary-app@127.0.0.1:{}", server.port())).await;
    assert!(said.contains("may not do that") && said.contains("GETRANGE"), "{said}");
}

#[tokio::test]
async fn what_the_error_names_suffices() {
    let commands = "+getrange +set +unlink +eval +hget +hset +hdel +hlen +hgetall +type +dbsize +info";
    let server = with_args(&format!("--user app on >canary-app ~mainstay:cache:* {commands}"));
    let url = format!("redis://app:canary-app@127.0.0.1:{}", server.port());
    let store = RedisCache::new(settings(&url), Arc::new(SystemClock)).unwrap();
    store.put(vec![(key(1), whole("x"))]).await.unwrap();
    store.exchange(vec![(tag("a"), 5), (Purge::All, 9)]).await.unwrap();
    assert!(matches!(store.get(key(1)).await.unwrap(), Found::Entry(_)));
    store.take_out(&[key(1)]).await.unwrap();
    store.fill().await.unwrap();
}

#[tokio::test]
async fn a_replica_is_named() {
    let server = RedisServer::start();
    server.say(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = store(&server).put(vec![(key(1), whole("x"))]).await.unwrap_err();
    assert!(error.problem.contains("primary"), "{error}");
}

#[tokio::test]
async fn what_is_no_redis_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let said = error_at(url).await;
    assert!(said.contains("is there a Redis at that address?"), "{said}");
}

#[test]
fn an_url_that_cannot_work_is_refused_at_once_and_not_shown() {
    let wrong = [
        "",
        "http://canary@h",
        "redis://",
        "h:6379/canary",
        "rediss://:canary@h#insecure",
        "redis://:canary@h/x",
    ];
    for url in wrong {
        let error =
            RedisCache::new(settings(url), Arc::new(SystemClock)).err().unwrap_or_else(|| panic!("{url}"));
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let empty = RedisSettings { prefix: String::new(), ..settings("redis://h") };
    assert!(RedisCache::new(empty, Arc::new(SystemClock)).is_err());
    for url in ["redis://[::1]:6379/2", "rediss://h", "valkey://h", "redis+unix:///tmp/s?db=1"] {
        RedisCache::new(settings(url), Arc::new(SystemClock))
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}

#[tokio::test]
async fn databases_and_sockets_are_used_as_the_url_says() {
    let dir = RedisServer::absent();
    let socket = dir.dir().join("s");
    let server = RedisServer::start_with(&["--unixsocket", socket.to_str().unwrap()]);
    let at = |url: String| RedisCache::new(settings(&url), Arc::new(SystemClock)).unwrap();
    let (tcp, unix) =
        (at(format!("{}/3", server.url())), at(format!("redis+unix://{}?db=3", socket.display())));
    tcp.put(vec![(key(1), whole("x"))]).await.unwrap();
    assert!(matches!(unix.get(key(1)).await.unwrap(), Found::Entry(_)));
    assert!(matches!(store(&server).get(key(1)).await.unwrap(), Found::Nothing));
}

fn openssl(dir: &Path, line: &str) {
    let made = Command::new("openssl").args(line.split(' ')).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Trusts one authority and nobody else.
fn trusting(authority: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(ring::default_provider().into());
    config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth()
}

#[tokio::test]
async fn over_tls_a_server_is_used_only_if_its_certificate_is_trusted() {
    let place = RedisServer::absent();
    let dir = place.dir();
    let key_options = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&dir, &format!("req -x509 {key_options} -keyout ca.key -out ca.pem -subj /CN=authority"));
    let leaf =
        "-subj /CN=redis -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    openssl(
        &dir,
        &format!("req -x509 -CA ca.pem -CAkey ca.key {key_options} -keyout r.key -out r.pem {leaf}"),
    );
    let port = RedisServer::absent().port();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_string();
    let (cert, secret, authority) = (path("r.pem"), path("r.key"), path("ca.pem"));
    let args = ["--tls-port", &port.to_string(), "--tls-cert-file", &cert, "--tls-key-file", &secret];
    let trust = ["--tls-ca-cert-file", &authority, "--tls-auth-clients", "no"];
    let _server = RedisServer::start_with(&[&args[..], &trust[..]].concat());
    let url = format!("rediss://127.0.0.1:{port}");
    let address = Address::with(&url.clone().into(), || Ok(trusting(&dir.join("ca.pem")))).unwrap();
    let store = RedisCache::at(address, settings(&url), Arc::new(SystemClock)).unwrap();
    store.put(vec![(key(1), whole("x"))]).await.unwrap(); // SE9
    assert!(matches!(store.get(key(1)).await.unwrap(), Found::Entry(_)));
    let said = error_at(url).await;
    assert!(said.contains("certificate"), "{said}");
}
