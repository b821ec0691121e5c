//! Phones of several languages through the command line, laid out as CPC_audio lays out Common Voice, and what is judged.

use crate::speech::{Speech, Wav, spoken, tone};
use serde_json::{Value, json};
use std::fs;

const LISTS: &str = "unit = 'phones'\nlanguages = ['es', 'fr']\ntrain = '{language}/trainSeqs_1.0.txt'\n\
                     validation = '{language}/validationSeqs_1.0.txt'\nphones = '{language}/validated_phones_reduced.txt'\n\
                     clips = '{language}/clips'";

/// A language's lists, recordings, phones, and perhaps what the numbers stand for.
fn language(s: &Speech, name: &str, phones: &[&str], symbols: Option<&str>) {
    let mut lines = String::new();
    for (number, row) in phones.iter().enumerate() {
        s.f.write(&format!("data/{name}/clips/cv{number}.wav"), Wav::new(spoken("ABC")).bytes());
        lines += &format!("cv{number} {row}\n");
    }
    s.f.write(&format!("data/{name}/validated_phones_reduced.txt"), lines);
    s.f.write(&format!("data/{name}/trainSeqs_1.0.txt"), "cv0\ncv1\n");
    s.f.write(&format!("data/{name}/valSeqs_1.0.txt"), "cv2\n");
    if let Some(symbols) = symbols {
        s.f.write(&format!("data/{name}/phonesMatches_reduced.json"), symbols);
    }
}

fn object(s: &Speech, path: &str) -> Value {
    serde_json::from_slice(&fs::read(s.f.path(path)).unwrap()).unwrap()
}

#[test]
fn a_joint_run_shares_phones_and_not_numbers() {
    let s = Speech::new();
    language(&s, "es", &["0 1", "2 0", "1 2"], Some(r#"{"t": 0, "a": 1, "": 2}"#));
    language(&s, "fr", &["0 1", "2 1", "0"], None);
    s.config(LISTS);
    let answer = s.run(&["run", "run.toml", "--out", "r"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for part in
        ["[data] phone_symbols", "fr/validated_phones_reduced.txt", "fr/phonesMatches_reduced.json is not there"]
    {
        assert_eq!(answer.stderr.matches(part).count(), 1, "`{part}` in: {answer:?}");
    }
    s.f.write("data/fr/phonesMatches_reduced.json", "{\"\\u0281\": 0, \"a\": 1, \"t\\u0283\": 2}");
    let answer = s.run(&["run", "run.toml", "--out", "r", "-v"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    for part in
        ["data/es/phonesMatches_reduced.json", "data/fr/phonesMatches_reduced.json", "data/fr/valSeqs_1.0.txt is read"]
    {
        assert!(answer.stderr.contains(part), "`{part}` is not in: {}", answer.stderr);
    }
    // a three times, t twice; the phone without a letter is one of the outputs.
    let expected = json!({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "t": 5, "": 6, "tʃ": 7, "ʁ": 8});
    assert_eq!(object(&s, "r/model/vocab.json"), expected);
    // One language, judged by the phones that all share; the model's copy keeps what they are called.
    let one = ["unit=phones", "languages=[\"es\"]"];
    let one = [
        &one[..],
        &[
            "train={language}/trainSeqs_1.0.txt",
            "validation={language}/valSeqs_1.0.txt",
            "phones={language}/validated_phones_reduced.txt",
        ],
    ]
    .concat();
    let one = [&one[..], &["clips={language}/clips"]].concat();
    let eval = s.eval("r/model", &one).json();
    assert!(eval["metrics"]["per"].is_number() && eval["splits"][0]["split"] == "validation_es", "{eval}");
    assert_eq!(
        s.run(&["prune", "r/model", "--by", "magnitude", "--sparsity", "0", "--out", "copy", "--device", "cpu"]).code,
        Some(0)
    );
    assert_eq!(object(&s, "copy/vocab.json"), expected);
    assert_eq!(s.eval("copy", &one).json()["metrics"], eval["metrics"]);
    // Their numbers are no symbols of it.
    let numbers = s.eval("r/model", &[&one[..], &["phone_symbols=numbers"]].concat());
    assert!(
        numbers.code == Some(1) && numbers.stderr.contains("has `1`, `2`, which the dictionary does not have"),
        "{numbers:?}"
    );
}

#[test]
fn everything_that_can_be_heard_is_judged() {
    let s = Speech::new();
    s.f.write("data/short.wav", Wav::new(tone(16_000, 500.0, 0.01)).bytes());
    // Less than the first step of the model.
    s.f.write("data/shorter.wav", Wav::new(tone(16_000, 500.0, 0.001)).bytes());
    let rows = [("valid0.wav", "AB"), ("short.wav", "ABC ABC ABC ABC"), ("shorter.wav", "A"), ("valid1.wav", "")];
    let lines: Vec<_> = rows.iter().map(|(audio, text)| json!({"audio": audio, "text": text}).to_string()).collect();
    s.config("dictionary = 'train'");
    assert_eq!(s.run(&["run", "run.toml", "--out", "r"]).code, Some(0));
    s.f.write("data/valid.jsonl", lines.join("\n"));
    let eval = s.eval("r/model", &["skip_bad=true", "max_seconds=0.02"]).json();
    assert_eq!((&eval["splits"][0]["examples"], eval["splits"][0].get("counts")), (&json!(4), None), "{eval}");
    assert!(eval["metrics"]["cer"].as_f64().is_some_and(|rate| rate > 0.0), "{eval}");
}
