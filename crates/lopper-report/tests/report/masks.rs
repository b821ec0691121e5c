//! Matrices of transfers, and what is read from masks.

use crate::common::{caption, cell, close, draw, draw_with, number, rows};
use lopper_mask::{Layout, MaskOrigin, MaskSet, Sparsity};
use lopper_report::{ArtefactFiles, Artefacts, Cell, Summary};
use std::path::Path;
use std::sync::Arc;

/// Three tasks' masks on three tasks with two seeds, and a random mask. Off the diagonal 0.1 is lost, but for y → x with 0.3.
fn transfers() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (finetuning, share) in [("regular", 1.0), ("parp", 0.1)] {
        for seed in [1, 2] {
            for source in ["random", "x", "y", "z"] {
                for (task, top) in [("x", 0.5), ("y", 0.7), ("z", 0.9)] {
                    let loss = match (source, task) {
                        ("random", _) => 0.4,
                        ("y", "x") => 0.3,
                        _ if source == task => 0.0,
                        _ => 0.1,
                    };
                    // What a seed moves is the same within a column, so differences have no spread but this.
                    let own = 0.001 * seed as f64 * loss;
                    let axes = [("source", source.into()), ("task", task.into()), ("finetuning", finetuning.into())];
                    cells.push(cell(&axes, seed, top + 0.05 * seed as f64 - share * (loss + own)));
                }
            }
        }
    }
    cells
}

const MATRIX: &str =
    "kind = \"matrix\"\nrows = \"source\"\ncolumns = \"task\"\npanels = \"finetuning\"\nrelative = \"diagonal\"";

#[test]
fn a_matrix_is_relative_to_the_diagonal_of_its_column() {
    let figure = draw(&transfers(), MATRIX);
    let rows = rows(&figure.csv);
    let at = [("panel", "regular"), ("part", "cell"), ("source", "y"), ("task", "x")];
    assert!(close(number(&rows, "mean", &at), 0.5 + 0.075 - 0.3 * 1.0015));
    let expected = Summary::of(&[-0.3 * 1.001, -0.3 * 1.002]).unwrap();
    assert!(close(number(&rows, "difference_mean", &at), expected.mean));
    assert!(close(number(&rows, "difference_high", &at), expected.high()));
    let own = [("panel", "regular"), ("part", "cell"), ("source", "x"), ("task", "x")];
    assert_eq!(number(&rows, "difference_mean", &own), 0.0);
    assert!(figure.svg.contains(">-0.300<") && figure.svg.contains("y → x: "));
}

#[test]
fn averages_are_those_of_table_4() {
    let figure = draw(&transfers(), MATRIX);
    let rows = rows(&figure.csv);
    let off = [("panel", "regular"), ("part", "mean off the diagonal"), ("task", "x")];
    // The random mask is no task, and so no transfer.
    assert!(close(number(&rows, "mean", &off), 0.575 - 0.2 * 1.0015));
    assert!(close(number(&rows, "difference_mean", &off), -0.2 * 1.0015));
    let on = [("panel", "parp"), ("part", "diagonal"), ("task", "z")];
    assert!(close(number(&rows, "mean", &on), 0.975));
    let told = caption(&figure);
    assert!(told.contains("regular: on the diagonal 0.775 ± 0.318 (n = 2), off it 0.641 ± 0.317 (n = 2)"), "{told}");
    assert!(told.contains("the difference, -0.134 ± 0.001 (n = 2), is a loss."), "{told}");
    assert!(told.contains("Of 6 cells off it, 6 are worse and 0 better"), "{told}");
    assert!(
        told.contains(
            "parp minus regular, over all cells off the diagonal: the difference, +0.120 ± 0.001 (n = 2), is a gain."
        ),
        "{told}"
    );
}

/// Two tensors of two layers and one without.
fn layout() -> Arc<Layout> {
    let names = ["encoder.layer.0.query.weight", "encoder.layer.1.query.weight", "pooler.weight"];
    Arc::new(Layout::new(names.map(|name| (name.into(), vec![16, 8]))).unwrap())
}

/// Masks of tasks that differ in a few entries, and random ones, by the names of their cells.
fn mask(path: &Path) -> Result<MaskSet, String> {
    let name = path.display().to_string();
    if name.starts_with("rp") {
        return Ok(MaskSet::random(layout(), Sparsity::new(0.5).unwrap(), 7));
    }
    let (task, seed) = (name.as_bytes()[4], name.as_bytes()[name.len() - 1]);
    let moved = u64::from(task - b'w') + u64::from(seed - b'0');
    Ok(MaskSet::from_fn(layout(), |tensor, index| index >= moved && index < 64 + moved - 32 * u64::from(tensor == 1)))
}

fn masked() -> Vec<Cell> {
    let mut cells = Vec::new();
    for seed in [1, 2] {
        cells.push(cell(&[("method", "rp".into())], seed, 0.5));
        for task in ["x", "y", "z"] {
            let mut cell = cell(&[("method", "omp".into()), ("task", task.into())], seed, 0.5);
            cell.result.as_mut().unwrap().start_mask = Some("omp x 1".into());
            cells.push(cell);
        }
    }
    cells
}

const OVERLAP: &str = "kind = \"overlap\"\nwhere = { method = \"omp\" }\nreference = { method = \"rp\" }";

#[test]
fn overlaps_are_those_of_the_masks() {
    let open = |path: &str| mask(Path::new(path)).unwrap();
    for (measure, name) in [("iou", "IOU"), ("overlap", "overlap")] {
        let figure = draw_with(&masked(), &format!("{OVERLAP}\nmeasure = \"{measure}\""), &mask);
        let rows = rows(&figure.csv);
        assert_eq!(rows.len(), 9 + 3);
        let told = |a: &str, b: &str| {
            let seeds = ["1", "2"].map(|seed| {
                let compared = open(&a.replace('S', seed)).compare(&open(&b.replace('S', seed))).unwrap();
                if measure == "iou" { compared.iou } else { compared.overlap }
            });
            Summary::of(&seeds).unwrap().mean
        };
        let at = |row, column| [("task", row), ("other_task", column)];
        assert_eq!(number(&rows, "mean", &at("x", "z")), told("omp x S", "omp z S"));
        assert_eq!(number(&rows, "mean", &at("z", "x")), told("omp x S", "omp z S"));
        assert_eq!(number(&rows, "mean", &at("x", "x")), told("omp x S", "omp x S"));
        assert_eq!(number(&rows, "mean", &at("rp", "y")), told("rp S", "omp y S"));
        assert_eq!(number(&rows, "n", &at("rp", "y")), 2.0);
        let told = caption(&figure).replace("Overlap", "overlap");
        assert!(told.contains(&format!("With rp, {name} is ")), "{told}");
        assert!(told.contains(&format!("{name} between two different values of task is ")), "{told}");
    }
}

/// Groups of a configuration: the reference is in one of its own.
#[test]
fn a_reference_of_another_group_is_compared() {
    let grouped = |group: fn(&str) -> &'static str| {
        let mut cells = masked();
        for cell in &mut cells {
            let method = cell.axes["method"].to_string();
            cell.axes.insert("group".into(), group(&method).into());
        }
        draw_with(&cells, OVERLAP, &mask).csv
    };
    assert_eq!(grouped(|method| if method == "rp" { "reference" } else { "task" }), grouped(|_| "all"));
    let omp: Vec<_> = masked().into_iter().filter(|cell| cell.axes["method"].to_string() == "omp").collect();
    let told = caption(&draw_with(&omp, OVERLAP, &mask));
    assert!(told.contains("Left out: no finished cell of rp is like "), "{told}");
}

#[test]
fn masks_that_cannot_be_read_or_compared_are_told() {
    let broken = |path: &Path| match path.display().to_string().as_str() {
        "omp y 1" => Err("omp y 1 is cut short".to_owned()),
        "omp z 2" => {
            let other = Layout::new([("other.weight".into(), vec![4])]).unwrap();
            Ok(MaskSet::dense(Arc::new(other)))
        }
        _ => mask(path),
    };
    let figure = draw_with(&masked(), OVERLAP, &broken);
    let rows = rows(&figure.csv);
    assert_eq!(number(&rows, "n", &[("task", "x"), ("other_task", "y")]), 1.0);
    let told = caption(&figure);
    assert!(told.contains("Left out: omp y 1 is cut short.") && told.contains("omp x 2 and omp z 2: masks:"), "{told}");
}

#[test]
fn drift_is_the_iou_of_final_and_initial_mask() {
    let mut cells = masked();
    for cell in &mut cells {
        cell.axes.insert("sparsity".into(), 0.5.into());
    }
    let names = |path: &Path| mask(Path::new(&path.display().to_string().replace(" 0.5", "")));
    let figure = draw_with(&cells, "kind = \"drift\"\nlines = \"task\"\nwhere = { method = \"omp\" }", &names);
    let rows = rows(&figure.csv);
    let iou = |task: &str| {
        let start = mask(Path::new("omp x 1")).unwrap();
        let all =
            [1, 2].map(|seed| mask(Path::new(&format!("omp {task} {seed}"))).unwrap().compare(&start).unwrap().iou);
        Summary::of(&all).unwrap().mean
    };
    for task in ["x", "y", "z"] {
        assert_eq!(number(&rows, "mean", &[("task", task)]), iou(task));
    }
    assert!(caption(&figure).contains("The IOU of x is "), "{}", caption(&figure));
    let without = draw_with(&cells, "kind = \"drift\"\nwhere = { method = \"rp\" }", &names);
    assert!(caption(&without).contains("2 of 2 cells have no such value and are left out."), "{}", caption(&without));
}

#[test]
fn layers_have_the_sparsity_of_their_tensors() {
    let figure = draw_with(&masked(), "kind = \"layers\"\nwhere = { method = \"omp\", task = \"x\" }", &mask);
    let rows = rows(&figure.csv);
    let at = |layer, matrix| [("layer", layer), ("matrix", matrix)];
    assert_eq!(number(&rows, "mean", &at("layer 0", "query")), 0.5);
    assert_eq!(number(&rows, "mean", &at("layer 1", "query")), 0.75);
    assert_eq!(number(&rows, "mean", &at("no layer", "pooler")), 0.5);
    let told = caption(&figure);
    assert!(told.contains("to 0.750 ± 0.000 (n = 2) in layer 1, query."), "{told}");
}

#[test]
fn mask_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.safetensors");
    let own = mask(Path::new("omp x 1")).unwrap();
    std::fs::write(&path, own.to_file_bytes(&MaskOrigin::new()).unwrap()).unwrap();
    assert_eq!(ArtefactFiles.mask(&path).unwrap(), own);
    std::fs::write(&path, b"no mask").unwrap();
    assert!(ArtefactFiles.mask(&path).unwrap_err().contains("is no mask"));
    assert!(ArtefactFiles.mask(&folder.path().join("none")).unwrap_err().contains("cannot be read"));
}
