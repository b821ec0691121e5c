//! Small experiments for the tests.

use lopper_report::{AxisValue, Cell, CellResult, Experiment, Figure, Metric, Rendered, State};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A finished cell of these axes whose accuracy is `value`; its mask's path is its name.
pub(crate) fn cell(axes: &[(&str, AxisValue)], seed: u64, value: f64) -> Cell {
    let axes: BTreeMap<String, AxisValue> = axes.iter().map(|(axis, value)| ((*axis).into(), value.clone())).collect();
    let text = |axis: &str| axes.get(axis).map(ToString::to_string).unwrap_or_default();
    let names: Vec<String> = axes.values().map(ToString::to_string).collect();
    let name = format!("{} {seed}", names.join(" "));
    let metric = |name: &str, value, primary| Metric {
        split: "dev".into(),
        name: name.into(),
        value,
        higher_is_better: name != "wer",
        primary,
    };
    Cell {
        seed,
        state: State::Done,
        result: Some(CellResult {
            method: text("method"),
            task: text("task"),
            metrics: vec![metric("wer", 1.0 - value, false), metric("accuracy", value, true)],
            sparsity: 0.5,
            pruned: 5,
            entries: 10,
            finetunings: 1 + 9 * u64::from(text("method") == "imp"),
            trained: 1,
            stages: vec!["dense".into(), name.clone()],
            updates: 100,
            seconds: 1.5,
            mask: PathBuf::from(&name),
            predictions: BTreeMap::new(),
            start_mask: None,
        }),
        name,
        axes,
    }
}

/// A cell that is in this state and has no result.
pub(crate) fn unfinished(axes: &[(&str, AxisValue)], seed: u64, state: State) -> Cell {
    Cell { state, result: None, ..cell(axes, seed, 0.0) }
}

/// The figures of some TOML, over these axes.
pub(crate) fn figures(text: &str, axes: &[&str]) -> Vec<Figure> {
    let axes: Vec<String> = axes.iter().map(|axis| (*axis).to_owned()).collect();
    Figure::parse(&tables(text), &axes).unwrap()
}

/// The `[[figure]]` tables of some TOML.
pub(crate) fn tables(text: &str) -> Vec<toml::Table> {
    let table: toml::Table = text.parse().unwrap();
    table["figure"].as_array().unwrap().iter().map(|figure| figure.as_table().unwrap().clone()).collect()
}

/// One figure of these cells; `keys` are those besides its name.
pub(crate) fn draw(cells: &[Cell], keys: &str) -> Rendered {
    draw_with(cells, keys, &|path: &Path| Err(format!("{} is not there", path.display())))
}

/// The same with masks.
pub(crate) fn draw_with(cells: &[Cell], keys: &str, masks: &dyn lopper_report::Artefacts) -> Rendered {
    let axes: std::collections::BTreeSet<&str> =
        cells.iter().flat_map(|cell| cell.axes.keys().map(String::as_str)).collect();
    let figures = figures(&format!("[[figure]]\nname = \"figure\"\n{keys}"), &Vec::from_iter(axes));
    let experiment = Experiment { cells: cells.to_vec(), figures, ..Experiment::default() };
    lopper_report::render(&experiment, masks).remove(0)
}

/// Rows of some CSV by the header's names.
pub(crate) fn rows(csv: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    reader.deserialize().collect::<Result<_, _>>().unwrap()
}

/// The number in a column of the first row that has these values.
pub(crate) fn number(rows: &[BTreeMap<String, String>], column: &str, wanted: &[(&str, &str)]) -> f64 {
    let fits = |row: &&BTreeMap<String, String>| wanted.iter().all(|(name, value)| row[*name] == *value);
    let row = rows.iter().find(fits).unwrap_or_else(|| panic!("no row with {wanted:?} in {rows:?}"));
    row[column].parse().unwrap_or_else(|_| panic!("{column} of {row:?}"))
}

/// Whether two numbers are the same but for rounding.
pub(crate) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0)
}

/// All sentences of a caption.
pub(crate) fn caption(figure: &Rendered) -> String {
    // Written with spaces at which no line breaks.
    figure.caption.to_string().replace('\u{a0}', " ")
}
