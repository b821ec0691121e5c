//! What `[[figure]]` tables say, and everything that can be wrong with them.

use crate::common::{figures, tables};
use lopper_report::{AxisValue, Effort, Figure, Kind, Measure, Problem, Whiskers};

#[test]
fn defaults_are_those_of_the_documentation() {
    let all = figures(
        r#"
        figure = [
            { name = "a", kind = "curve" },
            { name = "b", kind = "matrix", rows = "source", columns = "task", relative = "diagonal" },
            { name = "c", kind = "overlap", measure = "overlap", reference = { method = "rp" } },
            { name = "d", kind = "drift", interval = "band" },
            { name = "e", kind = "layers", panels = "seed" },
            { name = "f", kind = "cost", x = "seconds" },
            { name = "g", kind = "table", title = "T", paper = "P", where = { sparsity = [0.5, 1], flag = true } },
            { name = "h", kind = "compare", baseline = 0.5, over = "sparsity" },
        ]"#,
        &["source", "flag"],
    );
    let words: Vec<&str> = all.iter().map(|figure| figure.kind.word()).collect();
    assert_eq!(words, ["curve", "matrix", "overlap", "drift", "layers", "cost", "table", "compare"]);
    let Kind::Curve(curve) = &all[0].kind else { panic!() };
    assert_eq!((&*curve.x, &*curve.lines, curve.interval), ("sparsity", "method", Whiskers::Bars));
    assert_eq!((&curve.y, &curve.panels, &curve.dense), (&None, &None, &None));
    let Kind::Matrix(matrix) = &all[1].kind else { panic!() };
    assert!(matrix.relative && matrix.rows == "source" && matrix.columns == "task");
    let Kind::Overlap(overlap) = &all[2].kind else { panic!() };
    assert_eq!((&*overlap.over, overlap.measure, overlap.reference.len()), ("task", Measure::Overlap, 1));
    assert_eq!(overlap.reference[0]["method"], [AxisValue::from("rp")]);
    let Kind::Drift(drift) = &all[3].kind else { panic!() };
    assert_eq!(drift.interval, Whiskers::Band);
    let Kind::Cost(cost) = &all[5].kind else { panic!() };
    assert_eq!((cost.x, &*cost.points), (Effort::Seconds, "method"));
    assert_eq!((&*all[6].title, all[6].paper.as_deref(), &*all[0].title), ("T", Some("P"), "a"));
    assert_eq!(all[6].cells["sparsity"], [AxisValue::from(0.5), AxisValue::from(1.0)]);
    assert_eq!(all[6].cells["flag"], [AxisValue::from(true)]);
    let Kind::Compare(compare) = &all[7].kind else { panic!() };
    assert_eq!(compare.baseline, AxisValue::from(0.5));
}

#[test]
fn all_problems_of_all_figures_are_told_at_once() {
    let text = r#"
        figure = [
            { name = "one", kind = "curve", line = "method", panels = "tsk", title = "" },
            { name = "one", kind = "matrix", rows = "task", relative = "row" },
            { name = "a/b", kind = "curv" },
            { kind = "compare", where = { methd = "omp", task = [] } },
            { name = "five", unknown = 1 },
        ]"#;
    let problems = Figure::parse(&tables(text), &["source".into()]).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let expected = [
        "figure.one.title = \"\" is not accepted: a text that is not empty",
        "figure.one.panels = \"tsk\" is not accepted: an axis, one of source, method, task, sparsity, seed; did you mean task?",
        "figure.one.line is no key of this figure; did you mean lines?; known are name, title, paper, where, kind, x, y, lines, panels, \
         dense, interval",
        "figure.one.name = \"one\" is not accepted: a name that no other figure has",
        "figure.one.columns is missing: an axis, one of source, method, task, sparsity, seed",
        "figure.one.relative = \"row\" is not accepted: one of diagonal",
        "figure[2].name = \"a/b\" is not accepted: a file name of letters, digits, - and _, such as \"figure-3\"",
        "figure[2].kind = \"curv\" is not accepted: one of curve, matrix, overlap, drift, layers, cost, table, compare; did you mean curve?",
        "figure[3].name is missing: a file name of letters, digits, - and _, such as \"figure-3\"",
        "figure[3].where.methd is no key of this figure; did you mean method?; known are source, method, task, sparsity, seed",
        "figure[3].where.task = [] is not accepted: a value of the axis, or a list of at least one",
        "figure[3].baseline is missing: a value of the axis: a text, a number, true or false",
        "figure.five.kind is missing: one of curve, matrix, overlap, drift, layers, cost, table, compare",
    ];
    for line in expected {
        assert!(told.iter().any(|told| told == line), "{line}\nis not among\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), expected.len(), "{}", told.join("\n"));
    assert!(matches!(&problems[2], Problem::UnknownKey { nearest: Some(near), .. } if near == "lines"));
}

#[test]
fn names_that_a_file_system_may_not_tell_apart_are_two_of_one_name() {
    let text = r#"figure = [{ name = "Iou", kind = "overlap" }, { name = "iou", kind = "overlap" }]"#;
    let problems = Figure::parse(&tables(text), &[]).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("no other figure has"));
}
