//! An invented experiment with everything in it that a page must cope with: every kind of figure, a 9 × 9 matrix, three seeds, cells that
//! failed, run and wait, a metric that is not defined, and names full of what HTML, SVG and CSV treat specially.

use lopper_mask::{HostSelector, Layout, MaskSet, Order, Request, Sparsity};
use lopper_report::{AxisValue, Cell, CellResult, Experiment, Figure, Metric, Problem, State};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A name that must not break anything.
pub(crate) const AWKWARD: &str = "parp <n=5> & \"zero\", 'x'";

const TASKS: [(&str, &str, f64); 9] = [
    ("cola", "matthews", 0.41),
    ("mrpc", "accuracy", 0.76),
    ("qnli", "accuracy", 0.89),
    ("qqp", "accuracy", 0.91),
    ("rte", "accuracy", 0.60),
    ("sst2", "accuracy", 0.906),
    ("stsb", "pearson", 0.868),
    ("wnli", "accuracy", 0.56),
    ("mnli", "accuracy", 0.829),
];
const METHODS: [(&str, f64, u64); 6] =
    [("rp", 3.2, 1), ("mpi", 1.25, 1), ("omp", 1.0, 2), ("imp", 0.8, 10), ("parp", 0.62, 1), (AWKWARD, 0.7, 1)];
const SEEDS: [u64; 3] = [57, 1, 2];

/// A number from -1 to 1 that looks random and depends on the text alone.
fn noise(text: &str) -> f64 {
    mixed(hash(text))
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of SplitMix64, from -1 to 1.
fn mixed(hash: u64) -> f64 {
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0
}

fn cell(
    axes: &[(&str, AxisValue)],
    seed: u64,
    value: f64,
    metric: &str,
    finetunings: u64,
    start: Option<PathBuf>,
) -> Cell {
    let axes: BTreeMap<String, AxisValue> = axes.iter().map(|(axis, value)| ((*axis).into(), value.clone())).collect();
    let text = |axis: &str| axes.get(axis).map(ToString::to_string).unwrap_or_default();
    let name: Vec<String> = axes.values().map(ToString::to_string).collect();
    let sparsity = axes.get("sparsity").and_then(AxisValue::number).unwrap_or(0.0);
    let entries = layout().entries();
    let pruned = (sparsity * entries as f64).round() as u64;
    let from = if text("source").is_empty() { text("task") } else { text("source") };
    let metrics = vec![
        Metric { split: "dev".into(), name: metric.into(), value, higher_is_better: true, primary: true },
        Metric {
            split: "dev".into(),
            name: "loss".into(),
            value: 1.0 - value,
            higher_is_better: false,
            primary: false,
        },
    ];
    Cell {
        name: format!("{} {seed}", name.join(" ")),
        seed,
        state: State::Done,
        result: Some(CellResult {
            method: text("method"),
            task: text("task"),
            metrics,
            sparsity: pruned as f64 / entries as f64,
            pruned,
            entries,
            finetunings,
            trained: finetunings.min(2),
            stages: (0..finetunings.min(2)).map(|round| format!("{} {seed} {round}", name.join(" "))).collect(),
            updates: 250 * finetunings,
            seconds: 31.25 * finetunings as f64,
            mask: PathBuf::from(format!("{}|{from}|{seed}|{sparsity}", text("method"))),
            predictions: BTreeMap::new(),
            start_mask: start,
        }),
        axes,
    }
}

/// Methods over sparsities on two tasks, with the dense model.
fn curves() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (task, metric, top) in [TASKS[1], TASKS[4]] {
        for seed in SEEDS {
            let shared = 0.012 * noise(&format!("{task}{seed}"));
            let axes = [("study", "methods".into()), ("method", "dense".into()), ("task", task.into())];
            cells.push(cell(&axes, seed, top + shared, metric, 1, None));
            for (method, loss, finetunings) in METHODS {
                for tenth in 1..10 {
                    let s = f64::from(tenth) / 10.0;
                    let own = 0.006 * noise(&format!("{task}{seed}{method}{s}"));
                    let value = top + shared + own + 0.006 * s - 0.16 * loss * s.powi(4);
                    let start = Some(PathBuf::from(format!("mpi|{task}|{seed}|{s}")));
                    let axes = [
                        ("study", "methods".into()),
                        ("method", method.into()),
                        ("task", task.into()),
                        ("sparsity", s.into()),
                    ];
                    cells.push(cell(&axes, seed, value, metric, finetunings, start));
                }
            }
        }
    }
    cells
}

/// Every task's mask on every task, finetuned as a subnetwork and with PARP, and random masks.
fn transfers() -> Vec<Cell> {
    let mut cells = Vec::new();
    let sources = TASKS.iter().map(|(task, ..)| *task).chain(["random mask"]);
    for (finetuning, share) in [("regular", 1.0), ("parp", 0.18)] {
        for source in sources.clone() {
            for (task, metric, top) in TASKS {
                let fragile = if metric == "accuracy" { 0.03 } else { 0.11 };
                let distance = 0.5 + 0.5 * noise(&format!("{source}{task}"));
                let loss = match source {
                    _ if source == task => 0.0,
                    "random mask" => 3.0 * fragile,
                    _ => fragile * (0.35 + distance),
                };
                for seed in SEEDS {
                    let own = 0.007 * noise(&format!("{finetuning}{source}{task}{seed}"));
                    let value = top + 0.01 * noise(&format!("{task}{seed}")) + own - share * loss;
                    let axes = [
                        ("study", "transfer".into()),
                        ("method", "imp".into()),
                        ("finetuning", finetuning.into()),
                        ("source", source.into()),
                        ("task", task.into()),
                        ("sparsity", 0.7.into()),
                    ];
                    cells.push(cell(&axes, seed, value, metric, 10, None));
                }
            }
        }
    }
    cells
}

/// What `[[figure]]` tables say.
pub(crate) const FIGURES: &str = r#"
[[figure]]
name = "curves"
title = "Accuracy over sparsity, a panel a task"
paper = "PARP and PARP-P reach 60 to 80 % sparsity with minimal degradation to the full models (Figure 3)."
kind = "curve"
panels = "task"
where = { study = "methods" }
dense = { method = "dense" }

[[figure]]
name = "curve-band"
title = "MRPC alone, with bands"
kind = "curve"
where = { study = "methods", task = "mrpc", method = ["omp", "imp", "parp"] }
dense = { method = "dense" }
interval = "band"

[[figure]]
name = "transfer"
title = "Transfer of IMP masks at 70 %, relative to the same task"
paper = "PARP transfers better than regular finetuning, most of all to CoLA and STS-B (Table 4, Figure 29)."
kind = "matrix"
rows = "source"
columns = "task"
panels = "finetuning"
relative = "diagonal"

[[figure]]
name = "transfer-absolute"
title = "The same in absolute values"
kind = "matrix"
rows = "source"
columns = "task"
where = { finetuning = "parp" }

[[figure]]
name = "overlap"
title = "IOU of all tasks' IMP masks at 70 %"
paper = "The masks of all nine tasks overlap by more than 98 % (Figure 30)."
kind = "overlap"
where = { study = "transfer", finetuning = "regular", source = ["cola", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli", "mnli"] }
over = "source"
reference = [{ study = "methods", method = "mpi" }, { study = "methods", method = "rp" }]

[[figure]]
name = "drift"
title = "Final against initial mask"
paper = "PARP's final and initial subnetwork exceed 99.99 % IOU after 20 % sparsity (Figure 5)."
kind = "drift"
where = { study = "methods", task = "mrpc", method = ["parp", "omp", "imp"] }

[[figure]]
name = "layers"
title = "Sparsity per layer and matrix"
kind = "layers"
where = { study = "methods", sparsity = 0.7, task = "mrpc", method = ["omp"] }

[[figure]]
name = "cost"
title = "What a subnetwork costs"
paper = "IMP needs many times the finetunings of PARP (Figure 1)."
kind = "cost"
where = { study = "methods", sparsity = 0.7 }
panels = "task"

[[figure]]
name = "scores"
title = "Scores at 80 %"
kind = "table"
where = { sparsity = 0.8, method = ["rp", "mpi", "omp", "imp", "parp"] }

[[figure]]
name = "against-omp"
title = "Methods against OMP at 80 %"
kind = "compare"
baseline = "omp"
panels = "task"
where = { study = "methods", sparsity = 0.8 }
"#;

/// The experiment, with some cells that did not end well.
pub(crate) fn experiment() -> Result<Experiment, Vec<Problem>> {
    let mut cells = curves();
    cells.extend(transfers());
    let mut states = [
        (40, State::Failed("loss is not finite at update 120: <NaN> & \"inf\"".into())),
        (61, State::Failed("a failure of two lines:\n  the second".into())),
        (100, State::Running),
        (101, State::Waiting),
    ];
    for (place, state) in &mut states {
        cells[*place].state = state.clone();
        cells[*place].result = None;
    }
    if let Some(result) = &mut cells[200].result {
        result.metrics[0].value = f64::NAN;
    }
    let tables: toml::Table = FIGURES.parse().expect("the figures above are TOML");
    let tables: Vec<toml::Table> =
        tables["figure"].as_array().into_iter().flatten().filter_map(|figure| figure.as_table().cloned()).collect();
    let figures = Figure::parse(&tables, &["study".into(), "source".into(), "finetuning".into()])?;
    Ok(Experiment {
        title: "Six methods & transfer on GLUE <invented numbers>".into(),
        cells,
        figures,
        configuration: format!("[model]\nname = \"bert-base-uncased\" # <&>\n\n[prune]\nevery = 5\n{FIGURES}"),
        provenance: [
            ("Lopper", "0.1.0"),
            ("libtorch", "2.11.0"),
            ("CPU", "2 × AMD EPYC <virtual> & shared"),
            ("threads", "2"),
            ("system", "Debian 12, x86-64"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec(),
    })
}

/// Six layers of six small matrices, and a pooler.
fn layout() -> Arc<Layout> {
    let kinds = [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ];
    let layers =
        (0..6).flat_map(|layer| kinds.map(|kind| (format!("encoder.layer.{layer}.{kind}.weight"), vec![24, 24])));
    let named = layers.chain([("pooler.dense.weight".to_owned(), vec![24, 24])]);
    let named = named.map(|(name, shape)| (name.as_str().into(), shape));
    Arc::new(Layout::new(named).expect("names and shapes are those above"))
}

/// The mask of a path `method|task|seed|sparsity`: of magnitudes that all tasks share but for a little, or random.
pub(crate) fn mask(path: &Path) -> Result<MaskSet, String> {
    let text = path.display().to_string();
    let parts: Vec<&str> = text.split('|').collect();
    let [method, task, seed, sparsity] = parts[..] else { return Err(format!("{text} is no path of this sample")) };
    let sparsity: f64 = sparsity.parse().map_err(|error| format!("{text}: {error}"))?;
    let target = Sparsity::new(sparsity).map_err(|error| error.to_string())?;
    let layout = layout();
    let seed: u64 = seed.parse().map_err(|error| format!("{text}: {error}"))?;
    if method == "rp" || task == "random mask" {
        return Ok(MaskSet::random(layout, target, seed ^ task.len() as u64));
    }
    let moved = match method {
        "mpi" => 0.0,
        "imp" => 0.02,
        "omp" => 0.03,
        _ => 0.0006,
    };
    let tensors = layout.tensors().iter().enumerate().map(|(place, tensor)| {
        let size = 0.6 + 0.5 * ((place * 7) % 11) as f64 / 11.0;
        let (shared, own) = (hash(&place.to_string()), hash(&format!("{method}{task}{seed}/{place}")));
        let weights = (0..tensor.entries()).map(|index| {
            let noise = |of: u64| mixed(of.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            (size * noise(shared) + moved * noise(own)) as f32
        });
        weights.collect::<Vec<f32>>()
    });
    let tensors: Vec<Vec<f32>> = tensors.collect();
    let slices: Vec<&[f32]> = tensors.iter().map(Vec::as_slice).collect();
    let mut mask = MaskSet::dense(layout);
    let request = Request::global(target);
    HostSelector::new().select_as(&slices, Order::Magnitude, &mut mask, &request).map_err(|error| error.to_string())?;
    Ok(mask)
}
