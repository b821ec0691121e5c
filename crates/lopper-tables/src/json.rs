//! The elements of a JSON array, found without parsing all of it.

/// The element texts of a JSON array, each with the number of its first line, from 1; a reason where the array breaks off.
/// `None` for bytes that begin with no array.
pub fn elements(bytes: &[u8]) -> Option<Elements<'_>> {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace())?;
    (bytes[start] == b'[').then_some(Elements { bytes, at: start + 1, counted: 0, line: 1, state: State::First })
}

/// What [`elements`] returns.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Up to where lines were counted, and the number of the line there.
    counted: usize,
    line: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    First,
    After,
    Ended,
}

impl<'a> Elements<'a> {
    fn skip_space(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn line(&mut self) -> u64 {
        self.line += self.bytes[self.counted..self.at].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted = self.at;
        self.line
    }

    fn refuse(&mut self, reason: &str) -> Option<(u64, Result<&'a str, String>)> {
        self.state = State::Ended;
        Some((self.line(), Err(reason.to_owned())))
    }

    /// Goes to the comma or the bracket after the value at hand; false where there is none.
    fn pass(&mut self) -> bool {
        let (mut depth, mut text) = (0u64, false);
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'\\' if text => self.at += 1,
                b'"' => text = !text,
                _ if text => {}
                b',' | b']' if depth == 0 => return true,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
        self.at = self.bytes.len();
        false
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u64, Result<&'a str, String>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let next = self.skip_space();
        match (self.state, next) {
            (_, Some(b']')) => {
                self.at += 1;
                self.state = State::Ended;
                return match self.skip_space() {
                    None => None,
                    Some(_) => self.refuse("something follows the end of the JSON array"),
                };
            }
            (_, None) => return self.refuse("the JSON array is not closed; the file may be cut short"),
            (State::After, Some(b',')) => {
                self.at += 1;
                self.skip_space();
            }
            (State::First, _) => {}
            (_, Some(_)) => return self.refuse("a comma is missing in the JSON array"),
        }
        let (line, start) = (self.line(), self.at);
        if !self.pass() {
            return self.refuse("the JSON array is not closed; the file may be cut short");
        }
        self.state = State::After;
        let text = std::str::from_utf8(self.bytes[start..self.at].trim_ascii());
        Some((line, text.map_err(|e| format!("byte {} of its element is not UTF-8", e.valid_up_to() + 1))))
    }
}
