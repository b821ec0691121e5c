//! `lopper mask diff`: where two masks differ.

use super::given::{ForModel, read_all};
use crate::output::{self, Table, count};
use lopper_core::{Error, Result};
use serde::Serialize;
use std::path::Path;

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

pub(super) fn diff(a: &Path, b: &Path, of: &ForModel, json: bool) -> Result<()> {
    let files = read_all(&[a.to_owned(), b.to_owned()], of)?;
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
