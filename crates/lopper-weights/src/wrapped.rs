//! What frameworks wrap around the names of a model's tensors: prefixes, and the pairs that torch's pruning leaves.

use crate::listed::first_names;
use std::collections::BTreeSet;

/// What torch's pruning adds to the name of a tensor for the values that it was before.
const ORIGINAL: &str = "_orig";
/// What it adds for the mask.
const MASK: &str = "_mask";

/// The prefix that stands before all of `names`, found at `anchors`: names that every checkpoint of the architecture holds
/// one of, the longest spelling first. `module.` of `DataParallel`, `_orig_mod.` of `torch.compile` and an attribute's name
/// in a trainer's class are such prefixes, one behind another or alone. `None` where no anchor is there, or one without a
/// prefix.
///
/// # Errors
/// What stands before the anchor and not before every name; several prefixes.
pub(crate) fn shared_prefix<'a>(names: &[&'a str], anchors: &[&str]) -> Result<Option<&'a str>, String> {
    let before = |name: &&'a str| {
        anchors.iter().find_map(|anchor| {
            let prefix = name.strip_suffix(anchor)?;
            (prefix.is_empty() || prefix.ends_with('.')).then_some(prefix)
        })
    };
    let prefixes: BTreeSet<&str> = names.iter().filter_map(before).collect();
    let mut found = prefixes.iter().copied();
    match (found.next(), found.next()) {
        (None, _) | (Some(""), _) => Ok(None),
        (Some(prefix), None) => {
            let others: Vec<&str> = names.iter().copied().filter(|name| !name.starts_with(prefix)).collect();
            if others.is_empty() {
                return Ok(Some(prefix));
            }
            Err(format!(
                "holds the encoder's tensors below `{prefix}`, and beside them {}: only a prefix that all names share is \
                 taken away; save the state dict of the model within",
                first_names(others)
            ))
        }
        (Some(_), Some(_)) => Err(format!(
            "holds several encoders, below {}: save the state dict of one of them",
            first_names(prefixes.iter().copied())
        )),
    }
}

/// The names of the tensors that torch's pruning keeps as `NAME_orig` and `NAME_mask`, each without what it adds.
pub(crate) fn pruned_names<'a>(names: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let pair = |name: &&'a str| {
        let base = name.strip_suffix(ORIGINAL)?;
        let whole = names.contains(format!("{base}{MASK}").as_str()) && !names.contains(base);
        whole.then_some(base)
    };
    names.iter().filter_map(pair).collect()
}

/// The two names of a pruned tensor: its values before, and the mask.
pub(crate) fn pair_of(name: &str) -> [String; 2] {
    [format!("{name}{ORIGINAL}"), format!("{name}{MASK}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHORS: [&str; 2] = ["bert.words", "words"];

    #[test]
    fn only_a_prefix_of_all_names_is_one() {
        let shared = |names: &[&str]| shared_prefix(names, &ANCHORS).map(|prefix| prefix.map(str::to_owned));
        for plain in [&["bert.words", "head"][..], &["words", "pooler"], &["other"], &[], &["forwords"]] {
            assert_eq!(shared(plain), Ok(None), "{plain:?}");
        }
        for prefix in ["module.", "_orig_mod.", "model.", "module._orig_mod.encoder."] {
            for within in [["bert.words", "head"], ["words", "pooler"]] {
                let names = within.map(|name| format!("{prefix}{name}"));
                assert_eq!(shared(&[&names[0], &names[1]]), Ok(Some(prefix.to_owned())));
            }
        }
        let told = shared(&["model.bert.words", "loss.weight", "model.head"]).unwrap_err();
        assert!(
            told.contains("below `model.`") && told.contains("\"loss.weight\"") && !told.contains("head"),
            "{told}"
        );
        let told = shared(&["query.words", "passage.words"]).unwrap_err();
        assert!(told.contains("several encoders, below \"passage.\", \"query.\""), "{told}");
    }

    #[test]
    fn pairs_of_pruning_are_whole() {
        let pruned = |names: &[&'static str]| pruned_names(&names.iter().copied().collect());
        assert_eq!(
            pruned(&["a.weight_mask", "a.weight_orig", "a.bias", "b.bias_orig", "b.bias_mask"]),
            ["a.weight", "b.bias"]
        );
        // Spectral norm's, a mask alone, and what stands there as it is.
        let others = ["a.weight_orig", "a.weight_u", "b.weight_mask", "c.weight_orig", "c.weight_mask", "c.weight"];
        assert!(pruned(&others).is_empty());
    }
}
