//! What a `config.json` says that no plugin can read: architectures that are easily taken for ours, and quantised weights.

use lopper_core::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// What is read in place of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Text,
    Speech,
}

impl Field {
    fn read_instead(self) -> &'static str {
        match self {
            Self::Text => "of encoders of text, BERT is read: model_type \"bert\", such as bert-base-uncased",
            Self::Speech => {
                "of encoders of speech, wav2vec 2.0 and XLSR-53 are read: model_type \"wav2vec2\", such as \
                 facebook/wav2vec2-base"
            }
        }
    }
}

/// A published architecture that is easily taken for one of ours: its name with its article, its `model_type`, how its classes begin.
type Neighbour = (&'static str, &'static str, &'static str, Field);

/// Hugging Face's spellings, of transformers 4.57.1 and 5.24.0. Of two classes that begin alike the longer stands first.
const NEIGHBOURS: [Neighbour; 42] = [
    ("a RoBERTa", "roberta", "Roberta", Field::Text),
    ("a RoBERTa with layer norms first", "roberta-prelayernorm", "RobertaPreLayerNorm", Field::Text),
    ("an XLM-RoBERTa", "xlm-roberta", "XLMRoberta", Field::Text),
    ("an XLM-RoBERTa-XL", "xlm-roberta-xl", "XLMRobertaXL", Field::Text),
    ("an X-MOD", "xmod", "Xmod", Field::Text),
    ("a CamemBERT", "camembert", "Camembert", Field::Text),
    ("a data2vec", "data2vec-text", "Data2VecText", Field::Text),
    ("a DistilBERT", "distilbert", "DistilBert", Field::Text),
    ("an ELECTRA", "electra", "Electra", Field::Text),
    ("a DeBERTa", "deberta", "Deberta", Field::Text),
    ("a DeBERTa-v2", "deberta-v2", "DebertaV2", Field::Text),
    ("a ModernBERT", "modernbert", "ModernBert", Field::Text),
    ("a ModernBERT", "modernbert-decoder", "ModernBertDecoder", Field::Text),
    ("a NeoBERT", "neobert", "NeoBERT", Field::Text),
    ("an EuroBERT", "eurobert", "EuroBert", Field::Text),
    ("a NomicBERT", "nomic_bert", "NomicBert", Field::Text),
    ("a JinaBERT", "jina_bert", "JinaBert", Field::Text),
    ("an ALBERT", "albert", "Albert", Field::Text),
    ("an MPNet", "mpnet", "MPNet", Field::Text),
    ("an XLNet", "xlnet", "XLNet", Field::Text),
    ("an XLM", "xlm", "XLM", Field::Text),
    ("a Longformer", "longformer", "Longformer", Field::Text),
    ("a BigBird", "big_bird", "BigBird", Field::Text),
    ("a MobileBERT", "mobilebert", "MobileBert", Field::Text),
    ("a SqueezeBERT", "squeezebert", "SqueezeBert", Field::Text),
    ("a ConvBERT", "convbert", "ConvBert", Field::Text),
    ("a MegatronBERT", "megatron-bert", "MegatronBert", Field::Text),
    ("an ERNIE", "ernie", "Ernie", Field::Text),
    ("an I-BERT", "ibert", "IBert", Field::Text),
    ("a BERT as a generator of text", "bert-generation", "BertGeneration", Field::Text),
    ("a HuBERT", "hubert", "Hubert", Field::Speech),
    ("a WavLM", "wavlm", "WavLM", Field::Speech),
    ("a data2vec", "data2vec-audio", "Data2VecAudio", Field::Speech),
    ("a Wav2Vec2-BERT", "wav2vec2-bert", "Wav2Vec2Bert", Field::Speech),
    ("a wav2vec 2.0 with Conformer blocks", "wav2vec2-conformer", "Wav2Vec2Conformer", Field::Speech),
    ("a Whisper", "whisper", "Whisper", Field::Speech),
    ("a UniSpeech", "unispeech", "UniSpeech", Field::Speech),
    ("a UniSpeech-SAT", "unispeech-sat", "UniSpeechSat", Field::Speech),
    ("a SEW", "sew", "SEW", Field::Speech),
    ("a SEW-D", "sew-d", "SEWD", Field::Speech),
    ("a Speech2Text", "speech_to_text", "Speech2Text", Field::Speech),
    ("an MCTCT", "mctct", "MCTCT", Field::Speech),
];

/// The classes that `architectures` names.
fn classes(config: &Map<String, Value>) -> impl Iterator<Item = &str> {
    config.get("architectures").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// What a `config.json` describes, if it is an encoder that is easily taken for one of those that are read, as one
/// sentence: its name, its class, and what is read in its place. It goes by `model_type`, and where there is none by
/// `architectures`.
pub fn other_architecture(config: &Map<String, Value>) -> Option<String> {
    let kind = config.get("model_type").and_then(Value::as_str);
    let named = |(_, _, class, _): &&Neighbour| classes(config).any(|found| found.starts_with(class));
    let (name, _, _, field) = match kind {
        Some(kind) => NEIGHBOURS.iter().find(|(_, known, ..)| *known == kind)?,
        // The longest beginning is the right one.
        None => NEIGHBOURS.iter().filter(named).max_by_key(|(_, _, class, _)| class.len())?,
    };
    let by: Vec<String> = kind
        .map(|kind| format!("model_type {kind:?}"))
        .into_iter()
        .chain(classes(config).take(4).map(str::to_owned))
        .collect();
    Some(format!("is {name} by its config.json ({}); {}", by.join(", "), field.read_instead()))
}

/// Refuses a `config.json` of an architecture that no plugin reads ([`other_architecture`]), and of weights that are
/// quantised: those stand in the file as integers and scales of another library's. `path` names the file.
///
/// # Errors
/// [`Error::File`], in one sentence.
pub fn check_config(config: &Map<String, Value>, path: &Path) -> Result<()> {
    if let Some(sentence) = other_architecture(config) {
        return Err(Error::file(path, sentence));
    }
    // compressed-tensors wrote the second before transformers 4.45.
    let quantized = ["quantization_config", "compression_config"].into_iter();
    let Some((key, how)) = quantized.filter_map(|key| Some((key, config.get(key)?))).find(|(_, how)| !how.is_null())
    else {
        return Ok(());
    };
    let method = ["quant_method", "quant_library"].iter().find_map(|key| how.get(*key)?.as_str());
    let method = method.map(|method| format!(" by {method:?}")).unwrap_or_default();
    Err(Error::file(
        path,
        format!(
            "its {key} says that the weights are quantised{method}; weights in float32, float16 or bfloat16 are read: give \
             the checkpoint that was quantised, or save what transformers' `dequantize()` gives"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(config: Value) -> Option<String> {
        other_architecture(config.as_object().unwrap())
    }

    #[test]
    fn neighbours_are_named_with_their_class_and_what_is_read_instead() {
        for (kind, class, name, instead) in [
            ("roberta", "RobertaForMaskedLM", "is a RoBERTa by", "BERT is read"),
            ("distilbert", "DistilBertForSequenceClassification", "is a DistilBERT by", "BERT is read"),
            ("electra", "ElectraForPreTraining", "is an ELECTRA by", "BERT is read"),
            ("deberta-v2", "DebertaV2Model", "is a DeBERTa-v2 by", "BERT is read"),
            ("deberta", "DebertaModel", "is a DeBERTa by", "BERT is read"),
            ("modernbert", "ModernBertForMaskedLM", "is a ModernBERT by", "BERT is read"),
            ("hubert", "HubertForCTC", "is a HuBERT by", "wav2vec 2.0 and XLSR-53 are read"),
            ("wavlm", "WavLMModel", "is a WavLM by", "wav2vec 2.0 and XLSR-53 are read"),
            ("data2vec-audio", "Data2VecAudioForCTC", "is a data2vec by", "wav2vec 2.0 and XLSR-53 are read"),
            ("data2vec-text", "Data2VecTextModel", "is a data2vec by", "BERT is read"),
            ("wav2vec2-bert", "Wav2Vec2BertForCTC", "is a Wav2Vec2-BERT by", "wav2vec 2.0 and XLSR-53 are read"),
            ("whisper", "WhisperForConditionalGeneration", "is a Whisper by", "wav2vec 2.0 and XLSR-53 are read"),
        ] {
            let by_kind = told(json!({"model_type": kind, "architectures": [class]})).unwrap();
            for part in [name, instead, &format!("model_type {kind:?}"), class] {
                assert!(by_kind.contains(part), "{part} in: {by_kind}");
            }
            let by_class = told(json!({"architectures": [class]})).unwrap();
            assert!(by_class.contains(name) && by_class.contains(class) && !by_class.contains('\n'), "{by_class}");
        }
        for ours in [
            json!({"model_type": "bert", "architectures": ["BertForMaskedLM"]}),
            json!({"architectures": ["BertModel"]}),
            json!({"model_type": "wav2vec2"}),
            json!({"architectures": ["Wav2Vec2ForCTC"]}),
            json!({"model_type": "gpt2"}),
            json!({}),
        ] {
            assert_eq!(told(ours.clone()), None, "{ours}");
        }
    }

    #[test]
    fn quantised_weights_are_refused_in_one_line() {
        let check = |config: Value| check_config(config.as_object().unwrap(), Path::new("m/config.json"));
        for method in ["torchao", "compressed-tensors", "bitsandbytes", "gptq"] {
            let config = json!({"model_type": "bert", "quantization_config": {"quant_method": method}});
            let error = check(config).unwrap_err().to_string();
            for part in ["m/config.json", "quantization_config", method, "float32"] {
                assert!(error.contains(part) && !error.contains('\n'), "{part} in: {error}");
            }
        }
        assert!(check(json!({"quantization_config": {"bits": 8}})).unwrap_err().to_string().contains("are quantised;"));
        check(json!({"model_type": "bert", "quantization_config": null})).unwrap();
    }
}
