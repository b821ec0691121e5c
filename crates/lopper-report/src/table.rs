//! CSV by RFC 4180: a header, lines that end with CR LF, quotes only where they are needed.

use crate::stats::Summary;

/// Rows below a header.
pub(crate) fn csv(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let mut write = |row: Vec<String>| writer.write_record(row).expect("a vector takes all rows of one width");
    write(header.iter().map(|name| (*name).to_owned()).collect());
    rows.into_iter().for_each(&mut write);
    let bytes = writer.into_inner().expect("a vector is never full");
    String::from_utf8(bytes).expect("text was written")
}

/// `n`, `mean`, `low`, `high`; empty where there is no mean or no interval.
pub(crate) fn fields(summary: Option<&Summary>) -> [String; 4] {
    match summary {
        None => ["0".into(), String::new(), String::new(), String::new()],
        Some(s) => {
            let end = |value: f64| s.half.map(|_| value.to_string()).unwrap_or_default();
            [s.n.to_string(), s.mean.to_string(), end(s.low()), end(s.high())]
        }
    }
}
