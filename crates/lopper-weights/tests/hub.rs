//! Models of the hub, from a server on loopback that answers as the hub does.
#![allow(clippy::unwrap_used)]

use lopper_weights::{Checkpoint, HubSettings, save_tensors};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tch::Tensor;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TAGGED: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// Half of each weight file, then a closed connection.
    Cut,
    /// Another content of the same length.
    Changed,
    /// A request for the rest of a file is answered with all of it.
    IgnoresRanges,
    /// Tags that lead out of the cache.
    Traversal,
    /// Connections are taken and nothing is said.
    Silent,
    /// Half of each weight file, then nothing while the connection stays open.
    Stalls,
}

#[derive(Default)]
struct Content {
    /// Revision → commit.
    revisions: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
    fault: Fault,
}

#[derive(Default)]
struct Shared {
    content: Mutex<Content>,
    requests: Mutex<Vec<String>>,
    stop: AtomicBool,
}

struct Server {
    shared: Arc<Shared>,
    endpoint: String,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let revisions = [("main", COMMIT), (COMMIT, COMMIT), ("v1", TAGGED), (TAGGED, TAGGED)];
        shared.content.lock().unwrap().revisions = revisions.map(|(name, commit)| (name.into(), commit.into())).into();
        shared.content.lock().unwrap().files = files;
        let thread = std::thread::spawn({
            let (shared, endpoint) = (shared.clone(), endpoint.clone());
            move || {
                for stream in listener.incoming() {
                    if shared.stop.load(Ordering::SeqCst) {
                        break;
                    }
                    // A client that hangs up in between is its own business.
                    let _ = answer(&shared, &endpoint, stream.unwrap());
                }
            }
        });
        Self { shared, endpoint, thread: Some(thread) }
    }

    fn fault(&self, fault: Fault) {
        self.shared.content.lock().unwrap().fault = fault;
    }

    fn settings(&self, cache: &Path) -> HubSettings {
        HubSettings { endpoint: self.endpoint.clone(), ..HubSettings::new(cache) }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn answer(shared: &Shared, endpoint: &str, mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut start, mut end) = (0usize, None::<usize>);
    let mut authorization = String::new();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header == "\r\n" {
            break;
        }
        let lower = header.trim().to_ascii_lowercase();
        if let Some(range) = lower.strip_prefix("range: bytes=") {
            let (from, to) = range.split_once('-').unwrap();
            (start, end) = (from.parse().unwrap(), to.parse().ok());
        } else if lower.starts_with("authorization:") {
            authorization = header.trim()["authorization:".len()..].trim().to_owned();
        }
    }
    shared.requests.lock().unwrap().push(format!("{path} {authorization}").trim().to_owned());
    let wait_until_stopped = || {
        while !shared.stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    };
    let fault = shared.content.lock().unwrap().fault;
    if fault == Fault::Silent {
        return wait_until_stopped();
    }
    let content = shared.content.lock().unwrap();
    let mut reply = |status: &str, headers: &str, body: &[u8], sent: usize| {
        write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
        stream.write_all(&body[..sent])?;
        stream.flush()
    };
    let not_found = "404 Not Found";
    if let Some(revision) = path.strip_prefix("/api/models/org/tiny/revision/") {
        let Some(sha) = content.revisions.get(revision) else { return reply(not_found, "", b"", 0) };
        let siblings: Vec<_> = content.files.keys().map(|name| format!("{{\"rfilename\":\"{name}\"}}")).collect();
        let body = format!("{{\"sha\":\"{sha}\",\"siblings\":[{}]}}", siblings.join(","));
        return reply("200 OK", "Content-Type: application/json\r\n", body.as_bytes(), body.len());
    }
    let parts: Vec<&str> = path.trim_start_matches('/').splitn(5, '/').collect();
    let (place, commit, name) = match parts[..] {
        ["org", "tiny", place @ ("resolve" | "large"), commit, name] => (place, commit, name),
        _ => return reply(not_found, "", b"", 0),
    };
    let Some(bytes) = content.files.get(name) else { return reply(not_found, "", b"", 0) };
    let large = name.ends_with(".safetensors");
    let mut tag = if large {
        hex(&Sha256::digest(bytes))
    } else {
        hex(&Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
    };
    if content.fault == Fault::Traversal {
        tag = "../../../../escaped".into();
    }
    let headers = format!("ETag: \"{tag}\"\r\nX-Repo-Commit: {commit}\r\n");
    if large && place == "resolve" {
        // Large files lie elsewhere, as on the hub.
        let headers =
            format!("{headers}X-Linked-ETag: \"{tag}\"\r\nLocation: {endpoint}/org/tiny/large/{commit}/{name}\r\n");
        return reply("302 Found", &headers, b"", 0);
    }
    let mut bytes = bytes.clone();
    if content.fault == Fault::Changed && large {
        *bytes.last_mut().unwrap() ^= 1;
    }
    let whole = bytes.len();
    let probe = end.is_some();
    if content.fault == Fault::IgnoresRanges && !probe {
        start = 0;
    }
    if start >= whole {
        return reply("416 Range Not Satisfiable", "", b"", 0);
    }
    let body = &bytes[start..end.map_or(whole, |end| (end + 1).min(whole))];
    let headers = format!("{headers}Content-Range: bytes {start}-{}/{whole}\r\n", start + body.len() - 1);
    let half = matches!(fault, Fault::Cut | Fault::Stalls) && large && !probe;
    reply("206 Partial Content", &headers, body, if half { body.len() / 2 } else { body.len() })?;
    if half && fault == Fault::Stalls { wait_until_stopped() } else { Ok(()) }
}

fn weights(names: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w");
    let values = Tensor::arange(500, (tch::Kind::Float, tch::Device::Cpu));
    save_tensors(&path, names.iter().map(|name| (*name, &values)), &BTreeMap::new()).unwrap();
    std::fs::read(path).unwrap()
}

fn repository() -> BTreeMap<String, Vec<u8>> {
    [
        ("config.json", b"{\"model_type\":\"bert\"}".to_vec()),
        ("vocab.txt", b"[PAD]\n[UNK]\n".to_vec()),
        ("processor_config.json", b"{\"feature_extractor\":{\"do_normalize\":false}}".to_vec()),
        ("added_tokens.json", b"{\"<s>\":32}".to_vec()),
        ("README.md", b"not needed".to_vec()),
        ("model.safetensors", weights(&["a"])),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

#[test]
fn a_model_is_fetched_once_and_then_needs_no_server() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(repository());
    let settings = HubSettings { token: Some("secret".into()), ..server.settings(cache.path()) };
    let path = settings.resolve("hf:org/tiny").unwrap();
    assert_eq!(std::fs::read(path.join("config.json")).unwrap(), repository()["config.json"]);
    for file in ["vocab.txt", "processor_config.json", "added_tokens.json"] {
        assert_eq!(std::fs::read(path.join(file)).unwrap(), repository()[file]);
    }
    assert!(!path.join("README.md").exists());
    assert_eq!(Checkpoint::open(&path).unwrap().read_f32("a").unwrap()[499], 499.0);
    assert!(server.requests().iter().all(|request| request.ends_with("Bearer secret")));

    assert_eq!(settings.resolve("hf:org/tiny").unwrap(), path);
    assert_eq!(server.requests(), [""; 0], "what is complete in the cache is not asked for");
    drop(server);
    assert_eq!(settings.resolve("hf:org/tiny").unwrap(), path);
    assert_eq!(settings.resolve(&format!("hf:org/tiny@{COMMIT}")).unwrap(), path);
    let offline = HubSettings { offline: true, ..settings };
    assert_eq!(offline.resolve("hf:org/tiny").unwrap(), path);
}

#[test]
fn revisions_have_snapshots_of_their_own() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(repository());
    let settings = server.settings(cache.path());
    let main = settings.resolve("hf:org/tiny").unwrap();
    server.shared.content.lock().unwrap().files.insert("model.safetensors".into(), weights(&["of_v1"]));
    let tagged = settings.resolve("hf:org/tiny@v1").unwrap();
    assert!(main.ends_with(COMMIT) && tagged.ends_with(TAGGED));
    assert!(Checkpoint::open(&tagged).unwrap().contains("of_v1"));
    assert!(Checkpoint::open(&main).unwrap().contains("a"));
    let error = settings.resolve("hf:org/tiny@v2").unwrap_err().to_string();
    assert!(error.contains("hf:org/tiny@v2") && error.contains("no such revision"), "{error}");
}

#[test]
fn files_of_a_model_in_several_are_all_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let mut files = repository();
    files.remove("model.safetensors");
    let index = br#"{"metadata":{},"weight_map":{"a":"s-1.safetensors","b":"s-2.safetensors"}}"#;
    files.insert("model.safetensors.index.json".into(), index.to_vec());
    files.insert("s-1.safetensors".into(), weights(&["a"]));
    let server = Server::start(files);
    let settings = server.settings(cache.path());
    let error = settings.resolve("hf:org/tiny").unwrap_err().to_string();
    assert!(error.contains("hf:org/tiny") && error.contains("s-2.safetensors"), "{error}");

    server.shared.content.lock().unwrap().files.insert("s-2.safetensors".into(), weights(&["b"]));
    let path = settings.resolve("hf:org/tiny").unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
    drop(server);
    assert_eq!(settings.resolve("hf:org/tiny").unwrap(), path);
}

#[test]
fn an_index_cannot_lead_out_of_the_repository() {
    let cache = tempfile::tempdir().unwrap();
    let mut files = repository();
    files.remove("model.safetensors");
    files
        .insert("model.safetensors.index.json".into(), br#"{"weight_map":{"a":"../../../evil.safetensors"}}"#.to_vec());
    let server = Server::start(files);
    let error = server.settings(cache.path()).resolve("hf:org/tiny").unwrap_err().to_string();
    assert!(error.contains("../../../evil.safetensors") && error.contains("plain file name"), "{error}");
}

#[test]
fn unknown_models_and_missing_weights_are_named() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(repository());
    let settings = server.settings(cache.path());
    let error = settings.resolve("hf:org/other").unwrap_err().to_string();
    assert!(error.contains("hf:org/other is not on http://127.0.0.1") && error.contains("HF_TOKEN"), "{error}");
    assert!(settings.resolve("hf:foo").unwrap_err().to_string().contains("hf:ORGANISATION/NAME"));

    server.shared.content.lock().unwrap().files =
        [("config.json".into(), b"{}".to_vec()), ("tf_model.h5".into(), b"HDF".to_vec())].into();
    let error = settings.resolve("hf:org/tiny").unwrap_err().to_string();
    assert!(
        error.contains("has no weights: none of model.safetensors, ") && error.contains("pytorch_model.bin"),
        "{error}"
    );
}

#[test]
fn pickled_weights_are_fetched_where_there_are_no_others() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(repository());
    let settings = server.settings(cache.path());
    let put = |files: &[(&str, &[u8])]| {
        let files = files.iter().map(|(name, bytes)| ((*name).into(), bytes.to_vec()));
        server.shared.content.lock().unwrap().files = files.collect();
    };
    put(&[("config.json", b"{}"), ("pytorch_model.bin", b"PK")]);
    let path = settings.resolve("hf:org/tiny").unwrap();
    assert_eq!(std::fs::read(path.join("pytorch_model.bin")).unwrap(), b"PK");
    assert_eq!(settings.resolve("hf:org/tiny").unwrap(), path, "complete in the cache");

    let cache = tempfile::tempdir().unwrap();
    let settings = server.settings(cache.path());
    let index = br#"{"weight_map": {"a": "m-1.bin", "b": "m-2.bin"}}"#;
    put(&[("pytorch_model.bin.index.json", index), ("m-1.bin", b"1"), ("m-2.bin", b"2")]);
    let path = settings.resolve("hf:org/tiny").unwrap();
    assert_eq!(std::fs::read(path.join("m-2.bin")).unwrap(), b"2");
}

#[test]
fn without_a_network_the_model_the_server_and_the_cache_are_named() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(repository());
    let settings = server.settings(cache.path());
    let offline = HubSettings { offline: true, ..settings.clone() };
    let error = offline.resolve("hf:org/tiny").unwrap_err().to_string();
    assert!(error.contains("hf:org/tiny") && error.contains("HF_HUB_OFFLINE"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
    drop(server);
    let error = settings.resolve("hf:org/tiny").unwrap_err().to_string();
    assert!(error.contains("hf:org/tiny") && error.contains(&settings.endpoint), "{error}");
    assert!(error.contains(cache.path().to_str().unwrap()), "{error}");
}

#[test]
fn a_download_cut_short_is_refused_and_taken_up_again() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(repository());
    let settings = server.settings(cache.path());
    server.fault(Fault::Cut);
    let error = settings.resolve("hf:org/tiny").unwrap_err().to_string();
    assert!(error.contains("hf:org/tiny"), "{error}");
    let offline = HubSettings { offline: true, ..settings.clone() };
    assert!(offline.resolve("hf:org/tiny").is_err(), "a part is no model");
    server.fault(Fault::None);
    let path = settings.resolve("hf:org/tiny").unwrap();
    assert_eq!(std::fs::read(path.join("model.safetensors")).unwrap(), repository()["model.safetensors"]);
}

#[test]
fn a_part_that_cannot_be_continued_does_not_stand_in_the_way() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(repository());
    let settings = server.settings(cache.path());
    server.fault(Fault::Cut);
    settings.resolve("hf:org/tiny").unwrap_err();
    server.fault(Fault::IgnoresRanges);
    let error = settings.resolve("hf:org/tiny").unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("bytes instead of"), "{error}");
    let path = settings.resolve("hf:org/tiny").unwrap();
    assert_eq!(std::fs::read(path.join("model.safetensors")).unwrap(), repository()["model.safetensors"]);
}

#[test]
fn a_changed_file_is_refused_and_not_kept() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(repository());
    let settings = server.settings(cache.path());
    server.fault(Fault::Changed);
    let error = settings.resolve("hf:org/tiny").unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("has the hash"), "{error}");
    let offline = HubSettings { offline: true, ..settings.clone() };
    assert!(offline.resolve("hf:org/tiny").is_err());
    server.fault(Fault::None);
    settings.resolve("hf:org/tiny").unwrap();
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let cache = tempfile::tempdir().unwrap();
    for fault in [Fault::Silent, Fault::Stalls] {
        let server = Server::start(repository());
        let settings = HubSettings { patience: Duration::from_millis(300), ..server.settings(cache.path()) };
        server.fault(fault);
        let error = settings.resolve("hf:org/tiny").unwrap_err().to_string();
        assert!(error.contains("hf:org/tiny") && error.contains("it said nothing for 0.3 s"), "{fault:?}: {error}");
        assert!(error.contains(&settings.endpoint) && error.contains("give the directory"), "{error}");
    }
    // The half that came is taken up.
    let server = Server::start(repository());
    let path = server.settings(cache.path()).resolve("hf:org/tiny").unwrap();
    assert_eq!(std::fs::read(path.join("model.safetensors")).unwrap(), repository()["model.safetensors"]);
}

#[test]
fn tags_cannot_lead_out_of_the_cache() {
    let around = tempfile::tempdir().unwrap();
    let cache = around.path().join("cache");
    let server = Server::start(repository());
    server.fault(Fault::Traversal);
    let error = server.settings(&cache).resolve("hf:org/tiny").unwrap_err().to_string();
    assert!(error.contains("escaped"), "{error}");
    assert!(files_below(around.path()).iter().all(|path| !path.to_string_lossy().contains("escaped")));
}

#[test]
fn a_path_is_itself_and_a_missing_one_says_what_is_near() {
    let dir = tempfile::tempdir().unwrap();
    let settings = HubSettings::new(dir.path().join("cache"));
    std::fs::create_dir(dir.path().join("minilm")).unwrap();
    let path = dir.path().join("minilm");
    assert_eq!(settings.resolve(path.to_str().unwrap()).unwrap(), path);
    let error = settings.resolve(dir.path().join("minilmm").to_str().unwrap()).unwrap_err().to_string();
    assert!(error.contains("does not exist") && error.contains("did you mean"), "{error}");
    let error = settings.resolve("no-such-org/no-such-model").unwrap_err().to_string();
    assert!(error.contains("hf:no-such-org/no-such-model"), "{error}");
}
