//! Tables of pyarrow, cell by cell, and what cut and damaged ones are answered with.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_tables::{Batch, ColumnKind, Table, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

fn fixtures(refused: bool) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut paths: Vec<_> = paths.filter(|path| !name(path).ends_with("json")).collect();
    paths.retain(|path| name(path).starts_with("refused") == refused);
    paths.sort();
    assert!(paths.len() > 1, "{paths:?}");
    paths
}

fn expected() -> serde_json::Map<String, Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/expected.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn json_of(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => json!(value),
        Value::Integer(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!(bytes),
    }
}

/// The cells of columns, column by column.
fn cells(bytes: &[u8], columns: &[&str]) -> Result<Vec<Vec<Json>>, lopper_tables::TableError> {
    let mut found = vec![Vec::new(); columns.len()];
    let mut next_row = 0;
    for batch in Table::read(Cursor::new(bytes.to_vec()))?.stream(columns)? {
        let Batch { first_row, rows, columns } = batch?;
        assert_eq!(first_row, next_row);
        next_row += rows as u64;
        for (cells, found) in columns.iter().zip(&mut found) {
            assert_eq!(cells.len(), rows);
            found.extend((0..rows).map(|row| json_of(cells.get(row))));
        }
        // What is made to mislead may repeat a cell as often as it likes; whoever reads stops.
        if next_row > 100_000 {
            break;
        }
    }
    Ok(found)
}

#[test]
fn every_encoding_gives_the_cells_that_pyarrow_reads() {
    let expected = expected();
    let columns: Vec<_> = expected.keys().map(String::as_str).collect();
    for path in fixtures(false) {
        let bytes = fs::read(&path).unwrap();
        let found = cells(&bytes, &columns).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for (name, found) in columns.iter().zip(found) {
            assert_eq!(Json::Array(found), expected[*name], "{} {name}", path.display());
        }
        // In another order, and one of them alone.
        let some = cells(&bytes, &["audio.path", "text"]).unwrap();
        assert_eq!(Json::Array(some[1].clone()), expected["text"], "{}", path.display());
    }
}

#[test]
fn single_rows_are_those_of_the_stream_in_any_order() {
    let expected = expected();
    let columns: Vec<_> = expected.keys().map(String::as_str).collect();
    for path in fixtures(false) {
        let mut reader = Table::open(&path).unwrap().stream(&columns).unwrap();
        let rows = 40;
        let forth_and_back = (0..rows).chain((0..rows).rev()).chain((0..rows).map(|row| row * 17 % rows));
        for row in forth_and_back {
            let batch = reader.row(row).unwrap_or_else(|e| panic!("{}, row {row}: {e}", path.display()));
            assert_eq!((batch.first_row, batch.rows), (row, 1));
            for (name, cells) in columns.iter().zip(&batch.columns) {
                assert_eq!(json_of(cells.get(0)), expected[*name][row as usize], "{}, {name}, {row}", path.display());
            }
        }
        // The iterator goes on behind it, also after its end.
        reader.row(30).unwrap();
        let first = reader.next().unwrap().unwrap();
        assert_eq!((first.first_row, json_of(first.columns[0].get(0))), (31, expected[columns[0]][31].clone()));
        assert!(reader.by_ref().all(|batch| batch.is_ok()));
        reader.row(39).unwrap();
        assert!(reader.next().is_none());
        for beyond in [40, 41, u64::MAX] {
            let message = reader.row(beyond).unwrap_err().to_string();
            assert!(message.contains(&format!("it has no row {beyond}")), "{}: {message}", path.display());
        }
        assert_eq!(reader.row(0).unwrap().first_row, 0);
    }
}

#[test]
fn columns_have_kinds_and_the_names_of_classes() {
    for path in fixtures(false) {
        let table = Table::open(&path).unwrap();
        let kind =
            |name: &str| table.columns().iter().find(|column| column.name.starts_with(name)).unwrap().kind.clone();
        assert_eq!(kind("text"), ColumnKind::Text);
        assert_eq!(kind("small"), ColumnKind::Integer);
        assert_eq!(kind("single"), ColumnKind::Float);
        assert_eq!(kind("flag"), ColumnKind::Boolean);
        assert_eq!(kind("audio.bytes"), ColumnKind::Bytes);
        assert_eq!(kind("tags"), ColumnKind::Other("lists".into()), "{}", path.display());
        let parquet = path.extension().unwrap() == "parquet";
        assert_eq!(table.rows(), parquet.then_some(40));
        // Written without a schema of Arrow.
        if path.ends_with("plain.parquet") {
            continue;
        }
        let small = table.columns().iter().find(|column| column.name == "small").unwrap();
        assert_eq!(small.classes.as_deref().unwrap(), ["no", "yes"]);
        assert!(table.columns()[0].classes.is_none());
    }
}

fn refused(bytes: &[u8], columns: &[&str], part: &str) {
    let message = cells(bytes, columns).unwrap_err().to_string();
    assert!(message.contains(part), "`{part}` is not in: {message}");
}

#[test]
fn what_is_not_read_is_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    refused(
        &read("refused_brotli.parquet"),
        &["text"],
        "compressed with Brotli; write it with Snappy, zstd, gzip or LZ4",
    );
    refused(&read("refused_zstd.arrow"), &["text"], "compressed buffers");
    for name in ["snappy.parquet", "stream.arrow"] {
        refused(&read(name), &["txt"], "no column `txt`; found `text`, `count`");
        refused(&read(name), &[], "no column was asked for");
        refused(&read(name)[..30], &["text"], "damaged");
    }
    refused(&read("snappy.parquet")[..900], &["text"], "the end of the Parquet file is missing; it may be cut short");
    refused(&read("snappy.parquet"), &["tags.list.element"], "holds lists, which is not read");
    refused(&read("stream.arrow"), &["tags.item"], "holds lists");
    refused(b"", &["text"], "is empty");
    refused(b"sentence\tlabel\n", &["text"], "neither a Parquet file nor an Arrow stream");
    refused(b"PARE....PARE", &["text"], "encrypted");
    // The checksum of a page.
    let mut bytes = read("gzip_small_pages.parquet");
    let place = bytes.windows(3).position(|bytes| bytes == [0x1f, 0x8b, 8]).unwrap();
    bytes[place + 12] ^= 1;
    refused(&bytes, &["text"], "CRC checksum");
}

#[test]
fn a_cut_file_is_damaged_wherever_it_is_cut() {
    let expected = expected();
    let columns: Vec<_> = expected.keys().map(String::as_str).collect();
    for path in fixtures(false) {
        let bytes = fs::read(&path).unwrap();
        let parquet = path.extension().unwrap() == "parquet";
        let whole = cells(&bytes, &columns).unwrap();
        for end in (0..bytes.len()).step_by(7) {
            match cells(&bytes[..end], &columns) {
                Err(_) => {}
                // A stream may end after any batch; a file of Arrow is read as its stream.
                Ok(found) => {
                    assert!(!parquet, "{} cut at {end}", path.display());
                    assert!(found.iter().zip(&whole).all(|(found, whole)| whole.starts_with(found)));
                }
            }
        }
    }
}

/// Says nothing of panics that begin in other people's crates and that are turned into errors: with their backtraces, this would
/// take minutes.
fn be_quiet_about_others() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|location| location.file().contains("registry")) {
                before(panic);
            }
        }));
    });
}

fn damage() -> impl Strategy<Value = (usize, Vec<(usize, u8)>)> {
    (0usize..100, prop::collection::vec((any::<usize>(), any::<u8>()), 1..6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn damaged_bytes_do_not_panic((file, places) in damage()) {
        be_quiet_about_others();
        let paths = fixtures(false);
        let mut bytes = fs::read(&paths[file % paths.len()]).unwrap();
        let length = bytes.len();
        // One in two near the end, where Parquet describes itself.
        for (number, (place, byte)) in places.into_iter().enumerate() {
            let place = if number % 2 == 0 { place % length } else { length - 1 - place % (length / 2) };
            bytes[place] = byte;
        }
        let columns: Vec<String> = match Table::read(Cursor::new(bytes.clone())) {
            Ok(table) => table.columns().iter().map(|column| column.name.clone()).collect(),
            Err(_) => return Ok(()),
        };
        for column in columns {
            drop(cells(&bytes, &[&column]));
            if let Ok(mut reader) = Table::read(Cursor::new(bytes.clone())).and_then(|table| table.stream(&[&column])) {
                [39, 3, 17, 16].into_iter().for_each(|row| drop(reader.row(row)));
            }
        }
    }
}
