//! What a fairseq checkpoint says beside its tensors.

use lopper_weights::Value;
use std::collections::BTreeMap;

/// Longest expression that is read.
const MAX_TEXT: usize = 4096;
/// Most triples that an expression may give.
const MAX_TRIPLES: usize = 64;

/// One value of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Setting {
    /// True or false.
    Flag(bool),
    /// An integer or not.
    Number(f64),
    /// Text.
    Text(String),
}

/// The configuration in a fairseq checkpoint (`cfg`, or `args` in older ones). Empty for any other.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Settings {
    /// Of the model: the finetuned one's, or else the pre-trained one's.
    pub(crate) model: BTreeMap<String, Setting>,
    /// Of the pre-trained model within a finetuned one (`w2v_args`).
    pub(crate) pretrained: BTreeMap<String, Setting>,
    /// Whether waveforms were normalised.
    pub(crate) normalize: Option<bool>,
}

impl Settings {
    /// What stands around a state dict: `cfg`, or `args` where there is none.
    pub(crate) fn read(root: Value<'_>) -> Self {
        let there = |value: &Value<'_>| !value.is_none();
        let (model, task) = match root.get("cfg").filter(there) {
            Some(cfg) => (cfg.get("model"), cfg.get("task")),
            None => (root.get("args"), root.get("args")),
        };
        let (model, task) = (model.filter(there), task.filter(there));
        let whole = model.and_then(|model| model.get("w2v_args")).filter(there);
        // A whole configuration, or the arguments themselves in older checkpoints.
        let pretrained = whole.map(|whole| whole.get("model").filter(there).unwrap_or(whole));
        let normalize = |part: Option<Value<'_>>| part?.get("normalize")?.as_bool();
        Self {
            normalize: normalize(task).or_else(|| normalize(model)).or_else(|| normalize(pretrained)),
            model: model.map(settings).unwrap_or_default(),
            pretrained: pretrained.map(settings).unwrap_or_default(),
        }
    }

    fn find(&self, key: &str) -> Option<&Setting> {
        self.model.get(key).or_else(|| self.pretrained.get(key))
    }

    /// Of the architecture, which a finetuned checkpoint keeps with its pre-trained part.
    fn architecture(&self, key: &str) -> Option<&Setting> {
        self.pretrained.get(key).or_else(|| self.model.get(key))
    }

    /// An integer of the architecture.
    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        match self.architecture(key)? {
            Setting::Number(n) if n.fract() == 0.0 && n.abs() < 1e15 => Some(*n as i64),
            _ => None,
        }
    }

    /// A flag of the architecture.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match self.architecture(key)? {
            Setting::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Text of the architecture.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.architecture(key)? {
            Setting::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number that finetuning sets anew.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        match self.find(key)? {
            Setting::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// A flag that finetuning sets anew.
    pub(crate) fn own_flag(&self, key: &str) -> Option<bool> {
        match self.model.get(key)? {
            Setting::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Whether these are of a finetuned model: only those have a mask to apply or not.
    pub(crate) fn finetuned(&self) -> bool {
        !self.pretrained.is_empty() || self.model.contains_key("apply_mask")
    }
}

/// The scalars of a dictionary or object.
fn settings(value: Value<'_>) -> BTreeMap<String, Setting> {
    let setting = |value: Value<'_>| {
        let flag = value.as_bool().map(Setting::Flag);
        let number = || value.as_f64().map(Setting::Number);
        flag.or_else(number).or_else(|| value.as_str().map(|text| Setting::Text(text.to_owned())))
    };
    value.entries().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), setting(value)?))).collect()
}

/// The triples (channels, kernel, stride) of `conv_feature_layers`: Python's lists of tuples with `+` and `* n`, such as
/// `[(512, 10, 5)] + [(512, 3, 2)] * 4`. `None` for anything else.
pub(crate) fn triples(text: &str) -> Option<Vec<[i64; 3]>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let mut parser = Parser { rest: text.trim_ascii() };
    let all = parser.sum()?;
    (parser.rest.is_empty() && !all.is_empty()).then_some(all)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// Whether the next token is this one, which is then behind.
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            None => false,
            Some(rest) => {
                self.rest = rest.trim_ascii_start();
                true
            }
        }
    }

    fn sum(&mut self) -> Option<Vec<[i64; 3]>> {
        let mut all = self.product()?;
        while self.eat("+") {
            all.extend(self.product()?);
            (all.len() <= MAX_TRIPLES).then_some(())?;
        }
        Some(all)
    }

    fn product(&mut self) -> Option<Vec<[i64; 3]>> {
        let mut all = self.list()?;
        while self.eat("*") {
            let times = usize::try_from(self.integer()?).ok()?;
            (all.len().checked_mul(times)? <= MAX_TRIPLES).then_some(())?;
            all = all.repeat(times);
        }
        Some(all)
    }

    fn list(&mut self) -> Option<Vec<[i64; 3]>> {
        self.eat("[").then_some(())?;
        let mut all = Vec::new();
        while !self.eat("]") {
            all.push(self.triple()?);
            (all.len() <= MAX_TRIPLES).then_some(())?;
            if !self.eat(",") {
                self.eat("]").then_some(())?;
                break;
            }
        }
        Some(all)
    }

    fn triple(&mut self) -> Option<[i64; 3]> {
        let mut triple = [0; 3];
        self.eat("(").then_some(())?;
        for (place, value) in triple.iter_mut().enumerate() {
            (place == 0 || self.eat(",")).then_some(())?;
            *value = self.integer()?;
        }
        self.eat(",");
        self.eat(")").then_some(triple)
    }

    fn integer(&mut self) -> Option<i64> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest.trim_ascii_start();
        number.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_fairseq() {
        let base = triples("[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]").unwrap();
        assert_eq!(base.len(), 7);
        assert_eq!((base[0], base[4], base[6]), ([512, 10, 5], [512, 3, 2], [512, 2, 2]));
        let default = triples(" [(512, 10, 5), (512, 8, 4)] + [(512, 4, 2)] * 3 + [(512, 1, 1)] ").unwrap();
        assert_eq!(default.len(), 6);
        assert_eq!(triples("[(1,2,3,),]").unwrap(), [[1, 2, 3]]);
        for bad in [
            "",
            "[]",
            "[(1, 2)]",
            "[(1, 2, 3, 4)]",
            "[(1, 2, -3)]",
            "[(1, 2, 3)] * 65",
            "[(1, 2, 3)] * 99999999999999999999",
            "[(1, 2, 3)] +",
            "__import__('os')",
            "[(1, 2, 3)] 4",
            "[(1, 2, 3) (1, 2, 3)]",
            "[(1, 2, 3)",
            "[[(1, 2, 3)]]",
        ] {
            assert_eq!(triples(bad), None, "{bad}");
        }
        assert_eq!(triples(&"[(1,1,1)]+".repeat(2000)), None);
    }
}
