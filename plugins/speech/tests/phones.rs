//! Phones that are numbers, as CPC_audio writes them for Common Voice, and the files that say which phones they are; the
//! names of its lists and languages.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{labels, logged, open, refused, second, write};
use lopper_core::{Dataset, Predictions, Split};
use std::fs;
use std::path::Path;
use tch::Tensor;

/// A language's directory, as CPC_audio lays it out, with made phones: lists of names, and a line of phones for each.
fn language(directory: &Path, train: &[&str], validation: &[&str], symbols: Option<&str>) {
    let mut phones = String::new();
    for (list, rows) in [("trainSeqs_1.0_uniform_new_version", train), ("valSeqs_1.0_uniform_new_version", validation)]
    {
        let names: Vec<String> = (0..rows.len()).map(|number| format!("cv_{list}_{number}")).collect();
        for (name, row) in names.iter().zip(rows) {
            second(&directory.join(format!("clips/{name}.wav")));
            phones += &format!("{name} {row}\n");
        }
        write(&directory.join(format!("{list}.txt")), names.join("\n"));
    }
    write(&directory.join("validated_phones_reduced.txt"), phones);
    if let Some(symbols) = symbols {
        write(&directory.join("phonesMatches_reduced.json"), symbols);
    }
}

/// The empty string is a phone, one is of two code points, and two numbers are never used.
const SPANISH: &str = r#"{"t": 0, "e": 1, "t\u0283": 4, "": 2, "\u03b2": 7, "o\u026a": 5, "a": 3}"#;
/// Its numbers mean other phones.
const FRENCH: &str = r#"{"\u0281": 0, "a": 1, "\u025b\u0303": 2, "t": 3}"#;

const JOINT: &str = "unit = 'phones'\nlanguages = ['es', 'fr']\ntrain = '{language}/trainSeqs_1.0_uniform_new_version.txt'\n\
                     validation = '{language}/valSeqs_1.0_uniform_new_version.txt'\n\
                     phones = '{language}/validated_phones_reduced.txt'\nclips = '{language}/clips'\n";

fn two(path: &Path, spanish: Option<&str>, french: Option<&str>) {
    language(&path.join("es"), &["0 1 2 3", "4 3 2"], &["0 3", "2 4"], spanish);
    language(&path.join("fr"), &["0 1 2", "3 1"], &["0 2"], french);
}

#[test]
fn numbers_of_several_languages_become_the_phones_that_they_share() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    two(path, Some(SPANISH), Some(FRENCH));
    let (data, log) = logged(|| open(path, JOINT).unwrap());
    // By how often each is there: a t, the empty one, then one each.
    assert_eq!(data.dictionary().symbols()[4..], ["a", "", "t", "e", "tʃ", "ɛ̃", "ʁ"]);
    assert_eq!(labels(&data, &Split::TRAIN), ["t e  a", "tʃ a ", "ʁ a ɛ̃", "t a"]);
    let (spanish, french) = (Split::named("validation_es"), Split::named("validation_fr"));
    assert_eq!(
        (labels(&data, &spanish), labels(&data, &french)),
        (vec!["t a".into(), " tʃ".into()], vec!["ʁ ɛ̃".into()])
    );
    let files: Vec<_> = log.iter().filter(|line| line.contains("phonesMatches_reduced.json")).collect();
    assert!(files.len() == 2 && files.iter().all(|line| line.starts_with("INFO")), "{log:?}");
    assert!(files[0].contains("es/validated_phones_reduced.txt") && files[1].contains("fr/phonesMatches"), "{log:?}");
    // Named, they are the same; so are the phones themselves in the place of their numbers.
    let named = format!("{JOINT}phone_symbols = '{{language}}/phonesMatches_reduced.json'");
    assert_eq!(open(path, &named).unwrap().identity(&Split::TRAIN), data.identity(&Split::TRAIN));
    // The phone that is the empty string is one to get right: "2 4" answered by "4" is one error in two.
    let id = |symbol: &str| data.dictionary().id(symbol).unwrap() as usize;
    let say = |rows: [&[&str]; 2]| {
        let (time, width) = (4, data.dictionary().len());
        let mut logits = vec![0f32; 2 * time * width];
        for (row, said) in rows.iter().enumerate() {
            for step in 0..time {
                let output = if step % 2 == 0 { said.get(step / 2).map_or(0, |symbol| id(symbol)) } else { 0 };
                logits[(row * time + step) * width + output] = 1.0;
            }
        }
        let logits = Tensor::from_slice(&logits).reshape([2, time as i64, width as i64]);
        let metrics = data.evaluate(&spanish, &[(vec![0, 1], Predictions { logits, lengths: None })]).unwrap().metrics;
        metrics.into_iter().find(|metric| metric.name == "per").unwrap().value
    };
    assert_eq!((say([&["t", "a"], &["", "tʃ"]]), say([&["t", "a"], &["tʃ"]])), (0.0, 0.25));
}

#[test]
fn what_a_stage_is_known_by_changes_with_the_phones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let identities = |spanish: Option<&str>| {
        let _ = fs::remove_file(path.join("es/phonesMatches_reduced.json"));
        two(path, spanish, Some(FRENCH));
        let data = open(path, &JOINT.replace("'es', 'fr'", "'es'")).unwrap();
        [Split::TRAIN, Split::named("validation_es")].map(|split| data.identity(&split))
    };
    let first = identities(Some(SPANISH));
    // A number that no row has changes nothing.
    assert_eq!(identities(Some(&SPANISH.replace(r#""\u03b2": 7"#, r#""\u03b3": 8"#))), first);
    let swapped = SPANISH.replace(r#""t": 0, "e": 1"#, r#""e": 0, "t": 1"#);
    let others = [identities(Some(&swapped)), identities(None)];
    for split in 0..2 {
        assert!(
            others[0][split] != first[split]
                && others[1][split] != first[split]
                && others[0][split] != others[1][split]
        );
    }
}

#[test]
fn languages_are_never_joined_by_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    two(path, Some(SPANISH), None);
    let message = |options: &str| open(path, options).err().expect("accepted").to_string();
    let missing = "fr are numbers (";
    for options in
        [JOINT, &JOINT.replace("languages", "dictionary = { vocabulary = ['<s>', '0', '1'], blank = 0 }\nlanguages")]
    {
        let found = message(options);
        for part in [
            "[data] phone_symbols = (not given) is not accepted: the phones of ",
            missing,
            "fr/validated_phones_reduced.txt",
            "such as \"{language}/phonesMatches_reduced.json\"",
            "fr/phonesMatches_reduced.json is not there",
        ] {
            assert_eq!(found.matches(part).count(), 1, "`{part}` in: {found}");
        }
        assert!(!found.contains('\n'), "{found}");
    }
    // Neither is the task that they make.
    let table: toml::Table = format!("path = '{}'\n{JOINT}", path.display()).parse().unwrap();
    assert_eq!(lopper_speech::task(&table).unwrap_err().to_string(), message(JOINT));
    // Both of them, and asked to leave them so.
    two(path, Some(SPANISH), Some(FRENCH));
    refused(
        path,
        &format!("{JOINT}phone_symbols = 'numbers'"),
        &["phone_symbols = `numbers`", "the phones of es, fr are numbers"],
    );
    // One language's file for both.
    let own =
        "each language has its own numbers; give each its own file, such as \"{language}/phonesMatches_reduced.json\"";
    refused(path, &format!("{JOINT}phone_symbols = 'es/phonesMatches_reduced.json'"), &[own]);
    fs::remove_file(path.join("fr/phonesMatches_reduced.json")).unwrap();
    let named = format!("{JOINT}phone_symbols = '{{language}}/phonesMatches_reduced.json'");
    refused(path, &named, &["fr/phonesMatches_reduced.json: does not exist; give `phone_symbols` a JSON object"]);
    // In one directory, the file is one of them's.
    for language in ["es", "fr"] {
        write(&path.join(format!("{language}.txt")), "a 0 1\n");
        write(&path.join(format!("{language}.jsonl")), "{\"audio\": \"a.wav\", \"phones\": \"x\"}\n");
    }
    second(&path.join("a.wav"));
    write(&path.join("phonesMatches_reduced.json"), FRENCH);
    let flat = "unit = 'phones'\nlanguages = ['es', 'fr']\nphones = '{language}.txt'\ntrain = '{language}.jsonl'\nvalidation = '{language}.jsonl'";
    refused(path, flat, &["the phones of es, fr are numbers", "is there for all of them"]);
    // Manifests and JSON lines have them too.
    for language in ["es", "fr"] {
        write(&path.join(format!("{language}/a.jsonl")), "{\"audio\": \"../a.wav\", \"phones\": [\"0\", \"1\"]}\n");
    }
    let lines =
        "unit = 'phones'\nlanguages = ['es', 'fr']\ntrain = '{language}/a.jsonl'\nvalidation = '{language}/a.jsonl'";
    refused(path, lines, &[missing, "a.jsonl"]);
    // Numbers that all languages share, as PARP's authors wrote them.
    write(&path.join("global_IPA.json"), r#"{"t": 0, "a": 1}"#);
    for language in ["es", "fr"] {
        write(&path.join(format!("{language}/reduced_global_IPA.txt")), "a 0 1\n");
    }
    let global = flat.replace("{language}.txt", "{language}/reduced_global_IPA.txt");
    assert_eq!(labels(&open(path, &global).unwrap(), &Split::TRAIN), ["t a", "t a"]);
    fs::rename(path.join("global_IPA.json"), path.join("all.json")).unwrap();
    refused(path, &global, &["such as \"global_IPA.json\""]);
    let named = format!("{global}\nphone_symbols = 'all.json'");
    assert_eq!(labels(&open(path, &named).unwrap(), &Split::named("validation_fr")), ["t a"]);
}

#[test]
fn one_language_may_keep_its_numbers_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    two(path, None, None);
    let one = JOINT.replace("'es', 'fr'", "'es'");
    let told = |options: &str| {
        let (data, log) = logged(|| open(path, options).unwrap());
        (
            data.dictionary().symbols()[4..].to_vec(),
            log.into_iter().filter(|line| line.contains("umbers")).collect::<Vec<_>>(),
        )
    };
    let (symbols, log) = told(&one);
    assert_eq!(symbols, ["2", "3", "0", "1", "4"]);
    assert!(
        matches!(&log[..], [line] if line.starts_with("WARN") && line.contains("`phone_symbols` names the file")),
        "{log:?}"
    );
    // As they are asked to be; and without the language among the options.
    write(&path.join("es/phonesMatches_reduced.json"), SPANISH);
    assert_eq!(told(&format!("{one}phone_symbols = 'numbers'")), (symbols, Vec::new()));
    let alone =
        format!("path = '{}/es'\n{}", path.display(), one.replace("{language}/", "").replace("languages = ['es']", ""));
    let (symbols, log) = told(&alone);
    assert_eq!(symbols, ["", "a", "e", "t", "tʃ"]);
    assert!(matches!(&log[..], [line] if line.starts_with("INFO")), "{log:?}");
    // The phones of all sentences have numbers of their own, in a file of their own.
    fs::rename(path.join("es/validated_phones_reduced.txt"), path.join("es/validated_phones.txt")).unwrap();
    let all = one.replace("phones_reduced", "phones");
    assert_eq!(told(&all).0, ["2", "3", "0", "1", "4"]);
    write(&path.join("es/phonesMatches.json"), r#"{"p": 0, "u": 1, "i": 2, "f": 3, "s": 4}"#);
    assert_eq!(told(&all).0, ["f", "i", "p", "s", "u"]);
    // What is no number is what it is, digits among other symbols too, as X-SAMPA has them.
    write(
        &path.join("es/x.jsonl"),
        "{\"audio\": \"clips/cv_valSeqs_1.0_uniform_new_version_0.wav\", \"phones\": \"2 9 t\"}\n",
    );
    let sampa = "unit = 'phones'\ntrain = 'es/x.jsonl'\nvalidation = 'es/x.jsonl'";
    assert_eq!(told(sampa), (vec!["2".into(), "9".into(), "t".into()], Vec::new()));
    refused(
        path,
        "phone_symbols = 'es/phonesMatches.json'\nvalidation = 'es/x.jsonl'",
        &["`unit = \"phones\"` with it"],
    );
}

#[test]
fn what_is_wrong_with_the_phones_numbers_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    two(path, Some(r#"{"t": 0, "e": 1, "k": 1, "a": 3, "s": 4}"#), Some(FRENCH));
    let message = open(path, JOINT).err().unwrap().to_string();
    for part in [
        "validated_phones_reduced.txt, line 1: has the number 1 (1 time in all), and ",
        "es/phonesMatches_reduced.json gives it to `e` and to `k`",
        "validated_phones_reduced.txt, line 1: has the number 2 (2 times in all), and ",
        "validated_phones_reduced.txt, line 4: has the number 2 (1 time in all), and ",
    ] {
        assert_eq!(message.matches(part).count(), 1, "`{part}` in: {message}");
    }
    // No row is left out for it.
    refused(path, &format!("{JOINT}skip_bad = true"), &["gives it to no phone and may belong to other phones"]);
    for (text, part) in [
        ("", "is not JSON"),
        ("[]", "a JSON object from phones to their numbers"),
        ("{}", "holds no phones; a JSON object"),
        (r#"{"0": "t"}"#, "`0` has "),
        (r#"{"t": -1}"#, "`t` has `-1`; "),
        (&format!("{{\"{}\": 0}}", "t".repeat(41)), "is 41 bytes long; a phone has at most 40"),
        (r#"{"t": 1.5}"#, "`t` has `1.5`; "),
    ] {
        write(&path.join("es/phonesMatches_reduced.json"), text);
        let found = open(path, JOINT).err().unwrap().to_string();
        assert!(
            found.contains("es/phonesMatches_reduced.json: ") && (part == "is not JSON" || found.contains(part)),
            "{found}"
        );
    }
    two(path, Some(SPANISH), Some(FRENCH));
    let phones = fs::read_to_string(path.join("fr/validated_phones_reduced.txt")).unwrap();
    write(&path.join("fr/validated_phones_reduced.txt"), phones.replacen("3 1", "3 ʁ", 1));
    refused(path, JOINT, &["fr/validated_phones_reduced.txt, line 2: has `ʁ`, and other rows have numbers"]);
}

#[test]
fn lists_and_languages_are_found_under_their_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    two(path, Some(SPANISH), Some(FRENCH));
    let validation = |languages: &str| {
        let options = JOINT.replace("'es', 'fr'", languages).replace("/valSeqs", "/validationSeqs");
        logged(|| open(path, &options))
    };
    let (data, log) = validation("'es', 'fr'");
    assert_eq!(labels(&data.unwrap(), &Split::named("validation_fr")), ["ʁ ɛ̃"]);
    let stands: Vec<_> = log.iter().filter(|line| line.contains("is read in its place")).collect();
    assert!(
        stands.len() == 2 && stands[0].starts_with("WARN") && stands[1].contains("fr/validationSeqs_1.0"),
        "{log:?}"
    );
    // The other way round, and what is named comes first.
    fs::rename(
        path.join("fr/valSeqs_1.0_uniform_new_version.txt"),
        path.join("fr/validationSeqs_1.0_uniform_new_version.txt"),
    )
    .unwrap();
    assert_eq!(labels(&open(path, JOINT).unwrap(), &Split::named("validation_fr")), ["ʁ ɛ̃"]);
    fs::copy(
        path.join("fr/trainSeqs_1.0_uniform_new_version.txt"),
        path.join("fr/valSeqs_1.0_uniform_new_version.txt"),
    )
    .unwrap();
    let (data, log) = validation("'es', 'fr'");
    assert_eq!(data.unwrap().len(&Split::named("validation_fr")), 1);
    assert_eq!(log.iter().filter(|line| line.contains("is read in its place")).count(), 1);
    // Languages with and without their regions.
    fs::rename(path.join("es"), path.join("sv-SE")).unwrap();
    fs::rename(path.join("fr"), path.join("zh")).unwrap();
    let (data, log) = validation("'sv', 'zh-CN'");
    let data = data.unwrap();
    let splits: Vec<_> = data.evaluation_splits().iter().map(|split| split.as_str().to_owned()).collect();
    assert_eq!(splits, ["validation_sv", "validation_zh-CN"]);
    assert_eq!(labels(&data, &Split::named("validation_zh-CN")), ["ʁ ɛ̃"]);
    let line = log.iter().find(|line| line.contains("zh-CN/trainSeqs"));
    assert!(line.is_some_and(|line| line.contains("zh/trainSeqs")), "{log:?}");
    // One of two regions would be a guess, and another language's directory is its own.
    fs::rename(path.join("zh"), path.join("zh-CN")).unwrap();
    assert_eq!(validation("'zh'").0.unwrap().len(&Split::TRAIN), 2);
    assert!(validation("'zh', 'zh-CN'").0.err().unwrap().to_string().contains("zh/validated_phones"));
    fs::create_dir(path.join("zh-TW")).unwrap();
    let message = validation("'zh'").0.err().unwrap().to_string();
    assert!(message.contains("zh/validated_phones_reduced.txt: does not exist"), "{message}");
}

#[test]
fn rows_of_a_language_may_name_its_region() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    second(&path.join("a.wav"));
    let table = "path\tsentence\tlocale\na.wav\tA\tsv-SE\na.wav\tB\tga\na.wav\tC\tzh-CN\na.wav\tD\tzh-TW\n";
    write(&path.join("train.tsv"), table);
    write(&path.join("dev.tsv"), table);
    let told = |languages: &str| labels(&open(path, &format!("languages = {languages}")).unwrap(), &Split::TRAIN);
    assert_eq!(told("['sv', 'ga-IE', 'zh-TW']"), ["A |", "B |", "D |"]);
    assert_eq!(told("['zh']"), ["C |", "D |"]);
    assert_eq!(told("['zh', 'zh-TW']"), ["C |", "D |"]);
}
