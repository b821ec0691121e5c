//! Everything that differs between the nine tasks, one row each.

use lopper_core::{Error, Result, Task, nearest};
use lopper_metrics::ClassMetric::{Accuracy, F1, Matthews};
use lopper_metrics::ValueMetric::{Pearson, Spearman};
use lopper_text::{Kind, Label};
use std::sync::{Mutex, PoisonError};

/// Where a task's files keep what. Each entry lists the accepted names of a column (or a key of JSON lines): GLUE's own
/// first, then those of the same data elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// The first or only text.
    pub first: &'static [&'static str],
    /// The second of a pair.
    pub second: Option<&'static [&'static str]>,
    /// The label.
    pub label: &'static [&'static str],
    /// For TSV files without a header: columns of a row, position of the text, position of the label.
    pub without_header: Option<(usize, usize, usize)>,
}

/// One of the nine tasks.
#[derive(Debug, Clone, Copy)]
pub struct GlueTask {
    /// The name in configurations and results.
    pub name: &'static str,
    /// The name of its directory in GLUE's download.
    pub folder: &'static str,
    /// Labels in class order, and metrics with the primary one first.
    ///
    /// The order is that of BERT-Tickets and of the GLUE processors of `transformers`, so that a head trained by either
    /// can be used by the other: RTE and QNLI have entailment = 0; MNLI has contradiction = 0, entailment = 1,
    /// neutral = 2; for the others a class is the digit in the file.
    pub kind: Kind,
    /// Whether files may give a class by its number. Not for MNLI, whose numbers mean other classes in other copies, unless
    /// the order of its labels was given.
    pub numbered: bool,
    /// Its columns.
    pub columns: Columns,
    /// Splits to evaluate, with the file names (less extension) looked for.
    pub validation: &'static [(&'static str, &'static [&'static str])],
}

const VALIDATION: &[(&str, &[&str])] = &[("validation", &["dev", "validation"])];
const SENTENCE_PAIR: Columns =
    Columns { first: &["sentence1"], second: Some(&["sentence2"]), label: &["label"], without_header: None };

const fn classes(labels: &'static [&'static str], metrics: &'static [lopper_metrics::ClassMetric]) -> Kind {
    Kind::Classification { labels, metrics }
}

/// The nine tasks.
pub const TASKS: [GlueTask; 9] = [
    GlueTask {
        name: "cola",
        folder: "CoLA",
        kind: classes(&["unacceptable", "acceptable"], &[Matthews]),
        numbered: true,
        columns: Columns { first: &["sentence"], second: None, label: &["label"], without_header: Some((4, 3, 1)) },
        validation: VALIDATION,
    },
    GlueTask {
        name: "sst-2",
        folder: "SST-2",
        kind: classes(&["negative", "positive"], &[Accuracy]),
        numbered: true,
        columns: Columns { first: &["sentence"], second: None, label: &["label"], without_header: None },
        validation: VALIDATION,
    },
    GlueTask {
        name: "mrpc",
        folder: "MRPC",
        kind: classes(&["not_equivalent", "equivalent"], &[Accuracy, F1]),
        numbered: true,
        columns: Columns {
            first: &["#1 String", "sentence1"],
            second: Some(&["#2 String", "sentence2"]),
            label: &["Quality", "label"],
            without_header: None,
        },
        validation: VALIDATION,
    },
    GlueTask {
        name: "sts-b",
        folder: "STS-B",
        kind: Kind::Regression { metrics: &[Pearson, Spearman] },
        numbered: false,
        columns: Columns { label: &["score", "label"], ..SENTENCE_PAIR },
        validation: VALIDATION,
    },
    GlueTask {
        name: "qqp",
        folder: "QQP",
        kind: classes(&["not_duplicate", "duplicate"], &[Accuracy, F1]),
        numbered: true,
        columns: Columns {
            first: &["question1", "sentence1"],
            second: Some(&["question2", "sentence2"]),
            label: &["is_duplicate", "label"],
            without_header: None,
        },
        validation: VALIDATION,
    },
    GlueTask {
        name: "mnli",
        folder: "MNLI",
        kind: classes(&["contradiction", "entailment", "neutral"], &[Accuracy]),
        numbered: false,
        columns: Columns {
            first: &["sentence1", "premise"],
            second: Some(&["sentence2", "hypothesis"]),
            label: &["gold_label", "label"],
            without_header: None,
        },
        validation: &[
            ("validation_matched", &["dev_matched", "validation_matched"]),
            ("validation_mismatched", &["dev_mismatched", "validation_mismatched"]),
        ],
    },
    GlueTask {
        name: "qnli",
        folder: "QNLI",
        kind: classes(&["entailment", "not_entailment"], &[Accuracy]),
        numbered: true,
        columns: Columns {
            first: &["question", "sentence1"],
            second: Some(&["sentence", "sentence2"]),
            label: &["label"],
            without_header: None,
        },
        validation: VALIDATION,
    },
    GlueTask {
        name: "rte",
        folder: "RTE",
        kind: classes(&["entailment", "not_entailment"], &[Accuracy]),
        numbered: true,
        columns: SENTENCE_PAIR,
        validation: VALIDATION,
    },
    GlueTask {
        name: "wnli",
        folder: "WNLI",
        kind: classes(&["not_entailment", "entailment"], &[Accuracy]),
        numbered: true,
        columns: SENTENCE_PAIR,
        validation: VALIDATION,
    },
];

/// The task that the key `task` of a dataset's options names; other keys are not looked at.
///
/// # Errors
/// [`Error::InvalidValue`] for a name of no task, with the nearest one.
pub fn parse_task(options: &toml::Table) -> Result<&'static GlueTask> {
    match options.get("task") {
        None => GlueTask::find(""),
        Some(toml::Value::String(name)) => GlueTask::find(name),
        Some(other) => Err(unknown(&other.to_string())),
    }
}

impl GlueTask {
    /// The task of that name; case, `-`, `_` and spaces do not count.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a name of no task, with the nearest one.
    pub fn find(name: &str) -> Result<&'static Self> {
        let plain = plain(name);
        TASKS.iter().find(|task| self::plain(task.name) == plain).ok_or_else(|| unknown(name))
    }

    /// The task as the core knows it.
    pub fn task(&self) -> Task {
        self.kind.task(self.name)
    }

    /// The same with its classes in the order of `labels`, which are its own in any case of letters. Numbers in files then mean
    /// that order.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for labels that are not the task's, each once.
    pub fn ordered(&self, labels: &[String]) -> Result<Self> {
        let wanted = match self.kind {
            Kind::Classification { labels: own, metrics } => match permutation(own, labels) {
                Some(order) => {
                    let order = order.into_iter().map(|class| own[class as usize]).collect();
                    let kind = Kind::Classification { labels: interned(order), metrics };
                    return Ok(Self { kind, numbered: true, ..*self });
                }
                None => format!("give {}, each once, in the order of their numbers", own.join(", ")),
            },
            Kind::Regression { .. } => format!("{} has scores, and no labels", self.name),
        };
        Err(Error::invalid("[data] labels", format!("[{}]", labels.join(", ")), wanted))
    }

    /// The classes that a file's numbers mean, where the file names the classes that it has: `None` for names that are the
    /// numbers themselves.
    ///
    /// # Errors
    /// The names, and what they should be, as one line.
    pub fn named_classes(&self, names: &[String]) -> Result<Option<Vec<u32>>, String> {
        let shown = names.iter().take(8).map(|name| excerpt(name)).collect::<Vec<_>>().join(", ");
        let Kind::Classification { labels, .. } = self.kind else {
            return Err(format!("the labels are the classes {shown}, and {} has scores from 0 to 5", self.name));
        };
        if let Some(order) = permutation(labels, names) {
            return Ok(Some(order));
        }
        if names.len() == labels.len() && names.iter().enumerate().all(|(number, name)| *name == number.to_string()) {
            return Ok(None);
        }
        let owners = TASKS.iter().filter(|task| match task.kind {
            Kind::Classification { labels, .. } => permutation(labels, names).is_some(),
            Kind::Regression { .. } => false,
        });
        let owners: Vec<_> = owners.map(|task| task.name).collect();
        let owners = if owners.is_empty() { String::new() } else { format!(", as in {}", owners.join(" and ")) };
        Err(format!("the labels are the classes {shown}{owners}; those of {} are {}", self.name, labels.join(", ")))
    }

    /// Whether inputs are pairs.
    pub fn is_pair(&self) -> bool {
        self.columns.second.is_some()
    }

    /// A label as a file writes it.
    ///
    /// # Errors
    /// What was found and what is accepted, as one line.
    pub fn parse_label(&self, text: &str) -> Result<Label, String> {
        let text = text.trim();
        match self.kind {
            Kind::Regression { .. } => match text.parse::<f32>() {
                Ok(value) if (0.0..=5.0).contains(&value) => Ok(Label::Value(value)),
                _ => Err(format!("the score {} is not a number from 0 to 5", excerpt(text))),
            },
            Kind::Classification { labels, .. } => {
                let numbers: Vec<String> = (0..labels.len()).map(|class| class.to_string()).collect();
                // Software that knows missing labels writes all as `1.0`.
                let whole = text.strip_suffix(".0").unwrap_or(text);
                let by_number = numbers.iter().position(|number| self.numbered && number == whole);
                match labels.iter().position(|label| *label == text).or(by_number) {
                    Some(class) => Ok(Label::Class(class as u32)),
                    None => Err(self.no_label(text, labels, &numbers)),
                }
            }
        }
    }

    fn no_label(&self, text: &str, labels: &[&str], numbers: &[String]) -> String {
        let why = if matches!(text, "-1" | "-1.0") {
            ": an unlabelled test row"
        } else if !self.numbered && numbers.iter().any(|n| n == text.strip_suffix(".0").unwrap_or(text)) {
            ": copies of this task disagree on what the numbers mean; the hub's mean labels = [\"entailment\", \"neutral\", \"contradiction\"]"
        } else {
            ""
        };
        let accepted: Vec<_> = if self.numbered {
            labels.iter().zip(numbers).map(|(label, number)| format!("{number} or {label}")).collect()
        } else {
            labels.iter().map(|label| (*label).to_owned()).collect()
        };
        format!("the label {} is not accepted{why}; give {}", excerpt(text), accepted.join(", "))
    }
}

/// A value in backticks, shortened to what fits into a message.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        None => format!("`{}`", text.escape_debug()),
        Some((end, _)) => format!("`{}…`", text[..end].escape_debug()),
    }
}

/// Of each of `names` the place among `labels` that has the same name, case aside; `None` unless they are the same names, each
/// once.
fn permutation(labels: &[&str], names: &[String]) -> Option<Vec<u32>> {
    let place = |name: &String| labels.iter().position(|label| label.eq_ignore_ascii_case(name.trim()));
    let places: Vec<u32> = names.iter().map(|name| place(name).map(|place| place as u32)).collect::<Option<_>>()?;
    let each_once = (0..labels.len() as u32).all(|class| places.contains(&class));
    (each_once && places.len() == labels.len()).then_some(places)
}

/// Labels in an order that lives as long as the program, which a [`Kind`] needs: kept once each, and the orders of three labels
/// are few.
fn interned(order: Vec<&'static str>) -> &'static [&'static str] {
    static ORDERS: Mutex<Vec<&'static [&'static str]>> = Mutex::new(Vec::new());
    let mut orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = orders.iter().find(|known| **known == order) {
        return known;
    }
    let kept: &'static [&'static str] = order.leak();
    orders.push(kept);
    kept
}

pub(crate) fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

fn unknown(name: &str) -> Error {
    let names = TASKS.map(|task| task.name);
    let hint = nearest(&name.to_lowercase(), names).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
    Error::invalid("[data] task", excerpt(name), format!("give one of {}{hint}", names.join(", ")))
}
