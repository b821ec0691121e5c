//! Tensors of heads that this crate has not: another class's of transformers, and what only pre-training uses.

use crate::told;
use std::collections::BTreeSet;
use std::path::Path;

/// Parts that a message names.
const SHOWN: usize = 8;

/// Whether a class of transformers, as `architectures` names it, has a head that is neither CTC's nor of pre-training: what
/// it answers means something else, whatever its tensors are called.
pub(crate) fn answers_otherwise(class: &str) -> bool {
    class.split_once("For").is_some_and(|(_, head)| !head.contains("CTC") && !head.starts_with("PreTraining"))
}

/// A class of transformers with a head that is not CTC's, and what that head is for; `None` for an encoder and for CTC.
pub(crate) fn purpose(class: &str) -> Option<String> {
    let (_, head) = class.split_once("For").filter(|(_, head)| !head.is_empty() && !head.contains("CTC"))?;
    let purpose = match head {
        "PreTraining" => "pre-training".to_owned(),
        "XVector" => "speakers' vectors".to_owned(),
        head => {
            let words =
                head.chars().map(|c| if c.is_uppercase() { format!(" {}", c.to_lowercase()) } else { c.to_string() });
            words.collect::<String>().trim_start().to_owned()
        }
    };
    Some(format!("{class}, a head for {purpose}"))
}

/// Says once that these tensors of a checkpoint are not part of what is made of it; nothing when there are none.
/// `class` is what its `architectures` name.
pub(crate) fn tell_left_out(path: &Path, class: Option<&str>, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let parts: BTreeSet<&str> = names.iter().map(|name| name.split('.').next().unwrap_or_default()).collect();
    let all = parts.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let more = if parts.len() > SHOWN { ", …" } else { "" };
    let of = class.map(|class| format!(" of {class}")).unwrap_or_default();
    told::once(format!("{}: left out: {} tensors{of} ({all}{more})", path.display(), names.len()));
}

#[cfg(test)]
mod tests {
    use super::{answers_otherwise, purpose};

    #[test]
    fn heads_are_known_by_their_class() {
        for class in ["Wav2Vec2ForSequenceClassification", "Wav2Vec2ForAudioFrameClassification", "Wav2Vec2ForXVector"]
        {
            assert!(answers_otherwise(class), "{class}");
        }
        for class in ["Wav2Vec2ForCTC", "Wav2Vec2Model", "Wav2Vec2ForPreTraining", "MyWav2Vec2ForCTC"] {
            assert!(!answers_otherwise(class), "{class}");
        }
        let classes = purpose("Wav2Vec2ForAudioFrameClassification").unwrap();
        assert_eq!(classes, "Wav2Vec2ForAudioFrameClassification, a head for audio frame classification");
        assert_eq!((purpose("Wav2Vec2Model"), purpose("Wav2Vec2ForCTC")), (None, None));
    }
}
