//! `lopper mask iou`: how much of what masks keep they share.

use super::given::{ForModel, MaskFile, read_all};
use crate::output::{self, count};
use lopper_core::{Comparison, Result};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Serialize)]
struct Pair {
    a: String,
    b: String,
    iou: f64,
    overlap: f64,
    agreement: f64,
    both: u64,
    only_a: u64,
    only_b: u64,
    entries: u64,
}

#[derive(Serialize)]
struct Matrix {
    masks: Vec<String>,
    iou: Vec<Vec<f64>>,
    overlap: Vec<Vec<f64>>,
    agreement: Vec<Vec<f64>>,
}

pub(super) fn iou(paths: &[PathBuf], of: &ForModel, json: bool) -> Result<()> {
    let files = read_all(paths, of)?;
    let name = |file: &MaskFile| file.path.display().to_string();
    if let [a, b] = files.as_slice() {
        let compared = a.mask.compare(&b.mask)?;
        let pair = Pair {
            a: name(a),
            b: name(b),
            iou: compared.iou,
            overlap: compared.overlap,
            agreement: compared.agreement,
            both: compared.both,
            only_a: compared.first_only,
            only_b: compared.second_only,
            entries: a.mask.layout().entries(),
        };
        return output::report(json, &pair, || {
            format!(
                "IOU        {:.9}  |a and b| / |a or b| over kept entries\n\
                 overlap    {:.9}  |a and b| / all {} entries\n\
                 agreement  {:.9}  kept by both or by neither / all entries",
                pair.iou,
                pair.overlap,
                count(pair.entries),
                pair.agreement
            )
        });
    }
    let compare = |a: &MaskFile| files.iter().map(|b| Ok(a.mask.compare(&b.mask)?)).collect::<Result<Vec<_>>>();
    let all = files.iter().map(compare).collect::<Result<Vec<_>>>()?;
    let matrix = |of: fn(&Comparison) -> f64| all.iter().map(|row| row.iter().map(of).collect()).collect();
    let matrix = Matrix {
        masks: files.iter().map(name).collect(),
        iou: matrix(|c| c.iou),
        overlap: matrix(|c| c.overlap),
        agreement: matrix(|c| c.agreement),
    };
    output::report(json, &matrix, || {
        let mut text = String::new();
        for (title, values) in [("IOU", &matrix.iou), ("overlap", &matrix.overlap), ("agreement", &matrix.agreement)] {
            let mut lines = vec![vec![format!("{title:<9}")]];
            lines[0].extend((1..=values.len()).map(|number| format!("{number:>8}")));
            for (number, row) in values.iter().enumerate() {
                lines.push(vec![format!("{:>9}", number + 1)]);
                lines[number + 1].extend(row.iter().map(|value| format!("{value:>8.6}")));
            }
            text += &lines.iter().map(|line| line.join("  ") + "\n").collect::<String>();
            text.push('\n');
        }
        for (number, name) in matrix.masks.iter().enumerate() {
            text += &format!("{:>3}  {name}\n", number + 1);
        }
        text
    })
}
