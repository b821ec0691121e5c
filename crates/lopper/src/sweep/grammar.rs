//! `[sweep]` as it is written: axes, groups of cells, what is left out.

use super::values::{same, text};
use crate::config::{GeneralOptions, TABLES};
use lopper_core::{Error, nearest};
use std::collections::BTreeSet;
use toml::{Table, Value};

/// Seeds of a sweep that gives none: a result of one seed says little.
const SEEDS: [i64; 3] = [57, 1, 2];
/// Most values of one axis: a step that is far too small is a mistake.
const MOST_VALUES: usize = 10_000;
/// What a table of values may hold.
const AXIS_KEYS: [&str; 6] = ["key", "keys", "values", "from", "to", "step"];

/// One `key = value` of a configuration, the key a dotted path.
pub(super) type Assignment = (String, Value);

/// One value of an axis, and what it sets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) value: Value,
    pub(super) sets: Vec<Assignment>,
}

/// What varies from cell to cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) name: String,
    pub(super) points: Vec<Point>,
}

/// Cells of like kind: the product of its axes and the sweep's.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Group {
    pub(super) name: Option<String>,
    pub(super) sets: Vec<Assignment>,
    pub(super) axes: Vec<Axis>,
}

/// Values of axes by which cells are left out: of those cells that have one of the values on every axis.
pub(super) type Exclusion = Vec<(String, Vec<Value>)>;

/// All of `[sweep]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Grammar {
    /// The seeds first, which every cell has.
    pub(super) axes: Vec<Axis>,
    pub(super) groups: Vec<Group>,
    pub(super) exclusions: Vec<Exclusion>,
    pub(super) options: SweepOptions,
}

lopper_core::options! {
    /// Keys of `[sweep]` that say how it is run.
    pub struct SweepOptions {
        /// Processes that train cells at the same time, each with its share of the machine's threads.
        workers: u64 = 1,
        /// Devices of this machine to train on, one worker each, in place of `workers`: cpu, cuda or cuda:N, all of one kind.
        devices: Vec<String> = Vec::new(),
        /// How often a cell that failed is tried again.
        retries: u64 = 1,
    }
}

/// Keys of `[sweep]` that say which cells there are.
const CELL_KEYS: [&str; 4] = ["seeds", "over", "group", "exclude"];

/// Devices that are none, of several kinds, or beside a number of workers.
fn check_devices(options: &SweepOptions, has_workers: bool, problems: &mut Vec<Error>) {
    const KEY: &str = "[sweep] devices";
    let SweepOptions { devices, .. } = options;
    let mut on_gpus = BTreeSet::new();
    for name in devices {
        match lopper_torch::gpu_named(name) {
            Ok(gpu) if name != "auto" => drop(on_gpus.insert(gpu.is_some())),
            Ok(_) | Err(_) => {
                problems.push(Error::invalid(KEY, format!("{name:?}"), "cpu, cuda, or cuda:N for GPU number N"))
            }
        }
    }
    if on_gpus.len() > 1 {
        let expected = "devices of one kind: results depend on it, and any worker may train any cell";
        problems.push(Error::invalid(KEY, devices.join(", "), expected));
    }
    if devices.len() > 256 {
        problems.push(Error::invalid(
            KEY,
            format!("a list of {}", devices.len()),
            "up to 256 devices, one process each",
        ));
    }
    if has_workers && !devices.is_empty() {
        problems.push(Error::invalid("[sweep] workers", options.workers, "either workers or devices, one worker each"));
    }
}

impl Grammar {
    /// Reads `[sweep]`; what is wrong goes to `problems`.
    pub(super) fn read(table: &Table, problems: &mut Vec<Error>) -> Self {
        let mut options = table.clone();
        options.retain(|key, _| !CELL_KEYS.contains(&key));
        let known: Vec<&str> = SweepOptions::DOCS.iter().map(|doc| doc.name).chain(CELL_KEYS).collect();
        options.retain(|key, _| known_or_refused(key, "[sweep]", &known, problems));
        let options = lopper_core::parse_leniently(&options, SweepOptions::parse, "[sweep]", problems);
        crate::problems::check(
            problems,
            (1..=256).contains(&options.workers),
            "[sweep] workers",
            options.workers,
            || "from 1 to 256 processes".into(),
        );
        check_devices(&options, table.contains_key("workers"), problems);
        let mut axes = vec![seeds(table.get("seeds"), problems)];
        axes.extend(over(table.get("over"), "[sweep] over", problems));
        let groups = match table.get("group") {
            None => vec![Group::default()],
            Some(Value::Array(groups)) if !groups.is_empty() => {
                groups.iter().enumerate().filter_map(|(index, group)| Group::read(group, index, problems)).collect()
            }
            Some(other) => {
                problems.push(Error::invalid("[sweep] group", other, "tables, [[sweep.group]], one or more"));
                Vec::new()
            }
        };
        for (index, group) in groups.iter().enumerate() {
            if group.name.is_some() && groups[..index].iter().any(|before| before.name == group.name) {
                let name = group.name.as_deref().unwrap_or_default();
                problems.push(Error::invalid("[[sweep.group]] name", name, "a name that no other group has"));
            }
            let all = || axes.iter().chain(&group.axes);
            for (index, axis) in all().enumerate() {
                if all().take(index).any(|before| before.name == axis.name) {
                    let place = group.name.as_ref().map(|name| format!(" of group {name}")).unwrap_or_default();
                    problems.push(Error::invalid("[sweep] over", &axis.name, format!("one axis of that name{place}")));
                }
            }
        }
        let exclusions = exclusions(table.get("exclude"), problems);
        Self { axes, groups, exclusions, options }
    }

    /// The axis, or the group, that sets a key in some cells.
    pub(super) fn sets(&self, key: &str) -> Option<&str> {
        let sets = |sets: &[Assignment]| sets.iter().any(|(set, _)| set == key);
        let axes = self.axes.iter().chain(self.groups.iter().flat_map(|group| &group.axes));
        let mut axes = axes.filter(|axis| axis.points.iter().any(|point| sets(&point.sets)));
        let mut groups = self.groups.iter().filter(|group| sets(&group.sets));
        axes.next()
            .map(|axis| axis.name.as_str())
            .or_else(|| groups.next().map(|group| group.name.as_deref().unwrap_or("set")))
    }
}

/// Whether a key is known; if not, it is refused with the nearest one.
fn known_or_refused(key: &str, context: &str, known: &[&str], problems: &mut Vec<Error>) -> bool {
    let is_known = known.contains(&key);
    if !is_known {
        problems.push(Error::UnknownKey {
            context: context.to_owned(),
            key: key.to_owned(),
            nearest: nearest(key, known.iter().copied()),
            known: known.iter().map(|k| (*k).to_owned()).collect(),
        });
    }
    is_known
}

fn seeds(given: Option<&Value>, problems: &mut Vec<Error>) -> Axis {
    let seeds: Vec<Value> = match given {
        None => SEEDS.map(Value::from).to_vec(),
        Some(Value::Array(seeds)) if !seeds.is_empty() && seeds.iter().all(|seed| seed.as_integer() >= Some(0)) => {
            seeds.clone()
        }
        Some(other) => {
            problems.push(Error::invalid("[sweep] seeds", other, "a list of numbers from 0 up, such as [57, 1, 2]"));
            Vec::new()
        }
    };
    Axis::of_key("seed".into(), "seed", seeds, "[sweep] seeds", problems)
}

impl Axis {
    /// An axis of which every value is put under `key`.
    fn of_key(name: String, key: &str, values: Vec<Value>, context: &str, problems: &mut Vec<Error>) -> Self {
        let point = |value: Value| Point { sets: vec![(key.to_owned(), value.clone())], value };
        Self { name, points: values.into_iter().map(point).collect() }.without_repetitions(context, problems)
    }

    /// Refuses values that stand there twice.
    fn without_repetitions(self, context: &str, problems: &mut Vec<Error>) -> Self {
        for (index, point) in self.points.iter().enumerate() {
            if self.points[..index].iter().any(|before| same(&before.value, &point.value)) {
                problems.push(Error::invalid(context, text(&point.value), "every value once"));
            }
        }
        self
    }
}

/// The axes of `over`.
fn over(given: Option<&Value>, context: &str, problems: &mut Vec<Error>) -> Vec<Axis> {
    match given {
        None => Vec::new(),
        Some(Value::Table(table)) => {
            table.iter().flat_map(|(key, value)| axes_of(key, value, context, problems)).collect()
        }
        Some(other) => {
            problems.push(Error::invalid(
                context,
                other,
                "a table of axes, such as over.\"data.task\" = [\"cola\", \"rte\"]",
            ));
            Vec::new()
        }
    }
}

/// The axis that stands under a key, or those of a section such as `prune`, whose keys may be written without quotes.
fn axes_of(key: &str, value: &Value, context: &str, problems: &mut Vec<Error>) -> Vec<Axis> {
    let at = format!("{context}.{key}");
    let is_section = TABLES.iter().any(|(name, _)| *name == key);
    match value {
        Value::Table(section) if is_section => section
            .iter()
            .filter_map(|(last, value)| axis(&format!("{key}.{last}"), value, &format!("{at}.{last}"), problems))
            .collect(),
        value => axis(key, value, &at, problems).into_iter().collect(),
    }
}

/// One axis; `key` is its name, and the key that it sets unless it says otherwise.
fn axis(key: &str, value: &Value, at: &str, problems: &mut Vec<Error>) -> Option<Axis> {
    let name = || key.rsplit('.').next().unwrap_or(key).to_owned();
    match value {
        Value::Array(values) => {
            let values = listed(values, at, problems)?;
            if !is_key(key) {
                let expected = format!(
                    "a key of the configuration, such as \"prune.sparsity\" = […]; for an axis of another name \
                     {key} = {{ key = \"prune.sparsity\", values = […] }}"
                );
                problems.push(Error::invalid(at, "[…]", expected));
                return None;
            }
            Some(Axis::of_key(name(), key, values, at, problems))
        }
        Value::Table(table) if table.keys().any(|key| AXIS_KEYS.contains(&key.as_str())) => {
            described(key, name(), table, at, problems)
        }
        Value::Table(points) if are_points(points) => {
            let point = |(name, sets): (&String, &Value)| Point {
                value: Value::String(name.clone()),
                sets: sets.as_table().map(assignments).unwrap_or_default(),
            };
            Some(Axis { name: name(), points: points.iter().map(point).collect() })
        }
        other => {
            let expected = "a list of values, a range { from = 0.1, to = 0.9, step = 0.1 }, or named points such as \
                            { omp = { prune.method = \"omp\" } }";
            problems.push(Error::invalid(at, other, expected));
            None
        }
    }
}

/// Whether every value is a table of keys to set; a range or a list of values is none, and stands under a section that there
/// is not.
fn are_points(points: &Table) -> bool {
    let sets =
        |value: &Value| value.as_table().is_some_and(|sets| !sets.keys().any(|key| AXIS_KEYS.contains(&key.as_str())));
    !points.is_empty() && points.values().all(sets)
}

/// Whether an axis of this name can set the key of the same name.
fn is_key(name: &str) -> bool {
    name.contains('.') || GeneralOptions::DOCS.iter().any(|doc| doc.name == name)
}

/// The values of a list.
fn listed(values: &[Value], at: &str, problems: &mut Vec<Error>) -> Option<Vec<Value>> {
    if values.is_empty() {
        problems.push(Error::invalid(at, "[]", "one value or more"));
        return None;
    }
    Some(values.to_vec())
}

/// An axis that says which key, or which keys together, its values or its range set.
fn described(key: &str, name: String, table: &Table, at: &str, problems: &mut Vec<Error>) -> Option<Axis> {
    for key in table.keys() {
        known_or_refused(key, at, &AXIS_KEYS, problems);
    }
    let before = problems.len();
    let wrong = |key: &str, expected: &str, problems: &mut Vec<Error>| {
        let value = table.get(key).map_or("(not given)".into(), Value::to_string);
        problems.push(Error::invalid(format!("{at}.{key}"), value, expected));
    };
    let is_range = ["from", "to", "step"].iter().any(|key| table.contains_key(*key));
    let values = match table.get("values") {
        Some(_) if is_range => {
            wrong("values", "either values or from, to and step", problems);
            return None;
        }
        Some(Value::Array(values)) => listed(values, at, problems)?,
        Some(_) => {
            wrong("values", "a list of values", problems);
            return None;
        }
        None => range(table, at, problems)?,
    };
    let axis = match (table.get("key"), table.get("keys")) {
        (Some(_), Some(_)) => {
            wrong("keys", "either key or keys", problems);
            return None;
        }
        (None, None) if is_key(key) => Axis::of_key(name, key, values, at, problems),
        // A label: for other cells to be named by.
        (None, None) => {
            let points = values.into_iter().map(|value| Point { value, sets: Vec::new() }).collect();
            Axis { name, points }.without_repetitions(at, problems)
        }
        (Some(Value::String(key)), None) => Axis::of_key(name, key, values, at, problems),
        (None, Some(Value::Array(keys))) if !keys.is_empty() && keys.iter().all(Value::is_str) => {
            let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
            let points = values.iter().filter_map(|value| zipped(&keys, value, at, problems)).collect();
            Axis { name, points }.without_repetitions(at, problems)
        }
        (Some(_), None) => {
            wrong("key", "a key of the configuration, such as \"prune.sparsity\"", problems);
            return None;
        }
        (None, Some(_)) => {
            wrong("keys", "a list of keys of the configuration", problems);
            return None;
        }
    };
    (problems.len() == before).then_some(axis)
}

/// One value for each key; the first one is the axis's.
fn zipped(keys: &[&str], value: &Value, at: &str, problems: &mut Vec<Error>) -> Option<Point> {
    match value.as_array() {
        Some(values) if values.len() == keys.len() => Some(Point {
            value: values[0].clone(),
            sets: keys.iter().map(|key| (*key).to_owned()).zip(values.iter().cloned()).collect(),
        }),
        _ => {
            let expected = format!("lists of {} values, one for each of {}", keys.len(), keys.join(", "));
            problems.push(Error::invalid(format!("{at}.values"), value, expected));
            None
        }
    }
}

/// The numbers from `from` to `to`, both among them.
fn range(table: &Table, at: &str, problems: &mut Vec<Error>) -> Option<Vec<Value>> {
    let mut number = |key: &str| {
        let value = table.get(key);
        let number = value.and_then(|value| value.as_float().or_else(|| value.as_integer().map(|n| n as f64)));
        if number.is_none_or(|number| !number.is_finite()) {
            let value = value.map_or("(not given)".into(), Value::to_string);
            problems.push(Error::invalid(format!("{at}.{key}"), value, "a number: a range has from, to and step"));
        }
        number
    };
    let (from, to, step) = (number("from"), number("to"), number("step"));
    let (from, to, step) = (from?, to?, step?);
    // Nine decimals, so that 0.1 + 0.1 + 0.1 is the 0.3 that a list would say.
    let steps = ((to - from) / step + 1e-9).floor();
    if !(step != 0.0 && (0.0..MOST_VALUES as f64).contains(&steps)) {
        let expected = format!("a step that leads from {from} to {to} in fewer than {MOST_VALUES} values");
        problems.push(Error::invalid(format!("{at}.step"), step, expected));
        return None;
    }
    let whole = ["from", "to", "step"].iter().all(|key| table.get(*key).is_some_and(Value::is_integer));
    let value = |index: u64| ((from + index as f64 * step) * 1e9).round() / 1e9;
    let typed = |value: f64| if whole { Value::Integer(value as i64) } else { Value::Float(value) };
    Some((0..=steps as u64).map(|index| typed(value(index))).collect())
}

impl Group {
    fn read(value: &Value, index: usize, problems: &mut Vec<Error>) -> Option<Self> {
        let Value::Table(table) = value else {
            problems.push(Error::invalid("[sweep] group", value, "tables, [[sweep.group]]"));
            return None;
        };
        let context = format!("[[sweep.group]] {}", index + 1);
        for key in table.keys() {
            known_or_refused(key, &context, &["name", "over", "set"], problems);
        }
        let name = match table.get("name") {
            Some(Value::String(name)) if !name.is_empty() => Some(name.clone()),
            None => None,
            Some(other) => {
                problems.push(Error::invalid(format!("{context} name"), other, "a text"));
                None
            }
        };
        let sets = match table.get("set") {
            None => Vec::new(),
            Some(Value::Table(sets)) => assignments(sets),
            Some(other) => {
                let expected = "a table of keys of the configuration, such as { prune.method = \"omp\" }";
                problems.push(Error::invalid(format!("{context} set"), other, expected));
                Vec::new()
            }
        };
        let axes = over(table.get("over"), &format!("{context} over"), problems);
        Some(Self { name, sets, axes })
    }
}

/// The keys of a table, those of sections dotted.
fn assignments(table: &Table) -> Vec<Assignment> {
    let mut all = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(section) if TABLES.iter().any(|(name, _)| name == key) => {
                all.extend(section.iter().map(|(last, value)| (format!("{key}.{last}"), value.clone())));
            }
            value => all.push((key.clone(), value.clone())),
        }
    }
    all
}

fn exclusions(given: Option<&Value>, problems: &mut Vec<Error>) -> Vec<Exclusion> {
    let expected = "a list of tables of axes, such as [{ task = \"wnli\", method = [\"imp\", \"omp\"] }]";
    let listed = match given {
        None => return Vec::new(),
        Some(Value::Array(listed)) => listed,
        Some(other) => {
            problems.push(Error::invalid("[sweep] exclude", other, expected));
            return Vec::new();
        }
    };
    let mut all = Vec::new();
    for exclusion in listed {
        match exclusion {
            Value::Table(axes) if !axes.is_empty() => {
                let values = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                all.push(axes.iter().map(|(axis, value)| (axis.clone(), values(value))).collect());
            }
            other => problems.push(Error::invalid("[sweep] exclude", other, expected)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Grammar, Vec<String>) {
        let mut problems = Vec::new();
        let grammar = Grammar::read(&text.parse().unwrap(), &mut problems);
        (grammar, problems.iter().map(ToString::to_string).collect())
    }

    fn values(axis: &Axis) -> Vec<String> {
        axis.points.iter().map(|point| text(&point.value)).collect()
    }

    #[test]
    fn axes_are_lists_ranges_zips_labels_and_points() {
        let (grammar, problems) = read(
            "[over]\n\"data.task\" = ['cola', 'rte']\nprune.sparsity = { from = 0.1, to = 0.9, step = 0.1 }\n\
             n = { key = 'prune.every', from = 1, to = 5, step = 2 }\nsource = { values = ['a'] }\n\
             split = { keys = ['data.train', 'data.validation'], values = [['a', 'b'], ['c', 'd']] }\n\
             method = { omp = { prune.method = 'omp' }, p = { \"prune.method\" = 'parp', train.updates = 3 } }\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let axis = |name: &str| grammar.axes.iter().find(|axis| axis.name == name).unwrap();
        assert_eq!(values(axis("seed")), ["57", "1", "2"], "three seeds, unless others are given");
        assert_eq!(values(axis("sparsity")), ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]);
        assert_eq!(values(axis("n")), ["1", "3", "5"]);
        assert_eq!(axis("n").points[1].sets, [("prune.every".to_owned(), Value::Integer(3))]);
        assert!(axis("source").points[0].sets.is_empty());
        assert_eq!(values(axis("split")), ["a", "c"]);
        assert_eq!(axis("split").points[1].sets[1], ("data.validation".to_owned(), Value::from("d")));
        let method = &axis("method").points;
        assert_eq!(method[0].sets, [("prune.method".to_owned(), Value::from("omp"))]);
        assert_eq!((&method[1].sets[0].0, &method[1].sets[1].0), (&"prune.method".into(), &"train.updates".into()));
        assert_eq!(values(axis("task")), ["cola", "rte"]);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let (_, problems) = read(
            "seeds = []\nworker = 2\nretries = -1\n[over]\n\"prune.x\" = []\ny = 3\nlabel = ['a']\n\"prune.sparsity\" = { from = 0.1, to = 0.9 }\n\
             z = { key = 'prune.every', from = 1, to = 5, step = -1 }\nw = { keys = ['a.b', 'c.d'], values = [1] }\n\
             twice = { key = 'prune.every', values = [1, 1.0] }\n[[group]]\nname = 3\nsets = {}\n",
        );
        let all = problems.join("\n");
        for part in [
            "[sweep] seeds = []",
            "did you mean `workers`",
            "retries",
            "over.prune.x = []",
            "over.y = 3",
            "over.label = […]",
            "over.prune.sparsity.step = (not given)",
            "over.z.step = -1",
            "over.w.values = 1",
            "over.twice = 1",
            "[[sweep.group]] 1 name = 3",
            "did you mean `set`",
        ] {
            assert!(all.contains(part), "{part} is missing of\n{all}");
        }
    }
}
