//! Megabytes made to take many times their size when they are parsed. They are too large to be committed or found by
//! chance.

use crate::parsers;

/// As many bytes as a parser reads whole.
const LARGE: usize = 8 << 20;

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
    parsers::glue(&repeated(LARGE, r#"Q{"sentence1":[0"#, ",0", "]}"));
    parsers::glue(&filled(LARGE, "Q{", |i| format!("\"{i}\":0,"), "\"a\":0}"));
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
