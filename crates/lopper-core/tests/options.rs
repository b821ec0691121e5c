//! Options and schedules as a configuration meets them.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_core::{Error, MaskScheduleEntry, ScheduleSpec, Sparsity, registry};

lopper_core::options! {
    /// Options of a method.
    struct MyOptions {
        /// Updates between re-prunes.
        every: u64 = 50,
        /// A share,
        /// of two lines.
        share: f64 = 0.5,
    }
}

#[test]
fn one_declaration_gives_defaults_docs_and_parser() {
    assert_eq!(MyOptions::default(), MyOptions { every: 50, share: 0.5 });
    let docs: Vec<_> = MyOptions::DOCS.iter().map(|d| (d.name, d.kind, (d.default)(), d.doc)).collect();
    let expected = [
        ("every", "u64", Some(toml::Value::Integer(50)), "Updates between re-prunes."),
        ("share", "f64", Some(toml::Value::Float(0.5)), "A share, of two lines."),
    ];
    assert_eq!(docs, expected);
    let parsed = MyOptions::parse(&"every = 3".parse().unwrap(), "[prune]").unwrap();
    assert_eq!(parsed, MyOptions { every: 3, share: 0.5 });
    assert_eq!(MyOptions::parse(&parsed.to_table(), "[prune]").unwrap(), parsed);
}

#[test]
fn every_problem_is_reported_at_once() {
    let table = "evry = 3\nshare = \"much\"\nother = 1".parse().unwrap();
    let Err(Error::Many(problems)) = MyOptions::parse(&table, "[prune]") else { panic!("several problems") };
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(problems.len(), 3, "{text}");
    assert!(text.contains("[prune]: unknown key `evry` (did you mean `every`?); accepted: every, share"), "{text}");
    assert!(text.contains("[prune] share = \"much\" is not accepted: "), "{text}");
    assert!(text.contains("unknown key `other`; accepted"), "{text}");
}

#[test]
fn sparsities_are_shares() {
    for bad in [-0.1, 1.5, f64::NAN, f64::INFINITY] {
        let error = Sparsity::new(bad).unwrap_err().to_string();
        assert!(error.starts_with(&format!("sparsity {bad} is not accepted")), "{error}");
    }
    assert_eq!(Sparsity::new(0.7).unwrap().pruned_of(85_524_480), 59_867_136);
    // As Python's round: halves go to the even neighbour.
    assert_eq!([1, 3, 5].map(|n| Sparsity::new(0.5).unwrap().pruned_of(n)), [0, 2, 2]);
    assert_eq!(Sparsity::new(-0.0).unwrap().get().to_bits(), 0.0f64.to_bits());
}

fn targets(spec: &ScheduleSpec, total: u64) -> Vec<(u64, f64)> {
    let schedule = (registry::find::<MaskScheduleEntry>(&spec.name).unwrap().open)(&spec.options).unwrap();
    (0..=total).filter_map(|update| Some((update, schedule.target(update, total)?.get()))).collect()
}

#[test]
fn schedules_are_due_every_n_and_at_the_end() {
    let at = |s| Sparsity::new(s).unwrap();
    assert_eq!(targets(&ScheduleSpec::constant(4, at(0.7)), 10), [(4, 0.7), (8, 0.7), (10, 0.7)]);
    let open_end = ScheduleSpec::constant_until_the_last(4, at(0.7));
    assert_eq!(targets(&open_end, 8), [(4, 0.7), (8, 0.0)]);
    let ramp = targets(&ScheduleSpec::linear(25, at(0.5), at(0.9)), 100);
    let expected = [(25, 0.6), (50, 0.7), (75, 0.8), (100, 0.9)];
    for ((update, value), (at, wanted)) in ramp.iter().zip(expected) {
        assert_eq!(*update, at);
        assert!((value - wanted).abs() < 1e-12);
    }
    assert_eq!(ramp.last(), Some(&(100, 0.9)), "the target is reached exactly");
    let cubic = ScheduleSpec::cubic(50, at(0.0), at(0.8), 1.0);
    assert_eq!(targets(&cubic, 100), [(50, 0.8 - 0.8 * 0.125), (100, 0.8)]);
    let list = ScheduleSpec::list([(3, at(0.1)), (9, at(0.2))]);
    assert_eq!(targets(&list, 10), [(3, 0.1), (9, 0.2)]);
}

#[test]
fn a_schedule_that_never_ends_a_cycle_is_refused() {
    for (name, options) in [
        ("constant", "every = 0"),
        ("linear", "until = 0.0"),
        ("cubic", "sparsity = nan"),
        ("list", "updates = [2, 1]\nsparsities = [0.1, 0.2]"),
    ] {
        let entry = registry::find::<MaskScheduleEntry>(name).unwrap();
        assert!((entry.open)(&options.parse().unwrap()).is_err(), "{name} {options}");
    }
    let error = registry::find::<MaskScheduleEntry>("constnt").err().unwrap().to_string();
    assert!(error.contains("no mask schedule is called `constnt` (did you mean `constant`?)"), "{error}");
}
