//! Models of the Hugging Face hub, through its cache on disk.

use crate::index::read_index;
use crate::listed::first_names;
use crate::locate::missing;
use crate::names::{WEIGHTS, is_index};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::api::{Progress, RepoInfo};
use hf_hub::{Cache, Repo, RepoType};
use indicatif::ProgressBar;
use lopper_core::{Error, Result};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const SCHEME: &str = "hf:";
const ACCEPTED: &str = "hf:ORGANISATION/NAME or hf:ORGANISATION/NAME@REVISION (a branch, tag or commit) is accepted";
/// What is fetched beside the weights when the repository has it.
const BESIDE: [&str; 9] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "preprocessor_config.json",
];
/// How often a download that broke off is taken up again before it fails.
const RETRIES: usize = 2;
/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where models of the hub come from and where they are kept.
#[derive(Clone)]
pub struct HubSettings {
    /// Base address, such as `https://huggingface.co`.
    pub endpoint: String,
    /// The cache directory, in the layout that Hugging Face's own libraries share.
    pub cache: PathBuf,
    /// For private models and those with conditions.
    pub token: Option<String>,
    /// Use the cache alone.
    pub offline: bool,
    /// Show a progress bar on standard error, if that is a terminal.
    pub progress: bool,
    /// How long the server may say nothing, before it has answered or in the middle of a file, until it is given up.
    pub patience: Duration,
}

impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("offline", &self.offline)
            .field("progress", &self.progress)
            .field("patience", &self.patience)
            .finish()
    }
}

/// The local directory or file of a model: a path as it is, or `hf:ORGANISATION/NAME[@REVISION]` from the hub's cache,
/// fetched first if need be, with the settings of the environment.
///
/// # Errors
/// As [`HubSettings::from_env`], for a model of the hub only, and [`HubSettings::resolve`].
pub fn resolve(source: &str) -> Result<PathBuf> {
    match Source::parse(source)? {
        Source::Local(path) => local(path),
        Source::Hub(model) => HubSettings::from_env()?.fetch(&model),
    }
}

/// As [`resolve`], without a network: `None` for a model of the hub that has to be fetched first.
///
/// # Errors
/// Those of [`resolve`] that can be told without asking the hub.
pub fn resolve_present(source: &str) -> Result<Option<PathBuf>> {
    match Source::parse(source)? {
        Source::Local(path) => local(path).map(Some),
        Source::Hub(model) => HubSettings::from_env()?.present(&model),
    }
}

impl HubSettings {
    /// The public hub without a token, cached in `cache`.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.into(),
            cache: cache.into(),
            token: None,
            offline: false,
            progress: false,
            patience: PATIENCE,
        }
    }

    /// What the environment says, as for Hugging Face's own libraries: `HF_ENDPOINT`; `HF_HUB_CACHE`, else `hub` in
    /// `HF_HOME`, else in `$XDG_CACHE_HOME/huggingface`, else in `~/.cache/huggingface`; `HF_TOKEN`, else the file `token`
    /// beside `hub`; `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] naming the variable, and when no cache directory can be told.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| {
            let value = variable(name).map(OsString::into_string).transpose();
            value.map_err(|value| Error::invalid(name, value.display(), "UTF-8 text"))
        };
        let home = variable("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| variable("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("huggingface")))
            .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache/huggingface")));
        let cache = match (variable("HF_HUB_CACHE"), &home) {
            (Some(cache), _) => cache.into(),
            (None, Some(home)) => home.join("hub"),
            (None, None) => {
                return Err(Error::invalid(
                    "HF_HOME",
                    "(not set)",
                    "a directory for models, as HOME is not set either",
                ));
            }
        };
        let endpoint = match text("HF_ENDPOINT")? {
            None => DEFAULT_ENDPOINT.to_owned(),
            Some(endpoint) if endpoint.starts_with("https://") || endpoint.starts_with("http://") => {
                endpoint.trim_end_matches('/').to_owned()
            }
            Some(endpoint) => {
                return Err(Error::invalid("HF_ENDPOINT", endpoint, "an address that starts with https:// or http://"));
            }
        };
        let token_file = || std::fs::read_to_string(home.as_ref()?.join("token")).ok();
        let token = text("HF_TOKEN")?
            .or_else(token_file)
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        let offline = match text("HF_HUB_OFFLINE")?.map(|value| value.to_ascii_lowercase()).as_deref() {
            None | Some("0" | "false" | "no" | "off") => false,
            Some("1" | "true" | "yes" | "on") => true,
            Some(value) => return Err(Error::invalid("HF_HUB_OFFLINE", value, "1 or 0")),
        };
        Ok(Self { endpoint, cache, token, offline, progress: true, patience: PATIENCE })
    }

    /// The local directory or file of a model, as [`resolve`], with these settings.
    ///
    /// A model that is complete in the cache is used without asking the hub, so a branch stays at the commit at which it
    /// was first fetched. Every fetched file is checked against the size and the hash that the hub states.
    ///
    /// # Errors
    /// [`Error::File`] for a path that does not exist, [`Error::InvalidValue`] for a name that is none, and
    /// [`Error::Hub`] naming model and endpoint for whatever cannot be fetched; no partial file is taken for a whole one.
    pub fn resolve(&self, source: &str) -> Result<PathBuf> {
        match Source::parse(source)? {
            Source::Local(path) => local(path),
            Source::Hub(model) => self.fetch(&model),
        }
    }

    /// The model in the cache, if it is complete.
    fn present(&self, model: &HubModel) -> Result<Option<PathBuf>> {
        let complete =
            |snapshot: &PathBuf| has_weights(snapshot) && (self.offline || snapshot.join("config.json").is_file());
        match cached(&Cache::new(self.cache.clone()), model).filter(complete) {
            None if self.offline => Err(model.error(format!(
                "is not in the cache {}, and HF_HUB_OFFLINE forbids to fetch it; unset that, or give a \
                 checkpoint's directory",
                self.cache.display()
            ))),
            found => Ok(found),
        }
    }

    fn fetch(&self, model: &HubModel) -> Result<PathBuf> {
        if let Some(snapshot) = self.present(model)? {
            return Ok(snapshot);
        }
        let cache = Cache::new(self.cache.clone());
        let named = model.at(&model.revision);
        let place = self.cache.display();
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_retries(RETRIES)
            .build()
            .map_err(|e| model.error(e))?;
        let info = self.info(&api, model)?;
        // All files come from one commit, even when the branch moves meanwhile.
        let pinned = model.at(&info.sha);
        let keep = |e: io::Error| model.error(format!("cannot be kept in {place}: {e}"));
        cache.repo(pinned.clone()).create_ref(&info.sha).map_err(keep)?;
        let fetch = Fetch { settings: self, model, api: &api, cache: &cache, commit: &info.sha };

        let has = |name: &str| info.siblings.iter().any(|file| file.rfilename == name);
        for name in BESIDE.into_iter().filter(|name| has(name)) {
            fetch.file(name)?;
        }
        // The weights come last: a snapshot that has them has everything.
        let Some(weights) = WEIGHTS.into_iter().find(|name| has(name)) else {
            return Err(model.error(format!("has no weights: none of {}", WEIGHTS.join(", "))));
        };
        let path = fetch.file(weights)?;
        if is_index(weights) {
            let index = read_index(&path)?;
            let shards: std::collections::BTreeSet<&str> = index.values().map(String::as_str).collect();
            let absent = first_names(shards.iter().copied().filter(|shard| !has(shard)));
            if !absent.is_empty() {
                return Err(model.error(format!("has no file {absent}, which its {weights} names")));
            }
            for shard in shards {
                fetch.file(shard)?;
            }
        }
        cache.repo(named).create_ref(&info.sha).map_err(keep)?;
        Ok(cache.repo(pinned).pointer_path(&info.sha))
    }

    fn info(&self, api: &Api, model: &HubModel) -> Result<RepoInfo> {
        let ask = |revision: &str| {
            let repo = api.repo(model.at(revision));
            patiently(self.patience, move |_| repo.info())
        };
        let info = ask(&model.revision).map_err(|e| match e.status() {
            Some(404) if model.revision != "main" && ask("main").is_ok() => {
                model.error(format!("does not exist: {} has the model, and no such revision", self.endpoint))
            }
            Some(401 | 404) => model.error(format!(
                "is not on {}, or it is private: check the name; a private model needs a token in HF_TOKEN",
                self.endpoint
            )),
            _ => self.failed(model, &e),
        })?;
        if is_hex(&info.sha, 40) {
            Ok(info)
        } else {
            Err(model.error(format!("has the commit {:?}, which is none", info.sha)))
        }
    }

    fn failed(&self, model: &HubModel, error: &Failure) -> Error {
        match error {
            _ if matches!(error.status(), Some(401 | 403)) => model.error(format!(
                "is refused by {}: accept its conditions there, and give a token in HF_TOKEN",
                self.endpoint
            )),
            Failure::Api(ApiError::LockAcquisition(_)) => {
                model.error("is being fetched by another process; wait for that one")
            }
            _ => model.error(format!(
                "cannot be fetched from {} ({error}), and it is not complete in the cache {}; without a network give \
                 the directory of a checkpoint",
                self.endpoint,
                self.cache.display()
            )),
        }
    }
}

/// The files of one commit.
struct Fetch<'a> {
    settings: &'a HubSettings,
    model: &'a HubModel,
    api: &'a Api,
    cache: &'a Cache,
    commit: &'a str,
}

impl Fetch<'_> {
    /// One file of the snapshot, fetched and checked unless it is there.
    fn file(&self, name: &str) -> Result<PathBuf> {
        let repo = self.cache.repo(self.model.at(self.commit));
        if let Some(path) = repo.get(name) {
            return Ok(path);
        }
        let failed = |e: Failure| self.settings.failed(self.model, &e);
        let remote: ApiRepo = self.api.repo(self.model.at(self.commit));
        let (patience, api, url) = (self.settings.patience, self.api.clone(), remote.url(name));
        let stated = patiently(patience, move |_| api.metadata(&url)).map_err(failed)?;
        // Both become parts of paths.
        let etag = stated.etag().strip_prefix("W/").unwrap_or(stated.etag());
        let plain = !etag.is_empty() && etag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !plain || stated.commit_hash() != self.commit {
            let (etag, commit) = (stated.etag(), stated.commit_hash());
            return Err(self
                .model
                .error(format!("{name}: {} answers with tag {etag:?} of commit {commit:?}", self.settings.endpoint)));
        }
        let blob = repo.blob_path(stated.etag());
        // A part as long as the whole cannot be taken up: there is no byte left to ask for.
        let part = blob.with_extension("part");
        if part.metadata().is_ok_and(|part| part.len() >= stated.size() as u64) {
            std::fs::remove_file(&part).map_err(|e| Error::file(&part, e))?;
        }
        let bar = if self.settings.progress { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let file = name.to_owned();
        let path = patiently(patience, move |alive| remote.download_with_progress(&file, Download { bar, alive }))
            .map_err(failed)?;
        match mismatch(&path, stated.size() as u64, etag) {
            Ok(None) => Ok(path),
            bad => {
                for damaged in [&path, &blob] {
                    // Gone already is as good.
                    let _ = std::fs::remove_file(damaged);
                }
                let reason = bad.map_or_else(|e| format!("cannot be read again: {e}"), Option::unwrap_or_default);
                Err(self.model.error(format!(
                    "{name}: what {} sent {reason}; it was not kept, try again",
                    self.settings.endpoint
                )))
            }
        }
    }
}

/// How a file differs from what the hub states, if it does. The tag is a SHA-256 for large files, and git's SHA-1 for
/// others; mirrors may have tags of their own.
fn mismatch(path: &Path, size: u64, etag: &str) -> io::Result<Option<String>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length != size {
        return Ok(Some(format!("has {length} bytes instead of {size}")));
    }
    let found = if is_hex(etag, 64) {
        digest(Sha256::new(), &mut file)?
    } else if is_hex(etag, 40) {
        digest(Sha1::new_with_prefix(format!("blob {length}\0")), &mut file)?
    } else {
        return Ok(None);
    };
    Ok((found != etag.to_ascii_lowercase()).then(|| format!("has the hash {found} instead of {etag}")))
}

fn digest(mut digest: impl Digest, file: &mut std::fs::File) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => digest.update(&buffer[..read]),
        }
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The snapshot directory of a model, if the cache knows its commit.
fn cached(cache: &Cache, model: &HubModel) -> Option<PathBuf> {
    let repo = cache.repo(model.at(&model.revision));
    let commit = if is_hex(&model.revision, 40) {
        model.revision.clone()
    } else {
        let root = cache.path().join(model.at(&model.revision).folder_name());
        std::fs::read_to_string(root.join("refs").join(&model.revision)).ok()?.trim().to_owned()
    };
    is_hex(&commit, 40).then(|| repo.pointer_path(&commit)).filter(|snapshot| snapshot.is_dir())
}

fn has_weights(snapshot: &Path) -> bool {
    WEIGHTS.into_iter().any(|name| {
        let path = snapshot.join(name);
        let whole = || read_index(&path).is_ok_and(|map| map.values().all(|shard| snapshot.join(shard).is_file()));
        path.is_file() && (!is_index(name) || whole())
    })
}

/// An error of the hub's library, its panic over an answer that it does not expect, or silence.
enum Failure {
    Api(ApiError),
    Panic,
    Silent(Duration),
}

impl Failure {
    fn status(&self) -> Option<u16> {
        match self {
            Self::Api(ApiError::RequestError(e)) => match **e {
                ureq::Error::StatusCode(code) => Some(code),
                _ => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(e) => e.fmt(f),
            Self::Panic => f.write_str("its answer is not understood"),
            Self::Silent(patience) => write!(f, "it said nothing for {} s", patience.as_secs_f64()),
        }
    }
}

/// What a call of the hub's library does while it lasts.
enum Sign<T> {
    Alive,
    Done(Result<T, Failure>),
}

/// Tells the waiting side that bytes arrive.
type Alive = Box<dyn FnMut() + Send>;

/// Calls the hub's library, which waits for ever, in a thread of its own, and gives up once that has said nothing for
/// `patience`. A thread that is given up keeps its connection and the lock of its file, and ends with the process.
fn patiently<T: Send + 'static>(
    patience: Duration,
    call: impl FnOnce(Alive) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, signs) = mpsc::channel();
    std::thread::spawn(move || {
        let alive = sender.clone();
        // Nobody listens once it was given up.
        let alive = Box::new(move || drop(alive.send(Sign::Alive)));
        let called = catch_unwind(AssertUnwindSafe(|| call(alive)));
        drop(sender.send(Sign::Done(called.map_err(|_| Failure::Panic).and_then(|r| r.map_err(Failure::Api)))));
    });
    loop {
        match signs.recv_timeout(patience) {
            Ok(Sign::Alive) => {}
            Ok(Sign::Done(result)) => return result,
            Err(RecvTimeoutError::Timeout) => return Err(Failure::Silent(patience)),
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::Panic),
        }
    }
}

/// A progress bar whose every step is a sign of life.
struct Download {
    bar: ProgressBar,
    alive: Alive,
}

impl Progress for Download {
    fn init(&mut self, size: usize, filename: &str) {
        (self.alive)();
        Progress::init(&mut self.bar, size, filename);
    }

    fn update(&mut self, size: usize) {
        (self.alive)();
        Progress::update(&mut self.bar, size);
    }

    fn finish(&mut self) {
        Progress::finish(&mut self.bar);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Local(PathBuf),
    Hub(HubModel),
}

#[derive(Debug, PartialEq, Eq)]
struct HubModel {
    repo: String,
    revision: String,
}

impl Source {
    fn parse(source: &str) -> Result<Self> {
        let Some(name) = source.strip_prefix(SCHEME) else {
            return Ok(Self::Local(source.into()));
        };
        let refuse = || Error::invalid("model", source, ACCEPTED);
        let (repo, revision) = name.split_once('@').unwrap_or((name, "main"));
        let (organisation, name) = repo.split_once('/').ok_or_else(refuse)?;
        let plain = |part: &str, extra: &[u8]| {
            !part.is_empty()
                && !part.contains("..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
                && part.split('/').all(|piece| !piece.is_empty() && !piece.starts_with('.'))
        };
        if plain(organisation, b"-_.") && plain(name, b"-_.") && plain(revision, b"-_./") {
            Ok(Self::Hub(HubModel { repo: repo.to_owned(), revision: revision.to_owned() }))
        } else {
            Err(refuse())
        }
    }
}

impl HubModel {
    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, revision.to_owned())
    }

    fn error(&self, reason: impl fmt::Display) -> Error {
        let revision = if self.revision == "main" { String::new() } else { format!("@{}", self.revision) };
        Error::Hub { model: format!("{SCHEME}{}{revision}", self.repo), reason: reason.to_string() }
    }
}

/// A path that exists.
fn local(path: PathBuf) -> Result<PathBuf> {
    if path.symlink_metadata().is_ok() {
        return Ok(path);
    }
    let as_hub = format!("{SCHEME}{}", path.display());
    match (missing(&path), Source::parse(&as_hub)) {
        (Error::File { path, reason, .. }, Ok(Source::Hub(_))) => {
            Err(Error::file(path, format!("{reason}; for a model of the hub write {as_hub}")))
        }
        (error, _) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub_are_told_from_paths() {
        let hub = |repo: &str, revision: &str| Source::Hub(HubModel { repo: repo.into(), revision: revision.into() });
        assert_eq!(Source::parse("models/a").unwrap(), Source::Local("models/a".into()));
        assert_eq!(Source::parse("hf:org/name").unwrap(), hub("org/name", "main"));
        assert_eq!(Source::parse("hf:org/na.me@refs/pr/1").unwrap(), hub("org/na.me", "refs/pr/1"));
        let bad = [
            "foo",
            "",
            "org/",
            "/name",
            "a/b/c",
            "org/name@",
            "org/../x",
            "org/name@../x",
            "../name",
            "org/n me",
            "o/n@/x",
            "o/n@a//b",
        ];
        for name in bad {
            let error = Source::parse(&format!("hf:{name}")).unwrap_err().to_string();
            assert!(
                error.contains(&format!("hf:{name}")) && error.contains("hf:ORGANISATION/NAME@REVISION"),
                "{error}"
            );
        }
    }

    fn from(variables: &[(&str, &str)]) -> Result<HubSettings> {
        HubSettings::from_variables(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_environment_is_read_as_by_hugging_face() {
        let settings = from(&[("HOME", "/h")]).unwrap();
        assert_eq!(settings.cache, Path::new("/h/.cache/huggingface/hub"));
        assert_eq!((settings.endpoint.as_str(), settings.offline, settings.token), (DEFAULT_ENDPOINT, false, None));
        assert_eq!(from(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).unwrap().cache, Path::new("/x/huggingface/hub"));
        assert_eq!(from(&[("HOME", "/h"), ("HF_HOME", "/hf")]).unwrap().cache, Path::new("/hf/hub"));
        let all = [
            ("HF_HOME", "/hf"),
            ("HF_HUB_CACHE", "/c"),
            ("HF_ENDPOINT", "http://localhost:1/"),
            ("HF_TOKEN", " secret\n"),
            ("HF_HUB_OFFLINE", "TRUE"),
        ];
        let settings = from(&all).unwrap();
        assert_eq!((settings.cache.as_path(), settings.endpoint.as_str()), (Path::new("/c"), "http://localhost:1"));
        assert_eq!((settings.offline, settings.token.as_deref()), (true, Some("secret")));
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn bad_variables_are_named() {
        assert!(from(&[]).unwrap_err().to_string().contains("HF_HOME"));
        let error = from(&[("HOME", "/h"), ("HF_ENDPOINT", "hub.example")]).unwrap_err().to_string();
        assert!(error.contains("HF_ENDPOINT = hub.example"), "{error}");
        let error = from(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "maybe")]).unwrap_err().to_string();
        assert!(error.contains("HF_HUB_OFFLINE = maybe"), "{error}");
    }

    #[test]
    fn a_token_file_beside_the_cache_is_used() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "from-file\n").unwrap();
        let settings = from(&[("HF_HOME", home.path().to_str().unwrap())]).unwrap();
        assert_eq!(settings.token.as_deref(), Some("from-file"));
    }
}
