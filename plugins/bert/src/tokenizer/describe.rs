//! A tokenizer as one `tokenizer.json`, whatever files it came in.

use super::added::{Added, put};
use super::settings::Settings;
use serde_json::{Map, Value, json};

/// `tokenizer.json` without its own truncation and padding, with the casing of `tokenizer_config.json` and the tokens that
/// other files add.
///
/// # Errors
/// What is wrong with it.
pub(super) fn from_json(bytes: &[u8], settings: &Settings) -> Result<Value, String> {
    let mut map: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| format!("not a JSON object: {e}"))?;
    map.insert("truncation".into(), Value::Null);
    map.insert("padding".into(), Value::Null);
    if let Some(normalizer) = map.get_mut("normalizer").and_then(Value::as_object_mut)
        && settings.overrules()
        && normalizer.get("type").is_some_and(|kind| kind == "BertNormalizer")
    {
        normalizer.insert("lowercase".into(), json!(settings.lower_case));
        normalizer.insert("strip_accents".into(), json!(settings.strip_accents));
        normalizer.insert("handle_chinese_chars".into(), json!(settings.chinese_chars));
    }
    if let Some(token) = map.get("post_processor").and_then(undefined_special_token) {
        return Err(format!("its post_processor uses the special token `{token}` and does not define it"));
    }
    let empty = Map::new();
    let vocabulary = map.get("model").and_then(|model| model.get("vocab")).and_then(Value::as_object).unwrap_or(&empty);
    let there = map.get("added_tokens").and_then(Value::as_array);
    let mut added = there.cloned().unwrap_or_default();
    put(&mut added, &settings.added, vocabulary, settings.overrule)?;
    // Special tokens that the vocabulary has, and those besides; none of the five is made up.
    let known = |token: &&Added| vocabulary.contains_key(&token.content) || settings.more.contains(token);
    let special: Vec<Added> = settings.special().filter(known).cloned().collect();
    put(&mut added, &special, vocabulary, false)?;
    if Some(&added) != there && !added.is_empty() {
        map.insert("added_tokens".into(), Value::Array(added));
    }
    Ok(Value::Object(map))
}

/// A special token that a template names and its `special_tokens` lack: the library would panic at the first text.
fn undefined_special_token(processor: &Value) -> Option<String> {
    let nested = processor.get("processors").and_then(Value::as_array).into_iter().flatten();
    if let Some(token) = nested.filter_map(undefined_special_token).next() {
        return Some(token);
    }
    let defined = |token: &str| processor.get("special_tokens").is_some_and(|tokens| tokens.get(token).is_some());
    let templates = ["single", "pair"].iter().filter_map(|name| processor.get(name));
    let pieces = templates.filter_map(Value::as_array).flatten();
    let tokens = pieces.filter_map(|piece| piece.get("SpecialToken")?.get("id")?.as_str());
    tokens.filter(|token| !defined(token)).map(str::to_owned).next()
}

/// A `tokenizer.json` for a vocabulary of one token a line, and the tokens that other files add behind it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn from_vocabulary(bytes: &[u8], size: i64, settings: &Settings) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8: {e}"))?;
    // Before a table is made of them: short lines take many times their size.
    if let Some((id, token)) = text.lines().enumerate().find(|(id, _)| *id as i64 >= size) {
        return Err(format!("`{token}` has id {id}; config.json's vocab_size allows up to {}", size - 1));
    }
    let vocabulary: Map<String, Value> =
        text.lines().enumerate().map(|(id, token)| (token.to_owned(), json!(id))).collect();
    let five = [&settings.pad, &settings.unknown, &settings.cls, &settings.separator, &settings.mask];
    let known =
        |token: &str| vocabulary.contains_key(token) || settings.added.iter().any(|added| added.content == token);
    let missing: Vec<_> = five.iter().filter(|t| !known(&t.content)).map(|t| format!("`{}`", t.content)).collect();
    if !missing.is_empty() {
        return Err(format!("no line for the special tokens {}", missing.join(", ")));
    }
    let mut within: Vec<(u64, &Added)> =
        five.iter().filter_map(|token| Some((vocabulary.get(&token.content)?.as_u64()?, *token))).collect();
    within.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.content.cmp(&b.1.content)));
    within.dedup_by(|a, b| a.1.content == b.1.content);
    let mut added: Vec<Value> = within.iter().map(|(id, token)| token.to_json(*id)).collect();
    put(&mut added, &settings.added, &vocabulary, settings.overrule)?;
    put(&mut added, &settings.more, &vocabulary, false)?;
    let id = |token: &Added| {
        let entry = added.iter().find(|entry| entry.get("content").is_some_and(|content| *content == *token.content));
        entry.and_then(|entry| entry.get("id")).cloned().unwrap_or_default()
    };
    let pair = |token: &Added| json!([token.content, id(token)]);
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": settings.chinese_chars,
            "strip_accents": settings.strip_accents, "lowercase": settings.lower_case},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": pair(&settings.separator), "cls": pair(&settings.cls)},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": settings.unknown.content, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    }))
}
