//! Every method obeys the laws, under each set of options that plans differently.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_core::{PruningStrategy, StrategyEntry, registry};
use lopper_strategies as _;
use lopper_testkit::laws;

fn open(method: &str, options: &str) -> Box<dyn PruningStrategy> {
    let entry = registry::find::<StrategyEntry>(method).unwrap();
    (entry.open)(&options.parse().unwrap()).unwrap()
}

macro_rules! obeys {
    ($($test:ident: $method:literal $options:literal,)+) => {
        $(#[test]
        fn $test() {
            laws::strategy(|| open($method, $options));
        })+
    };
}

obeys! {
    dense: "dense" "",
    rp: "rp" "",
    rp_by_random_magnitudes: "rp" "kind = 'random_init_magnitude'\nmask_seed = 3",
    mpi: "mpi" "",
    omp: "omp" "",
    imp: "imp" "",
    imp_in_geometric_rounds_with_rewinding: "imp" "rounds = 'geometric'\nstep = 0.2\nrewind = 0.3",
    imp_in_short_rounds: "imp" "round_updates = 5\nround_learning_rate = 1e-5\nstep = 0.3",
    imp_like_bert_tickets: "imp" "bert_tickets_compat = true",
    parp: "parp" "",
    parp_from_a_random_mask: "parp" "every = 5\ninitial = 'rp'\nmoments = 'zero'",
    parp_from_a_file: "parp" "every = 50\ninitial = './mask.safetensors'",
    parp_p: "parp-p" "every = 3",
    parp_p_chained: "parp-p" "every = 50\nfrom = [0.6, 0.8]",
    parp_p_chained_from_theta_0: "parp-p" "every = 50\nfrom = [0.1, 0.3]\nstage_init = 'pretrained'",
    transfer: "transfer" "mask = './mask.safetensors'",
}

#[test]
fn every_registered_method_is_tried() {
    let names: Vec<_> = registry::all::<StrategyEntry>().unwrap().iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["dense", "imp", "mpi", "omp", "parp", "parp-p", "rp", "transfer"]);
}

#[test]
fn the_core_s_mask_schedules_obey() {
    let entries = registry::all::<lopper_core::MaskScheduleEntry>().unwrap();
    assert_eq!(entries.iter().map(|entry| entry.name).collect::<Vec<_>>(), ["constant", "cubic", "linear", "list"]);
    let list = "updates = [3, 10]\nsparsities = [0.2, 0.5]";
    for (name, options) in
        [("constant", "every = 3"), ("linear", "initial = 0.3"), ("cubic", "until = 0.5\nevery = 7"), ("list", list)]
    {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        laws::mask_schedule(|| (entry.open)(&options.parse().unwrap()).unwrap());
    }
}
