//! The CTC loss against torch's, against a plain recursion, and what is refused before libtorch sees it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{fixtures, integers, read, relative_error, sequences};
use lopper_wav2vec2::{Alignable, ctc_loss};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

#[test]
fn loss_and_gradient_are_torchs() {
    let fixture = read(&fixtures().join("ctc.safetensors"));
    let (mut unaligned, mut cases) = (0, 0);
    for case in fixture.keys().filter_map(|name| name.strip_suffix(".logits")) {
        let get = |part: &str| &fixture[&format!("{case}.{part}")];
        let logits = get("logits").copy().set_requires_grad(true);
        let targets = sequences(get("targets"), get("target_lengths"));
        let blank = integers(get("blank"))[0] as usize;
        let loss = ctc_loss(&logits, &targets, &integers(get("lengths")), blank).unwrap();
        loss.sum.backward();
        assert!(
            (loss.sum.double_value(&[]) - get("loss").double_value(&[0])).abs()
                < 1e-4 * loss.sum.double_value(&[]).max(1.0)
        );
        if common::peak(get("gradient")) > 0.0 {
            assert!(relative_error(&logits.grad(), get("gradient")) < 1e-5, "{case}");
        }
        unaligned += loss.too_long;
        cases += 1;
    }
    assert!(cases == 12 && unaligned > 0, "{cases} cases, {unaligned} rows that cannot be aligned");
}

/// -ln p(target | probabilities), by the forward recursion over the target with blanks around its symbols (Graves et al.
/// 2006, equations 6 to 8), in float64 and without logarithms.
fn plain(probabilities: &[Vec<f64>], target: &[i64], blank: usize) -> f64 {
    let mut states = vec![blank];
    target.iter().for_each(|id| states.extend([*id as usize, blank]));
    let mut alpha = vec![0.0; states.len()];
    for (t, p) in probabilities.iter().enumerate() {
        let before = alpha.clone();
        for (s, symbol) in states.iter().enumerate() {
            let reached = match (t, s) {
                (0, 0 | 1) => 1.0,
                (0, _) => 0.0,
                _ => {
                    let skip = s >= 2 && *symbol != blank && *symbol != states[s - 2];
                    before[s] + if s >= 1 { before[s - 1] } else { 0.0 } + if skip { before[s - 2] } else { 0.0 }
                }
            };
            alpha[s] = reached * p[*symbol];
        }
    }
    -alpha.iter().rev().take(2).sum::<f64>().ln()
}

/// The sum over rows of `logits` `[rows][steps][outputs]`; 0 for a row that cannot be aligned.
fn plain_sum(logits: &[Vec<Vec<f64>>], targets: &[Vec<i64>], lengths: &[i64], blank: usize) -> f64 {
    let softmax = |row: &Vec<f64>| {
        let total: f64 = row.iter().map(|x| x.exp()).sum();
        row.iter().map(|x| x.exp() / total).collect::<Vec<_>>()
    };
    let rows = logits.iter().zip(targets).zip(lengths).map(|((logits, target), length)| {
        plain(&logits[..*length as usize].iter().map(softmax).collect::<Vec<_>>(), target, blank)
    });
    rows.filter(|loss| loss.is_finite()).sum()
}

type Case = (Vec<Vec<Vec<f64>>>, Vec<Vec<i64>>, Vec<i64>, usize);

fn cases() -> impl Strategy<Value = Case> {
    (1..4usize, 1..7usize, 2..5usize).prop_flat_map(|(rows, steps, outputs)| {
        let logits =
            prop::collection::vec(prop::collection::vec(prop::collection::vec(-3.0..3.0, outputs), steps), rows);
        let symbols = prop::collection::vec(prop::collection::vec(1..outputs as i64, 0..5), rows);
        let lengths = prop::collection::vec(1..=steps as i64, rows);
        (logits, symbols, lengths, 0..outputs).prop_map(|(logits, mut symbols, lengths, blank)| {
            // Every id but the blank.
            symbols.iter_mut().flatten().for_each(|id| *id -= i64::from(*id as usize <= blank));
            (logits, symbols, lengths, blank)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn loss_and_gradient_are_those_of_a_plain_recursion((logits, targets, lengths, blank) in cases()) {
        let shape = [logits.len() as i64, logits[0].len() as i64, logits[0][0].len() as i64];
        let flat: Vec<f64> = logits.iter().flatten().flatten().copied().collect();
        let tensor = Tensor::from_slice(&flat).view(shape).to_kind(Kind::Float).set_requires_grad(true);
        let loss = ctc_loss(&tensor, &targets, &lengths, blank).unwrap();
        let expected = plain_sum(&logits, &targets, &lengths, blank);
        let found = loss.sum.double_value(&[]);
        prop_assert!((found - expected).abs() <= 1e-4 * expected.max(1.0), "{found}, expected {expected}");
        loss.sum.backward();
        let gradient = Vec::<f32>::try_from(tensor.grad().view([-1])).unwrap();
        let mut moved = logits.clone();
        let places = (0..logits.len()).flat_map(|r| (0..logits[0].len()).map(move |t| (r, t)));
        for (index, (r, t, k)) in places.flat_map(|(r, t)| (0..logits[0][0].len()).map(move |k| (r, t, k))).enumerate() {
            let mut at = |change: f64| {
                moved[r][t][k] = logits[r][t][k] + change;
                let sum = plain_sum(&moved, &targets, &lengths, blank);
                moved[r][t][k] = logits[r][t][k];
                sum
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            prop_assert!((slope - f64::from(gradient[index])).abs() < 1e-3, "{index}: {} of {slope}", gradient[index]);
        }
    }
}

/// What libtorch must never see, judged without the code under test.
fn safe(targets: &[Vec<i64>], lengths: &[i64], steps: i64, outputs: i64, blank: i64, row: usize) -> bool {
    let target = &targets[row];
    let mut needed = 0;
    for (at, id) in target.iter().enumerate() {
        if *id < 0 || *id >= outputs || *id == blank {
            return false;
        }
        needed += if at > 0 && target[at - 1] == *id { 2 } else { 1 };
    }
    lengths[row] >= 1 && lengths[row] <= steps && needed <= lengths[row]
}

#[test]
fn a_million_cases_never_pass_a_wrong_id_or_length() {
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let (mut passed, mut refused, mut left_out) = (0, 0, 0);
    for case in 0..1_000_000 {
        let rows = generator.random_range(1..=3);
        let (steps, outputs) = (generator.random_range(1..=6i64), generator.random_range(1..=5usize));
        let blank = generator.random_range(0..=outputs);
        let wild = case % 2 == 0;
        let mut id = || match generator.random_range(0..20) {
            0 if wild => [-1, i64::MIN, i64::MAX, outputs as i64, -100, blank as i64][generator.random_range(0..6)],
            _ => generator.random_range(0..outputs as i64),
        };
        let targets: Vec<Vec<i64>> = (0..rows).map(|row| (0..(row * 7 + case) % 5).map(|_| id()).collect()).collect();
        let given = if wild && generator.random_range(0..20) == 0 { rows + 1 } else { rows };
        let lengths: Vec<i64> = (0..given)
            .map(|_| match generator.random_range(0..30) {
                0 if wild => [0, -1, i64::MIN, i64::MAX, steps + 1][generator.random_range(0..5)],
                _ => generator.random_range(1..=steps),
            })
            .collect();
        let ok = |row: usize| safe(&targets, &lengths, steps, outputs as i64, blank as i64, row);
        // The arguments of libtorch's CTC, which nothing else can make.
        match Alignable::new(&targets, &lengths, &[rows as i64, steps, outputs as i64], blank) {
            Ok(all) => {
                assert!(given == rows && blank < outputs);
                passed += 1;
                left_out += all.too_long().len();
                assert_eq!(all.rows().len() + all.empty().len() + all.too_long().len(), rows);
                assert!(all.too_long().iter().all(|row| !ok(*row)));
                for (row, length) in all.empty() {
                    assert!(ok(*row as usize) && targets[*row as usize].is_empty());
                    assert_eq!(*length, lengths[*row as usize]);
                }
                let mut ids = all.ids();
                let own = all.rows().iter().zip(all.input_lengths()).zip(all.target_lengths());
                for ((row, input), target) in own {
                    let row = *row as usize;
                    let (first, rest) = ids.split_at(*target as usize);
                    assert!(ok(row) && !first.is_empty());
                    assert_eq!((first, *input), (targets[row].as_slice(), lengths[row]));
                    ids = rest;
                }
                assert!(ids.is_empty());
            }
            Err(_) => {
                refused += 1;
                let wrong_ids =
                    targets.iter().flatten().any(|id| *id < 0 || *id >= outputs as i64 || *id == blank as i64);
                let wrong_lengths = lengths.iter().any(|length| *length < 1 || *length > steps);
                assert!(given != rows || blank >= outputs || wrong_ids || wrong_lengths, "refused without a reason");
            }
        }
    }
    assert!(passed > 100_000 && refused > 100_000 && left_out > 10_000, "{passed}, {refused}, {left_out}");
}

#[test]
fn what_is_wrong_is_named() {
    let logits = Tensor::zeros([2, 4, 3], (Kind::Float, tch::Device::Cpu));
    let message = |targets: &[Vec<i64>], lengths: &[i64], blank| {
        ctc_loss(&logits, targets, lengths, blank).unwrap_err().to_string()
    };
    let all = message(&[vec![1, 3, 0], vec![-1]], &[4, 5], 0);
    for part in [
        "4 problems",
        "steps of row 1 = 5",
        "symbol 1 of the target of row 0 = 3",
        "symbol 2 of the target of row 0 = 0",
        "symbol 0 of the target of row 1 = -1",
        "from 0 to 2, and not the blank 0",
    ] {
        assert!(all.contains(part), "{part} in:\n{all}");
    }
    assert!(message(&[vec![1]], &[4, 4], 0).contains("1 sequences"));
    assert!(message(&[vec![1], vec![1]], &[4], 0).contains("lengths = 1 rows"));
    assert!(message(&[vec![1], vec![1]], &[4, 4], 3).contains("blank = 3"));
    let flat = Alignable::new(&[vec![1]], &[4], &[4, 3], 0).unwrap_err().to_string();
    assert!(flat.contains("[4, 3]") && flat.contains("[batch, steps, outputs]"), "{flat}");
}

#[test]
fn rows_that_cannot_be_aligned_add_nothing() {
    let logits = (Tensor::arange(24, (Kind::Float, tch::Device::Cpu)).view([2, 4, 3]).sin()).set_requires_grad(true);
    let both = ctc_loss(&logits, &[vec![1, 1, 1], vec![2, 1]], &[4, 4], 0).unwrap();
    assert_eq!(both.too_long, 1);
    let alone = ctc_loss(&logits.narrow(0, 1, 1), &[vec![2, 1]], &[4], 0).unwrap();
    assert_eq!(both.sum.double_value(&[]), alone.sum.double_value(&[]));
    both.sum.backward();
    assert_eq!(common::peak(&logits.grad().get(0)), 0.0);
    let none = ctc_loss(&logits, &[vec![1; 5], vec![2; 3]], &[4, 4], 0).unwrap();
    assert_eq!((none.sum.double_value(&[]), none.too_long, none.sum.requires_grad()), (0.0, 2, true));
}
