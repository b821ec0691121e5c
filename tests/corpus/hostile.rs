//! Megabytes made to take many times their size when they are parsed. They are too large to be committed or found by
//! chance.

use crate::parsers;
use lopper_speech::audio;

/// Half of what a parser reads whole; the bound is passed by what takes twenty times as much.
const LARGE: usize = 4 << 20;

/// `start`, as many of `piece(0)`, `piece(1)`, … as fit into `size` bytes, and `end`.
fn filled(size: usize, start: &str, piece: impl Fn(usize) -> String, end: &str) -> Vec<u8> {
    let mut text = start.to_owned();
    for number in 0.. {
        let piece = piece(number);
        if text.len() + piece.len() + end.len() > size {
            break;
        }
        text.push_str(&piece);
    }
    (text + end).into_bytes()
}

fn repeated(size: usize, start: &str, piece: &str, end: &str) -> Vec<u8> {
    filled(size, start, |_| piece.to_owned(), end)
}

/// A safetensors file of a header and no data.
fn header(json: Vec<u8>) -> Vec<u8> {
    [(json.len() as u64).to_le_bytes().to_vec(), json].concat()
}

#[test]
fn masks() {
    for size in [1 << 20, LARGE] {
        parsers::mask_file(&header(repeated(
            size,
            r#"{"a":{"dtype":"U8","shape":[1"#,
            ",0",
            r#"],"data_offsets":[0,0]}}"#,
        )));
        let tensor = |i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},"#);
        let described = r#""__metadata__":{"lopper.mask":"{}"}}"#;
        parsers::mask_file(&header(filled(size, "{", tensor, described)));
        let start = r#"{"__metadata__":{"lopper.mask":"{\"version\":1,\"kept\":0,\"origin\":{},\"checksum\":\"\",\"tensors\":[{\"name\":\"a\",\"entries\":0,\"shape\":[0"#;
        parsers::mask_file(&header(repeated(size, start, ",0", r#"]}]}"}}"#)));
    }
}

#[test]
fn records() {
    for record in [parsers::stage_record, parsers::run_record] {
        record(&repeated(LARGE, "[0", ",0", "]"));
        record(&repeated(LARGE, "", "[", ""));
        record(&repeated(
            LARGE,
            r#"{"stages":[],"validations":[{"update":0,"splits":[]}"#,
            r#",{"update":0,"splits":[]}"#,
            "]}",
        ));
        record(&repeated(LARGE, r#"{"metrics":[{"split":"a","metrics":[]}"#, r#",{"split":"a","metrics":[]}"#, "]}"));
    }
}

#[test]
fn data() {
    // `A` is CoLA in TSV, `H` RTE in TSV, `Q` RTE in JSON lines.
    for task in ["A", "H", "Q"] {
        for piece in ["\t", "\n", "\r\n", "a", "x\n", "[", "\u{e9}\t"] {
            parsers::glue(&repeated(LARGE, task, piece, ""));
        }
    }
    parsers::glue(&repeated(LARGE, "Hsentence1\tsentence2\tlabel", "\nab\tcd\t2", ""));
    parsers::glue(&repeated(LARGE, "Hsentence1\tsentence2\tlabel\n", "\t", ""));
    parsers::glue(&repeated(
        LARGE,
        "Hsentence1\tsentence2\tlabel",
        "\na sentence, \tanother sentence that follows\t0",
        "",
    ));
    // `A` plus 36 is CoLA in CSV, plus 43 RTE.
    for piece in ["\"", "\"\"", "\",", "\"\n\"", ","] {
        parsers::glue(&repeated(LARGE, "e", piece, ""));
        parsers::glue(&repeated(LARGE, "lsentence1,sentence2,label\n", piece, ""));
    }
    for piece in ["[", "[0,", "{", "\\\""] {
        parsers::glue(&repeated(LARGE, "Q[", piece, "]"));
    }
    for start in ["A", "APAR1", "A\u{0}"] {
        parsers::table(&repeated(LARGE, start, "PAR1", "PAR1"));
    }
    parsers::glue(&repeated(LARGE, r#"Q{"sentence1":[0"#, ",0", "]}"));
    parsers::glue(&filled(LARGE, "Q{", |i| format!("\"{i}\":0,"), "\"a\":0}"));
    // `I` is phones as numbers and what they stand for: a row of a megabyte, many rows, the longest symbol and the shortest.
    for symbol in ["a".repeat(40), String::new()] {
        let symbols = format!("\n=\n{{\"{symbol}\": 0}}");
        parsers::transcripts(&repeated(1 << 20, "Ia", " 0", &format!("\nb 0{symbols}")));
    }
    parsers::transcripts(&repeated(LARGE, "Ia", " 0", "\nb 0\n=\n{\"a\": 0}"));
    parsers::transcripts(&filled(1 << 20, "Ia 0\nb 0\n=\n{", |i| format!("\"{i}\":{i},"), "\"x\":0}"));
    parsers::transcripts(&repeated(1 << 20, "Ia 0\n=\n", "[", ""));
}

#[test]
fn configurations() {
    parsers::config(&repeated(LARGE, "a=[0", ",0", "]"));
    parsers::config(&repeated(LARGE, "a=", "[", ""));
    parsers::config(&filled(LARGE, "", |i| format!("a{i}=1\n"), ""));
    parsers::config(&filled(LARGE, "[train]\n", |i| format!("a{i}=1\n"), ""));
    parsers::config(&repeated(LARGE, "", "a", "=1"));
    parsers::config(&repeated(LARGE, "a", ".a", "=1"));
    // A command line is shorter.
    parsers::settings(&repeated(1 << 18, "", "a=1\n", ""));
    parsers::settings(&repeated(1 << 18, "a", ".a", "=1"));
    parsers::settings(&repeated(1 << 18, "a=[0", ",0", "]"));
}

#[test]
fn checkpoints() {
    let tensor = |name: &str| format!(r#""{name}":{{"dtype":"U8","shape":[],"data_offsets":[0,0]}}"#);
    parsers::safetensors(&header(repeated(
        LARGE,
        r#"{"a":{"dtype":"U8","shape":[1"#,
        ",0",
        r#"],"data_offsets":[0,0]}}"#,
    )));
    parsers::safetensors(&header(filled(LARGE, "{", |i| tensor(&i.to_string()) + ",", &(tensor("a") + "}"))));
    let flat = r#"{"dtype":"U8","shape":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"data_offsets":[0,0]}"#;
    parsers::safetensors(&header(filled(LARGE, "{", |i| format!("\"{i}\":{flat},"), &format!("\"a\":{flat}}}"))));
    parsers::safetensors(&header(filled(LARGE, r#"{"__metadata__":{"#, |i| format!(r#""{i}":"","#), r#""a":""}}"#)));
    parsers::safetensors(&header(repeated(LARGE, r#"{"a":"#, "[", "")));
    let shard = |i| format!(r#""{i}":"{i}.safetensors","#);
    parsers::safetensors_index(&filled(LARGE, r#"{"weight_map":{"#, shard, r#""a":"a.safetensors"}}"#));
    let wrong = |i| format!(r#""{i}":"{i}","#);
    parsers::safetensors_index(&filled(LARGE, r#"{"weight_map":{"#, wrong, r#""a":"a.safetensors"}}"#));
    parsers::safetensors_index(&repeated(LARGE, r#"{"weight_map":{"a":"a.safetensors"},"x":[0"#, ",0", "]}"));
}

#[test]
fn pickles() {
    let filled = |start: &[u8], piece: &dyn Fn(u32) -> Vec<u8>, end: &[u8]| {
        let mut bytes = [b"\x80\x02", start].concat();
        for number in 0.. {
            let piece = piece(number);
            if bytes.len() + piece.len() + end.len() > LARGE {
                break;
            }
            bytes.extend(piece);
        }
        [bytes.as_slice(), end].concat()
    };
    let repeated = |start: &[u8], piece: &[u8], end: &[u8]| filled(start, &|_| piece.to_vec(), end);
    let long = [b"X\0\0\x10\0".as_slice(), &[b'x'; 1 << 20], b"q\0"].concat();
    let tensor = |length: u32| {
        let storage = b"(X\x07\0\0\0storagectorch\nByteStorage\nX\x01\0\0\x000X\0\0\0\0K\x18tQ";
        [b"ctorch._utils\n_rebuild_tensor\n(", storage.as_slice(), b"K\0(J", &length.to_le_bytes(), b"t(K\0ttR"]
            .concat()
    };
    let name = |i: u32| [b"X\x08\0\0\0", format!("{i:08}").as_bytes()].concat();
    let shared = [tensor(24), b"q\0}(".to_vec()].concat();
    let encode = [&long, b"c_codecs\nencode\nq\x01".as_slice()].concat();
    let inputs = [
        repeated(b"", b"N", b"."),
        repeated(b"", b"]", b"."),
        repeated(b"", b"}", b"."),
        repeated(b"", b"(", b"."),
        repeated(b")", b"\x85", b"."),
        repeated(b"]", b"2a", b"."),
        repeated(b"](", b"N", b"e."),
        repeated(b"(", b"N", b"t."),
        repeated(b"}(", b"N", b"u."),
        repeated(b"", b"X\0\0\0\0", b"."),
        repeated(b"", b"K\x07", b"."),
        repeated(b"", b"\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01", b"."),
        repeated(b"", b"cos\nsystem\n", b"."),
        repeated(b"", b"ctyping\nAny\n)R", b"."),
        filled(b"N", &|i| [b"r".as_slice(), &i.to_le_bytes()].concat(), b"."),
        filled(b"", &|i| format!("cos\nsystem{i}\n").into_bytes(), b"."),
        filled(b"}(", &|i| [name(i), b"N".to_vec()].concat(), b"u."),
        repeated(&encode, b"h\x01h\0X\x06\0\0\0latin1\x86R", b"."),
        repeated(b"c__builtin__\nset\nq\0](NNNNNNNNNNNNNNNNNNNNeq\x01", b"h\0h\x01\x85R", b"."),
        // One tensor under many names, many tensors, and such that repeat one storage's entries.
        filled(&shared, &|i| [name(i), b"h\0".to_vec()].concat(), b"u."),
        filled(b"}(", &|i| [name(i), tensor(24)].concat(), b"u."),
        filled(b"}(", &|i| [name(i), tensor(1 << 24)].concat(), b"u."),
        [b"\x80\x02}(X".as_slice(), &(4u32 << 20).to_le_bytes(), &[1; 4 << 20], &tensor(24), b"u."].concat(),
    ];
    // What torch wrote before the object.
    let start = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.";
    for input in &inputs {
        parsers::pickle(input);
        parsers::torch_file(input);
        parsers::torch_file(&[start.as_slice(), input].concat());
    }
}

#[test]
fn archives() {
    for count in [60_000, 65_530] {
        let names: Vec<_> = (0..count).map(|i| format!("{i:05}{}", "x".repeat(20))).collect();
        let storages: Vec<_> = names.iter().map(|name| (name.as_str(), 0)).collect();
        parsers::torch_file(&parsers::torch_archive(b"\x80\x02}.", &storages));
    }
}

/// The bits of `bytes` divided by a polynomial of so many bits, as FLAC checks its headers and frames.
fn remainder(bytes: &[u8], width: u32, polynomial: u32) -> u32 {
    let top = 1 << (width - 1);
    bytes.iter().fold(0, |rest, byte| {
        (0..8).fold(rest ^ u32::from(*byte) << (width - 8), |rest, _| {
            (rest << 1 ^ if rest & top == 0 { 0 } else { polynomial }) & (2 * top - 1)
        })
    })
}

/// A FLAC file of silence at 16 kHz; `declared` are the samples that its header tells, 0 for none (RFC 9639).
fn silence(samples: u64, declared: u64) -> Vec<u8> {
    const BLOCK: u64 = 65_535;
    let mut file = b"fLaC\x80\0\0\x22".to_vec();
    file.extend([BLOCK as u16; 2].map(u16::to_be_bytes).concat());
    file.extend([0; 6]);
    // Rate (20 bits), channels - 1 (3), bits - 1 (5), samples (36).
    file.extend((16_000u64 << 44 | 15 << 36 | declared).to_be_bytes());
    file.extend([0; 16]);
    for number in 0..samples.div_ceil(BLOCK) {
        let length = BLOCK.min(samples - number * BLOCK);
        // A block of a length that follows, 16 kHz, mono, 16 bits.
        let mut frame = vec![0xff, 0xf8, 0x75, 0x08];
        let number = char::from_u32(number as u32).expect("few blocks");
        frame.extend(number.encode_utf8(&mut [0; 4]).as_bytes());
        frame.extend(((length - 1) as u16).to_be_bytes());
        frame.push(remainder(&frame, 8, 0x07) as u8);
        // One value for the whole block.
        frame.extend([0, 0, 0]);
        let check = remainder(&frame, 16, 0x8005) as u16;
        frame.extend(check.to_be_bytes());
        file.extend(frame);
    }
    file
}

#[test]
fn recordings() {
    let hour = audio::LONGEST * u64::from(audio::RATE);
    for (samples, declared, read) in [(hour, hour, true), (hour, 0, true), (hour + 1, 0, false), (1 << 16, hour, false)]
    {
        let file = silence(samples, declared);
        assert!(file.len() < 15_000, "{} bytes", file.len());
        parsers::recording(&file);
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("silence");
        std::fs::write(&path, &file).expect("room for a small file");
        let found = audio::load(&path).map(|samples| samples.len() as u64);
        assert_eq!(found.ok(), read.then_some(samples), "{samples} samples, declared as {declared}");
    }
}

#[test]
fn models() {
    for size in [1 << 19, LARGE] {
        parsers::bert_config(&repeated(size, r#"{"model_type":"bert","a":[0"#, ",0", "]}"));
        parsers::bert_config(&filled(size, r#"{"model_type":"bert""#, |i| format!(",\"{i}\":0"), "}"));
        parsers::vocabulary(&repeated(size, r#"{"a":[0"#, ",0", "]}\n[PAD]\n"));
        parsers::vocabulary(&filled(size, "\n[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", |i| format!("{i}\n"), ""));
        parsers::vocabulary(&repeated(size, "\n[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "\n", ""));
        parsers::tokenizer(&repeated(size, r#"{"a":"#, "[", ""));
    }
    parsers::tokenizer(&repeated(1 << 20, r#"{"a":[0"#, ",0", "]}"));
}
