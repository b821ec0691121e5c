//! What each code of a pickle does.

use super::input::per_item;
use super::machine::{EMPTY, FALSE, Machine, NONE, TRUE};
use super::text::{Integer, MAX_INTEGER, integer, quoted, raw_unicode};
use super::value::{Id, Node};
use std::io::Read;

/// The newest protocol.
const PROTOCOL: u8 = 5;

impl<R: Read> Machine<'_, R> {
    /// Does what one code says; the end of the program is not one of them.
    pub(super) fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            0x80 => match self.input.byte()? {
                0..=PROTOCOL => Ok(()),
                newer => Err(format!("it is of protocol {newer}; 0 to {PROTOCOL} are read")),
            },
            0x95 => {
                let length = u64::from_le_bytes(self.input.array()?);
                let left = self.input.remaining();
                if length <= left { Ok(()) } else { Err(format!("a frame has {length} bytes where {left} are left")) }
            }

            b'N' => self.push(NONE),
            0x88 => self.push(TRUE),
            0x89 => self.push(FALSE),
            b'K' => {
                let value = self.input.byte()?;
                self.add(Node::Int(value.into()))
            }
            b'M' => {
                let value = u16::from_le_bytes(self.input.array()?);
                self.add(Node::Int(value.into()))
            }
            b'J' => {
                let value = i32::from_le_bytes(self.input.array()?);
                self.add(Node::Int(value.into()))
            }
            b'G' => {
                let value = f64::from_be_bytes(self.input.array()?);
                self.add(Node::Float(value))
            }
            0x8a | 0x8b => {
                let length = if code == 0x8a { self.input.byte()?.into() } else { self.length4()? };
                if length > MAX_INTEGER as u64 {
                    return Err(format!("an integer has {length} bytes; {MAX_INTEGER} are accepted"));
                }
                let bytes = self.input.bytes(length)?;
                self.add_integer(&bytes)
            }
            b'I' | b'L' | b'F' | b'S' | b'V' => self.text_line(code),

            b'U' | b'T' => {
                let length = if code == b'U' { self.input.byte()?.into() } else { self.length4()? };
                // Python 2 did not tell text from bytes.
                let node = match String::from_utf8(self.input.bytes(length)?) {
                    Ok(text) => Node::Str(text.into()),
                    Err(bytes) => Node::Bytes(bytes.into_bytes().into()),
                };
                self.add(node)
            }
            0x8c | b'X' | 0x8d => {
                let length = self.length(code, 0x8c, b'X')?;
                let text = self.input.text(length)?;
                self.add(Node::Str(text.into()))
            }
            b'C' | b'B' | 0x8e | 0x96 => {
                let length = self.length(code, b'C', b'B')?;
                let bytes = self.input.bytes(length)?;
                self.add(Node::Bytes(bytes.into()))
            }

            b')' => self.push(EMPTY),
            0x85..=0x87 => {
                let items = self.take(usize::from(code - 0x84))?;
                self.add_tuple(items)
            }
            b't' => {
                let items = self.take_marked()?;
                self.add_tuple(items)
            }
            b']' => self.add(Node::List(Vec::new())),
            b'l' => {
                let items = self.take_marked()?;
                self.add(Node::List(items))
            }
            b'}' => self.add(Node::Dict(Vec::new())),
            b'd' => {
                let entries = self.pairs()?;
                self.add(Node::Dict(entries))
            }
            0x8f => self.add(Node::Set(Vec::new())),
            0x91 => {
                let items = self.take_marked()?;
                self.add(Node::Set(items))
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])
            }
            b'e' | 0x90 => {
                let items = self.take_marked()?;
                self.extend(&items)
            }
            b's' => {
                let pair = self.take(2)?;
                self.set_entries(&[(pair[0], pair[1])])
            }
            b'u' => {
                let entries = self.pairs()?;
                self.set_entries(&entries)
            }

            b'(' => {
                self.input.charge(per_item::<u32>(1))?;
                self.marks.push(self.stack.len() as u32);
                Ok(())
            }
            b'0' if self.floor() == self.stack.len() && self.marks.pop().is_some() => Ok(()),
            b'0' => self.pop().map(drop),
            b'1' => self.take_marked().map(drop),
            b'2' => {
                let top = self.top()?;
                self.push(top)
            }
            b'p' | b'q' | b'r' => {
                let place = self.memo_place(code, b'p', b'q')?;
                self.remember(place)
            }
            0x94 => self.remember(self.memo.len() as u32),
            b'g' | b'h' | b'j' => {
                let place = self.memo_place(code, b'g', b'h')?;
                let id = *self.memo.get(&place).ok_or_else(|| format!("nothing is remembered as {place}"))?;
                self.push(id)
            }

            b'c' => {
                let id = self.class_line()?;
                self.push(id)
            }
            0x93 => {
                let names = self.take(2)?;
                let (Node::Str(module), Node::Str(name)) = (self.node(names[0]), self.node(names[1])) else {
                    return Err("a global has a name that is no text".into());
                };
                let (module, name) = (module.clone(), name.clone());
                let id = self.class(&module, &name)?;
                self.push(id)
            }
            b'R' | 0x81 => {
                let parts = self.take(2)?;
                self.make(parts[0], parts[1])
            }
            0x92 => {
                let parts = self.take(3)?;
                if !matches!(self.node(parts[2]), Node::Dict(named) if named.is_empty()) {
                    return Err("an object is made with named arguments".into());
                }
                self.make(parts[0], parts[1])
            }
            b'i' => {
                let class = self.class_line()?;
                let arguments = self.take_marked()?;
                self.make_with(class, arguments)
            }
            b'o' => {
                let mut parts = self.take_marked()?;
                if parts.is_empty() {
                    return Err("an object is made without a class".into());
                }
                let class = parts.remove(0);
                self.make_with(class, parts)
            }
            b'b' => {
                let state = self.pop()?;
                self.set_state(state)
            }
            b'Q' => {
                let id = self.pop()?;
                self.storage(id)
            }

            b'P' => Err("it refers to something outside by text".into()),
            0x82..=0x84 => Err("it uses codes of an extension registry".into()),
            0x97 | 0x98 => Err("it refers to buffers outside".into()),
            _ => Err(format!("{code:#04x} is no code of a pickle")),
        }
    }

    /// The length that a code is followed by: of one, four or else eight bytes.
    fn length(&mut self, code: u8, one: u8, four: u8) -> Result<u64, String> {
        if code == one {
            self.input.byte().map(u64::from)
        } else if code == four {
            self.length4()
        } else {
            self.input.array().map(u64::from_le_bytes)
        }
    }

    fn length4(&mut self) -> Result<u64, String> {
        self.input.array().map(|bytes| u32::from_le_bytes(bytes).into())
    }

    fn memo_place(&mut self, code: u8, line: u8, one: u8) -> Result<u32, String> {
        if code == line {
            let text = self.input.line()?;
            text.parse().map_err(|_| format!("{text:?} is no place to remember something"))
        } else if code == one {
            self.input.byte().map(u32::from)
        } else {
            self.input.array().map(u32::from_le_bytes)
        }
    }

    fn text_line(&mut self, code: u8) -> Result<(), String> {
        let line = match code {
            // What Python calls raw-unicode-escape is Latin-1 beside its escapes.
            b'V' => self.input.raw_line()?.into_iter().map(char::from).collect(),
            _ => self.input.line()?,
        };
        let node = match code {
            b'I' if line == "00" => return self.push(FALSE),
            b'I' if line == "01" => return self.push(TRUE),
            b'I' | b'L' => decimal(line.strip_suffix('L').unwrap_or(&line)),
            b'F' => line.parse().ok().map(Node::Float),
            b'S' => quoted(&line).map(|text| Node::Str(text.into())),
            _ => raw_unicode(&line).map(|text| Node::Str(text.into())),
        };
        self.input.charge(per_item::<u8>(line.len()))?;
        self.add(node.ok_or_else(|| format!("{line:?} is no value of its kind"))?)
    }

    fn add_integer(&mut self, bytes: &[u8]) -> Result<(), String> {
        match integer(bytes) {
            Integer::Small(value) => self.add(Node::Int(value)),
            Integer::Big(text) => {
                self.input.charge(text.len() as u64)?;
                self.add(Node::Big(text.into()))
            }
        }
    }

    fn class_line(&mut self) -> Result<Id, String> {
        let (module, name) = (self.input.line()?, self.input.line()?);
        self.class(&module, &name)
    }
}

/// An integer in digits, as text if 64 bits do not hold it.
fn decimal(digits: &str) -> Option<Node> {
    let plain = digits.strip_prefix('-').unwrap_or(digits);
    let valid = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().map_or_else(|_| Node::Big(digits.into()), Node::Int))
}
