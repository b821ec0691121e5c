//! Checkpoints of other models, some of which would load: a HuBERT has all tensors of a wav2vec 2.0.

use crate::fairseq::Settings;

/// Parts of tensors' names that no wav2vec 2.0 has, and whose they are.
const MARKS: [(&str, &str); 13] = [
    ("label_embs_concat", "HuBERT"),
    ("hubert.", "HuBERT"),
    ("data2vec_audio.", "data2vec"),
    ("regression_head.", "data2vec"),
    // Several positional convolutions where a wav2vec 2.0 has one, in fairseq's and Hugging Face's spelling.
    (".pos_conv.0.0.", "data2vec"),
    (".pos_conv_embed.layers.0.", "data2vec"),
    ("wavlm.", "WavLM"),
    (".grep_linear.", "WavLM"),
    (".gru_rel_pos_linear.", "WavLM"),
    ("wav2vec2_conformer.", "Wav2Vec2-Conformer"),
    ("feature_aggregator.", "wav2vec 1.0"),
    ("wav2vec_predictions.", "wav2vec 1.0"),
    ("embeddings.word_embeddings.", "BERT"),
];

/// Beginnings of what fairseq calls its models.
const NAMES: [(&str, &str); 3] = [("hubert", "HuBERT"), ("data2vec", "data2vec"), ("wavlm", "WavLM")];

/// Another model than wav2vec 2.0, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) name: &'static str,
    pub(crate) by: String,
}

impl Other {
    /// Whether it hears, so that nobody else would say what it is.
    pub(crate) fn hears(&self) -> bool {
        self.name != "BERT"
    }
}

/// Tells another model by what fairseq's configuration calls it, or by its tensors' names.
pub(crate) fn other<'a>(names: impl IntoIterator<Item = &'a str>, settings: &Settings) -> Option<Other> {
    let given = ["_name", "arch"].into_iter().find_map(|key| Some((key, settings.text(key)?)));
    if let Some((key, given)) = given {
        let known = NAMES.into_iter().find(|(start, _)| given.starts_with(start)).map(|(_, name)| name);
        if let Some(name) = known.or((given == "wav2vec").then_some("wav2vec 1.0")) {
            return Some(Other { name, by: format!("the {key} `{given}` in its configuration") });
        }
    }
    let (mut projection, mut quantizer, mut fairseq2) = (None, false, false);
    for tensor in names {
        let dotted = format!(".{tensor}");
        // A mark begins a part of the name.
        let found = MARKS.into_iter().find(|(mark, _)| dotted.contains(&format!(".{}", mark.trim_start_matches('.'))));
        if let Some((_, name)) = found {
            return Some(Other { name, by: format!("its tensor `{tensor}`") });
        }
        projection = projection.or(dotted.contains(".final_proj.").then(|| tensor.to_owned()));
        fairseq2 |= tensor.starts_with("encoder_frontend.");
        quantizer |= dotted.contains("quantizer.") || dotted.contains(".project_q.");
    }
    // The pre-training of a wav2vec 2.0 projects onto what it quantises; that of a HuBERT onto given classes.
    // fairseq2 calls its CTC head so.
    let tensor = projection.filter(|_| !quantizer && given.is_none() && !fairseq2)?;
    Some(Other { name: "HuBERT", by: format!("its tensor `{tensor}` without a quantizer") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fairseq::Setting;

    fn named(key: &str, name: &str) -> Settings {
        let mut settings = Settings::default();
        settings.model.insert(key.into(), Setting::Text(name.into()));
        settings
    }

    #[test]
    fn other_models_are_known_by_their_tensors() {
        let by = |names: &[&str]| other(names.iter().copied(), &Settings::default()).map(|other| other.name);
        let wav2vec2 = ["encoder.layers.0.self_attn.q_proj.weight", "encoder.pos_conv.0.weight_g", "mask_emb"];
        let with = |more: &[&str]| by(&[&wav2vec2, more].concat());
        assert_eq!(with(&[]), None);
        assert_eq!(with(&["quantizer.vars", "project_q.weight", "final_proj.weight"]), None);
        assert_eq!(with(&["final_proj.weight"]), Some("HuBERT"));
        assert_eq!(with(&["label_embs_concat"]), Some("HuBERT"));
        assert_eq!(with(&["w2v_encoder.w2v_model.label_embs_concat"]), Some("HuBERT"));
        assert_eq!(by(&["hubert.encoder.layer_norm.bias"]), Some("HuBERT"));
        assert_eq!(by(&["encoder.pos_conv.0.0.weight"]), Some("data2vec"));
        assert_eq!(by(&["data2vec_audio.encoder.layer_norm.bias"]), Some("data2vec"));
        assert_eq!(by(&["wav2vec2.encoder.pos_conv_embed.layers.0.conv.weight"]), Some("data2vec"));
        assert_eq!(by(&["encoder.layers.0.self_attn.grep_linear.weight"]), Some("WavLM"));
        assert_eq!(by(&["feature_aggregator.conv_layers.0.1.weight"]), Some("wav2vec 1.0"));
        assert_eq!(by(&["bert.embeddings.word_embeddings.weight"]), Some("BERT"));
        assert_eq!(by(&["embeddings.word_embeddings.weight"]), Some("BERT"));
    }

    #[test]
    fn other_models_are_known_by_their_configuration() {
        let by = |key, name| other(["mask_emb"], &named(key, name)).map(|other| other.name);
        assert_eq!(by("_name", "hubert"), Some("HuBERT"));
        assert_eq!(by("arch", "hubert_ctc"), Some("HuBERT"));
        assert_eq!(by("_name", "data2vec_audio"), Some("data2vec"));
        assert_eq!(by("arch", "wav2vec"), Some("wav2vec 1.0"));
        assert_eq!(by("arch", "wav2vec2"), None);
        assert_eq!(by("_name", "wav2vec_ctc"), None);
        // A wav2vec 2.0 without quantised targets.
        assert_eq!(other(["final_proj.weight"], &named("_name", "wav2vec2")), None);
        // What was finetuned is known by what was pre-trained.
        let mut settings = named("_name", "wav2vec_ctc");
        settings.pretrained.insert("_name".into(), Setting::Text("data2vec_audio".into()));
        let found = other([], &settings).unwrap();
        assert_eq!((found.name, found.by.as_str()), ("data2vec", "the _name `data2vec_audio` in its configuration"));
    }
}
