//! From a mask as another library names it to the mask of a model.

use crate::{Error, Layout, MaskSet, ParameterName, Result, bits};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Leading parts of a name that are looked behind: wrappers stand within wrappers a few deep.
const MOST_WRAPPERS: usize = 6;
/// Names that an error shows of each side.
const SHOWN: usize = 3;

/// Encoders whose layers are called, and often sized, as those of the models they descend from. A mask of one would fit
/// another's names, and mean nothing there.
const KINDRED: [&str; 24] = [
    "albert",
    "camembert",
    "data2vec_audio",
    "data2vec_text",
    "deberta",
    "distilbert",
    "electra",
    "ernie",
    "hubert",
    "longformer",
    "megatron_bert",
    "mobilebert",
    "nezha",
    "roberta",
    "roformer",
    "sew",
    "speecht5",
    "unispeech",
    "unispeech_sat",
    "wav2vec2_bert",
    "wav2vec2_conformer",
    "wavlm",
    "xlm_roberta",
    "xmod",
];

/// A mask of a model's tensors, and what became of the one that it was made of.
#[derive(Debug, Clone)]
pub struct FittedMask {
    /// With the model's names, in the model's order.
    pub mask: MaskSet,
    /// Tensors of the model that had no mask and are kept whole.
    pub whole: Vec<ParameterName>,
    /// Tensors that keep everything and that the model does not rank; they were left out.
    pub left_out: Vec<ParameterName>,
    /// What stood before names and was left out, and before how many.
    pub prefixes: BTreeMap<String, usize>,
}

impl MaskSet {
    /// This mask as one of the model whose prunable tensors `layout` lists, in their order. `own_name` gives the model's name
    /// for one of another library, or `None` for what the model has no use for; where neither is prunable, parts before a dot
    /// are left out from the left, as wrappers add them. What has no mask is kept whole. What keeps everything and is not
    /// prunable is left out. `context` names mask and model in errors.
    ///
    /// # Errors
    /// [`Error::Layout`] with all of it: a tensor that prunes something and is not prunable, one of another shape, two that are
    /// the same, or none that is the model's.
    pub fn fitted_to(
        &self,
        layout: &Arc<Layout>,
        own_name: impl Fn(&str) -> Option<String>,
        context: &str,
    ) -> Result<FittedMask> {
        let mut fitted =
            FittedMask { mask: self.clone(), whole: Vec::new(), left_out: Vec::new(), prefixes: BTreeMap::new() };
        if self.layout() == layout {
            return Ok(fitted);
        }
        let places: HashMap<&str, usize> =
            layout.tensors().iter().enumerate().map(|(place, tensor)| (tensor.name().as_str(), place)).collect();
        let mut taken: Vec<Option<usize>> = vec![None; layout.tensors().len()];
        let mut problems = Vec::new();
        for (mine, (tensor, words)) in self.layout().tensors().iter().zip(self.words()).enumerate() {
            let name = tensor.name().as_str();
            let Some((place, prefix)) = place_of(name, &places, &own_name) else {
                let pruned = tensor.entries() - bits::count(words);
                match pruned {
                    0 => fitted.left_out.push(tensor.name().clone()),
                    _ => problems.push(format!(
                        "`{name}` prunes {pruned} of {} entries, and this model does not offer it for pruning",
                        tensor.entries()
                    )),
                }
                continue;
            };
            let theirs = &layout.tensors()[place];
            match taken[place].replace(mine) {
                Some(other) => {
                    let other = self.layout().tensors()[other].name();
                    problems.push(format!("`{other}` and `{name}` are both `{}`", theirs.name()));
                }
                None if tensor.shape() != theirs.shape() => {
                    problems.push(other_shape((name, tensor.shape()), (theirs.name().as_str(), theirs.shape())))
                }
                None if !prefix.is_empty() => *fitted.prefixes.entry(prefix.to_owned()).or_default() += 1,
                None => {}
            }
        }
        if taken.iter().all(Option::is_none) {
            problems = vec![strangers(self.layout(), layout)];
        }
        if !problems.is_empty() {
            return Err(Error::layout(context, problems));
        }
        let mut mask = Self::dense(layout.clone());
        for ((place, mine), words) in taken.into_iter().enumerate().zip(mask.words_mut()) {
            match mine {
                Some(mine) => words.clone_from(&self.words()[mine]),
                None => fitted.whole.push(layout.tensors()[place].name().clone()),
            }
        }
        fitted.mask = mask;
        Ok(fitted)
    }

    /// Kept where this one prunes.
    pub fn inverted(&self) -> Self {
        let mut mask = Self::dense(self.layout().clone());
        for (words, mine) in mask.words_mut().iter_mut().zip(self.words()) {
            words.iter_mut().zip(mine).for_each(|(word, mine)| *word &= !mine);
        }
        mask
    }
}

/// Where a name belongs, and what stood before it.
fn place_of<'a>(
    name: &'a str,
    places: &HashMap<&str, usize>,
    own_name: &impl Fn(&str) -> Option<String>,
) -> Option<(usize, &'a str)> {
    let mut rest = name;
    for _ in 0..=MOST_WRAPPERS {
        let own = own_name(rest);
        let place = places.get(rest).or_else(|| places.get(own?.as_str()));
        if let Some(place) = place {
            return Some((*place, &name[..name.len() - rest.len()]));
        }
        let (wrapper, within) = rest.split_once('.')?;
        if KINDRED.contains(&wrapper.to_ascii_lowercase().as_str()) {
            return None;
        }
        rest = within;
    }
    None
}

fn other_shape((name, shape): (&str, &[u64]), (own, expected): (&str, &[u64])) -> String {
    let called = if name == own { String::new() } else { format!(", there `{own}`,") };
    let turned = shape.len() == 2 && shape.iter().rev().eq(expected);
    let hint = if turned { ": it is transposed, and a linear layer's is [outputs, inputs]" } else { "" };
    format!("`{name}` has shape {shape:?} in the mask and{called} {expected:?} in the model{hint}")
}

/// Says that nothing of a mask is the model's.
fn strangers(mask: &Layout, model: &Layout) -> String {
    let names = |layout: &Layout| {
        let shown: Vec<String> = layout.tensors().iter().take(SHOWN).map(|t| format!("`{}`", t.name())).collect();
        let more = if layout.tensors().len() > SHOWN { ", …" } else { "" };
        format!("{}{more}", shown.join(", "))
    };
    let tensors = mask.tensors().len();
    if tensors == 0 {
        return "the mask has no tensor".into();
    }
    format!(
        "none of the mask's {tensors} tensors ({}) is one that the model offers for pruning ({})",
        names(mask),
        names(model)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(tensors: &[(&str, &[u64])]) -> Arc<Layout> {
        let named = tensors.iter().map(|(name, shape)| (ParameterName::new(*name), shape.to_vec()));
        Arc::new(Layout::new(named).unwrap())
    }

    fn own(name: &str) -> Option<String> {
        (!name.starts_with("cls.")).then(|| match name.strip_prefix("encoder.") {
            Some(rest) => format!("b.encoder.{rest}"),
            None => name.to_owned(),
        })
    }

    /// Every second entry, from the first of the first tensor on.
    fn halves(tensors: &[(&str, &[u64])]) -> MaskSet {
        MaskSet::from_fn(layout(tensors), |_, index| index % 2 == 0)
    }

    #[test]
    fn every_spelling_comes_in_the_models_order() {
        let model = layout(&[("b.encoder.q", &[2, 2]), ("b.encoder.k", &[3]), ("b.pooler", &[2])]);
        for prefix in ["", "b.", "module.", "model.b.", "a.b.c.d.e."] {
            let (k, q) = (format!("{prefix}encoder.k"), format!("{prefix}encoder.q"));
            let mask = halves(&[(&k, &[3]), (&q, &[2, 2])]);
            let fitted = mask.fitted_to(&model, own, "m").unwrap();
            assert_eq!(fitted.mask.layout(), &model);
            assert_eq!([0, 1, 2].map(|i| fitted.mask.to_bytes(i)), [vec![1, 0, 1, 0], vec![1, 0, 1], vec![1, 1]]);
            assert_eq!(fitted.whole, ["b.pooler".into()], "{prefix}");
            let stripped: BTreeMap<_, _> = fitted.prefixes.into_iter().collect();
            let expected = match prefix {
                "" | "b." => BTreeMap::new(),
                "model.b." => BTreeMap::from([("model.".to_owned(), 2)]),
                prefix => BTreeMap::from([(prefix.to_owned(), 2)]),
            };
            assert_eq!(stripped, expected);
        }
    }

    #[test]
    fn what_is_not_prunable_may_keep_everything_and_prune_nothing() {
        let model = layout(&[("b.encoder.q", &[4])]);
        let mut named = vec![("b.encoder.q", &[4][..]), ("cls.decoder", &[2]), ("classifier.weight", &[2])];
        let mask = MaskSet::from_fn(layout(&named), |tensor, index| tensor > 0 || index > 0);
        let fitted = mask.fitted_to(&model, own, "m").unwrap();
        assert_eq!(fitted.left_out, ["cls.decoder".into(), "classifier.weight".into()]);
        assert_eq!((fitted.mask.pruned(), fitted.whole.len()), (1, 0));
        named.push(("embeddings", &[3]));
        let refused = halves(&named).fitted_to(&model, own, "m and a model").unwrap_err().to_string();
        assert!(
            refused.starts_with("m and a model: 3 problems:\n  - `cls.decoder` prunes 1 of 2 entries"),
            "{refused}"
        );
    }

    #[test]
    fn what_cannot_be_the_models_is_named() {
        let model = layout(&[("b.encoder.q", &[2, 3]), ("b.encoder.k", &[3])]);
        let refused = |tensors: &[(&str, &[u64])]| halves(tensors).fitted_to(&model, own, "m").unwrap_err().to_string();
        let turned = "m: `encoder.q` has shape [3, 2] in the mask and, there `b.encoder.q`, [2, 3] in the model: it is \
                      transposed, and a linear layer's is [outputs, inputs]";
        assert_eq!(refused(&[("encoder.q", &[3, 2])]), turned);
        assert_eq!(
            refused(&[("b.encoder.k", &[1, 3])]),
            "m: `b.encoder.k` has shape [1, 3] in the mask and [3] in the model"
        );
        assert_eq!(
            refused(&[("b.encoder.k", &[3]), ("module.encoder.k", &[3])]),
            "m: `b.encoder.k` and `module.encoder.k` are both `b.encoder.k`"
        );
        let kindred = "m: none of the mask's 2 tensors (`roberta.encoder.q`, `roberta.encoder.k`) is one that the model \
                       offers for pruning (`b.encoder.q`, `b.encoder.k`)";
        assert_eq!(refused(&[("roberta.encoder.q", &[2, 3]), ("roberta.encoder.k", &[3])]), kindred);
        assert_eq!(refused(&[]), "m: the mask has no tensor");
    }

    #[test]
    fn inverted_twice_is_itself() {
        let mask = halves(&[("a", &[67]), ("b", &[64]), ("c", &[0])]);
        assert_eq!((mask.inverted().kept(), mask.pruned()), (65, 65));
        assert_eq!(mask.inverted().inverted(), mask);
    }
}
