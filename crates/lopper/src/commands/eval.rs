//! `lopper eval`: a task's metrics.

use crate::config::{Setting, Split as Keys, insert_option};
use crate::models::{ModelArguments, OpenModel};
use crate::output::{self, Table, count};
use lopper_core::{
    Dataset, DatasetEntry, DatasetRequest, Error, Head, MetricValue, Model, Result, Split, Task, registry,
};
use lopper_session::{EvaluationBatches, Precision, Stop, evaluate, guarded};
use serde::Serialize;
use std::collections::BTreeMap;
use toml::{Table as Options, Value};

/// The option of a dataset whose model writes symbols.
pub(super) const DICTIONARY: &str = "dictionary";

/// The option of a dataset of texts that says how many tokens of each are kept.
const MAX_LENGTH: &str = "max_length";

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// A task of a dataset plugin, such as rte, or the plugin itself
    #[arg(long, value_name = "NAME")]
    task: String,

    /// The task's directory or file, for datasets that are read from one
    #[arg(long, value_name = "PATH")]
    data: Option<String>,

    /// The dataset plugin [default: the one that has the task]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    /// Other options of the dataset plugin, such as max_length=64
    #[arg(long = "set", value_name = "KEY=VALUE", num_args = 1..)]
    settings: Vec<Setting>,

    /// Examples a batch
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_size: u32,

    /// Most tokens or samples of audio a batch, padding counted [default: any number]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    budget: Option<u64>,
}

#[derive(Serialize)]
struct Evaluation {
    model: String,
    task: String,
    /// Of the split that is quoted, the first.
    metrics: BTreeMap<String, f64>,
    splits: Vec<SplitMetrics>,
}

#[derive(Serialize)]
struct SplitMetrics {
    split: String,
    examples: usize,
    metrics: BTreeMap<String, f64>,
    /// What is not in the metrics, such as examples that were left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<&'static str, u64>,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let candidates = self.candidates()?;
        // The cheap checks come first, unless the model has to be asked for its symbols.
        let asks = candidates.iter().any(|entry| takes(entry, DICTIONARY)) && self.given(DICTIONARY).is_none();
        let (open, (entry, options, task)) = if asks {
            let open = self.model.open()?;
            let found = self.task(candidates, symbols(open.model.head()))?;
            (open, found)
        } else {
            let found = self.task(candidates, None)?;
            (self.model.open()?, found)
        };
        let model = open.model.as_ref();
        let reordered = model.head().is_some_and(|head| head.reorders(&task.head));
        if !reordered {
            check_head(model, &task, &self.model.source())?;
        }
        let options = self.shortened(entry, options, model);
        let request = DatasetRequest::for_model(&options, model).evaluated();
        let dataset = lopper_torch::guarded(&format!("dataset plugin `{}`", entry.name), || (entry.open)(&request))?;
        // The dataset should have taken the head's order.
        if reordered {
            check_head(model, dataset.task(), &self.model.source())?;
        }
        let mut splits = Vec::new();
        for split in dataset.evaluation_splits() {
            let metrics = self.evaluate(&open, (entry.name, dataset.as_ref()), &split)?;
            splits.push((split, metrics));
        }
        let first = splits.first().map(|(_, metrics)| by_name(metrics)).unwrap_or_default();
        let evaluation = Evaluation {
            model: self.model.source(),
            task: task.name.clone(),
            metrics: first,
            splits: splits
                .iter()
                .map(|(split, metrics)| SplitMetrics {
                    split: split.as_str().to_owned(),
                    examples: dataset.len(split),
                    metrics: by_name(metrics),
                    counts: dataset.counts(split),
                })
                .collect(),
        };
        output::report(json, &evaluation, || {
            let mut table = Table::new(["<split", "examples", "<metric", "value"]);
            for (split, metrics) in &splits {
                for metric in metrics {
                    let (name, examples) = (split.as_str().to_owned(), count(dataset.len(split) as u64));
                    table.row([name, examples, metric.name.clone(), format!("{:.4}", metric.value)]);
                }
                for (what, number) in dataset.counts(split) {
                    let (name, examples) = (split.as_str().to_owned(), count(dataset.len(split) as u64));
                    table.row([name, examples, what.to_owned(), count(number)]);
                }
            }
            table.render()
        })
    }

    /// A default length that the model cannot hold becomes what it holds; one that was given is left to be refused.
    fn shortened(&self, entry: &DatasetEntry, mut options: Options, model: &dyn Model) -> Options {
        let default =
            entry.options.iter().find(|doc| doc.name == MAX_LENGTH).and_then(|doc| (doc.default)()?.as_integer());
        let longest = model.preprocessor().and_then(|preprocessor| preprocessor.longest()).map(i64::from);
        if let (None, Some(default), Some(longest)) = (self.given(MAX_LENGTH), default, longest)
            && default > longest
        {
            tracing::info!(max_length = longest, "the model holds no more tokens than these");
            options.insert(MAX_LENGTH.into(), Value::Integer(longest));
        }
        options
    }

    /// The metrics of a split; `dataset` comes with its plugin's name.
    fn evaluate(&self, open: &OpenModel, dataset: (&str, &dyn Dataset), split: &Split) -> Result<Vec<MetricValue>> {
        let (plugin, dataset) = dataset;
        let who = format!("in an evaluation, {} or dataset plugin `{plugin}`", open.who());
        let during = format!("evaluating {} on {}", self.model.source(), split.as_str());
        let batches = EvaluationBatches { rows: self.batch_size as usize, budget: self.budget };
        guarded(
            &who,
            &during,
            || self.smaller(),
            || {
                let (model, stop) = (open.model.as_ref(), Stop::default());
                let evaluated = evaluate(model, dataset, split, open.device, Precision::Float32, batches, &stop)?;
                Ok(evaluated.metrics)
            },
        )
    }

    /// What to lower when memory is short.
    fn smaller(&self) -> String {
        let budget = self.budget.map(|budget| format!("--budget ({budget}), ")).unwrap_or_default();
        format!("lower {budget}--batch-size ({}), or with --set max_length (texts)", self.batch_size)
    }

    /// The dataset plugins that may have the task.
    fn candidates(&self) -> Result<Vec<&'static DatasetEntry>> {
        if let Some(name) = &self.dataset {
            return Ok(vec![registry::find::<DatasetEntry>(name)?]);
        }
        let all = registry::all::<DatasetEntry>()?;
        Ok(match all.iter().find(|entry| entry.name == self.task) {
            Some(entry) => vec![*entry],
            None => all.iter().copied().filter(|entry| takes(entry, "task")).collect(),
        })
    }

    fn given(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key() == key)
    }

    /// The dataset plugin, its options and the task. `symbols` are the model's, for a dataset with a dictionary.
    fn task(
        &self,
        candidates: Vec<&'static DatasetEntry>,
        symbols: Option<Value>,
    ) -> Result<(&'static DatasetEntry, Options, Task)> {
        let all = registry::all::<DatasetEntry>()?;
        let mut problems = Vec::new();
        for entry in candidates {
            let checked =
                self.options(entry, symbols.as_ref()).and_then(|options| Ok(((entry.task)(&options)?, options)));
            match checked {
                Ok((task, options)) => return Ok((entry, options, task)),
                Err(e) => problems.push(e),
            }
        }
        let plugins: Vec<_> = all.iter().map(|entry| entry.name).collect();
        Err(match problems.len() {
            0 => Error::invalid(
                "--task",
                &self.task,
                format!("a task of, or one of, the dataset plugins {}", plugins.join(", ")),
            ),
            1 => match problems.remove(0) {
                // A name of this plugin's or of another one.
                Error::InvalidValue { value, expected, .. }
                    if self.dataset.is_none() && value.trim_matches('`') == self.task =>
                {
                    let expected = format!("{expected}, or a dataset plugin: {}", plugins.join(", "));
                    Error::InvalidValue { key: "--task".into(), value, expected }
                }
                problem => problem,
            },
            _ => Error::Many(problems),
        })
    }

    fn options(&self, entry: &DatasetEntry, symbols: Option<&Value>) -> Result<Options> {
        let takes = |name: &str| takes(entry, name);
        let mut options = Options::new();
        if let (true, Some(symbols)) = (takes(DICTIONARY), symbols) {
            options.insert(DICTIONARY.into(), symbols.clone());
        }
        if takes("task") {
            options.insert("task".into(), self.task.clone().into());
        }
        match &self.data {
            Some(path) if takes("path") => {
                options.insert("path".into(), path.clone().into());
            }
            Some(path) => {
                return Err(Error::invalid(
                    "--data",
                    path,
                    format!("the dataset `{}` is read from nowhere", entry.name),
                ));
            }
            None if takes("path") => {
                return Err(Error::invalid(
                    "--data",
                    "(not given)",
                    format!("give the directory or file of {}", self.task),
                ));
            }
            None => {}
        }
        for setting in &self.settings {
            insert_option(&mut options, setting, entry.options);
        }
        let mut keys = Keys { own: Options::new(), plugin: options };
        Error::all(keys.refuse_unknown("--set", &[], entry.options))?;
        Ok(keys.plugin)
    }
}

fn by_name(metrics: &[MetricValue]) -> BTreeMap<String, f64> {
    metrics.iter().map(|metric| (metric.name.clone(), metric.value)).collect()
}

/// Whether a dataset plugin has an option of that name.
pub(super) fn takes(entry: &DatasetEntry, name: &str) -> bool {
    entry.options.iter().any(|option| option.name == name)
}

/// The symbols of a CTC head, as a dataset's option. `None` for any other head, and for one whose outputs are only
/// numbered, because nothing beside its weights tells what they are.
fn symbols(head: Option<&Head>) -> Option<Value> {
    let Head::Ctc { vocabulary, blank } = head.filter(|head| !head.is_numbered())? else { return None };
    let mut symbols = Options::new();
    symbols.insert("vocabulary".into(), vocabulary.clone().into());
    symbols.insert("blank".into(), Value::Integer(i64::try_from(*blank).ok()?));
    Some(Value::Table(symbols))
}

/// Metrics mean something only when the model's outputs are the task's, in the same order.
fn check_head(model: &dyn Model, task: &Task, source: &str) -> Result<()> {
    let describe = |head: &Head| match head {
        Head::Classification { labels } => format!("the classes {}", labels.join(", ")),
        Head::Regression => "one number (regression)".to_owned(),
        Head::Ctc { vocabulary, .. } => format!("sequences of {} symbols", vocabulary.len()),
        _ => "another kind of output".to_owned(),
    };
    let Some(head) = model.head() else {
        let what = match model.other_head() {
            Some(other) => format!("{source}, whose head is that of {other},"),
            None => format!("{source}, which has no head,"),
        };
        return Err(Error::Unsupported {
            what,
            feature: format!("{}; finetune it first with `lopper run`", task.name),
        });
    };
    let fits = match (head, &task.head) {
        (Head::Classification { labels: found }, Head::Classification { labels: wanted }) => {
            let same = found.iter().zip(wanted).all(|(a, b)| a.eq_ignore_ascii_case(b));
            found.len() == wanted.len() && (head.is_unnamed() || same)
        }
        (found, wanted) => found == wanted,
    };
    if fits {
        return Ok(());
    }
    let (found, wanted) = difference(head, &task.head).unwrap_or_else(|| (describe(head), describe(&task.head)));
    Err(Error::Unsupported {
        what: format!("{source}, whose head gives {found},"),
        feature: format!("{}, which needs {wanted}", task.name),
    })
}

/// What is different between two CTC heads of as many outputs: the first output, or the blank.
fn difference(found: &Head, wanted: &Head) -> Option<(String, String)> {
    let (Head::Ctc { vocabulary: a, blank: c }, Head::Ctc { vocabulary: b, blank: d }) = (found, wanted) else {
        return None;
    };
    if a.len() != b.len() {
        return None;
    }
    let named = |of: &[String], blank: usize| match of.get(blank) {
        Some(symbol) => format!("output {blank}, `{symbol}`, as the blank"),
        None => format!("output {blank} as the blank"),
    };
    Some(match a.iter().zip(b).position(|(a, b)| a != b) {
        Some(output) => (format!("`{}` as output {output}", a[output]), format!("`{}` there", b[output])),
        None => (named(a, *c), named(b, *d)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::tests::{broken, check_faults};

    fn ctc(symbols: &str, blank: usize) -> Head {
        Head::Ctc { vocabulary: symbols.split(' ').map(str::to_owned).collect(), blank }
    }

    #[test]
    fn what_differs_between_two_heads_is_named() {
        let one = ctc("<s> <pad> a b", 0);
        let said = |wanted: Head| difference(&one, &wanted).map(|(found, wanted)| format!("{found}; {wanted}"));
        let blanks = said(ctc("<s> <pad> a b", 1));
        assert_eq!(blanks.as_deref(), Some("output 0, `<s>`, as the blank; output 1, `<pad>`, as the blank"));
        assert_eq!(said(ctc("<s> <pad> b a", 1)).as_deref(), Some("`a` as output 2; `b` there"));
        assert_eq!(said(ctc("<s> <pad>", 0)), None);
        assert_eq!(said(Head::Regression), None);
    }

    #[derive(clap::Parser)]
    struct Parsed {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn a_panic_is_named_and_memory_that_is_short_is_explained() {
        let parsed = <Parsed as clap::Parser>::parse_from(["eval", "m", "--task", "toy", "--budget", "640"]);
        let dataset = lopper_testkit::ToyDataset::new(&lopper_testkit::ToyData::default()).unwrap();
        let evaluated =
            |fault| parsed.arguments.evaluate(&broken(fault), ("toy", &dataset), &Split::VALIDATION).unwrap_err();
        let advice = "; lower --budget (640), --batch-size (64), or with --set max_length (texts)";
        let who = "in an evaluation, model plugin `bert` or dataset plugin `toy`";
        check_faults(evaluated, who, "evaluating m on validation", advice);
    }

    #[test]
    fn only_outputs_with_a_meaning_are_a_dictionary() {
        let given = symbols(Some(&ctc("<s> a", 0))).unwrap();
        assert_eq!(given, "vocabulary = ['<s>', 'a']\nblank = 0".parse::<Options>().unwrap().into());
        assert_eq!(Head::numbered(3, 1), ctc("<0> <1> <2>", 1));
        assert_eq!(symbols(Some(&Head::numbered(3, 1))), None);
        assert_eq!(symbols(Some(&Head::Regression)).or_else(|| symbols(None)), None);
    }
}
