//! How a tokenizer of transformers writes what a CTC head says.

use crate::Dictionary;
use crate::vocabulary::content;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// How symbols become a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// What ends a word, and what is written for it.
    ends: Option<(String, String)>,
    /// Whether every symbol stands between spaces, as phones do.
    apart: bool,
    lower: bool,
    /// Symbols that no text shows.
    hidden: BTreeSet<String>,
}

impl Spelling {
    /// For a dictionary of which nothing else is known: what ends a word is a space, and where nothing does, the symbols
    /// are phones.
    pub fn of_dictionary(dictionary: &Dictionary) -> Self {
        let delimiter = dictionary.id(dictionary.delimiter()).map(|_| dictionary.delimiter().to_owned());
        let (apart, ends) = (delimiter.is_none(), delimiter.map(|delimiter| (delimiter, " ".to_owned())));
        Self { ends, apart, lower: false, hidden: BTreeSet::new() }
    }

    /// As the tokenizer of a `tokenizer_config.json` decodes, but that its special tokens are not shown: a
    /// `Wav2Vec2PhonemeCTCTokenizer` writes symbols between spaces and leaves out what ends words, any other joins symbols,
    /// with `replace_word_delimiter_char` for `word_delimiter_token`, which is `|` unless it is given, and all of it in
    /// lower case with `do_lower_case`. `class` is the tokenizer's where the file does not say it.
    pub fn of_tokenizer(settings: &Map<String, Value>, class: Option<&str>) -> Self {
        let class = settings.get("tokenizer_class").and_then(Value::as_str).or(class).unwrap_or_default();
        let apart = class.contains("Phoneme");
        let usual = (!apart).then(|| "|".to_owned());
        let delimiter = settings.get("word_delimiter_token").map_or(usual, content);
        let between = match settings.get("replace_word_delimiter_char").and_then(Value::as_str) {
            _ if apart => "",
            Some(between) => between,
            None => " ",
        };
        let named = ["bos_token", "eos_token", "unk_token", "pad_token"].map(|key| settings.get(key).and_then(content));
        let added = settings.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten();
        let added = added.filter(|(_, token)| token.get("special") == Some(&Value::Bool(true)));
        let hidden = named.into_iter().flatten().chain(added.filter_map(|(_, token)| content(token)));
        let hidden = hidden.filter(|token| Some(token) != delimiter.as_ref()).collect();
        Self {
            apart,
            lower: !apart && settings.get("do_lower_case") == Some(&Value::Bool(true)),
            ends: delimiter.map(|delimiter| (delimiter, between.to_owned())),
            hidden,
        }
    }

    /// The text of a path's symbols; several spaces are one, and none stands at an end.
    pub fn text(&self, ids: &[u32], dictionary: &Dictionary) -> String {
        let delimiter = self.ends.as_ref().map(|(delimiter, _)| delimiter.as_str());
        let shown = |id: &&u32| !dictionary.is_special(**id);
        let symbols = ids.iter().filter(shown).filter_map(|id| dictionary.symbol(*id));
        let symbols = symbols.filter(|symbol| !self.hidden.contains(*symbol));
        let written = |symbol| match &self.ends {
            Some((delimiter, between)) if symbol == delimiter => between.as_str(),
            _ => symbol,
        };
        let text = if self.apart {
            symbols.filter(|symbol| Some(*symbol) != delimiter).collect::<Vec<_>>().join(" ")
        } else {
            symbols.map(written).collect()
        };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.lower { text.to_lowercase() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What `decode` of transformers 4.57.1 and 5.24.0 gives, but for special tokens.
    #[test]
    fn texts_are_those_of_the_tokenizer() {
        let symbols = ["[PAD]", "|", " ", "A", "b", "[UNK]", "<a>", "ts"].map(str::to_owned).to_vec();
        let dictionary = Dictionary::of_head(symbols, 0).unwrap();
        let ids = [1, 3, 4, 2, 1, 4, 5, 6, 7, 1];
        let text =
            |settings: Value| Spelling::of_tokenizer(settings.as_object().unwrap(), None).text(&ids, &dictionary);
        assert_eq!(text(json!({})), "Ab b<a>ts");
        assert_eq!(text(json!({"bos_token": {"content": "<a>"}, "word_delimiter_token": {"content": "|"}})), "Ab bts");
        assert_eq!(text(json!({"word_delimiter_token": " ", "do_lower_case": true})), "|ab |b<a>ts|");
        assert_eq!(text(json!({"word_delimiter_token": null})), "|Ab |b<a>ts|");
        assert_eq!(text(json!({"replace_word_delimiter_char": "_"})), "_Ab _b<a>ts_");
        let special = json!({"added_tokens_decoder": {"6": {"content": "<a>", "special": true}}});
        assert_eq!(text(special), "Ab bts");
        let phones = |delimiter| {
            text(json!({"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer", "word_delimiter_token": delimiter}))
        };
        assert_eq!(phones(json!("|")), "A b b <a> ts");
        assert_eq!(phones(Value::Null), "| A b | b <a> ts |");
    }
}
