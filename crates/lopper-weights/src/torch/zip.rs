//! The zip archives of `torch.save`: entries that are stored as they are, one after another.
//!
//! Zip says everything twice, and readers differ in what they believe. Here both must agree, and what torch never writes is
//! refused: that leaves one meaning. Libraries for zip keep the last of two entries of one name and do not tell.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// Most entries; a checkpoint has one for each storage.
const MAX_ENTRIES: u64 = 100_000;
const END: usize = 22;
const END_64: usize = 56;
const LOCATOR_64: usize = 20;
const DIRECTORY: usize = 46;
const LOCAL: usize = 30;
/// Encrypted in one of three ways.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// The value of a field whose own value stands elsewhere.
const ELSEWHERE: u64 = 0xffff_ffff;

/// The content of an entry, in bytes from the file's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) start: u64,
    pub(crate) length: u64,
    /// CRC-32 of the content.
    pub(crate) crc: u32,
}

/// All entries of an archive that is `length` bytes long.
///
/// # Errors
/// What is wrong with it; nothing is taken for an entry before its place and size are known to be in the file.
pub(crate) fn entries(file: &mut File, length: u64) -> Result<BTreeMap<Box<str>, Entry>, String> {
    let directory = Directory::find(file, length)?;
    let mut entries = directory.entries(file)?;
    let mut order: Vec<(&Box<str>, &mut Entry)> = entries.iter_mut().collect();
    order.sort_by_key(|(_, entry)| entry.start);
    let mut end = directory.start;
    for (name, entry) in order.into_iter().rev() {
        let start = content(file, name, entry, end)?;
        end = std::mem::replace(&mut entry.start, start);
    }
    Ok(entries)
}

/// Where the list of entries lies.
struct Directory {
    start: u64,
    length: u64,
    count: u64,
}

impl Directory {
    fn find(file: &mut File, length: u64) -> Result<Self, String> {
        let no_end =
            || "its zip archive does not end where the file ends: it is truncated, or something follows it".to_owned();
        let place = length.checked_sub(END as u64).ok_or_else(no_end)?;
        let end = Fields(read::<END>(file, place)?);
        if end.u32(0) != 0x0605_4b50 || end.u16(20) != 0 {
            return Err(no_end());
        }
        let mut directory = Self { start: end.u32(16).into(), length: end.u32(12).into(), count: end.u16(10).into() };
        let (mut close, mut disks) = (place, u64::from(end.u16(4)) + u64::from(end.u16(6)));
        let mut on_disk = u64::from(end.u16(8));
        let locator = place.checked_sub(LOCATOR_64 as u64);
        let locator = locator.map(|at| Ok::<_, String>((at, Fields(read::<LOCATOR_64>(file, at)?)))).transpose()?;
        if let Some((at, locator)) = locator.filter(|(_, locator)| locator.u32(0) == 0x0706_4b50) {
            let wide_at = at.checked_sub(END_64 as u64).filter(|wide| *wide == locator.u64(8));
            let wide_at = wide_at.ok_or("the two ends of its zip archive do not lie together")?;
            let wide = Fields(read::<END_64>(file, wide_at)?);
            if wide.u32(0) != 0x0606_4b50 || wide.u64(4) != (END_64 - 12) as u64 {
                return Err("the second end of its zip archive is none".into());
            }
            let narrow = [directory.start, directory.length, directory.count];
            directory = Self { start: wide.u64(48), length: wide.u64(40), count: wide.u64(32) };
            let full = [directory.start, directory.length, directory.count];
            let agree = narrow.into_iter().zip(full).zip([ELSEWHERE, ELSEWHERE, 0xffff]);
            if agree.into_iter().any(|((narrow, wide), elsewhere)| narrow != wide && narrow != elsewhere) {
                return Err("the two ends of its zip archive differ".into());
            }
            on_disk = wide.u64(24);
            disks = u64::from(wide.u32(16)) + u64::from(wide.u32(20)) + u64::from(locator.u32(4));
            close = wide_at;
        }
        if disks != 0 || on_disk != directory.count {
            return Err("its zip archive is spread over several files".into());
        }
        if directory.start.checked_add(directory.length) != Some(close) {
            return Err(format!(
                "the directory of its zip archive is said to be {} bytes from {}; it ends at {close}",
                directory.length, directory.start
            ));
        }
        if directory.count > MAX_ENTRIES {
            return Err(format!("its zip archive has {} entries; {MAX_ENTRIES} are accepted", directory.count));
        }
        if directory.count.checked_mul(DIRECTORY as u64).is_none_or(|least| least > directory.length) {
            return Err(format!(
                "its zip archive cannot have {} entries in a directory of {} bytes",
                directory.count, directory.length
            ));
        }
        Ok(directory)
    }

    /// What it says of each entry; where an entry should start, its header does.
    fn entries(&self, file: &mut File) -> Result<BTreeMap<Box<str>, Entry>, String> {
        let unreadable = |e: std::io::Error| format!("the directory of its zip archive cannot be read: {e}");
        file.seek(SeekFrom::Start(self.start)).map_err(unreadable)?;
        let mut reader = BufReader::new(file).take(self.length);
        let mut entries = BTreeMap::new();
        for _ in 0..self.count {
            let mut fixed = [0; DIRECTORY];
            reader.read_exact(&mut fixed).map_err(unreadable)?;
            let fields = Fields(fixed);
            if fields.u32(0) != 0x0201_4b50 {
                return Err("the directory of its zip archive is damaged".into());
            }
            let [name, extra, comment] = [28, 30, 32].map(|at| vec![0; fields.u16(at).into()]);
            let mut parts = [name, extra, comment];
            for part in &mut parts {
                reader.read_exact(part).map_err(unreadable)?;
            }
            let [name, extra, _] = parts;
            let name = String::from_utf8(name).map_err(|_| "an entry of its zip archive has a name that is no text")?;
            let entry = Entry::parse(&name, &fields, &extra)?;
            if entries.contains_key(name.as_str()) {
                return Err(format!("its zip archive has two entries {}", shown(&name)));
            }
            entries.insert(name.into(), entry);
        }
        if reader.limit() == 0 { Ok(entries) } else { Err("the directory of its zip archive is damaged".into()) }
    }
}

impl Entry {
    fn parse(name: &str, fields: &Fields<DIRECTORY>, extra: &[u8]) -> Result<Self, String> {
        let refuse = |what: &str| Err(format!("the entry {} of its zip archive {what}", shown(name)));
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) || name.contains(['\\', ':', '\0']) {
            return refuse("leads out of it");
        }
        if name.ends_with("/constants.pkl") || name.contains("/code/__torch__") {
            return Err("is a TorchScript archive; a checkpoint of `torch.save` was expected".into());
        }
        if fields.u16(8) & ENCRYPTED != 0 {
            return refuse("is encrypted");
        }
        if fields.u16(10) != 0 {
            return refuse("is compressed; torch stores entries as they are, and only such are read");
        }
        if !matches!(fields.u16(34), 0 | 0xffff) {
            return refuse("lies in another file");
        }
        // Length, stored length and offset; those that 32 bits do not hold stand in an extra field, in this order.
        let mut sizes = [fields.u32(24), fields.u32(20), fields.u32(42)].map(u64::from);
        if sizes.contains(&ELSEWHERE) {
            let Some(mut wide) = wide_sizes(extra) else { return refuse("has no size") };
            for size in sizes.iter_mut().filter(|size| **size == ELSEWHERE) {
                let Some((first, rest)) = wide.split_first_chunk::<8>() else { return refuse("has no size") };
                (*size, wide) = (u64::from_le_bytes(*first), rest);
            }
        }
        let [length, stored, start] = sizes;
        if length != stored {
            return refuse(&format!("has {length} bytes in {stored}"));
        }
        Ok(Self { start, length, crc: fields.u32(16) })
    }
}

/// The content of the extra field with sizes of 64 bits.
fn wide_sizes(mut extra: &[u8]) -> Option<&[u8]> {
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let length = u16::from_le_bytes([head[2], head[3]]).into();
        let (content, next) = rest.split_at_checked(length)?;
        if head[..2] == [1, 0] {
            return Some(content);
        }
        extra = next;
    }
    None
}

/// Where an entry's content starts: behind its own header, which must say the same, and all of it before `end`.
fn content(file: &mut File, name: &str, entry: &Entry, end: u64) -> Result<u64, String> {
    let refuse = |what: &str| format!("the entry {} of its zip archive {what}", shown(name));
    let Some(behind) = entry.start.checked_add(LOCAL as u64).filter(|behind| *behind <= end) else {
        return Err(refuse("overlaps another one, or lies outside of it"));
    };
    let local = Fields(read::<LOCAL>(file, entry.start)?);
    if local.u32(0) != 0x0403_4b50 {
        return Err(refuse("does not lie where it should"));
    }
    let start = behind + u64::from(local.u16(26)) + u64::from(local.u16(28));
    if start.checked_add(entry.length).is_none_or(|close| close > end) {
        return Err(refuse("overlaps another one, or lies outside of it"));
    }
    let mut own = vec![0; local.u16(26).into()];
    file.read_exact(&mut own).map_err(|e| refuse(&format!("cannot be read: {e}")))?;
    // Sizes and sum may follow the content, and are zero here then.
    let sizes = [local.u32(18), local.u32(22)].map(u64::from);
    let agrees = |size: u64| matches!(size, 0 | ELSEWHERE) || size == entry.length;
    let same = own == name.as_bytes()
        && local.u16(6) & ENCRYPTED == 0
        && local.u16(8) == 0
        && sizes.into_iter().all(agrees)
        && (local.u32(14) == 0 || local.u32(14) == entry.crc);
    if same { Ok(start) } else { Err(refuse("is another one where it lies than in the directory")) }
}

fn read<const N: usize>(file: &mut File, place: u64) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(place))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|e| format!("its zip archive cannot be read: {e}"))?;
    Ok(bytes)
}

/// A name in an error, at most so long that it can be read.
fn shown(name: &str) -> String {
    match name.char_indices().nth(100) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// Little-endian numbers at fixed places.
struct Fields<const N: usize>([u8; N]);

impl<const N: usize> Fields<N> {
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }
}
