//! What a pickle makes with the names of the list: collections, storages, descriptions of tensors, opaque objects.

use super::allow::{Collection, Role};
use super::input::per_item;
use super::machine::Machine;
use super::value::{Id, Node, Object, StorageNode, TensorNode};
use std::io::Read;

/// As for safetensors: this bounds what a tensor's description takes.
const MAX_DIMENSIONS: usize = 16;
/// Longest name of a storage; torch counts them, or gives the number of an address.
const MAX_KEY: usize = 256;

impl<R: Read> Machine<'_, R> {
    /// What `class(*arguments)` stands for.
    pub(crate) fn make(&mut self, class: Id, arguments: Id) -> Result<(), String> {
        let Node::Tuple(list) = self.node(arguments) else {
            return Err("arguments are no tuple".into());
        };
        let Node::Class(found) = self.node(class) else {
            return Err("it calls something that is no class".into());
        };
        let (role, count) = (found.role, list.len());
        // No role looks at more than its first arguments.
        let first: Vec<Id> = list.iter().copied().take(8).collect();
        match (role, first.as_slice()) {
            (Role::Dictionary, []) => self.add(Node::Dict(Vec::new())),
            (Role::Dictionary, [pairs]) if count == 1 => self.dictionary(*pairs),
            (Role::Collection(kind), []) => self.collection(kind, Vec::new()),
            (Role::Collection(kind), [of]) if count == 1 && self.listed(*of).is_some() => {
                let length = self.listed(*of).map_or(0, <[Id]>::len);
                self.input.charge(per_item::<Id>(length))?;
                let items = self.listed(*of).unwrap_or_default().to_vec();
                self.collection(kind, items)
            }
            (Role::Encode, [text, encoding]) if count == 2 && self.is_latin_1(*encoding) => self.encode(*text),
            (Role::Parameter, [tensor, ..]) if matches!(self.node(*tensor), Node::Tensor(_)) => self.push(*tensor),
            (Role::Parameter, _) => Err("a parameter is made of something that is no tensor".into()),
            (Role::Tensor { typed }, first) => self.tensor(typed, first),
            (Role::Subscript, [of, ..]) if self.is_typing(*of) => self.object(class, arguments),
            (Role::Subscript, _) => {
                self.refuse("_operator", "getitem");
                self.object(class, arguments)
            }
            _ => self.object(class, arguments),
        }
    }

    fn object(&mut self, class: Id, arguments: Id) -> Result<(), String> {
        self.input.charge(size_of::<Object>() as u64)?;
        let object = Object { class, arguments, state: None, items: Vec::new(), entries: Vec::new() };
        self.add(Node::Object(Box::new(object)))
    }

    fn is_typing(&self, id: Id) -> bool {
        matches!(self.node(id), Node::Class(class) if &*class.module == "typing" && class.role == Role::Data)
    }

    pub(crate) fn make_with(&mut self, class: Id, arguments: Vec<Id>) -> Result<(), String> {
        let arguments = self.node_of(Node::Tuple(arguments.into()))?;
        self.make(class, arguments)
    }

    fn listed(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::List(items) | Node::Set(items) => Some(items),
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    fn collection(&mut self, kind: Collection, items: Vec<Id>) -> Result<(), String> {
        self.add(match kind {
            Collection::List => Node::List(items),
            Collection::Tuple => Node::Tuple(items.into()),
            Collection::Set => Node::Set(items),
        })
    }

    /// Python 2 writes an `OrderedDict` as a list of pairs.
    fn dictionary(&mut self, pairs: Id) -> Result<(), String> {
        let length = self.listed(pairs).map_or(0, <[Id]>::len);
        self.input.charge(per_item::<(Id, Id)>(length))?;
        let pair = |id: &Id| match self.listed(*id) {
            Some(&[key, value]) => Some((key, value)),
            _ => None,
        };
        let entries: Option<Vec<_>> = self.listed(pairs).and_then(|pairs| pairs.iter().map(pair).collect());
        self.add(Node::Dict(entries.ok_or("an OrderedDict is made of something other than pairs")?))
    }

    fn is_latin_1(&self, encoding: Id) -> bool {
        matches!(self.node(encoding), Node::Str(name) if matches!(&**name, "latin1" | "latin-1"))
    }

    fn encode(&mut self, text: Id) -> Result<(), String> {
        let length = match self.node(text) {
            Node::Str(text) => text.len(),
            _ => 0,
        };
        self.input.charge(per_item::<u8>(length))?;
        let bytes: Option<Vec<u8>> = match self.node(text) {
            Node::Str(text) => text.chars().map(|c| u8::try_from(c).ok()).collect(),
            _ => None,
        };
        self.add(Node::Bytes(bytes.ok_or("bytes are written as something other than Latin-1 text")?.into()))
    }

    /// Values in a list or set, or in an object that is one.
    pub(crate) fn extend(&mut self, items: &[Id]) -> Result<(), String> {
        self.input.charge(per_item::<Id>(items.len()))?;
        let top = self.top()?;
        match &mut self.nodes[top as usize] {
            Node::List(list) | Node::Set(list) => list.extend(items),
            Node::Object(object) => object.items.extend(items),
            _ => return Err("it appends to something that is no list or set".into()),
        }
        Ok(())
    }

    /// Keys and values in a dictionary, or in an object that is one.
    pub(crate) fn set_entries(&mut self, entries: &[(Id, Id)]) -> Result<(), String> {
        self.input.charge(per_item::<(Id, Id)>(entries.len()))?;
        let top = self.top()?;
        match &mut self.nodes[top as usize] {
            Node::Dict(dict) => dict.extend(entries),
            Node::Object(object) => object.entries.extend(entries),
            _ => return Err("it sets a key of something that is no dictionary".into()),
        }
        Ok(())
    }

    /// An object's attributes. Those of a dictionary are let go: a state dict has the versions of its modules there.
    pub(crate) fn set_state(&mut self, state: Id) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.nodes[top as usize] {
            Node::Object(object) => object.state = Some(state),
            Node::Dict(_) => {}
            _ => return Err("it sets attributes of something that is no object".into()),
        }
        Ok(())
    }

    /// The storage of a persistent id: `("storage", class, key, device, entries)`, and in old files `None` as the sixth.
    pub(crate) fn storage(&mut self, id: Id) -> Result<(), String> {
        let Node::Tuple(parts) = self.node(id) else {
            return Err("it refers to something outside that is no storage".into());
        };
        let parts: Vec<&Node> = parts.iter().take(7).map(|id| self.node(*id)).collect();
        let node = match parts.as_slice() {
            [Node::Str(word), Node::Class(class), Node::Str(key), Node::Str(_), Node::Int(entries), rest @ ..]
                if &**word == "storage" =>
            {
                let Role::Storage(kind) = class.role else {
                    return Err(format!("a storage has the class {}.{}", class.module, class.name));
                };
                if !matches!(rest, [] | [Node::None]) {
                    return Err("a storage is a view of another one, as torch before 0.4 wrote it".into());
                }
                if key.len() > MAX_KEY {
                    return Err(format!("a storage has a name of {} bytes", key.len()));
                }
                let bytes = u64::try_from(*entries).ok().and_then(|entries| entries.checked_mul(kind.width));
                let bytes = bytes.ok_or_else(|| format!("a storage has {entries} entries"))?;
                StorageNode { key: key.clone(), width: kind.width, dtype: kind.dtype, bytes }
            }
            _ => return Err("it refers to something outside that is no storage".into()),
        };
        // Three times: lists of storages by name are made of these.
        self.input.charge(per_item::<StorageNode>(1) + per_item::<u8>(node.key.len()))?;
        self.add(Node::Storage(Box::new(node)))
    }

    /// A tensor from `(storage, offset, shape, strides, requires_grad, hooks, [type,] metadata)`, of which old files write
    /// the first four.
    pub(crate) fn tensor(&mut self, typed: bool, arguments: &[Id]) -> Result<(), String> {
        let &[storage, offset, shape, strides, ref rest @ ..] = arguments else {
            return Err(format!("a tensor is made of {} values", arguments.len()));
        };
        let Node::Storage(stored) = self.node(storage) else {
            return Err("a tensor has no storage".into());
        };
        let (mut width, mut dtype) = (stored.width, stored.dtype);
        let metadata = if typed {
            rest.get(2)
        } else {
            let Some(Node::Class(class)) = rest.get(2).map(|id| self.node(*id)) else {
                return Err("a tensor has no type".into());
            };
            let Role::Dtype(kind) = class.role else {
                return Err(format!("a tensor has the type {}.{}", class.module, class.name));
            };
            (width, dtype) = (kind.width, kind.dtype);
            rest.get(3)
        };
        match metadata.map_or(&Node::None, |id| self.node(*id)) {
            Node::None => {}
            Node::Dict(flags) if flags.is_empty() => {}
            _ => return Err("a tensor is to be conjugated or negated".into()),
        }
        let offset = match self.node(offset) {
            Node::Int(offset) => u64::try_from(*offset).map_err(|_| format!("a tensor has the offset {offset}"))?,
            _ => return Err("a tensor has an offset that is no integer".into()),
        };
        let (shape, strides) = (self.sizes(shape, "shape")?, self.sizes(strides, "strides")?);
        if shape.len() != strides.len() {
            return Err(format!("a tensor has {} dimensions and {} strides", shape.len(), strides.len()));
        }
        self.input.charge((size_of::<TensorNode>() + 2 * size_of::<u64>() * shape.len()) as u64)?;
        self.add(Node::Tensor(Box::new(TensorNode { storage, width, dtype, offset, shape, strides })))
    }

    /// Sizes, in a tuple or in the `torch.Size` of one.
    fn sizes(&self, id: Id, what: &str) -> Result<Box<[u64]>, String> {
        let wrong = || format!("a tensor has {what} that are not a tuple of integers from 0");
        let id = match self.node(id) {
            Node::Object(size) => match self.node(size.arguments) {
                Node::Tuple(only) if only.len() == 1 => only[0],
                _ => return Err(wrong()),
            },
            _ => id,
        };
        let sizes = self.listed(id).ok_or_else(wrong)?;
        if sizes.len() > MAX_DIMENSIONS {
            return Err(format!("a tensor has {} dimensions; {MAX_DIMENSIONS} are accepted", sizes.len()));
        }
        let size = |id: &Id| match self.node(*id) {
            Node::Int(size) => u64::try_from(*size).map_err(|_| format!("a tensor has the {what} {size}")),
            _ => Err(wrong()),
        };
        sizes.iter().map(size).collect()
    }
}
