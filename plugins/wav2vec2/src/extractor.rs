//! The files in which transformers keeps how recordings are prepared: `preprocessor_config.json`, and since its version 5
//! `processor_config.json`.

use crate::head::json_file;
use crate::told;
use lopper_core::{Artifact, Error, Result};
use lopper_nn::{MAX_BYTES, Reader};
use lopper_weights::read_regular;
use serde_json::{Map, Value, json};
use std::io::ErrorKind;
use std::path::Path;

/// Samples a second that every wav2vec 2.0 was trained on.
pub(crate) const RATE: u32 = 16_000;
/// The file of transformers 4, in which version 5 still looks when there is no other.
const OLD: &str = "preprocessor_config.json";
/// The file of transformers 5.
const NEW: &str = "processor_config.json";
/// Where the new file has what the old one holds, newest first.
const PARTS: [&str; 2] = ["feature_extractor", "audio_processor"];
/// The only class whose features these models read.
const CLASS: &str = "Wav2Vec2FeatureExtractor";

/// What lies beside a checkpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Extractor {
    old: Option<File>,
    new: Option<File>,
}

/// A file as read.
#[derive(Debug, Clone, PartialEq)]
struct File {
    bytes: Vec<u8>,
    object: Map<String, Value>,
    /// The key under which the settings stand, when they are not the whole file.
    part: Option<&'static str>,
    /// Whether it has the settings of a feature extractor at all; a processor's file need not.
    speaks: bool,
}

impl File {
    fn read(path: &Path, whole: bool) -> Result<Option<Self>> {
        let bytes = match read_regular(path, MAX_BYTES as u64) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::file_caused(path, "cannot be read", e)),
        };
        let object = Reader::object(&bytes, path)?;
        let part = PARTS.into_iter().find(|part| object.contains_key(*part));
        if let Some(part) = part.filter(|part| !object[*part].is_object()) {
            let mut r = Reader::new(&object, path);
            r.refuse(part, &object[part], "an object of settings");
            r.finish()?;
        }
        let file = Self { speaks: whole || part.is_some(), bytes, object, part };
        if file.speaks {
            file.check(path)?;
        }
        Ok(Some(file))
    }

    fn check(&self, path: &Path) -> Result<()> {
        let mut r = Reader::new(self.settings(), path);
        r.field("feature_extractor_type", (), &format!("{CLASS}, which prepares recordings for wav2vec 2.0"), |v| {
            (v.is_null() || v == CLASS).then_some(())
        });
        r.field("do_normalize", (), "true or false", |v| v.is_boolean().then_some(()));
        r.field("sampling_rate", (), &format!("{RATE}, which every wav2vec 2.0 was trained on"), |v| {
            (v.as_f64() == Some(f64::from(RATE))).then_some(())
        });
        r.field("padding_value", (), "0", |v| (v.as_f64() == Some(0.0)).then_some(()));
        r.field("feature_size", (), "1: mono waveforms", |v| (v == 1).then_some(()));
        r.finish()
    }

    fn settings(&self) -> &Map<String, Value> {
        self.part.and_then(|part| self.object.get(part)).and_then(Value::as_object).unwrap_or(&self.object)
    }

    /// Transformers' own default where the file does not say it.
    fn normalize(&self) -> bool {
        self.settings().get("do_normalize").and_then(Value::as_bool).unwrap_or(true)
    }

    /// The file for a model that normalises or not: as it was, where that is what it says.
    fn written(&self, name: &str, normalize: bool) -> Result<Artifact> {
        if !self.speaks || self.normalize() == normalize {
            return Ok(Artifact { name: name.into(), bytes: self.bytes.clone() });
        }
        let mut object = self.object.clone();
        let settings = match self.part.and_then(|part| object.get_mut(part)).and_then(Value::as_object_mut) {
            Some(settings) => settings,
            None => &mut object,
        };
        settings.insert("do_normalize".into(), json!(normalize));
        json_file(name, &Value::Object(object))
    }
}

impl Extractor {
    /// Both files in `directory`.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read, and [`Error::InvalidValue`] for each value that cannot be used.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let old = File::read(&directory.join(OLD), true);
        let new = File::read(&directory.join(NEW), false);
        let (old, new) = Error::both(old, new)?;
        Ok(Self { old, new })
    }

    /// The files that say how recordings are prepared, the one that is believed first.
    fn speaking(&self) -> impl Iterator<Item = (&'static str, &File)> {
        let all = [(NEW, &self.new), (OLD, &self.old)];
        all.into_iter().filter_map(|(name, file)| Some((name, file.as_ref()?))).filter(|(_, file)| file.speaks)
    }

    /// Whether waveforms get zero mean and unit variance; `None` where no file says how recordings are prepared. Where both
    /// do and differ, the new one is believed, as transformers 5 does, and both are named in a warning.
    pub(crate) fn normalize(&self, directory: &Path) -> Option<bool> {
        let mut speaking = self.speaking();
        let believed = speaking.next()?.1.normalize();
        if speaking.next().is_some_and(|(_, other)| other.normalize() != believed) {
            told::once(format!(
                "{}: do_normalize is {believed} by {NEW}, which transformers 5 believes, and {} by {OLD}, which transformers \
                 4 does; {believed} is taken, and `normalize` under [model] says otherwise",
                directory.display(),
                !believed
            ));
        }
        Some(believed)
    }

    /// The files for a saved model: those that were read, with `normalize` in each, and always an old one, which every
    /// version of transformers reads where the new one is absent. `mask` is whether transformers shall make an attention
    /// mask, where no file says anything.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn artifacts(&self, normalize: bool, mask: bool) -> Result<Vec<Artifact>> {
        let new = self.new.as_ref().map(|file| file.written(NEW, normalize)).transpose()?;
        let old = match (&self.old, self.new.as_ref().filter(|file| file.speaks)) {
            (Some(old), _) => old.written(OLD, normalize)?,
            (None, Some(new)) => {
                let mut settings = new.settings().clone();
                settings.insert("do_normalize".into(), json!(normalize));
                json_file(OLD, &Value::Object(settings))?
            }
            (None, None) => {
                let settings = json!({
                    "feature_extractor_type": CLASS,
                    "feature_size": 1,
                    "padding_side": "right",
                    "padding_value": 0.0,
                    "return_attention_mask": mask,
                    "do_normalize": normalize,
                    "sampling_rate": RATE,
                });
                json_file(OLD, &settings)?
            }
        };
        Ok([old].into_iter().chain(new).collect())
    }
}
