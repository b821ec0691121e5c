//! A preprocessor that needs no vocabulary, for the tests of text datasets.

use lopper_core::{Error, Features, Input, Inputs, Preprocessor, Result};
use std::sync::Arc;
use tch::Tensor;

/// One token a word: its length in bytes. Token 0 stands between two texts and for padding.
struct Words;

/// The preprocessor.
pub(crate) fn words() -> Option<Arc<dyn Preprocessor>> {
    Some(Arc::new(Words))
}

impl Preprocessor for Words {
    fn features(&self, input: Input<'_>, max_length: Option<u32>) -> Result<Features> {
        let Input::Text { first, second } = input else {
            return Err(Error::Unsupported { what: "words".into(), feature: "audio".into() });
        };
        let tokens = |text: &str| text.split_whitespace().map(|w| w.len() as u32).collect::<Vec<_>>();
        let mut ids = tokens(first);
        let mut segments = vec![0; ids.len()];
        if let Some(second) = second {
            ids.push(0);
            ids.extend(tokens(second));
            segments.resize(ids.len(), 1);
        }
        let keep = max_length.map_or(ids.len(), |n| n as usize);
        ids.truncate(keep);
        segments.truncate(keep);
        Ok(Features::Tokens { ids, segments })
    }

    fn collate(&self, features: &[&Features]) -> Result<Inputs> {
        let time = features.iter().map(|f| f.len()).max().unwrap_or(0);
        let mut flat = Vec::new();
        for feature in features {
            let Features::Tokens { ids, .. } = feature else { return Err(Error::Other("no tokens".into())) };
            flat.extend(ids.iter().map(|id| i64::from(*id)));
            flat.resize(flat.len() + time - ids.len(), 0);
        }
        let ids = Tensor::f_from_slice(&flat)?.f_reshape([features.len() as i64, time as i64])?;
        Ok(Inputs::from([("input_ids", ids)]))
    }

    fn identity(&self) -> String {
        "words".into()
    }
}
