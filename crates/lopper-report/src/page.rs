//! One HTML document with everything in it.

use crate::draw::{STYLE, clean};
use crate::records::records;
use crate::words::{count, thousands};
use crate::{Caption, Cell, Experiment, Rendered, State, records_csv};
use askama::Template;
use std::collections::{BTreeMap, BTreeSet};

/// What the template shows.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    page_style: &'static str,
    drawing_style: &'static str,
    script: &'static str,
    lead: String,
    parts: Vec<Part>,
    failures: Vec<(&'a str, &'a str)>,
    shared_lines: Vec<&'a str>,
    figures: Vec<FigureView<'a>>,
    strip: Vec<CellView<'a>>,
    records_header: Vec<String>,
    records_rows: Vec<Vec<String>>,
    records_csv: String,
    provenance: &'a [(String, String)],
    configuration: &'a str,
}

/// The number of cells in a state.
struct Part {
    word: &'static str,
    sign: char,
    n: usize,
}

struct CellView<'a> {
    name: &'a str,
    word: &'static str,
    sign: char,
}

struct FigureView<'a> {
    name: &'a str,
    title: &'a str,
    svg: String,
    csv: &'a str,
    caption: &'a Caption,
    lines: &'a [String],
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// The page of an experiment: its figures with captions and values, the state of its cells and why some failed, all records, the
/// configuration, versions and hardware.
///
/// It needs no network and no other file, and says so in a content security policy. It is well-formed XML too, so that any parser reads
/// the numbers back. Whatever comes from outside is escaped; characters that no document can hold become U+FFFD. The same input gives
/// the same bytes.
pub fn page(experiment: &Experiment, figures: &[Rendered]) -> String {
    let (records_header, records_rows) = records(&experiment.cells);
    let parts = parts(&experiment.cells);
    let page = Page {
        title: &experiment.title,
        page_style: include_str!("../templates/page.css"),
        drawing_style: STYLE,
        script: include_str!("../templates/page.js"),
        lead: lead(&experiment.cells, &parts),
        parts,
        failures: experiment.cells.iter().filter_map(failure).collect(),
        shared_lines: shared_lines(figures),
        figures: figures.iter().map(view).collect(),
        strip: experiment.cells.iter().map(cell_view).collect(),
        records_header,
        records_rows: records_rows.into_iter().map(|row| row.iter().map(|value| rounded(value)).collect()).collect(),
        records_csv: records_csv(&experiment.cells),
        provenance: &experiment.provenance,
        configuration: &experiment.configuration,
    };
    clean(&page.render().expect("a template that only writes text into a text"))
}

fn sign(state: &State) -> char {
    match state {
        State::Done => '■',
        State::Running => '◧',
        State::Waiting => '□',
        State::Failed(_) => '✕',
    }
}

fn cell_view(cell: &Cell) -> CellView<'_> {
    CellView { name: &cell.name, word: cell.state.word(), sign: sign(&cell.state) }
}

fn failure(cell: &Cell) -> Option<(&str, &str)> {
    match &cell.state {
        State::Failed(error) => Some((&cell.name, error)),
        _ => None,
    }
}

fn parts(cells: &[Cell]) -> Vec<Part> {
    let states = [State::Done, State::Running, State::Failed(String::new()), State::Waiting];
    let counted = states.iter().map(|state| {
        let n = cells.iter().filter(|cell| cell.state.word() == state.word()).count();
        Part { word: state.word(), sign: sign(state), n }
    });
    counted.filter(|part| part.n > 0).collect()
}

fn lead(cells: &[Cell], parts: &[Part]) -> String {
    let seeds: BTreeSet<u64> = cells.iter().map(|cell| cell.seed).collect();
    let states: Vec<String> = parts.iter().map(|part| format!("{} {}", part.n, part.word)).collect();
    let results = || cells.iter().filter_map(|cell| cell.result.as_ref());
    let distinct = results().flat_map(|result| &result.stages).collect::<BTreeSet<_>>().len() as u64;
    let needed: u64 = results().map(|result| result.finetunings).sum();
    let size = format!("{} with {}", count(cells.len(), "cell", "cells"), count(seeds.len(), "seed", "seeds"));
    if states.is_empty() {
        return format!("{size}.");
    }
    // Not how many were trained: whoever runs the sweep again trains none.
    let shared = match distinct {
        1 => format!("1 distinct finetuning in place of {}", thousands(needed)),
        distinct => format!("{} distinct finetunings in place of {}", thousands(distinct), thousands(needed)),
    };
    format!("{size}: {}. {shared}.", states.join(", "))
}

/// Lines that more than one figure has, in the order in which they appear.
fn shared_lines(figures: &[Rendered]) -> Vec<&str> {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    let lines = || figures.iter().flat_map(|figure| &figure.lines).map(String::as_str);
    lines().for_each(|line| *uses.entry(line).or_default() += 1);
    let mut shared = Vec::new();
    for line in lines() {
        if uses[line] > 1 && !shared.contains(&line) {
            shared.push(line);
        }
    }
    shared
}

fn view(figure: &Rendered) -> FigureView<'_> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(figure.csv.as_bytes());
    let rows = reader.records().map_while(Result::ok);
    let mut rows: Vec<Vec<String>> = rows.map(|row| row.iter().map(rounded).collect()).collect();
    let header = if rows.is_empty() { Vec::new() } else { rows.remove(0) };
    FigureView {
        name: &figure.name,
        title: &figure.title,
        // The page has the style once.
        svg: figure.svg.replacen(&format!("<style>{STYLE}</style>"), "", 1),
        csv: &figure.csv,
        caption: &figure.caption,
        lines: &figure.lines,
        header,
        rows,
    }
}

/// A number of more than six digits in six; other texts as they are.
fn rounded(value: &str) -> String {
    match value.parse::<f64>() {
        Ok(number) if value.len() > 8 && value.contains('.') && number.is_finite() => {
            let size = if number == 0.0 { 0 } else { number.abs().log10().floor() as i64 };
            let decimals = (5 - size).clamp(0, 12) as usize;
            format!("{number:.decimals$}")
        }
        _ => value.to_owned(),
    }
}
