//! The page of the sample: what is read back out of it is what was put in.

#[path = "../../examples/sample/experiment.rs"]
mod sample;

use lopper_report::{Cell, Experiment, Rendered, State, page, records_csv, render};
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::BTreeMap;
use std::sync::OnceLock;

struct Made {
    experiment: Experiment,
    figures: Vec<Rendered>,
    page: String,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let experiment = sample::experiment().unwrap();
        let figures = render(&experiment, &sample::mask);
        let page = page(&experiment, &figures);
        Made { experiment, figures, page }
    })
}

fn parsed(text: &str) -> Document<'_> {
    Document::parse_with_options(text, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() }).unwrap()
}

/// All text below a node.
fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter(|n| n.is_text()).filter_map(|n| n.text()).collect()
}

fn by_id<'a, 'b>(document: &'a Document<'b>, id: &str) -> Node<'a, 'b> {
    document.descendants().find(|n| n.attribute("id") == Some(id)).unwrap()
}

fn rows(csv: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(csv.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = rest.split_at(2);
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The accuracy of a finished cell.
fn value(cell: &Cell) -> Option<f64> {
    cell.result.as_ref().map(|result| result.metrics[0].value)
}

fn matrix_mean(experiment: &Experiment, source: &str, task: &str) -> f64 {
    let wanted = |cell: &&Cell| {
        let is = |axis: &str, value: &str| cell.axes.get(axis).is_some_and(|own| own.to_string() == value);
        is("finetuning", "parp") && is("source", source) && is("task", task)
    };
    let values: Vec<f64> = experiment.cells.iter().filter(wanted).filter_map(value).collect();
    assert_eq!(values.len(), 3);
    values.iter().sum::<f64>() / 3.0
}

#[test]
fn numbers_in_the_heat_map_are_those_of_the_records() {
    let made = made();
    let document = parsed(&made.page);
    let figure = by_id(&document, "transfer-absolute");
    let tasks = ["cola", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli", "mnli"];
    let mut read = 0;
    for group in figure.descendants().filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "g"))) {
        let child = |name: &str| group.children().find(|n| n.tag_name().name() == name).map(text);
        let (Some(title), Some(shown)) = (child("title"), child("text")) else { continue };
        let Some((place, _)) = title.split_once(": ") else { continue };
        let Some((source, task)) = place.split_once(" → ") else { continue };
        if tasks.contains(&source) && tasks.contains(&task) {
            let expected = matrix_mean(&made.experiment, source, task);
            assert_eq!(shown, format!("{expected:.3}"), "{source} on {task}");
            read += 1;
        }
    }
    assert_eq!(read, 81);
}

#[test]
fn the_table_of_values_and_the_csv_are_those_of_the_records() {
    let made = made();
    let document = parsed(&made.page);
    let figure = by_id(&document, "transfer-absolute");
    let link = figure.descendants().find(|n| n.attribute("download") == Some("transfer-absolute.csv")).unwrap();
    let csv = link.attribute("href").unwrap().strip_prefix("data:text/csv;charset=utf-8,").unwrap();
    let drawn = made.figures.iter().find(|figure| figure.name == "transfer-absolute").unwrap();
    assert_eq!(percent_decoded(csv), drawn.csv);
    let cells = rows(&drawn.csv).into_iter().filter(|row| row["part"] == "cell");
    let mut compared = 0;
    for row in cells {
        let expected = matrix_mean(&made.experiment, &row["source"], &row["task"]);
        assert!((row["mean"].parse::<f64>().unwrap() - expected).abs() < 1e-15);
        compared += 1;
    }
    assert_eq!(compared, 90);
    let body = figure.descendants().find(|n| n.has_tag_name(("http://www.w3.org/1999/xhtml", "tbody"))).unwrap();
    let lines = body
        .children()
        .filter(|n| n.is_element())
        .map(|line| line.children().filter(|n| n.is_element()).map(text).collect::<Vec<_>>());
    for (line, row) in lines.zip(rows(&drawn.csv)) {
        assert_eq!(line[2], row["source"]);
        let (shown, exact): (f64, f64) = (line[5].parse().unwrap(), row["mean"].parse().unwrap());
        assert!((shown - exact).abs() < 1e-6);
    }
}

#[test]
fn records_come_back_from_their_csv() {
    let made = made();
    let rows = rows(&records_csv(&made.experiment.cells));
    assert_eq!(rows.len(), made.experiment.cells.len());
    for (row, cell) in rows.iter().zip(&made.experiment.cells) {
        assert_eq!(row["cell"], cell.name);
        assert_eq!(row["seed"], cell.seed.to_string());
        assert_eq!(row["state"], cell.state.word());
        for (axis, value) in &cell.axes {
            assert_eq!(row[axis], value.to_string());
        }
        if let State::Failed(error) = &cell.state {
            assert_eq!(row["error"], *error);
        }
        let Some(result) = &cell.result else { continue };
        for metric in &result.metrics {
            let back: f64 = row[&format!("{}/{}", metric.split, metric.name)].parse().unwrap();
            assert!(back.to_bits() == metric.value.to_bits() || (back.is_nan() && metric.value.is_nan()));
        }
        assert_eq!(row["exact_sparsity"].parse::<f64>().unwrap(), result.sparsity);
        assert_eq!(row["finetunings"].parse::<u64>().unwrap(), result.finetunings);
        assert_eq!(row["seconds"].parse::<f64>().unwrap(), result.seconds);
    }
}

#[test]
fn every_drawing_is_well_formed_and_every_place_in_it_a_number() {
    for figure in &made().figures {
        let document = parsed(&figure.svg);
        let root = document.root_element();
        assert_eq!(root.tag_name().name(), "svg");
        assert!(root.attribute("aria-label").is_some_and(|label| label.starts_with(&figure.title)));
        assert!(document.descendants().filter(|n| n.tag_name().name() == "title").count() > 1, "{}", figure.name);
        assert!(!figure.svg.contains("NaN") || figure.name == "curves", "{}", figure.name);
        for node in document.descendants() {
            for attribute in
                node.attributes().filter(|a| ["x", "y", "cx", "cy", "x1", "y1", "width"].contains(&a.name()))
            {
                let number = attribute.value().trim_end_matches('%').parse::<f64>();
                assert!(number.is_ok_and(f64::is_finite), "{}: {attribute:?}", figure.name);
            }
        }
    }
}

#[test]
fn what_comes_from_outside_is_text_and_nothing_else() {
    let made = made();
    let document = parsed(&made.page);
    let boxes = document.descendants().filter(|n| n.attribute("data-toggle").is_some());
    assert!(boxes.into_iter().any(|n| n.attribute("value") == Some(sample::AWKWARD)));
    let curve = by_id(&document, "curves");
    assert!(curve.descendants().any(|n| n.attribute("data-line") == Some(sample::AWKWARD)));
    assert!(text(document.root_element()).contains("loss is not finite at update 120: <NaN> & \"inf\""));
    assert!(text(by_id(&document, "page.made-with")).contains(&made.experiment.configuration));
    let title = document.descendants().find(|n| n.has_tag_name(("http://www.w3.org/1999/xhtml", "title"))).unwrap();
    assert_eq!(text(title), made.experiment.title);
    let costs = made.figures.iter().find(|figure| figure.name == "cost").unwrap();
    assert!(rows(&costs.csv).iter().any(|row| row["method"] == sample::AWKWARD));
}

#[test]
fn characters_that_no_document_can_hold_are_replaced() {
    let mut experiment = made().experiment.clone();
    experiment.title = "a\u{0}b\u{8}]]>c".into();
    for cell in &mut experiment.cells {
        if let Some(method) = cell.axes.get_mut("method") {
            *method = format!("{method}\u{1b}]]>").as_str().into();
        }
    }
    experiment.figures.retain(|figure| ["transfer", "scores"].contains(&figure.name.as_str()));
    let figures = render(&experiment, &sample::mask);
    let page = page(&experiment, &figures);
    assert!(text(parsed(&page).root_element()).contains("a\u{fffd}b\u{fffd}]]>c"));
    figures.iter().for_each(|figure| drop(parsed(&figure.svg)));
}

#[test]
fn the_page_needs_nothing_else() {
    let made = made();
    let document = parsed(&made.page);
    for node in document.descendants() {
        for attribute in node.attributes().filter(|a| ["href", "src", "srcset", "action"].contains(&a.name())) {
            let value = attribute.value();
            assert!(value.starts_with('#') || value.starts_with("data:"), "{value}");
        }
        if node.tag_name().name() == "style" {
            assert!(!text(node).contains("url(") && !text(node).contains("@import"));
        }
    }
    let policy =
        document.descendants().find_map(|n| n.attribute("content").filter(|c| c.contains("default-src"))).unwrap();
    assert!(policy.starts_with("default-src 'none';"));
    // Every link within the page has a place, and no place is there twice.
    let ids: Vec<&str> = document.descendants().filter_map(|n| n.attribute("id")).collect();
    let unique: std::collections::BTreeSet<&&str> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len());
    for target in document.descendants().filter_map(|n| n.attribute("href")).filter_map(|h| h.strip_prefix('#')) {
        assert!(ids.contains(&target), "{target}");
    }
}

#[test]
fn the_page_is_small_and_the_same_every_time() {
    let made = made();
    assert!(made.page.len() < 1_500_000, "{} bytes for 870 cells", made.page.len());
    let again = render(&made.experiment, &sample::mask);
    assert_eq!(again, made.figures);
    assert_eq!(page(&made.experiment, &again), made.page);
}

#[test]
fn cells_under_way_have_a_page_too() {
    let mut experiment = made().experiment.clone();
    for cell in &mut experiment.cells {
        cell.state = State::Waiting;
        cell.result = None;
    }
    let figures = render(&experiment, &sample::mask);
    for figure in &figures {
        parsed(&figure.svg);
        assert!(figure.caption.found.iter().any(|told| told == "Nothing can be said yet."), "{:?}", figure.caption);
    }
    let page = page(&experiment, &figures);
    assert!(text(parsed(&page).root_element()).contains("870 cells with 3 seeds: 870 waiting."));
    let empty = lopper_report::page(&Experiment::default(), &[]);
    assert!(text(parsed(&empty).root_element()).contains("0 cells with 0 seeds."));
}
