//! The back end on the C library, through `hdf5-metno`.
//!
//! Dimension scales are attributes that the binding has no call for, so they are written here: `CLASS` and `NAME`
//! (fixed strings that must be null-terminated), `DIMENSION_LIST` on the dataset and the back pointers
//! `REFERENCE_LIST` on the scale, as in the HDF5 Dimension Scale Specification.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use hdf5_metno::dataset::AllocTime;
use hdf5_metno::types::{TypeDescriptor, VarLenArray, VarLenUnicode};
use hdf5_metno::{
    Attribute, Dataset, File, H5Type, Hyperslab, Location, LocationInfo, LocationType, ObjectReference1,
    ReferencedObject, Selection, SliceOrIndex,
};
use ndarray::{ArrayViewD, IxDyn};

use super::{Attr, Create, Dtype, Info, Member, Sink, Slice, Source, Values, check_slab, guard};
use crate::error::{Error, Result};

fn wrap(path: &Path, object: &str, error: hdf5_metno::Error) -> Error {
    Error::format(path, format!("{object}: {error}"))
}

/// Whether a path names an object; each parent must exist for the library to answer.
fn exists(file: &File, path: &str) -> bool {
    path == "/"
        || (1..path.len())
            .filter(|&i| path.as_bytes()[i] == b'/')
            .chain([path.len()])
            .all(|end| file.link_exists(&path[..end]))
}

fn location(file: &File, path: &str) -> hdf5_metno::Result<Location> {
    match file.loc_type_by_name(path)? {
        LocationType::Dataset => Ok((**file.dataset(path)?).clone()),
        _ => Ok((*file.group(path)?).clone()),
    }
}

fn slab(start: &[usize], count: &[usize]) -> Selection {
    let axes: Vec<SliceOrIndex> = start.iter().zip(count).map(|(&s, &c)| (s..s + c).into()).collect();
    Hyperslab::from(axes).into()
}

pub(super) struct LibrarySource {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LibrarySource {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let len = std::fs::File::open(path).and_then(|f| f.metadata()).map_err(|e| Error::io(path, e))?.len();
        let file = guard(path, || File::open(path).map_err(|e| wrap(path, "/", e)))?;
        Ok(Self { path: path.to_owned(), file, len })
    }

    fn check(&self, object: &str) -> Result<()> {
        if exists(&self.file, object) {
            return Ok(());
        }
        Err(Error::format(&self.path, format!("{object}: no such object")))
    }

    fn dataset(&self, path: &str) -> Result<Dataset> {
        self.check(path)?;
        self.file.dataset(path).map_err(|e| wrap(&self.path, path, e))
    }

    /// The name at the root if the dataset has one there; the library answers with the name it was last opened by.
    fn shortest_name(&self, ds: &Dataset) -> String {
        let name = ds.name();
        let short = name.rfind('/').map_or(name.as_str(), |at| &name[at..]);
        let token = |info: hdf5_metno::Result<LocationInfo>| info.ok().map(|i| i.token);
        let same = exists(&self.file, short) && token(self.file.loc_info_by_name(short)) == token(ds.loc_info());
        if same { short.to_owned() } else { name }
    }

    fn read_typed<T: H5Type>(&self, ds: &Dataset, start: &[usize], count: &[usize]) -> hdf5_metno::Result<Vec<T>> {
        match count {
            [] => ds.read_raw(),
            _ if count.contains(&0) => Ok(Vec::new()),
            _ => Ok(ds.read_slice::<T, _, IxDyn>(slab(start, count))?.into_raw_vec_and_offset().0),
        }
    }
}

fn dtype(descriptor: hdf5_metno::Result<TypeDescriptor>) -> Dtype {
    match descriptor {
        Ok(TypeDescriptor::Float(size)) if size as usize == 4 => Dtype::F32,
        Ok(TypeDescriptor::Float(size)) if size as usize == 8 => Dtype::F64,
        Ok(TypeDescriptor::Integer(_)) => Dtype::I64,
        Ok(TypeDescriptor::Unsigned(size)) if size as usize == 1 => Dtype::U8,
        Ok(TypeDescriptor::Unsigned(_)) => Dtype::U64,
        Ok(TypeDescriptor::Boolean) => Dtype::Bool,
        Ok(other) => Dtype::Other(other.to_string()),
        Err(error) => Dtype::Other(error.to_string()),
    }
}

/// Value of an attribute; `None` for types that [`Attr`] lacks.
fn decode(attribute: &Attribute) -> hdf5_metno::Result<Option<Attr>> {
    use TypeDescriptor as T;
    let scalar = attribute.is_scalar();
    let one_or_list = |texts: Vec<String>| match scalar {
        true => texts.into_iter().next().map(Attr::Text),
        false => Some(Attr::Texts(texts)),
    };
    let Ok(descriptor) = attribute.dtype()?.to_descriptor() else { return Ok(None) };
    Ok(match descriptor {
        T::Float(_) if scalar => Some(Attr::Float(attribute.read_scalar()?)),
        T::Float(_) => Some(Attr::Floats(attribute.read_raw()?)),
        T::Integer(_) if scalar => Some(Attr::Int(attribute.read_scalar()?)),
        T::Integer(_) => Some(Attr::Ints(attribute.read_raw()?)),
        T::Unsigned(_) if scalar => Some(Attr::Unsigned(attribute.read_scalar()?)),
        T::Unsigned(_) => Some(Attr::Ints(attribute.read_raw::<u64>()?.into_iter().map(|x| x as i64).collect())),
        T::Boolean if scalar => Some(Attr::Bool(attribute.read_scalar()?)),
        T::Boolean => Some(Attr::Bools(attribute.read_raw()?)),
        T::VarLenUnicode | T::VarLenAscii => one_or_list(varying_strings(attribute)?),
        T::FixedAscii(width) | T::FixedUnicode(width) => one_or_list(fixed_strings(attribute, width)?),
        _ => None,
    })
}

/// Variable-length strings, read in the file's own type: `rust-hdf5` describes their characters as strings of one
/// byte where the library has unsigned bytes, and the library knows no conversion between the two.
fn varying_strings(attribute: &Attribute) -> hdf5_metno::Result<Vec<String>> {
    use hdf5_metno_sys::h5a::H5Aread;
    let mut texts = vec![VarLenUnicode::default(); attribute.size()];
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let dtype = attribute.dtype()?;
    // SAFETY: a variable-length string in memory is one pointer, which is what `VarLenUnicode` is; the library
    // overwrites the null pointers of the empty strings with memory from `malloc`, which `VarLenUnicode` frees; its
    // lock is held.
    let status = hdf5_metno::sync::sync(|| unsafe { H5Aread(attribute.id(), dtype.id(), texts.as_mut_ptr().cast()) });
    if status < 0 {
        return Err("cannot read a variable-length string".into());
    }
    Ok(texts.iter().map(|s| String::from_utf8_lossy(s.as_bytes()).into_owned()).collect())
}

/// Fixed-length strings of a width known only at run time.
fn fixed_strings(attribute: &Attribute, width: usize) -> hdf5_metno::Result<Vec<String>> {
    use hdf5_metno_sys::h5a::H5Aread;
    let mut bytes = vec![0u8; width * attribute.size()];
    let dtype = attribute.dtype()?;
    // SAFETY: the buffer holds `size` elements of `width` bytes, the size of the attribute's own type, which is also
    // the memory type; the library's lock is held.
    let status = hdf5_metno::sync::sync(|| unsafe { H5Aread(attribute.id(), dtype.id(), bytes.as_mut_ptr().cast()) });
    if status < 0 {
        return Err("cannot read a fixed-length string".into());
    }
    let text = |b: &[u8]| {
        let end = b.iter().position(|&c| c == 0).unwrap_or(b.len());
        String::from_utf8_lossy(&b[..end]).trim_end_matches(' ').to_owned()
    };
    Ok(bytes.chunks_exact(width.max(1)).map(text).collect())
}

impl Source for LibrarySource {
    fn members(&self, group: &str) -> Result<Vec<Member>> {
        self.check(group)?;
        let fail = |e| wrap(&self.path, group, e);
        let group = self.file.group(group).map_err(fail)?;
        let mut members = Vec::new();
        for name in group.member_names().map_err(fail)? {
            // A link that leads nowhere is no member.
            match group.loc_type_by_name(&name) {
                Ok(LocationType::Group) => members.push(Member { name, is_group: true }),
                Ok(LocationType::Dataset) => members.push(Member { name, is_group: false }),
                _ => {}
            }
        }
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(members)
    }

    fn info(&self, dataset: &str) -> Result<Info> {
        guard(&self.path, || {
            let ds = self.dataset(dataset)?;
            let descriptor = ds.dtype().and_then(|t| t.to_descriptor());
            Ok(Info { shape: ds.shape(), dtype: dtype(descriptor), chunk: ds.chunk(), offset: ds.offset() })
        })
    }

    fn attributes(&self, object: &str) -> Result<BTreeMap<String, Attr>> {
        self.check(object)?;
        guard(&self.path, || {
            let location = location(&self.file, object).map_err(|e| wrap(&self.path, object, e))?;
            let mut found = BTreeMap::new();
            for name in location.attr_names().map_err(|e| wrap(&self.path, object, e))? {
                let value = location.attr(&name).and_then(|a| decode(&a));
                let value = value.map_err(|e| wrap(&self.path, &format!("{object}: attribute {name}"), e))?;
                found.extend(value.map(|value| (name, value)));
            }
            Ok(found)
        })
    }

    fn read(&self, dataset: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let Info { shape, dtype, .. } = self.info(dataset)?;
        check_slab(&self.path, dataset, &shape, start, count, self.len)?;
        guard(&self.path, || {
            let ds = self.dataset(dataset)?;
            match dtype {
                Dtype::F32 => self.read_typed(&ds, start, count).map(Values::F32),
                Dtype::F64 => self.read_typed(&ds, start, count).map(Values::F64),
                Dtype::I64 => self.read_typed(&ds, start, count).map(Values::I64),
                Dtype::U64 | Dtype::U8 => self.read_typed(&ds, start, count).map(Values::U64),
                Dtype::Bool => self
                    .read_typed::<bool>(&ds, start, count)
                    .map(|v| Values::U64(v.into_iter().map(u64::from).collect())),
                Dtype::Other(name) => Err(format!("{name} is not a number").as_str().into()),
            }
            .map_err(|e| wrap(&self.path, dataset, e))
        })
    }

    fn scales(&self, dataset: &str) -> Result<Vec<Option<String>>> {
        guard(&self.path, || {
            let ds = self.dataset(dataset)?;
            let rank = ds.ndim();
            let Ok(list) = ds.attr("DIMENSION_LIST") else { return Ok(vec![None; rank]) };
            let lists = list.read_raw::<VarLenArray<ObjectReference1>>().map_err(|e| wrap(&self.path, dataset, e))?;
            let name = |list: &VarLenArray<ObjectReference1>| match self.file.dereference(list.first()?).ok()? {
                ReferencedObject::Dataset(scale) => Some(self.shortest_name(&scale)),
                _ => None,
            };
            let mut scales: Vec<_> = lists.iter().map(name).collect();
            scales.resize(rank, None);
            Ok(scales)
        })
    }

    fn contains(&self, object: &str) -> bool {
        exists(&self.file, object)
    }
}

/// Element of `REFERENCE_LIST`: who uses the scale, on which axis.
#[derive(Clone, Copy, H5Type)]
#[repr(C)]
struct Backward {
    dataset: ObjectReference1,
    dimension: i32,
}

pub(super) struct LibrarySink {
    path: PathBuf,
    file: File,
    /// Scales of each dataset, by axis; written when the file closes.
    attached: BTreeMap<String, Vec<Option<String>>>,
}

impl LibrarySink {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| wrap(path, "/", e))?;
        Ok(Self { path: path.to_owned(), file, attached: BTreeMap::new() })
    }

    fn check_parent(&self, path: &str) -> Result<()> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if parent.is_empty() || exists(&self.file, parent) {
            return Ok(());
        }
        Err(Error::format(&self.path, format!("{path}: its parent group does not exist")))
    }

    fn create_typed<T: H5Type>(&self, path: &str, create: &Create) -> hdf5_metno::Result<()> {
        let mut builder = self.file.new_dataset::<T>().shape(create.shape).alloc_time(Some(AllocTime::Early));
        builder = match create.chunk {
            Some(chunk) => builder.chunk(chunk),
            None => builder.no_chunk(),
        };
        if let Some(level) = create.deflate {
            builder = builder.shuffle().deflate(level);
        }
        builder.create(path).map(drop)
    }

    fn write_typed<T: H5Type>(
        &self,
        path: &str,
        start: &[usize],
        count: &[usize],
        values: &[T],
    ) -> hdf5_metno::Result<()> {
        let ds = self.file.dataset(path)?;
        if count.is_empty() {
            return ds.write_scalar(&values[0]);
        }
        let view = ArrayViewD::from_shape(IxDyn(count), values).map_err(|e| e.to_string())?;
        ds.write_slice(view, slab(start, count))
    }

    fn write_scales(&self) -> hdf5_metno::Result<()> {
        let mut backward: BTreeMap<&str, Vec<Backward>> = BTreeMap::new();
        for (path, scales) in &self.attached {
            let dataset: ObjectReference1 = self.file.reference(path)?;
            let mut lists = Vec::new();
            for (axis, scale) in scales.iter().enumerate() {
                let Some(scale) = scale else {
                    lists.push(VarLenArray::from_slice(&[]));
                    continue;
                };
                lists.push(VarLenArray::from_slice(&[self.file.reference::<ObjectReference1>(scale)?]));
                backward.entry(scale).or_default().push(Backward { dataset, dimension: axis as i32 });
            }
            self.file.dataset(path)?.new_attr_builder().with_data(&lists).create("DIMENSION_LIST")?;
        }
        for (scale, list) in backward {
            self.file.dataset(scale)?.new_attr_builder().with_data(&list).create("REFERENCE_LIST")?;
        }
        Ok(())
    }
}

/// Writes a fixed-length, null-terminated string attribute; the binding only writes null-padded ones, which the
/// library refuses on scales.
fn terminated(location: &Location, name: &str, value: &str) -> hdf5_metno::Result<()> {
    use hdf5_metno_sys::h5a::{H5Aclose, H5Acreate2, H5Awrite};
    use hdf5_metno_sys::h5p::H5P_DEFAULT;
    use hdf5_metno_sys::h5s::{H5S_class_t, H5Sclose, H5Screate};
    use hdf5_metno_sys::h5t::{H5T_C_S1, H5Tclose, H5Tcopy, H5Tset_size};
    let c_name = CString::new(name).map_err(|e| e.to_string())?;
    let c_value = CString::new(value).map_err(|e| e.to_string())?;
    // SAFETY: every identifier is made here and closed here; the buffer is as long as the type says, terminator
    // included; `H5T_C_S1` is null-terminated by definition; the library's lock is held.
    let status = hdf5_metno::sync::sync(|| unsafe {
        let dtype = H5Tcopy(*H5T_C_S1);
        H5Tset_size(dtype, value.len() + 1);
        let space = H5Screate(H5S_class_t::H5S_SCALAR);
        let attribute = H5Acreate2(location.id(), c_name.as_ptr(), dtype, space, H5P_DEFAULT, H5P_DEFAULT);
        let status = H5Awrite(attribute, dtype, c_value.as_ptr().cast());
        H5Aclose(attribute);
        H5Sclose(space);
        H5Tclose(dtype);
        status
    });
    if status < 0 { Err(format!("cannot write attribute {name}").as_str().into()) } else { Ok(()) }
}

fn unicode(text: &str) -> hdf5_metno::Result<VarLenUnicode> {
    text.parse().map_err(|e: hdf5_metno::types::StringError| e.to_string().into())
}

fn write_attribute(location: &Location, name: &str, value: &Attr) -> hdf5_metno::Result<()> {
    fn one<T: H5Type>(location: &Location, name: &str, value: T) -> hdf5_metno::Result<()> {
        location.new_attr::<T>().create(name)?.write_scalar(&value)
    }
    fn list<T: H5Type>(location: &Location, name: &str, values: &[T]) -> hdf5_metno::Result<()> {
        let attribute = location.new_attr::<T>().shape([values.len()]).create(name)?;
        if values.is_empty() { Ok(()) } else { attribute.write_raw(values) }
    }
    match value {
        Attr::Float(x) => one(location, name, *x),
        Attr::Int(x) => one(location, name, *x),
        Attr::Unsigned(x) => one(location, name, *x),
        Attr::Bool(x) => one(location, name, *x),
        Attr::Text(s) => one(location, name, unicode(s)?),
        Attr::Floats(v) => list(location, name, v),
        Attr::Ints(v) => list(location, name, v),
        Attr::Bools(v) => list(location, name, v),
        Attr::Texts(v) => {
            let texts = v.iter().map(|s| unicode(s)).collect::<hdf5_metno::Result<Vec<_>>>()?;
            list(location, name, &texts)
        }
    }
}

impl Sink for LibrarySink {
    fn group(&mut self, path: &str) -> Result<()> {
        self.check_parent(path)?;
        self.file.create_group(path).map(drop).map_err(|e| wrap(&self.path, path, e))
    }

    fn dataset(&mut self, path: &str, create: &Create) -> Result<()> {
        self.check_parent(path)?;
        match &create.dtype {
            Dtype::F32 => self.create_typed::<f32>(path, create),
            Dtype::F64 => self.create_typed::<f64>(path, create),
            Dtype::I64 => self.create_typed::<i64>(path, create),
            Dtype::U64 => self.create_typed::<u64>(path, create),
            Dtype::U8 => self.create_typed::<u8>(path, create),
            Dtype::Bool => self.create_typed::<bool>(path, create),
            Dtype::Other(name) => Err(format!("cannot create elements of type {name}").as_str().into()),
        }
        .map_err(|e| wrap(&self.path, path, e))
    }

    fn write(&mut self, dataset: &str, start: &[usize], count: &[usize], values: Slice) -> Result<()> {
        let shape = self.file.dataset(dataset).map_err(|e| wrap(&self.path, dataset, e))?.shape();
        check_slab(&self.path, dataset, &shape, start, count, u64::MAX)?;
        if values.len() != count.iter().product::<usize>() {
            return Err(Error::shape(format!("values of {dataset}"), count, &[values.len()]));
        }
        match values {
            Slice::F32(v) => self.write_typed(dataset, start, count, v),
            Slice::F64(v) => self.write_typed(dataset, start, count, v),
            Slice::I64(v) => self.write_typed(dataset, start, count, v),
            Slice::U64(v) => self.write_typed(dataset, start, count, v),
            Slice::U8(v) => self.write_typed(dataset, start, count, v),
            Slice::Bool(v) => self.write_typed(dataset, start, count, v),
        }
        .map_err(|e| wrap(&self.path, dataset, e))
    }

    fn attribute(&mut self, object: &str, name: &str, value: &Attr) -> Result<()> {
        location(&self.file, object)
            .and_then(|l| write_attribute(&l, name, value))
            .map_err(|e| wrap(&self.path, object, e))
    }

    fn link(&mut self, target: &str, link: &str) -> Result<()> {
        self.file.link_hard(target, link).map_err(|e| wrap(&self.path, link, e))
    }

    fn scale(&mut self, dataset: &str, name: &str) -> Result<()> {
        location(&self.file, dataset)
            .and_then(|l| terminated(&l, "CLASS", "DIMENSION_SCALE").and_then(|()| terminated(&l, "NAME", name)))
            .map_err(|e| wrap(&self.path, dataset, e))
    }

    fn attach(&mut self, dataset: &str, axis: usize, scale: &str) -> Result<()> {
        let rank = self.file.dataset(dataset).map_err(|e| wrap(&self.path, dataset, e))?.ndim();
        if axis >= rank {
            return Err(Error::parameter("axis", axis, format!("must be < {rank}, the rank of {dataset}")));
        }
        self.attached.entry(dataset.to_owned()).or_insert_with(|| vec![None; rank])[axis] = Some(scale.to_owned());
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.write_scales().map_err(|e| wrap(&self.path, "/", e))?;
        let Self { path, file, .. } = *self;
        file.flush().and_then(|()| file.close()).map_err(|e| wrap(&path, "/", e))
    }
}
