//! The names of classes that `datasets` writes into a schema's metadata.

use serde_json::Value;

/// The key of the metadata.
pub(crate) const KEY: &str = "huggingface";
/// Longest metadata that is looked at, in bytes: parsed, it may take many times its size.
const LONGEST: usize = 1 << 20;

/// The names of a column's classes, in class order, as `datasets` describes its features:
/// `{"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}`.
pub(crate) fn of(metadata: &str) -> impl Fn(&str) -> Option<Vec<String>> + use<> {
    let parsed = (metadata.len() <= LONGEST).then(|| serde_json::from_str::<Value>(metadata).ok()).flatten();
    move |column| {
        let feature = parsed.as_ref()?.get("info")?.get("features")?.get(column)?;
        (feature.get("_type")? == "ClassLabel").then_some(())?;
        let names = feature.get("names")?.as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    }
}
