//! Object headers: what `rust-hdf5` decodes but does not hand out.
//!
//! Its public interface reads a group's attribute only as one string, gives no list of strings, no
//! variable-length references (`DIMENSION_LIST`) and no address of contiguous storage. This file walks the object
//! headers of a file with that crate's own codecs and answers exactly these four questions.
//!
//! Layout of the structures: HDF5 File Format Specification, version 3.0, sections II (superblock), IV.A (object
//! headers), III.A-III.D (symbol tables, heaps).

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rust_hdf5::format::btree_v1::BTreeV1Node;
use rust_hdf5::format::dense_attr::read_dense_attributes;
use rust_hdf5::format::dense_link::read_dense_links;
use rust_hdf5::format::global_heap::{GlobalHeapCollection, decode_vlen_reference, vlen_reference_size};
use rust_hdf5::format::local_heap::{LocalHeapHeader, local_heap_get_string};
use rust_hdf5::format::messages::attr_info::AttributeInfoMessage;
use rust_hdf5::format::messages::attribute::AttributeMessage;
use rust_hdf5::format::messages::data_layout::DataLayoutMessage;
use rust_hdf5::format::messages::datatype::{ByteOrder, DatatypeMessage, fixed_string_content};
use rust_hdf5::format::messages::link::{LinkMessage, LinkTarget};
use rust_hdf5::format::messages::link_info::LinkInfoMessage;
use rust_hdf5::format::superblock::{SuperblockV0V1, SuperblockV2V3};
use rust_hdf5::format::symbol_table::SymbolTableNode;
use rust_hdf5::format::{BlockReader, FormatContext, FormatError, FormatResult, UNDEF_ADDR};

use super::Attr;
use crate::error::{Error, Result};

const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

// Message types, section IV.A.2.
const LINK_INFO: u8 = 0x02;
const LINK: u8 = 0x06;
const DATA_LAYOUT: u8 = 0x08;
const ATTRIBUTE: u8 = 0x0C;
const CONTINUATION: u8 = 0x10;
const SYMBOL_TABLE: u8 = 0x11;
const ATTRIBUTE_INFO: u8 = 0x15;

// Bounds on work in a corrupt file.
const MAX_HEADER_BLOCKS: usize = 4096;
const MAX_OBJECTS: usize = 4_000_000;

/// Byte position of the signature: 0, or after a user block of 512, 1024, 2048, ... bytes.
pub(super) fn find_signature(path: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut at = 0;
    while at + 8 <= len {
        let mut head = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        if head == SIGNATURE {
            return Ok(Some(at));
        }
        at = if at == 0 { 512 } else { at * 2 };
    }
    Ok(None)
}

/// An object and where its header lies.
#[derive(Clone, Copy)]
struct Object {
    address: u64,
    is_group: bool,
}

/// The tree of a file.
pub(super) struct Headers {
    path: PathBuf,
    blocks: RefCell<Blocks>,
    ctx: FormatContext,
    objects: BTreeMap<String, Object>,
    paths: HashMap<u64, String>,
}

/// Reads byte ranges, relative to the end of the user block.
struct Blocks {
    file: File,
    len: u64,
    base: u64,
}

impl BlockReader for Blocks {
    fn read_block(&mut self, offset: u64, len: usize) -> FormatResult<Vec<u8>> {
        let failed = |e: io::Error| FormatError::InvalidData(e.to_string());
        let start = offset
            .checked_add(self.base)
            .filter(|&s| s < self.len)
            .ok_or_else(|| FormatError::InvalidData(format!("address {offset:#x} lies outside the file")))?;
        let mut block = vec![0; (self.len - start).min(len as u64) as usize];
        self.file.seek(SeekFrom::Start(start)).map_err(failed)?;
        self.file.read_exact(&mut block).map_err(failed)?;
        Ok(block)
    }
}

struct Message {
    kind: u8,
    flags: u8,
    body: Vec<u8>,
}

impl Headers {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let at = find_signature(path).map_err(|e| Error::io(path, e))?;
        let at = at.ok_or_else(|| Error::format(path, "not an HDF5 file: no signature"))?;
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let len = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let mut blocks = Blocks { file, len, base: 0 };
        let (ctx, root) = superblock(&mut blocks, at).map_err(|e| Error::format(path, format!("superblock: {e}")))?;
        blocks.base = at;
        let mut headers = Self {
            path: path.to_owned(),
            blocks: RefCell::new(blocks),
            ctx,
            objects: BTreeMap::new(),
            paths: HashMap::new(),
        };
        headers.walk(root)?;
        Ok(headers)
    }

    pub(super) fn len(&self) -> u64 {
        self.blocks.borrow().len
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.objects.contains_key(path)
    }

    /// Names directly inside a group, with whether each is a group.
    pub(super) fn members(&self, group: &str) -> Result<Vec<(String, bool)>> {
        if !self.object(group)?.is_group {
            return Err(self.bad(group, "is a dataset, not a group"));
        }
        let prefix = if group == "/" { "/".to_owned() } else { format!("{group}/") };
        Ok(self
            .objects
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter(|(path, _)| path.len() > prefix.len() && !path[prefix.len()..].contains('/'))
            .map(|(path, object)| (path[prefix.len()..].to_owned(), object.is_group))
            .collect())
    }

    /// Attributes that [`Attr`] can hold.
    pub(super) fn attributes(&self, path: &str) -> Result<BTreeMap<String, Attr>> {
        let mut found = BTreeMap::new();
        for attribute in self.attribute_messages(path)? {
            if let Some(value) = self.decode(&attribute).map_err(|e| self.bad(path, e))? {
                found.insert(attribute.name, value);
            }
        }
        Ok(found)
    }

    /// Absolute position of the data of a contiguous, allocated dataset.
    pub(super) fn data_offset(&self, path: &str) -> Result<Option<u64>> {
        let messages = self.messages(self.object(path)?.address).map_err(|e| self.bad(path, e))?;
        let Some(layout) = messages.iter().find(|m| m.kind == DATA_LAYOUT) else { return Ok(None) };
        let (layout, _) = DataLayoutMessage::decode(&layout.body, &self.ctx).map_err(|e| self.bad(path, e))?;
        Ok(match layout {
            DataLayoutMessage::Contiguous { address, .. } if address != UNDEF_ADDR => {
                Some(address + self.blocks.borrow().base)
            }
            _ => None,
        })
    }

    /// Path of the first scale on each axis, from `DIMENSION_LIST`: one variable-length list of object addresses an
    /// axis.
    pub(super) fn scales(&self, path: &str, rank: usize) -> Result<Vec<Option<String>>> {
        let list = self.attribute_messages(path)?.into_iter().find(|a| a.name == "DIMENSION_LIST");
        let Some(list) = list else { return Ok(vec![None; rank]) };
        let width = vlen_reference_size(&self.ctx);
        let mut scales: Vec<_> = list
            .data
            .chunks_exact(width)
            .map(|element| {
                let bytes = self.heap_object(element).ok().flatten()?;
                let address = bytes.get(..8)?.try_into().ok()?;
                self.paths.get(&u64::from_le_bytes(address)).cloned()
            })
            .collect();
        scales.resize(rank, None);
        Ok(scales)
    }

    fn bad(&self, path: &str, what: impl ToString) -> Error {
        Error::format(&self.path, format!("{path}: {}", what.to_string()))
    }

    fn object(&self, path: &str) -> Result<Object> {
        self.objects.get(path).copied().ok_or_else(|| self.bad(path, "no such object"))
    }

    /// Breadth first from the root, so that an object with several names gets its shortest path.
    fn walk(&mut self, root: u64) -> Result<()> {
        self.objects.insert("/".into(), Object { address: root, is_group: true });
        self.paths.insert(root, "/".into());
        let mut queue = std::collections::VecDeque::from([("/".to_owned(), root)]);
        while let Some((group, address)) = queue.pop_front() {
            let links = self.links(address).map_err(|e| self.bad(&group, e))?;
            for (name, target) in links {
                let path = if group == "/" { format!("/{name}") } else { format!("{group}/{name}") };
                let is_group = self
                    .messages(target)
                    .map_err(|e| self.bad(&path, e))?
                    .iter()
                    .any(|m| m.kind == SYMBOL_TABLE || m.kind == LINK_INFO);
                self.objects.insert(path.clone(), Object { address: target, is_group });
                if self.objects.len() > MAX_OBJECTS {
                    return Err(self.bad(&path, "too many objects"));
                }
                // A group met twice is not entered again: hard links may form cycles.
                if let Entry::Vacant(unseen) = self.paths.entry(target) {
                    unseen.insert(path.clone());
                    if is_group {
                        queue.push_back((path, target));
                    }
                }
            }
        }
        Ok(())
    }

    /// All messages of an object header with its continuation blocks.
    fn messages(&self, address: u64) -> FormatResult<Vec<Message>> {
        let mut blocks = self.blocks.borrow_mut();
        let head = blocks.read_block(address, 64)?;
        let mut pending = Vec::new();
        let mut messages = Vec::new();
        let (v2, tracked) = if head.starts_with(b"OHDR") {
            let flags = byte(&head, 5)?;
            let mut at = 6 + if flags & 0x20 != 0 { 16 } else { 0 } + if flags & 0x10 != 0 { 4 } else { 0 };
            let width = 1 << (flags & 3);
            let size = unsigned(&head, at, width)?;
            at += width;
            pending.push((address + at as u64, size));
            (true, flags & 0x04 != 0)
        } else if byte(&head, 0)? == 1 {
            pending.push((address + 16, unsigned(&head, 8, 4)?));
            (false, false)
        } else {
            return Err(FormatError::InvalidSignature);
        };
        let mut seen = 0;
        while let Some((at, size)) = pending.pop() {
            seen += 1;
            if seen > MAX_HEADER_BLOCKS {
                return Err(FormatError::InvalidData("object header does not end".into()));
            }
            let block = blocks.read_block(at, usize::try_from(size).unwrap_or(usize::MAX))?;
            for message in split(&block, v2, tracked)? {
                if message.kind == CONTINUATION {
                    let a = self.ctx.sizeof_addr as usize;
                    let at = unsigned(&message.body, 0, a)?;
                    let size = unsigned(&message.body, a, self.ctx.sizeof_size as usize)?;
                    // Version 2 blocks are framed by "OCHK" and a checksum.
                    pending.push(if v2 { (at + 4, size.saturating_sub(8)) } else { (at, size) });
                } else {
                    messages.push(message);
                }
            }
        }
        Ok(messages)
    }

    /// Hard links of a group, in any of the three storages: messages, fractal heap, symbol table.
    fn links(&self, group: u64) -> FormatResult<Vec<(String, u64)>> {
        let mut links = Vec::new();
        let mut hard = |link: LinkMessage| {
            if let LinkTarget::Hard { address } = link.target {
                links.push((link.name, address));
            }
        };
        let messages = self.messages(group)?;
        for message in &messages {
            match message.kind {
                LINK => hard(LinkMessage::decode(&message.body, &self.ctx)?.0),
                LINK_INFO => {
                    let (info, _) = LinkInfoMessage::decode(&message.body, &self.ctx)?;
                    if info.is_dense() {
                        read_dense_links(&info, &self.ctx, &mut *self.blocks.borrow_mut())?
                            .into_iter()
                            .for_each(&mut hard);
                    }
                }
                _ => {}
            }
        }
        if let Some(table) = messages.iter().find(|m| m.kind == SYMBOL_TABLE) {
            let a = self.ctx.sizeof_addr as usize;
            links.extend(self.symbol_table(unsigned(&table.body, 0, a)?, unsigned(&table.body, a, a)?)?);
        }
        Ok(links)
    }

    /// Links of an old-style group: a B-tree of symbol nodes, names in a local heap.
    fn symbol_table(&self, tree: u64, heap: u64) -> FormatResult<Vec<(String, u64)>> {
        let (a, s) = (self.ctx.sizeof_addr as usize, self.ctx.sizeof_size as usize);
        let mut blocks = self.blocks.borrow_mut();
        let heap = LocalHeapHeader::decode(&blocks.read_block(heap, 64)?, a, s)?;
        let names = blocks.read_block(heap.data_addr, usize::try_from(heap.data_size).unwrap_or(usize::MAX))?;
        let mut links = Vec::new();
        let mut pending = vec![tree];
        let mut seen = 0;
        while let Some(address) = pending.pop() {
            seen += 1;
            if seen > MAX_OBJECTS {
                return Err(FormatError::InvalidData("group B-tree does not end".into()));
            }
            // Node sizes follow from K values of the superblock; a read beyond a node is harmless.
            let block = blocks.read_block(address, 1 << 16)?;
            if block.starts_with(b"SNOD") {
                for entry in SymbolTableNode::decode(&block, a, s, u16::MAX)?.entries {
                    if entry.obj_header_addr != UNDEF_ADDR {
                        links.push((local_heap_get_string(&names, entry.name_offset)?, entry.obj_header_addr));
                    }
                }
            } else {
                pending.extend(BTreeV1Node::decode(&block, a, s, u16::MAX)?.children);
            }
        }
        Ok(links)
    }

    fn attribute_messages(&self, path: &str) -> Result<Vec<AttributeMessage>> {
        self.attribute_messages_of(self.object(path)?.address).map_err(|e| self.bad(path, e))
    }

    fn attribute_messages_of(&self, address: u64) -> FormatResult<Vec<AttributeMessage>> {
        let mut found = Vec::new();
        for message in self.messages(address)? {
            match message.kind {
                // Flag 2: the body is a pointer into the file's shared-message heap, which no layout here uses.
                ATTRIBUTE if message.flags & 0x02 == 0 => {
                    found.extend(AttributeMessage::decode(&message.body, &self.ctx).ok().map(|(a, _)| a));
                }
                ATTRIBUTE_INFO => {
                    let (info, _) = AttributeInfoMessage::decode(&message.body, &self.ctx)?;
                    let dense = read_dense_attributes(&info, &self.ctx, &mut *self.blocks.borrow_mut())?;
                    found.extend(dense.iter().filter_map(|entry| entry.readable().cloned()));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn decode(&self, attribute: &AttributeMessage) -> FormatResult<Option<Attr>> {
        use DatatypeMessage as D;
        let data = &attribute.data;
        let scalar = attribute.dataspace.dims.is_empty();
        let width = attribute.datatype.element_size() as usize;
        if width == 0 {
            return Ok(None);
        }
        let one_or_list = |texts: Vec<String>| match scalar {
            true => texts.into_iter().next().map(Attr::Text),
            false => Some(Attr::Texts(texts)),
        };
        Ok(match &attribute.datatype {
            D::FloatingPoint { size: 4 | 8, byte_order, .. } => {
                let values: Vec<f64> = data.chunks_exact(width).map(|e| float(e, *byte_order)).collect();
                if scalar { values.first().map(|&x| Attr::Float(x)) } else { Some(Attr::Floats(values)) }
            }
            D::FixedPoint { size: 1..=8, byte_order, signed, .. } => {
                let values: Vec<u64> = data.chunks_exact(width).map(|e| integer(e, *byte_order, *signed)).collect();
                match (scalar, signed) {
                    (true, true) => values.first().map(|&x| Attr::Int(x as i64)),
                    (true, false) => values.first().map(|&x| Attr::Unsigned(x)),
                    (false, _) => Some(Attr::Ints(values.into_iter().map(|x| x as i64).collect())),
                }
            }
            D::Enum { members, .. } if width == 1 && members.iter().any(|m| m.name == "TRUE") => {
                let values: Vec<bool> = data.iter().map(|&b| b != 0).collect();
                if scalar { values.first().map(|&b| Attr::Bool(b)) } else { Some(Attr::Bools(values)) }
            }
            D::FixedString { padding, .. } => one_or_list(
                data.chunks_exact(width)
                    .map(|e| String::from_utf8_lossy(fixed_string_content(e, *padding).unwrap_or(e)).into_owned())
                    .collect(),
            ),
            D::VarLenString { .. } => {
                let texts = data.chunks_exact(vlen_reference_size(&self.ctx)).map(|element| {
                    let bytes = self.heap_object(element)?.unwrap_or_default();
                    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
                    Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
                });
                one_or_list(texts.collect::<FormatResult<_>>()?)
            }
            _ => None,
        })
    }

    /// Bytes that a variable-length element points to in the global heap.
    fn heap_object(&self, element: &[u8]) -> FormatResult<Option<Vec<u8>>> {
        let (_, address, index) = decode_vlen_reference(element, &self.ctx)?;
        if address == 0 || address == UNDEF_ADDR {
            return Ok(None);
        }
        let mut blocks = self.blocks.borrow_mut();
        let size = GlobalHeapCollection::decode_size(&blocks.read_block(address, 64)?, &self.ctx)?;
        let (heap, _) = GlobalHeapCollection::decode(&blocks.read_block(address, size)?, &self.ctx)?;
        let object = u16::try_from(index).ok().and_then(|i| heap.get_object(i));
        object.map(|b| Some(b.to_vec())).ok_or_else(|| FormatError::InvalidData("dangling heap reference".into()))
    }
}

fn superblock(blocks: &mut Blocks, at: u64) -> FormatResult<(FormatContext, u64)> {
    let head = blocks.read_block(at, 256)?;
    let (addr, size, root, end) = if byte(&head, 8)? < 2 {
        let s = SuperblockV0V1::decode(&head)?;
        (s.sizeof_offsets, s.sizeof_lengths, s.root_symbol_table_entry.obj_header_addr, s.end_of_file_address)
    } else {
        let s = SuperblockV2V3::decode(&head)?;
        (s.sizeof_offsets, s.sizeof_lengths, s.root_group_object_header_address, s.end_of_file_address)
    };
    if end > blocks.len {
        let message = format!("the file has {} bytes of {end}: it is truncated", blocks.len);
        return Err(FormatError::InvalidData(message));
    }
    if addr != 8 || size != 8 {
        return Err(FormatError::InvalidData(format!(
            "addresses of {addr} and lengths of {size} bytes; only 8 is read"
        )));
    }
    Ok((FormatContext { sizeof_addr: addr, sizeof_size: size }, root))
}

/// Cuts a header block into messages.
fn split(block: &[u8], v2: bool, tracked: bool) -> FormatResult<Vec<Message>> {
    let prefix = if v2 { 4 + 2 * usize::from(tracked) } else { 8 };
    let mut messages = Vec::new();
    let mut at = 0;
    while at + prefix <= block.len() {
        let (kind, size, flags) = if v2 {
            (block[at], unsigned(block, at + 1, 2)? as usize, block[at + 3])
        } else {
            (block[at], unsigned(block, at + 2, 2)? as usize, block[at + 4])
        };
        at += prefix;
        let body = block
            .get(at..at + size)
            .ok_or_else(|| FormatError::InvalidData("message ends outside its block".into()))?;
        messages.push(Message { kind, flags, body: body.to_vec() });
        at += size;
    }
    Ok(messages)
}

fn byte(bytes: &[u8], at: usize) -> FormatResult<u8> {
    bytes.get(at).copied().ok_or(FormatError::BufferTooShort { needed: at + 1, available: bytes.len() })
}

fn unsigned(bytes: &[u8], at: usize, width: usize) -> FormatResult<u64> {
    let slice =
        bytes.get(at..at + width).ok_or(FormatError::BufferTooShort { needed: at + width, available: bytes.len() })?;
    Ok(integer(slice, ByteOrder::LittleEndian, false))
}

/// Up to eight bytes as an integer, sign-extended if `signed`.
fn integer(bytes: &[u8], order: ByteOrder, signed: bool) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    if order == ByteOrder::BigEndian {
        wide[..bytes.len()].reverse();
    }
    let value = u64::from_le_bytes(wide);
    let shift = 64 - 8 * bytes.len() as u32;
    if signed { (((value << shift) as i64) >> shift) as u64 } else { value }
}

/// Four or eight bytes as a float.
fn float(bytes: &[u8], order: ByteOrder) -> f64 {
    let bits = integer(bytes, order, false);
    if bytes.len() == 4 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) }
}
