//! Python's pickles as `torch.save` writes them, protocols 0 to 5, read without Python.
//!
//! A pickle is a program that calls what it names. Here it runs on a machine that can call nothing: names are looked up in
//! a list ([`allow`]), tensors become descriptions of where their entries lie, and whatever else the list permits is kept
//! as data. What a name outside the list would have done never happens, because nothing here could do it.
//!
//! Nodes lie in one array and refer to each other by place, so shared and circular objects cost nothing, no depth of
//! nesting overflows the stack, and what a pickle may take is counted before it is taken.

mod allow;
mod build;
mod codes;
mod input;
mod machine;
mod text;
mod value;

pub(crate) use input::Input;
pub(crate) use value::{Id, Node, TensorNode};
pub use value::{Pickle, Value};

use lopper_core::{Error, Result};
use std::io::Read;
use std::path::Path;

impl Pickle {
    /// Reads bytes that hold one pickle and nothing else; `path` names them in errors.
    ///
    /// # Errors
    /// [`Error::File`] for bytes that are no pickle, for one that names anything outside the list of what a checkpoint
    /// may hold, naming each such thing, and for one that would take more than 48 MiB and its own length.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let mut input = Input::new(bytes, bytes.len() as u64);
        let read = Self::read(&mut input).and_then(|pickle| input.finish().map(|()| pickle));
        read.map_err(|reason| Error::file(path, reason))
    }

    /// Reads one pickle and leaves the input behind its end.
    pub(crate) fn read(input: &mut Input<impl Read>) -> Result<Self, String> {
        machine::run(input)
    }
}
