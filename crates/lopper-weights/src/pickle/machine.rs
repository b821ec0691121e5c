//! The stack machine that pickles are programs of. It puts values together and looks names up; it calls nothing.

use super::allow;
use super::input::{Input, per_item};
use super::value::{Class, Id, Node, Pickle};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Most refused names that are listed.
const MAX_REFUSED: usize = 20;

pub(super) const NONE: Id = 0;
pub(super) const FALSE: Id = 1;
pub(super) const TRUE: Id = 2;
pub(super) const EMPTY: Id = 3;

/// Runs one pickle to its end.
///
/// # Errors
/// The names that are not on the list, if there are any; else what is wrong, and where.
pub(crate) fn run(input: &mut Input<impl Read>) -> Result<Pickle, String> {
    let start = input.position();
    let nodes = vec![Node::None, Node::Bool(false), Node::Bool(true), Node::Tuple(Box::default())];
    let mut machine =
        Machine { input, nodes, stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new(), refused: BTreeSet::new() };
    let end = machine.execute();
    let Machine { input, nodes, refused, .. } = machine;
    if !refused.is_empty() {
        let names = refused.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(format!("names {names}: not on the list of what a checkpoint may hold; nothing of it was run"));
    }
    let at = input.position() - start;
    end.map(|root| Pickle { nodes, root }).map_err(|reason| format!("its pickle is not read: byte {at}: {reason}"))
}

pub(crate) struct Machine<'a, R> {
    pub(crate) input: &'a mut Input<R>,
    pub(crate) nodes: Vec<Node>,
    pub(super) stack: Vec<Id>,
    /// Heights of the stack.
    pub(super) marks: Vec<u32>,
    pub(super) memo: BTreeMap<u32, Id>,
    refused: BTreeSet<String>,
}

impl<R: Read> Machine<'_, R> {
    fn execute(&mut self) -> Result<Id, String> {
        loop {
            let code = self.input.byte()?;
            if code == b'.' {
                let root = self.pop()?;
                return if self.stack.is_empty() { Ok(root) } else { Err("values are left over at its end".into()) };
            }
            self.step(code)?;
        }
    }

    /// A name, looked up. One that is refused is noted, and nothing is made with it: the rest is read for other such names.
    pub(super) fn class(&mut self, module: &str, name: &str) -> Result<Id, String> {
        let length = module.len() + name.len();
        if length > 1024 {
            return Err(format!("a global has a name of {length} bytes"));
        }
        let role = allow::role(module, name).unwrap_or_else(|| {
            self.refuse(module, name);
            allow::Role::Refused
        });
        self.input.charge((size_of::<Class>() + length) as u64)?;
        self.node_of(Node::Class(Box::new(Class { module: module.into(), name: name.into(), role })))
    }

    /// Notes a name that is refused, so that in the end the whole pickle is.
    pub(crate) fn refuse(&mut self, module: &str, name: &str) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.insert(format!("{module}.{name}").escape_debug().to_string());
        }
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// A new node; its heap beside the node itself has been counted.
    pub(crate) fn node_of(&mut self, node: Node) -> Result<Id, String> {
        self.input.charge(per_item::<Node>(1))?;
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    pub(crate) fn add(&mut self, node: Node) -> Result<(), String> {
        let id = self.node_of(node)?;
        self.push(id)
    }

    pub(super) fn add_tuple(&mut self, items: Vec<Id>) -> Result<(), String> {
        self.add(Node::Tuple(items.into()))
    }

    pub(crate) fn push(&mut self, id: Id) -> Result<(), String> {
        self.input.charge(per_item::<Id>(1))?;
        self.stack.push(id);
        Ok(())
    }

    /// How far down values may be taken.
    pub(super) fn floor(&self) -> usize {
        self.marks.last().map_or(0, |mark| *mark as usize)
    }

    pub(crate) fn top(&self) -> Result<Id, String> {
        let top = self.stack.last().filter(|_| self.stack.len() > self.floor());
        top.copied().ok_or_else(|| "it takes a value where there is none".to_owned())
    }

    pub(super) fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<Vec<Id>, String> {
        match self.stack.len().checked_sub(count).filter(|rest| *rest >= self.floor()) {
            Some(rest) => self.cut(rest),
            None => Err("it takes a value where there is none".to_owned()),
        }
    }

    pub(super) fn take_marked(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or_else(|| "it takes values since a mark where there is none".to_owned())?;
        self.cut(mark as usize)
    }

    fn cut(&mut self, height: usize) -> Result<Vec<Id>, String> {
        self.input.charge(per_item::<Id>(self.stack.len() - height))?;
        Ok(self.stack.split_off(height))
    }

    pub(super) fn pairs(&mut self) -> Result<Vec<(Id, Id)>, String> {
        let items = self.take_marked()?;
        if items.len() % 2 == 1 {
            return Err("a dictionary has a key without a value".into());
        }
        self.input.charge(per_item::<Id>(items.len()))?;
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    pub(super) fn remember(&mut self, place: u32) -> Result<(), String> {
        self.input.charge(per_item::<(u32, Id)>(2))?;
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }
}
