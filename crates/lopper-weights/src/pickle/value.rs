//! What a pickle holds.

use super::allow::Role;
use safetensors::Dtype;
use std::fmt;

/// A node's place.
pub(crate) type Id = u32;

/// How many wrappers around a value are looked through: a configuration's node holds another one at most a few times.
const MAX_WRAPPERS: usize = 8;

#[derive(Debug)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// As text: in hexadecimal, or in decimal where the pickle has it so.
    Big(Box<str>),
    Float(f64),
    Str(Box<str>),
    Bytes(Box<[u8]>),
    List(Vec<Id>),
    Tuple(Box<[Id]>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class(Box<Class>),
    Object(Box<Object>),
    Storage(Box<StorageNode>),
    Tensor(Box<TensorNode>),
}

/// A name of the list.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) module: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) role: Role,
}

/// An object that was not made: what it would have been made of.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) class: Id,
    /// A tuple.
    pub(crate) arguments: Id,
    pub(crate) state: Option<Id>,
    pub(crate) items: Vec<Id>,
    pub(crate) entries: Vec<(Id, Id)>,
}

/// A storage, which lies elsewhere in the file.
#[derive(Debug)]
pub(crate) struct StorageNode {
    pub(crate) key: Box<str>,
    /// Bytes of an entry, as the file counts them.
    pub(crate) width: u64,
    pub(crate) dtype: Option<Dtype>,
    pub(crate) bytes: u64,
}

/// A view of a storage; nothing about it is checked but that it has as many strides as dimensions, and not too many.
#[derive(Debug)]
pub(crate) struct TensorNode {
    pub(crate) storage: Id,
    pub(crate) width: u64,
    pub(crate) dtype: Option<Dtype>,
    /// In entries, as are the strides.
    pub(crate) offset: u64,
    pub(crate) shape: Box<[u64]>,
    pub(crate) strides: Box<[u64]>,
}

/// The objects of one pickle. None of them was made: classes are names, and objects what they would have been made of.
pub struct Pickle {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Id,
}

impl Pickle {
    /// The pickled object.
    pub fn root(&self) -> Value<'_> {
        self.value(self.root)
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(crate) fn value(&self, id: Id) -> Value<'_> {
        Value { pickle: self, id }
    }
}

impl fmt::Debug for Pickle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pickle of {} nodes: {:?}", self.nodes.len(), self.root())
    }
}

/// One object of a pickle.
///
/// What Python would reach by attribute or by key, [`get`](Self::get) reaches, in dictionaries, in objects such as
/// `argparse.Namespace`, and in configurations of OmegaConf, whose nodes are looked through. Objects may contain each
/// other, so a walk over all of them must count its steps.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    pickle: &'a Pickle,
    id: Id,
}

impl<'a> Value<'a> {
    /// The value of a key or attribute; the last one, as in Python, when there are several.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        let found = self.entries().filter(|(name, _)| name.literal() == Some(key)).last()?;
        Some(found.1)
    }

    /// Keys and values of a dictionary, or names and values of an object's state.
    pub fn entries(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        let value = self.content();
        let pickle = value.pickle;
        let mut parts: [&'a [(Id, Id)]; 3] = [&[]; 3];
        match value.node() {
            Node::Dict(entries) => parts[0] = entries,
            Node::Object(object) => {
                parts[0] = &object.entries;
                match object.state.map(|state| pickle.node(state)) {
                    Some(Node::Dict(entries)) => parts[1] = entries,
                    // Attributes of the object and those of its slots.
                    Some(Node::Tuple(pair)) => {
                        for (part, id) in parts[1..].iter_mut().zip(pair) {
                            if let Node::Dict(entries) = pickle.node(*id) {
                                *part = entries;
                            }
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        parts.into_iter().flatten().map(move |(key, value)| (pickle.value(*key), pickle.value(*value)))
    }

    /// What a list, tuple or set holds; nothing for anything else.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        let value = self.content();
        let items: &'a [Id] = match value.node() {
            Node::List(items) | Node::Set(items) => items,
            Node::Tuple(items) => items,
            Node::Object(object) => &object.items,
            _ => &[],
        };
        items.iter().map(move |id| value.pickle.value(*id))
    }

    /// Text, or the text of an enumeration's member.
    pub fn as_str(self) -> Option<&'a str> {
        self.scalar().literal()
    }

    /// An integer of 64 bits.
    pub fn as_i64(self) -> Option<i64> {
        match self.scalar().node() {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A number.
    pub fn as_f64(self) -> Option<f64> {
        match self.scalar().node() {
            Node::Float(value) => Some(*value),
            Node::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// `True` or `False`.
    pub fn as_bool(self) -> Option<bool> {
        match self.scalar().node() {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Bytes.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self.node() {
            Node::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether it is `None`.
    pub fn is_none(self) -> bool {
        matches!(self.scalar().node(), Node::None)
    }

    /// Module and name of an object's class.
    pub fn class(self) -> Option<(&'a str, &'a str)> {
        let id = match self.node() {
            Node::Object(object) => object.class,
            Node::Class(_) => self.id,
            _ => return None,
        };
        match self.pickle.node(id) {
            Node::Class(class) => Some((&class.module, &class.name)),
            _ => None,
        }
    }

    /// What an object is made with, in order.
    pub fn arguments(self) -> impl Iterator<Item = Value<'a>> {
        let arguments: &'a [Id] = match self.node() {
            Node::Object(object) => match self.pickle.node(object.arguments) {
                Node::Tuple(arguments) => arguments,
                _ => &[],
            },
            _ => &[],
        };
        arguments.iter().map(move |id| self.pickle.value(*id))
    }

    pub(crate) fn id(self) -> Id {
        self.id
    }

    pub(crate) fn node(self) -> &'a Node {
        self.pickle.node(self.id)
    }

    /// What it is, in Python's words.
    pub(crate) fn kind(self) -> &'static str {
        match self.node() {
            Node::None => "None",
            Node::Bool(_) => "a bool",
            Node::Int(_) | Node::Big(_) => "an int",
            Node::Float(_) => "a float",
            Node::Str(_) => "a str",
            Node::Bytes(_) => "bytes",
            Node::List(_) => "a list",
            Node::Tuple(_) => "a tuple",
            Node::Set(_) => "a set",
            Node::Dict(_) => "a dict",
            Node::Class(_) => "a class",
            Node::Object(_) => "an object",
            Node::Storage(_) => "a storage",
            Node::Tensor(_) => "a tensor",
        }
    }

    /// Text as it stands there.
    pub(crate) fn literal(self) -> Option<&'a str> {
        match self.node() {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// What a node of OmegaConf holds; anything else is itself.
    fn content(self) -> Self {
        let mut value = self;
        for _ in 0..MAX_WRAPPERS {
            let Node::Object(object) = value.node() else { break };
            let ours = value.class().is_some_and(|(module, _)| module.split('.').next() == Some("omegaconf"));
            let Some(Node::Dict(state)) = object.state.filter(|_| ours).map(|id| value.pickle.node(id)) else { break };
            let named = |(key, _): &&(Id, Id)| matches!(value.pickle.value(*key).literal(), Some("_val" | "_content"));
            let Some((_, held)) = state.iter().rfind(named) else { break };
            value = value.pickle.value(*held);
        }
        value
    }

    /// As [`content`](Self::content), and the only argument of an object without a state: a member of an enumeration is
    /// made with its value.
    fn scalar(self) -> Self {
        let value = self.content();
        match value.node() {
            Node::Object(object) if object.state.is_none() => match value.pickle.node(object.arguments) {
                Node::Tuple(only) if only.len() == 1 => value.pickle.value(only[0]),
                _ => value,
            },
            _ => value,
        }
    }
}

/// The value where it is one, otherwise what it is: no description of something that may contain itself has an end.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node() {
            Node::None => f.write_str("None"),
            Node::Bool(value) => value.fmt(f),
            Node::Int(value) => value.fmt(f),
            Node::Float(value) => value.fmt(f),
            Node::Big(text) => f.write_str(text),
            Node::Str(text) => text.fmt(f),
            _ => match self.class() {
                Some((module, name)) => write!(f, "{} of {module}.{name}", self.kind()),
                None => f.write_str(self.kind()),
            },
        }
    }
}
