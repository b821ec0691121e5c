//! Zip archives made by hand, so that they can lie.

/// An entry, and what the archive says of it.
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The name before the content, if it is another one.
    pub(crate) own_name: Option<String>,
    pub(crate) content: Vec<u8>,
    pub(crate) crc: u32,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    /// Length, and length as stored.
    pub(crate) sizes: [u32; 2],
    /// Where the directory says it lies.
    pub(crate) offset: Option<u32>,
}

impl Entry {
    pub(crate) fn new(name: &str, content: &[u8]) -> Self {
        let crc = crc32fast::hash(content);
        let sizes = [content.len() as u32; 2];
        let (name, content) = (name.to_owned(), content.to_vec());
        Self { name, own_name: None, content, crc, method: 0, flags: 0, sizes, offset: None }
    }
}

/// The entries, and what the end says.
pub(crate) struct Archive {
    pub(crate) entries: Vec<Entry>,
    pub(crate) count: Option<u16>,
    pub(crate) disk: u16,
}

impl Archive {
    /// What `torch.save` would make of that pickle and those storages.
    pub(crate) fn torch(pickle: &[u8], storages: &[(&str, &[u8])]) -> Self {
        let mut entries = vec![Entry::new("archive/data.pkl", pickle), Entry::new("archive/byteorder", b"little")];
        entries.extend(storages.iter().map(|(key, bytes)| Entry::new(&format!("archive/data/{key}"), bytes)));
        Self { entries, count: None, disk: 0 }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for entry in &self.entries {
            let offset = entry.offset.unwrap_or(bytes.len() as u32);
            let own = entry.own_name.as_ref().unwrap_or(&entry.name);
            let said = |name: &str| {
                let mut said = Vec::new();
                for number in [20, entry.flags, entry.method, 0, 0] {
                    said.extend(number.to_le_bytes());
                }
                for number in [entry.crc, entry.sizes[1], entry.sizes[0]] {
                    said.extend(number.to_le_bytes());
                }
                said.extend((name.len() as u16).to_le_bytes());
                said.extend([0, 0]);
                said
            };
            directory.extend(b"PK\x01\x02\x14\0");
            directory.extend(said(&entry.name));
            directory.extend([0; 10]);
            directory.extend(offset.to_le_bytes());
            directory.extend(entry.name.as_bytes());
            bytes.extend(b"PK\x03\x04");
            bytes.extend(said(own));
            bytes.extend(own.as_bytes());
            bytes.extend(&entry.content);
        }
        let start = bytes.len() as u32;
        let count = self.count.unwrap_or(self.entries.len() as u16);
        bytes.extend(&directory);
        bytes.extend(b"PK\x05\x06");
        for number in [self.disk, self.disk, count, count] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend((directory.len() as u32).to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }
}
