//! Files that were right once.

use crate::{Case, fixture};
use lopper_weights::{Checkpoint, Pickle};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

const FILES: [&str; 5] = ["zip.bin", "legacy.bin", "legacy_protocol_4.pth", "fairseq_args.pt", "fairseq_cfg.pt"];

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// Opens and reads everything; an error names the file.
fn exercise(bytes: &[u8]) -> Option<BTreeMap<String, Vec<i64>>> {
    let case = Case::new(bytes);
    let named = |e: lopper_core::Error| {
        assert!(e.to_string().contains(case.path.to_str().unwrap()), "{e}");
    };
    let checkpoint = case.open().map_err(named).ok()?;
    let read = |checkpoint: &Checkpoint| {
        let tensors = checkpoint.names().map(|name| Ok((name.to_owned(), checkpoint.tensor(name)?.size())));
        tensors.collect::<lopper_core::Result<BTreeMap<_, _>>>()
    };
    if let Some(extra) = checkpoint.extra() {
        let _ = (extra.get("args"), extra.get("cfg").and_then(|cfg| cfg.get("model")));
    }
    let hash = checkpoint.content_hash();
    // Types that libtorch does not compute with are refused when they are read, and not before.
    let tensors = read(&checkpoint).ok();
    assert!(hash.is_ok() || tensors.is_none());
    tensors
}

/// The sums of an archive see every bit of a tensor; so no flipped one changes a value without a word.
#[test]
fn no_flipped_bit_of_an_archive_changes_a_value() {
    for name in ["zip.bin", "fairseq_cfg.pt"] {
        let good = bytes(name);
        let expected = Case::new(&good).open().unwrap().content_hash().unwrap();
        let mut refused = 0;
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1 << (byte % 8);
            let hash = Case::new(&bad).open().and_then(|checkpoint| checkpoint.content_hash());
            match hash {
                Ok(hash) => assert_eq!(hash, expected, "{name}: byte {byte}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 1000, "{name}: {refused} of {}", good.len());
    }
}

#[test]
fn truncated_files_are_refused_by_name() {
    for name in FILES {
        let good = bytes(name);
        let lengths = (0..good.len()).step_by(512).chain(good.len() - 30..good.len());
        for length in lengths {
            assert!(exercise(&good[..length]).is_none(), "{name}: {length} of {} bytes", good.len());
        }
        assert!(exercise(&good).is_some(), "{name}");
    }
}

fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (place, value) in changes {
        let place = place.index(bytes.len());
        bytes[place] = *value;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_never_panic(
        name in prop::sample::select(FILES.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        exercise(&changed(bytes(name), &changes));
    }

    #[test]
    fn changed_pickles_never_panic(
        protocol in 0..6usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fuzz/corpus/pickle/protocol_{protocol}"));
        let mut bytes = changed(std::fs::read(&path).unwrap(), &changes);
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(pickle) = Pickle::from_bytes(&bytes, &path) {
            let root = pickle.root();
            let _ = (root.get("cfg"), root.items().count(), root.as_str(), format!("{pickle:?}"));
        }
    }

    #[test]
    fn random_codes_never_panic(codes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = Pickle::from_bytes(&codes, Path::new("random"));
    }
}
