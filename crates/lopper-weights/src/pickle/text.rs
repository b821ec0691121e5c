//! Values that the oldest protocols write as text, and integers of any length.

/// An integer: as it is, or in hexadecimal where 64 bits do not hold it.
#[derive(Debug, PartialEq)]
pub(crate) enum Integer {
    Small(i64),
    Big(String),
}

/// Longest integer that is kept, in bytes.
pub(crate) const MAX_INTEGER: usize = 1024;

/// Little-endian two's complement of any length up to [`MAX_INTEGER`]; no byte is zero.
pub(crate) fn integer(bytes: &[u8]) -> Integer {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let mut low = [fill; 8];
    let kept = bytes.len().min(8);
    low[..kept].copy_from_slice(&bytes[..kept]);
    let small = i64::from_le_bytes(low);
    if bytes.iter().skip(8).all(|byte| *byte == fill) && (bytes.len() <= 8 || (small < 0) == negative) {
        return Integer::Small(small);
    }
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in &mut magnitude {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let digits: String = magnitude.iter().rev().map(|byte| format!("{byte:02x}")).collect();
    Integer::Big(format!("{}0x{}", if negative { "-" } else { "" }, digits.trim_start_matches('0')))
}

/// The text of a `STRING` line, `'…'` or `"…"` with Python's escapes.
pub(crate) fn quoted(line: &str) -> Option<String> {
    let quote = line.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = line.strip_prefix(quote)?.strip_suffix(quote)?;
    unescape(inner, |letter| match letter {
        'n' => Some(Escape::Char('\n')),
        't' => Some(Escape::Char('\t')),
        'r' => Some(Escape::Char('\r')),
        '\\' | '\'' | '"' => Some(Escape::Char(letter)),
        'x' => Some(Escape::Code(2)),
        _ => None,
    })
}

/// The text of a `UNICODE` line, in which only `\uXXXX` and `\UXXXXXXXX` mean something.
pub(crate) fn raw_unicode(line: &str) -> Option<String> {
    unescape(line, |letter| match letter {
        'u' => Some(Escape::Code(4)),
        'U' => Some(Escape::Code(8)),
        _ => Some(Escape::Nothing),
    })
}

enum Escape {
    Char(char),
    /// So many hexadecimal digits follow.
    Code(usize),
    /// Backslash and letter stand for themselves.
    Nothing,
}

fn unescape(text: &str, meaning: impl Fn(char) -> Option<Escape>) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let Some(letter) = after.chars().next() else {
            plain.push('\\');
            return Some(plain);
        };
        rest = match meaning(letter)? {
            Escape::Char(c) => {
                plain.push(c);
                &after[letter.len_utf8()..]
            }
            Escape::Code(digits) => {
                let code = after.get(1..1 + digits)?;
                let valid = code.bytes().all(|byte| byte.is_ascii_hexdigit());
                plain.push(char::from_u32(u32::from_str_radix(code, 16).ok().filter(|_| valid)?)?);
                &after[1 + digits..]
            }
            Escape::Nothing => {
                plain.extend(['\\', letter]);
                &after[letter.len_utf8()..]
            }
        };
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length() {
        let cases: [(&[u8], Integer); 8] = [
            (&[], Integer::Small(0)),
            (&[0xff], Integer::Small(-1)),
            (&[0xff, 0], Integer::Small(255)),
            (&i64::MIN.to_le_bytes(), Integer::Small(i64::MIN)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], Integer::Big("0xffffffffffffffff".into())),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0], Integer::Small(1)),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0xff], Integer::Big("-0x10000000000000000".into())),
            (
                &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19],
                Integer::Big("0x1950a86a20f9469cfc6c".into()),
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(integer(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn text_of_protocol_0() {
        assert_eq!(quoted(r"'a\'\\\n\xe9'").unwrap(), "a'\\\n\u{e9}");
        assert_eq!(quoted("\"it's\"").unwrap(), "it's");
        for bad in ["", "'", "a", "'a\"", r"'\q'", r"'\x4'", r"'\x+1'"] {
            assert_eq!(quoted(bad), None, "{bad}");
        }
        assert_eq!(raw_unicode(r"a\u00e9\U0001f600\n\\u").unwrap(), "a\u{e9}\u{1f600}\\n\\\\u");
        assert_eq!(raw_unicode("end\\").unwrap(), "end\\");
        for bad in [r"\ud800", r"\u12", r"\U00110000", "\\u\u{e9}\u{e9}"] {
            assert_eq!(raw_unicode(bad), None, "{bad}");
        }
    }
}
