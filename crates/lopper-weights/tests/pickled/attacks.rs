//! What no `torch.save` writes.

use crate::archive::{Archive, Entry};
use crate::program::{dict, global, int, legacy, pickle, storage, tensor, text, tuple};
use crate::{Case, assert_refused, fixture, refused};
use lopper_weights::{Checkpoint, Pickle};
use std::path::Path;

const SHELL: &str = "touch lopper-was-here";

/// The right content of one tensor `w` of three float32.
fn good() -> Vec<u8> {
    pickle(&[&dict(&[("w", tensor(storage("FloatStorage", "0", 3), 0, &[3], &[1]))])])
}

fn archive() -> Archive {
    Archive::torch(&good(), &[("0", &[0; 12])])
}

fn unpickled(bytes: &[u8]) -> Result<Pickle, String> {
    Pickle::from_bytes(bytes, Path::new("hostile")).map_err(|e| e.to_string())
}

#[track_caller]
fn assert_no_pickle(bytes: &[u8], expected: &str) {
    let error = unpickled(bytes).unwrap_err();
    assert!(error.starts_with("hostile: ") && error.contains(expected), "{expected:?} is not in: {error}");
}

#[test]
fn what_the_attacks_are_made_from_is_read() {
    let checkpoint = Case::new(&archive().bytes());
    assert_eq!(checkpoint.open().unwrap().read_f32("w").unwrap(), [0.0; 3]);
    let checkpoint = Case::new(&legacy(&good(), &[("0", 3, &[0; 12])]));
    assert_eq!(checkpoint.open().unwrap().read_f32("w").unwrap(), [0.0; 3]);
}

#[test]
fn a_call_is_refused_in_every_way_to_write_one() {
    let command = text(SHELL);
    let by_stack = [text("posix"), text("system"), b"\x93".to_vec()].concat();
    let ways: [(&str, Vec<u8>); 8] = [
        ("os.system", [global("os", "system"), tuple(std::slice::from_ref(&command)), b"R".to_vec()].concat()),
        ("posix.system", [by_stack, command.clone(), b"\x85R".to_vec()].concat()),
        ("os.system", [b"(".as_slice(), &command, b"ios\nsystem\n"].concat()),
        ("os.system", [b"(".as_slice(), &global("os", "system"), &command, b"o"].concat()),
        ("subprocess.Popen", [global("subprocess", "Popen"), command.clone(), b"\x85\x81".to_vec()].concat()),
        ("subprocess.Popen", [global("subprocess", "Popen"), command.clone(), b"\x85}\x92".to_vec()].concat()),
        (
            "os.system",
            [global("argparse", "Namespace"), b")\x81".to_vec(), global("os", "system"), b"b".to_vec()].concat(),
        ),
        ("builtins.eval", global("builtins", "eval")),
    ];
    for (name, way) in ways {
        let named = format!("`{name}`");
        let pickled = pickle(&[&dict(&[("w", tensor(storage("FloatStorage", "0", 3), 0, &[3], &[1])), ("x", way)])]);
        for file in [Archive::torch(&pickled, &[("0", &[0; 12])]).bytes(), legacy(&pickled, &[("0", 3, &[0; 12])])] {
            assert_refused(&file, &[&named, "nothing of it was run"]);
        }
        assert_no_pickle(&pickled, &named);
    }
}

#[test]
fn what_python_pickled_is_refused_by_name() {
    for (file, expected) in [
        ("attack.pt", "names `posix.system`: not on the list"),
        ("attack_legacy.pt", "names `posix.system`: not on the list"),
        ("whole_module.pt", "`torch.nn.modules.linear.Linear`"),
        ("script.pt", "is a TorchScript archive"),
        ("complex.pt", "\"w\" is of a type that is not read"),
        ("plain.pickle", "is a pickle, but not of `torch.save`"),
    ] {
        let error = Checkpoint::open(&fixture(file)).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(expected), "{error}");
    }
    assert!(!Path::new("lopper-was-here").exists() && !fixture("lopper-was-here").exists());
}

#[test]
fn all_refused_names_are_listed() {
    let names = [global("os", "system"), global("builtins", "getattr"), global("functools", "partial")].concat();
    let error = unpickled(&pickle(&[b"(", &names, b"l"])).unwrap_err();
    assert!(error.contains("names `builtins.getattr`, `functools.partial`, `os.system`: not on"), "{error}");
    // Also before something else is wrong.
    assert_no_pickle(&pickle(&[&names, b"\xff"]), "`os.system`");
    assert_no_pickle(&pickle(&[&global("os\u{7}", "sys\"tem")]), r#"`os\u{7}.sys\"tem`"#);
    assert_no_pickle(&pickle(&[&global("torch.storage", "_load_from_bytes")]), "`torch.storage._load_from_bytes`");
}

#[test]
fn types_with_parameters_are_data_and_nothing_else_is_looked_up() {
    let getitem = global("_operator", "getitem");
    let of = |what: Vec<u8>| pickle(&[&getitem, &what, &global("builtins", "int"), b"\x86R"]);
    let list = unpickled(&of(global("typing", "List"))).unwrap();
    assert_eq!(list.root().arguments().count(), 2);
    for what in [dict(&[]), global("argparse", "Namespace"), global("os", "environ"), b"N".to_vec()] {
        assert_no_pickle(&of(what), "`_operator.getitem`");
    }
    assert_no_pickle(&pickle(&[&getitem, b")R"]), "`_operator.getitem`");
    assert_no_pickle(&pickle(&[&global("operator", "getitem")]), "`operator.getitem`");
    assert_no_pickle(&pickle(&[&global("_operator", "attrgetter")]), "`_operator.attrgetter`");
}

#[test]
fn programs_that_make_no_sense_are_refused() {
    let class = global("argparse", "Namespace");
    let cases: [(&[&[u8]], &str); 34] = [
        (&[], "takes a value where there is none"),
        (&[b"NN"], "values are left over"),
        (&[b"0"], "takes a value where there is none"),
        (&[b"N(R"], "takes a value where there is none"),
        (&[b"t"], "since a mark where there is none"),
        (&[b"N\x85a"], "takes a value where there is none"),
        (&[b"NNa"], "appends to something that is no list"),
        (&[b"NNNs"], "sets a key of something that is no dictionary"),
        (&[b"}(Nu"], "a key without a value"),
        (&[b"NNb"], "sets attributes of something that is no object"),
        (&[b"NNR"], "arguments are no tuple"),
        (&[b"N)R"], "calls something that is no class"),
        (&[b"(o"], "without a class"),
        (&[&class, b")}(NNu\x92"], "named arguments"),
        (&[b"NN\x93"], "a name that is no text"),
        (&[b"h\x05"], "nothing is remembered as 5"),
        (&[b"gx\n"], "no place to remember"),
        (&[b"Nr\xff\xff\xff\xffj\xff\xff\xff\xfe"], "nothing is remembered as 4278190079"),
        (&[b"Pid\n"], "something outside by text"),
        (&[b"NQ"], "something outside that is no storage"),
        (&[b"\x82\x01"], "extension registry"),
        (&[b"\x84\x01\x00\x00\x00"], "extension registry"),
        (&[b"\x97"], "buffers outside"),
        (&[b"\xff"], "0xff is no code"),
        (&[b"\x80\x06"], "protocol 6; 0 to 5"),
        (&[b"X\x01\x00\x00\x00\xff"], "not UTF-8"),
        (&[b"I1x\n"], "\"1x\" is no value"),
        (&[b"S'\n"], "is no value"),
        (&[b"\x8b\xff\xff\x00\x00"], "an integer has 65535 bytes"),
        (&[&global("collections", "OrderedDict"), b"N\x85R"], "other than pairs"),
        (&[&global("collections", "OrderedDict"), b"](]e\x85R"], "other than pairs"),
        (&[&global("collections", "OrderedDict"), b"](Ne\x85R"], "other than pairs"),
        (&[&global("_codecs", "encode"), &text("\u{100}"), &text("latin1"), b"\x86R"], "Latin-1"),
        (&[&global("torch._utils", "_rebuild_parameter"), b"N\x85R"], "no tensor"),
    ];
    for (pieces, expected) in cases {
        assert_no_pickle(&pickle(pieces), expected);
    }
    assert_no_pickle(b"", "ends too early");
    assert_no_pickle(b"\x80\x02N.N", "1 bytes follow the end");
    assert_no_pickle(&pickle(&[b"c", &[b'a'; 2000], b"\nb\n"]), "longer than 1024 bytes");
}

#[test]
fn huge_lengths_are_refused_before_anything_is_allocated() {
    let most = u64::MAX.to_le_bytes();
    for code in [b"\x8d".as_slice(), b"\x8e", b"\x96"] {
        for length in [u64::MAX, 1 << 40, 1 << 20] {
            assert_no_pickle(&pickle(&[code, &length.to_le_bytes()]), "bytes where");
        }
    }
    assert_no_pickle(&pickle(&[b"\x95", &most]), "a frame has 18446744073709551615 bytes");
    assert_no_pickle(&pickle(&[b"X\xff\xff\xff\xff"]), "asks for 4294967295 bytes");
    assert_no_pickle(&pickle(&[b"T\xff\xff\xff\xff"]), "asks for 4294967295 bytes");
    assert_no_pickle(&pickle(&[b"\x8b\xff\xff\xff\xff"]), "an integer has 4294967295 bytes");
}

#[test]
fn shared_objects_do_not_multiply() {
    // A list of ten times the list before, eighty times over: billions of billions of laughs.
    let mut laughs = b"(]q\x00".to_vec();
    for level in 0..80 {
        laughs.push(b'(');
        laughs.extend([b'h', level].repeat(10));
        laughs.extend([b'l', b'q', level + 1]);
    }
    laughs.extend([b'1', b'h', 80]);
    let laughter = unpickled(&pickle(&[&laughs])).unwrap();
    let mut at = laughter.root();
    for _ in 0..80 {
        assert_eq!(at.items().count(), 10);
        at = at.items().last().unwrap();
    }
    assert_eq!(at.items().count(), 0);
    // Copies are counted: a set of the same list, over and over.
    let list = [b"](".as_slice(), &b"N".repeat(100_000), b"eq\x00"].concat();
    let copies =
        [global("builtins", "set"), b"q\x01".to_vec(), b"0".to_vec(), b"(h\x01h\x00\x85R".repeat(1000)].concat();
    assert_no_pickle(&pickle(&[&list, &copies]), "take more than");
    let long =
        [text(&"x".repeat(1 << 20)), b"q\x000".to_vec(), global("_codecs", "encode"), b"q\x010".to_vec()].concat();
    let copies = [b"h\x01h\x00".to_vec(), text("latin1"), b"\x86R".to_vec()].concat().repeat(1000);
    assert_no_pickle(&pickle(&[&long, &copies]), "take more than");
}

#[test]
fn nesting_of_any_depth_is_read_or_refused_without_a_stack() {
    let deep = [b"]".repeat(100_000), b"a".repeat(99_999)].concat();
    let pickle_of_lists = unpickled(&pickle(&[&deep])).unwrap();
    let mut depth = 0;
    let mut at = Some(pickle_of_lists.root());
    while let Some(list) = at {
        (depth, at) = (depth + 1, list.items().next());
    }
    assert_eq!(depth, 100_000);
    let tuples = [b")".to_vec(), b"\x85".repeat(100_000)].concat();
    unpickled(&pickle(&[&tuples])).unwrap();
    assert_no_pickle(&pickle(&[&b"]".repeat(10_000_000)]), "take more than");
    assert_no_pickle(&pickle(&[&b"(".repeat(100_000)]), "takes a value where there is none");
    // A configuration that is its own content.
    let own =
        [global("omegaconf.dictconfig", "DictConfig"), b")\x81q\x00}(".to_vec(), text("_content"), b"h\x00ub".to_vec()]
            .concat();
    let circle = unpickled(&pickle(&[&own])).unwrap();
    assert_eq!(circle.root().as_str(), None);
    let _ = circle.root().get("a");
}

#[test]
fn tensors_that_reach_beyond_their_storage_are_refused() {
    let one = |kind: &str, entries: i64, offset: i64, shape: &[i64], strides: &[i64]| {
        let object = pickle(&[&dict(&[("w", tensor(storage(kind, "0", entries), offset, shape, strides))])]);
        let zip = refused(&Archive::torch(&object, &[("0", &[0; 12])]).bytes());
        let old = refused(&legacy(&object, &[("0", entries, &[0; 12])]));
        assert!(zip.contains("pytorch_model.bin: ") && old.contains("pytorch_model.bin: "));
        zip
    };
    let float = |offset: i64, shape: &[i64], strides: &[i64]| one("FloatStorage", 3, offset, shape, strides);
    let beyond = "\"w\" of shape";
    for (offset, shape, strides) in [
        (0, &[4][..], &[1][..]),
        (1, &[3], &[1]),
        (3, &[1], &[1]),
        (3, &[], &[]),
        (i64::MAX, &[1], &[1]),
        (0, &[2], &[3]),
        (0, &[2, 2], &[1, 2]),
        (0, &[2], &[i64::MAX]),
        (0, &[2, 2], &[i64::MAX, i64::MAX]),
        (0, &[3, 1 << 40], &[1, 0]),
    ] {
        let error = float(offset, shape, strides);
        assert!(error.contains(beyond), "{offset} {shape:?} {strides:?}: {error}");
    }
    for shape in [&[i64::MAX][..], &[1 << 32, 1 << 32], &[0, i64::MAX]] {
        let error = float(0, shape, &vec![0; shape.len()]);
        assert!(error.contains("more entries than can be counted"), "{error}");
    }
    assert!(float(-1, &[3], &[1]).contains("the offset -1"));
    assert!(float(0, &[-3], &[1]).contains("the shape -3"));
    assert!(float(2, &[3], &[-1]).contains("the strides -1"));
    assert!(float(0, &[3], &[]).contains("1 dimensions and 0 strides"));
    assert!(float(0, &[1; 17], &[1; 17]).contains("17 dimensions; 16 are accepted"));
    assert!(one("FloatStorage", -3, 0, &[3], &[1]).contains("a storage has -3 entries"));
    assert!(one("DoubleStorage", i64::MAX, 0, &[3], &[1]).contains("entries"));
    assert!(one("FloatStorage", 4, 0, &[3], &[1]).contains("has 12 bytes where 16 were promised"));
    assert!(one("DoubleStorage", 3, 0, &[3], &[1]).contains("has 12 bytes where 24 were promised"));
    assert!(one("UntypedStorage", 12, 0, &[3], &[1]).contains("is of a type that is not read"));
}

#[test]
fn all_wrong_tensors_are_listed() {
    let wrong = |name: &'static str| (name, tensor(storage("FloatStorage", "0", 3), 0, &[4], &[1]));
    let absent = ("c", tensor(storage("FloatStorage", "7", 3), 0, &[3], &[1]));
    let object = pickle(&[&dict(&[wrong("a"), wrong("b"), absent])]);
    let error = refused(&Archive::torch(&object, &[("0", &[0; 12])]).bytes());
    for part in
        ["is damaged: ", "\"a\" of shape [4]", "\"b\" of shape [4]", "\"c\" lies in the storage \"7\", which is absent"]
    {
        assert!(error.contains(part), "{error}");
    }
    let w = || tensor(storage("FloatStorage", "0", 3), 0, &[3], &[1]);
    let twice = pickle(&[&dict(&[("w", w()), ("w", w())])]);
    assert_refused(&Archive::torch(&twice, &[("0", &[0; 12])]).bytes(), &["holds two tensors \"w\""]);
    // So many views of one storage that reading them all would take for ever.
    let many: Vec<_> =
        (0..40).map(|i| (i.to_string(), tensor(storage("ByteStorage", "0", 1), 0, &[1 << 24], &[0]))).collect();
    let many: Vec<_> = many.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    let error = refused(&Archive::torch(&pickle(&[&dict(&many)]), &[("0", &[0])]).bytes());
    assert!(error.contains("share storages and come to 671088640 bytes"), "{error}");
}

#[test]
fn descriptions_that_are_none_are_refused() {
    let persistent = |parts: &[Vec<u8>]| pickle(&[&tuple(parts), b"Q"]);
    let (word, key, cpu) = (text("storage"), text("0"), text("cpu"));
    let float = global("torch", "FloatStorage");
    let view = [word.clone(), float.clone(), key.clone(), cpu.clone(), int(3), tuple(&[text("1"), int(0), int(1)])];
    assert_no_pickle(&persistent(&view), "a view of another one");
    let module = [text("module"), float, key.clone(), cpu.clone(), int(3)];
    assert_no_pickle(&persistent(&module), "no storage");
    let size = [word.clone(), global("torch", "Size"), key, cpu.clone(), int(3)];
    assert_no_pickle(&persistent(&size), "a storage has the class torch.Size");
    let long = [word, global("torch", "FloatStorage"), text(&"0".repeat(300)), cpu, int(3)];
    assert_no_pickle(&persistent(&long), "a name of 300 bytes");
    let rebuild = |name: &str, arguments: &[Vec<u8>]| pickle(&[&global("torch._utils", name), &tuple(arguments), b"R"]);
    let float = || storage("FloatStorage", "0", 3);
    let (no, none) = (b"\x89".to_vec(), b"N".to_vec());
    let start = [float(), int(0), tuple(&[int(3)]), tuple(&[int(1)]), no, none.clone()];
    let with = |last: &[Vec<u8>]| [start.as_slice(), last].concat();
    let negated = dict(&[("neg", b"\x88".to_vec())]);
    assert_no_pickle(&rebuild("_rebuild_tensor_v2", &with(std::slice::from_ref(&negated))), "conjugated or negated");
    assert_no_pickle(&rebuild("_rebuild_tensor_v3", &start), "a tensor has no type");
    let wrong = [global("torch", "Size")];
    assert_no_pickle(&rebuild("_rebuild_tensor_v3", &with(&wrong)), "a tensor has the type torch.Size");
    assert_no_pickle(&rebuild("_rebuild_tensor_v2", &start[..3]), "made of 3 values");
    assert_no_pickle(&rebuild("_rebuild_tensor_v2", &[none, int(0), tuple(&[]), tuple(&[])]), "no storage");
    assert_no_pickle(&rebuild("_rebuild_tensor_v2", &[float(), int(0), int(3), tuple(&[])]), "not a tuple of integers");
}

#[test]
fn archives_that_lie_are_refused() {
    let with = |change: &dyn Fn(&mut Archive)| {
        let mut archive = archive();
        change(&mut archive);
        refused(&archive.bytes())
    };
    let storage = |change: &dyn Fn(&mut Entry)| with(&|archive| change(&mut archive.entries[2]));
    let cases: [(String, &str); 19] = [
        (with(&|a| a.entries.push(Entry::new("archive/data/0", &[1; 12]))), "two entries \"archive/data/0\""),
        (storage(&|e| e.name = "archive/data/../../0".into()), "leads out of it"),
        (storage(&|e| e.name = "/etc/passwd".into()), "leads out of it"),
        (storage(&|e| e.name = "archive\\data".into()), "leads out of it"),
        (storage(&|e| e.method = 8), "is compressed"),
        (storage(&|e| e.flags = 1), "is encrypted"),
        (storage(&|e| e.flags = 1 << 6), "is encrypted"),
        // A bomb: gigabytes that a few bytes would inflate to.
        (storage(&|e| e.sizes = [u32::MAX - 1, 12]), "has 4294967294 bytes in 12"),
        (storage(&|e| e.sizes = [1 << 30; 2]), "overlaps another one, or lies outside"),
        (storage(&|e| e.sizes = [u32::MAX; 2]), "has no size"),
        (storage(&|e| e.offset = Some(0)), "is another one where it lies"),
        (storage(&|e| e.offset = Some(1)), "does not lie where it should"),
        (with(&|a| a.entries[1].sizes = [7; 2]), "\"archive/byteorder\" of its zip archive overlaps another one"),
        (
            with(&|a| a.entries.insert(1, Entry { offset: Some(0), ..Entry::new("archive/data.pkl/", b"") })),
            "leads out",
        ),
        (storage(&|e| e.offset = Some(u32::MAX - 1)), "lies outside"),
        (storage(&|e| e.own_name = Some("archive/data/1".into())), "is another one where it lies"),
        (with(&|a| a.count = Some(2)), "directory of its zip archive is damaged"),
        (with(&|a| a.count = Some(60_000)), "cannot have 60000 entries"),
        (with(&|a| a.disk = 1), "spread over several files"),
    ];
    for (error, expected) in &cases {
        assert!(error.contains(expected), "{expected:?} is not in: {error}");
    }
    let sum = {
        let mut archive = archive();
        archive.entries[2].crc ^= 1;
        Case::new(&archive.bytes())
    };
    let checkpoint = sum.open().unwrap();
    for error in [checkpoint.tensor("w").unwrap_err(), checkpoint.content_hash().unwrap_err()] {
        assert!(error.to_string().contains("do not have the sum that the file states"), "{error}");
    }
    assert!(with(&|a| a.entries[0].crc ^= 1).contains("data.pkl does not have the sum"));
}

#[test]
fn archives_of_something_else_are_refused() {
    let with = |change: &dyn Fn(&mut Archive)| {
        let mut archive = archive();
        change(&mut archive);
        refused(&archive.bytes())
    };
    assert!(with(&|a| a.entries[0] = Entry::new("archive/other", b"")).contains("without data.pkl"));
    assert!(with(&|a| a.entries.push(Entry::new("b/data.pkl", b""))).contains("several data.pkl"));
    assert!(with(&|a| a.entries[1] = Entry::new("archive/byteorder", b"big")).contains("byte order \"big\""));
    assert!(with(&|a| a.entries.push(Entry::new("archive/constants.pkl", b""))).contains("TorchScript"));
    assert!(
        with(&|a| a.entries[0] = Entry::new("archive/data.pkl", &[&good()[..], b"x"].concat()))
            .contains("1 bytes follow")
    );
    let mut tar = b"pickle".to_vec();
    tar.resize(257, 0);
    tar.extend(b"ustar  \0");
    tar.resize(1024, 0);
    assert_refused(&tar, &["tar format of torch before 0.1.10"]);
    assert_refused(b"", &["is empty; a checkpoint of `torch.save`"]);
    assert_refused(b"garbage that goes on for a while", &["is no checkpoint"]);
    assert_refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", &["git lfs pull"]);
    assert_refused(b"PK\x03\x04 this is a zip, or pretends to be one", &["truncated, or something follows it"]);
    let trailing = [archive().bytes(), b"x".to_vec()].concat();
    assert_refused(&trailing, &["truncated, or something follows it"]);
}

#[test]
fn more_entries_than_are_accepted_are_refused() {
    // The second end of an archive counts to 2^64.
    let archive = archive().bytes();
    let (before, end) = archive.split_at(archive.len() - 22);
    let number = |at: usize| u64::from(u32::from_le_bytes(end[at..at + 4].try_into().unwrap()));
    let wide = |count: u64, length: u64, start: u64| {
        let mut bytes = before.to_vec();
        let at = bytes.len() as u64;
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0]);
        bytes.extend([0; 8]);
        for number in [count, count, length, start] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07");
        bytes.extend([0; 4]);
        bytes.extend(at.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(&end[..8]);
        bytes.extend([0xff; 12]);
        bytes.extend([0, 0]);
        bytes
    };
    let (length, start) = (number(12), number(16));
    assert!(Case::new(&wide(3, length, start)).open().is_ok());
    assert_refused(&wide(100_001, length, start), &["has 100001 entries; 100000 are accepted"]);
    assert_refused(&wide(u64::MAX, length, start), &["entries; 100000 are accepted"]);
    assert_refused(&wide(99_999, length, start), &["cannot have 99999 entries"]);
    assert_refused(&wide(3, u64::MAX, start), &["directory of its zip archive is said to be"]);
    assert_refused(&wide(3, length, u64::MAX), &["directory of its zip archive is said to be"]);
    assert_refused(&wide(3, length - 1, start), &["directory of its zip archive is said to be"]);
    assert_refused(&wide(2, length, start), &["directory of its zip archive is damaged"]);
}

#[test]
fn old_files_that_lie_are_refused() {
    let twelve = [0; 12];
    let cases: [(Vec<u8>, &str); 10] = [
        (legacy(&good(), &[]), "lacks the storage \"0\""),
        (legacy(&good(), &[("0", 3, &twelve), ("1", 3, &twelve)]), "nothing uses its storage \"1\""),
        (legacy(&good(), &[("0", 3, &twelve), ("0", 3, &twelve)]), "the storage \"0\" twice"),
        (legacy(&good(), &[("0", 4, &twelve)]), "4 entries of 4 bytes where 12 bytes were promised"),
        (legacy(&good(), &[("0", -1, &twelve)]), "where 12 bytes were promised"),
        (legacy(&good(), &[("0", i64::MAX / 2 + 4, &twelve)]), "where 12 bytes were promised"),
        (legacy(&good(), &[("0", 3, &twelve[..11])]), "it is truncated"),
        (legacy(&good(), &[("0", 3, &[0; 13])]), "1 bytes after its last storage"),
        (pickle(&[b"N"]), "not of `torch.save`"),
        (
            [pickle(&[b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"]), pickle(&[b"M\xe8\x03"])].concat(),
            "protocol 1000; 1001 is read",
        ),
    ];
    for (file, expected) in cases {
        assert_refused(&file, &[expected]);
    }
    let two = [storage("FloatStorage", "0", 3), storage("DoubleStorage", "0", 3)];
    assert_refused(&legacy(&pickle(&[&tuple(&two)]), &[("0", 3, &twelve)]), &["two storages \"0\""]);
    let big = dict(&[("little_endian", b"\x89".to_vec())]);
    let start = [pickle(&[b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"]), pickle(&[b"M\xe9\x03"]), pickle(&[&big])].concat();
    assert_refused(&start, &["only little-endian files are read"]);
}
