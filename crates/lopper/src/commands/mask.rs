//! `lopper mask`: what a mask keeps, and what two masks share.

use crate::output::{self, Table, count};
use lopper_core::{Comparison, Error, MaskOrigin, MaskSet, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The command's arguments. A mask is a mask file, or a directory that holds a mask.safetensors.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Exact counts, over all and for each tensor, and where the mask came from
    Info {
        /// Mask file, or a directory with a mask.safetensors
        mask: PathBuf,
    },
    /// Intersection over union of what masks keep (1: equal), overlap and agreement; for more than two, of every pair
    Iou {
        /// Mask files, or directories with a mask.safetensors
        #[arg(required = true, num_args = 2..)]
        masks: Vec<PathBuf>,
    },
    /// Entries that only one of two masks keeps, for each tensor
    Diff {
        /// Mask file, or a directory with a mask.safetensors
        a: PathBuf,
        /// Another
        b: PathBuf,
    },
}

impl Command {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        match self {
            Self::Info { mask } => info(mask, json),
            Self::Iou { masks } => iou(masks, json),
            Self::Diff { a, b } => diff(a, b, json),
        }
    }
}

struct MaskFile {
    path: PathBuf,
    mask: MaskSet,
    origin: MaskOrigin,
}

fn read(path: &Path) -> Result<MaskFile> {
    let inside = ["mask.safetensors", "model/mask.safetensors"].map(|name| path.join(name));
    let file = match path.is_dir() {
        true => inside.into_iter().find(|file| file.is_file()).ok_or_else(|| {
            Error::file(
                path,
                "holds no mask.safetensors, nor does its model/; a mask file or such a directory was expected",
            )
        })?,
        false => path.to_owned(),
    };
    let bytes = std::fs::read(&file).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::file(&file, "does not exist; a mask file was expected"),
        _ => Error::file(&file, format!("cannot be read: {e}")),
    })?;
    match MaskSet::from_file_bytes(&bytes) {
        Ok((mask, origin)) => Ok(MaskFile { path: path.to_owned(), mask, origin }),
        Err(e) => Err(Error::file(file, e)),
    }
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<MaskFile>> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match read(path) {
            Ok(file) => files.push(file),
            Err(e) => problems.push(e),
        }
    }
    Error::all(problems)?;
    if let Some((first, others)) = files.split_first() {
        for other in others {
            let context = format!("{} and {}", first.path.display(), other.path.display());
            first.mask.layout().check_same(other.mask.layout(), &context)?;
        }
    }
    Ok(files)
}

#[derive(Serialize)]
struct Info {
    path: String,
    entries: u64,
    kept: u64,
    pruned: u64,
    sparsity: f64,
    origin: MaskOrigin,
    tensors: Vec<TensorInfo>,
}

#[derive(Serialize)]
struct TensorInfo {
    name: String,
    shape: Vec<u64>,
    entries: u64,
    kept: u64,
    pruned: u64,
    sparsity: f64,
}

fn info(path: &Path, json: bool) -> Result<()> {
    let file = read(path)?;
    let mask = &file.mask;
    let tensors =
        mask.layout().tensors().iter().zip(mask.tensors()).map(|(tensor, (name, entries, kept, sparsity))| {
            let (name, shape) = (name.to_string(), tensor.shape().to_vec());
            TensorInfo { name, shape, entries, kept, pruned: entries - kept, sparsity: sparsity.get() }
        });
    let info = Info {
        path: path.display().to_string(),
        entries: mask.layout().entries(),
        kept: mask.kept(),
        pruned: mask.pruned(),
        sparsity: mask.sparsity().get(),
        origin: file.origin.clone(),
        tensors: tensors.collect(),
    };
    output::report(json, &info, || {
        let mut table = Table::new(["<tensor", "<shape", "entries", "kept", "pruned", "sparsity"]);
        for t in &info.tensors {
            let shape = t.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
            let sparsity = format!("{:.6}", t.sparsity);
            table.row([t.name.clone(), shape, count(t.entries), count(t.kept), count(t.pruned), sparsity]);
        }
        let (entries, kept, pruned) = (count(info.entries), count(info.kept), count(info.pruned));
        table.row(["all".to_owned(), String::new(), entries, kept, pruned, format!("{:.6}", info.sparsity)]);
        let origin: String = info.origin.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        if origin.is_empty() { table.render() } else { format!("{origin}\n{}", table.render()) }
    })
}

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

fn iou(paths: &[PathBuf], json: bool) -> Result<()> {
    let files = read_all(paths)?;
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
    let compare = |a: &MaskFile| files.iter().map(|b| a.mask.compare(&b.mask)).collect::<Result<Vec<_>>>();
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

#[derive(Serialize)]
struct Difference {
    a: String,
    b: String,
    only_a: u64,
    only_b: u64,
    entries: u64,
    tensors: Vec<TensorDifference>,
}

#[derive(Serialize)]
struct TensorDifference {
    name: String,
    entries: u64,
    only_a: u64,
    only_b: u64,
}

fn diff(a: &Path, b: &Path, json: bool) -> Result<()> {
    let files = read_all(&[a.to_owned(), b.to_owned()])?;
    let [a, b] = files.as_slice() else { return Err(Error::Other("two masks are compared".into())) };
    let tensors: Vec<_> = a
        .mask
        .compare_tensors(&b.mask)?
        .into_iter()
        .zip(a.mask.layout().tensors())
        .map(|((name, compared), tensor)| TensorDifference {
            name: name.to_string(),
            entries: tensor.entries(),
            only_a: compared.first_only,
            only_b: compared.second_only,
        })
        .collect();
    let difference = Difference {
        a: a.path.display().to_string(),
        b: b.path.display().to_string(),
        only_a: tensors.iter().map(|t| t.only_a).sum(),
        only_b: tensors.iter().map(|t| t.only_b).sum(),
        entries: a.mask.layout().entries(),
        tensors,
    };
    output::report(json, &difference, || {
        let mut table = Table::new(["<tensor", "entries", "only in a", "only in b"]);
        for t in &difference.tensors {
            table.row([t.name.clone(), count(t.entries), count(t.only_a), count(t.only_b)]);
        }
        let d = &difference;
        table.row(["all".to_owned(), count(d.entries), count(d.only_a), count(d.only_b)]);
        format!("a  {}\nb  {}\n\n{}", d.a, d.b, table.render())
    })
}
