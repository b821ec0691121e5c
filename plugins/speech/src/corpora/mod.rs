//! The layouts in which corpora come, one file each: from a path to rows of audio and transcript.

mod clips;
mod columns;
mod common_voice;
mod delimited;
mod entries;
mod fairseq;
mod folder;
mod json_lines;
mod librispeech;
mod phones;
mod tables;

pub(crate) use librispeech::expand;
pub(crate) use phones::PhoneFile;

use crate::Unit;
use crate::clip::Clip;
use crate::labels::choose;
use crate::problems::{Place, Problems, excerpt};
use crate::splits;
use crate::text::Lines;
use crate::transcript::Transcript;
use lopper_core::{Error, Result};
use lopper_tables::delimited::Quoting;
use lopper_tables::is_table;
use lopper_tables::layouts::{is_saved, saved};
use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Endings of audio files that are read, in the order in which they are looked for.
pub(crate) const AUDIO: [&str; 17] = [
    "flac", "wav", "mp3", "opus", "ogg", "oga", "wave", "mpga", "sph", "nist", "aiff", "aif", "aifc", "caf", "au",
    "snd", "rf64",
];
/// Directories below a split that are looked into; deeper ones are a mistake or a loop of links.
const DEEPEST: usize = 12;

/// One row of a corpus.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// What makes the recording, joined in this order.
    pub(crate) audio: Vec<Clip>,
    pub(crate) transcript: Transcript,
    pub(crate) language: Option<String>,
    /// Samples of the file as the manifest has them.
    pub(crate) declared: Option<u64>,
    pub(crate) place: Place,
    /// Where its transcript stands, if in another file.
    pub(crate) elsewhere: Option<Place>,
}

impl Row {
    /// Of which nothing else is known.
    fn new(audio: Vec<Clip>, transcript: Transcript, place: Place) -> Self {
        Self { audio, transcript, language: None, declared: None, place, elsewhere: None }
    }

    /// Where its transcript stands.
    pub(crate) fn said(&self) -> &Place {
        self.elsewhere.as_ref().unwrap_or(&self.place)
    }
}

/// A layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    LibriSpeech,
    Fairseq,
    CommonVoice,
    Folder,
    JsonLines,
    Columns,
    Metadata,
    Table,
}

impl Format {
    /// The layout that the option names; `None` to tell it by the content.
    pub(crate) fn parse(name: &str) -> Result<Option<Self>> {
        let values = [
            ("auto", None),
            ("librispeech", Some(Self::LibriSpeech)),
            ("libri-light", Some(Self::LibriSpeech)),
            ("fairseq", Some(Self::Fairseq)),
            ("common-voice", Some(Self::CommonVoice)),
            ("folder", Some(Self::Folder)),
            ("json-lines", Some(Self::JsonLines)),
            ("json", Some(Self::JsonLines)),
            ("columns", Some(Self::Columns)),
            ("audiofolder", Some(Self::Metadata)),
            ("table", Some(Self::Table)),
        ];
        choose("format", name, &values)
    }

    /// Tells the layout of a file or directory by what is in it.
    fn of(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let files = walk(path)?;
            let has = |wanted: fn(&Path) -> bool| files.iter().any(|file| wanted(file));
            // A folder whose recordings have texts beside them needs no list.
            let beside = || files.iter().any(|file| is_audio(file) && file.with_extension("txt").is_file());
            return Ok(match () {
                () if is_saved(path) => Self::Table,
                () if has(librispeech::is_transcript) => Self::LibriSpeech,
                () if has(folder::is_metadata) => Self::Metadata,
                () if folder::metadata_above(path).is_some() && !beside() => Self::Metadata,
                () if !tables_in(path).is_empty() && !has(is_audio) => Self::Table,
                () => Self::Folder,
            });
        }
        let beginning = beginning(path).map_err(|e| Error::file_caused(path, "cannot be read", e))?;
        if is_table(&beginning) {
            return Ok(Self::Table);
        }
        match extension(path).as_str() {
            "parquet" | "arrow" => return Ok(Self::Table),
            "jsonl" | "ndjson" | "json" => return Ok(Self::JsonLines),
            "txt" | "lst" => return Ok(Self::CommonVoice),
            _ => {}
        }
        let lines = Lines::read(path, &mut Problems::new(true))?;
        let mut filled = lines.filled().map(|(_, line)| line);
        let first = filled.next().unwrap_or_default();
        if delimited::delimiter(first.as_bytes()).is_some() {
            return Ok(Self::Columns);
        }
        if !first.contains('\t') && filled.next().is_none_or(fairseq::is_row) {
            return Ok(Self::Fairseq);
        }
        let found = excerpt(first);
        Err(Error::file(
            path,
            format!(
                "begins with {found}; a manifest begins with its root directory (fairseq) or with column names of which \
                 one is that of its recordings: `{}`",
                columns::AUDIO.join("`, `")
            ),
        ))
    }
}

/// What reading a corpus depends on besides its files.
pub(crate) struct Reading<'a> {
    pub(crate) format: Option<Format>,
    pub(crate) unit: Unit,
    /// Phones by the name of the recording, which take the place of the corpus's own transcripts.
    pub(crate) phones: Option<&'a PhoneFile>,
    /// Where Common Voice's recordings lie, if not beside the list.
    pub(crate) clips: Option<&'a Path>,
    /// The column or key of the transcripts, if it is named.
    pub(crate) transcript: Option<&'a str>,
    /// What quotes mean between tabs, if it is said.
    pub(crate) quoting: Option<Quoting>,
    /// The option that names the corpus: train, validation or test.
    pub(crate) option: &'static str,
}

/// The rows of the corpus at `path`, in its own order.
///
/// # Errors
/// What no row can be read without; what is wrong with single rows goes to `problems`.
pub(crate) fn read(path: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let format = reading.format.map_or_else(|| Format::of(path), Ok)?;
    let of_folders = matches!(format, Format::LibriSpeech | Format::Folder | Format::Metadata);
    if path.is_dir() != of_folders && format != Format::Table {
        let (is, needs) = if path.is_dir() { ("directory", "file") } else { ("file", "directory") };
        return Err(Error::file(path, format!("is a {is}; this format is read from a {needs}")));
    }
    let rows = match format {
        Format::LibriSpeech => librispeech::read(path, problems),
        Format::Fairseq => fairseq::read(path, reading.unit, problems),
        // Its tables are read as others are; what is left are CPC_audio's lists.
        Format::CommonVoice if matches!(extension(path).as_str(), "tsv" | "csv") => {
            delimited::read(path, reading, problems)
        }
        Format::CommonVoice => common_voice::read(path, reading, problems),
        Format::Folder => folder::read(path, reading, problems),
        Format::JsonLines => json_lines::read(path, reading, problems),
        Format::Columns => delimited::read(path, reading, problems),
        // Each of their lists has been through here.
        Format::Metadata => return folder::read_metadata(path, reading, problems),
        Format::Table => return read_tables(path, reading, problems),
    }?;
    // Its lists are of names that have phones.
    let listed = format == Format::CommonVoice && !matches!(extension(path).as_str(), "tsv" | "csv");
    Ok(if listed { rows } else { transcribed(rows, reading, problems) })
}

/// The rows with the phones that are given for their recordings.
fn transcribed(mut rows: Vec<Row>, reading: &Reading<'_>, problems: &mut Problems) -> Vec<Row> {
    if let Some(phones) = reading.phones {
        rows.retain_mut(|row| {
            let name = row.audio.first().map(Clip::name).unwrap_or_default();
            phones.transcribe(&name, row, problems)
        });
    }
    rows
}

/// The rows of a table, or of all of a folder's in their order.
fn read_tables(path: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let files = match path.is_dir() {
        true if is_saved(path) => saved(path).map_err(splits::misplaced)?,
        true => tables_in(path),
        false => vec![path.to_owned()],
    };
    if files.is_empty() {
        return Err(Error::file(path, "holds no tables: looked for *.parquet and *.arrow"));
    }
    let mut rows = Vec::new();
    for file in files {
        rows.extend(tables::read(&file, reading, problems)?);
    }
    Ok(transcribed(rows, reading, problems))
}

/// The tables of a folder, in the order of their names.
fn tables_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut tables: Vec<_> =
        entries.filter(|path| matches!(extension(path).as_str(), "parquet" | "arrow") && path.is_file()).collect();
    tables.sort();
    tables
}

/// The first bytes of a file; none of what is no regular file.
fn beginning(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.is_file() {
        std::fs::File::open(path)?.take(8).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// All files below a directory, in the order of their paths. Links to directories are followed, but no directory is
/// looked into twice: a few links to a directory above them would lead to more files than there are in the world. What
/// is there without a link comes before what is behind one, so that the names do not depend on the file system's order.
fn walk(directory: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut visited) = (Vec::new(), HashSet::new());
    let (mut waiting, mut linked) = (vec![(directory.to_owned(), 0)], BTreeSet::new());
    while let Some((directory, depth)) = waiting.pop().or_else(|| linked.pop_first()) {
        let unreadable = |e: std::io::Error| Error::file_caused(&directory, "cannot be read", e);
        if !visited.insert(directory.canonicalize().map_err(unreadable)?) {
            continue;
        }
        if depth > DEEPEST {
            return Err(Error::file(directory, format!("lies more than {DEEPEST} directories deep")));
        }
        for entry in std::fs::read_dir(&directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, is_link) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_symlink()));
            match (path.is_dir(), is_link) {
                (true, true) => _ = linked.insert((path, depth + 1)),
                (true, false) => waiting.push((path, depth + 1)),
                (false, _) => files.push(path),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The audio file `directory/name`, under any of the endings of audio files; `name` may have one itself.
fn find_audio(directory: &Path, name: &str) -> Option<PathBuf> {
    let given = directory.join(name);
    if is_audio(&given) && given.is_file() {
        return Some(given);
    }
    let bare = if is_audio(&given) { given.with_extension("") } else { given };
    AUDIO.iter().map(|ending| with_ending(&bare, ending)).find(|path| path.is_file())
}

/// `path.ending`, whatever dots there are in `path`.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn is_audio(path: &Path) -> bool {
    AUDIO.contains(&extension(path).as_str())
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// The name of a file without its ending.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file's directory.
fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Symbols between white space.
fn symbols(text: &str) -> Transcript {
    Transcript::Spaced(text.to_owned())
}
