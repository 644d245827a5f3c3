//! The back end on `rust-hdf5`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rust_hdf5::types::VarLenUnicode;
use rust_hdf5::{DatatypeMessage, H5Dataset, H5File, H5Group, H5Type, HBool, Hdf5Error};

use super::headers::Headers;
use super::{Attr, Create, Dtype, Info, Member, Sink, Slice, Source, Values, check_size, check_slab, guard};
use crate::error::{Error, Result};

/// Words of the library, with the system's own error where there is one.
fn wrap(path: &Path, object: &str, error: Hdf5Error) -> Error {
    match error {
        Hdf5Error::Io(e) => Error::io(path, e),
        other => Error::format(path, format!("{object}: {other}")),
    }
}

pub(super) struct PureSource {
    path: PathBuf,
    file: H5File,
    headers: Headers,
}

impl PureSource {
    pub(super) fn open(path: &Path) -> Result<Self> {
        guard(path, || {
            let headers = Headers::open(path)?;
            // Without a lock: a file may be looked at while a run still fills it.
            let file = H5File::options().no_locking().open(path).map_err(|e| wrap(path, "/", e))?;
            Ok(Self { path: path.to_owned(), file, headers })
        })
    }

    fn dataset(&self, path: &str) -> Result<H5Dataset> {
        if !self.headers.contains(path) {
            return Err(Error::format(&self.path, format!("{path}: no such object")));
        }
        self.file.dataset(path.trim_start_matches('/')).map_err(|e| wrap(&self.path, path, e))
    }
}

impl Source for PureSource {
    fn members(&self, group: &str) -> Result<Vec<Member>> {
        let members = self.headers.members(group)?;
        Ok(members.into_iter().map(|(name, is_group)| Member { name, is_group }).collect())
    }

    fn info(&self, dataset: &str) -> Result<Info> {
        guard(&self.path, || {
            let ds = self.dataset(dataset)?;
            let datatype = ds.datatype().map_err(|e| wrap(&self.path, dataset, e))?;
            let dtype = match &datatype {
                DatatypeMessage::FloatingPoint { size: 4, .. } => Dtype::F32,
                DatatypeMessage::FloatingPoint { size: 8, .. } => Dtype::F64,
                DatatypeMessage::FixedPoint { signed: true, .. } => Dtype::I64,
                DatatypeMessage::FixedPoint { size: 1, .. } => Dtype::U8,
                DatatypeMessage::FixedPoint { .. } => Dtype::U64,
                DatatypeMessage::Enum { members, .. } if members.iter().any(|m| m.name == "TRUE") => Dtype::Bool,
                other => Dtype::Other(other.to_string()),
            };
            let chunk = ds.chunk_dims();
            let offset = if chunk.is_none() { self.headers.data_offset(dataset)? } else { None };
            Ok(Info { shape: ds.shape(), dtype, chunk, offset })
        })
    }

    fn attributes(&self, object: &str) -> Result<BTreeMap<String, Attr>> {
        guard(&self.path, || self.headers.attributes(object))
    }

    fn read(&self, dataset: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let Info { shape, dtype, chunk, .. } = self.info(dataset)?;
        let elements = check_slab(&self.path, dataset, &shape, start, count, self.headers.len())?;
        // A chunk is decoded whole.
        check_size(&self.path, dataset, &chunk.unwrap_or_default(), self.headers.len())?;
        let values = guard(&self.path, || {
            let ds = self.dataset(dataset)?;
            let fail = |e| wrap(&self.path, dataset, e);
            let scalar = shape.is_empty();
            Ok(match dtype {
                Dtype::F32 if scalar => Values::F32(ds.read_raw().map_err(fail)?),
                Dtype::F32 => Values::F32(ds.read_slice(start, count).map_err(fail)?),
                Dtype::F64 if scalar => Values::F64(ds.read_raw().map_err(fail)?),
                Dtype::F64 => Values::F64(ds.read_slice(start, count).map_err(fail)?),
                Dtype::I64 if scalar => Values::I64(ds.read_numeric_as().map_err(fail)?),
                Dtype::I64 => Values::I64(ds.read_numeric_slice_as(start, count).map_err(fail)?),
                Dtype::U64 | Dtype::U8 if scalar => Values::U64(ds.read_numeric_as().map_err(fail)?),
                Dtype::U64 | Dtype::U8 => Values::U64(ds.read_numeric_slice_as(start, count).map_err(fail)?),
                Dtype::Bool => {
                    let bytes: Vec<u8> =
                        if scalar { ds.read_raw() } else { ds.read_slice(start, count) }.map_err(fail)?;
                    Values::U64(bytes.into_iter().map(u64::from).collect())
                }
                Dtype::Other(name) => {
                    return Err(Error::format(&self.path, format!("{dataset}: {name} is not a number")));
                }
            })
        })?;
        let got = match &values {
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
            Values::I64(v) => v.len(),
            Values::U64(v) => v.len(),
        };
        if got != elements {
            return Err(Error::format(&self.path, format!("{dataset}: {got} of {elements} elements came back")));
        }
        Ok(values)
    }

    fn scales(&self, dataset: &str) -> Result<Vec<Option<String>>> {
        let rank = self.info(dataset)?.shape.len();
        guard(&self.path, || self.headers.scales(dataset, rank))
    }

    fn contains(&self, object: &str) -> bool {
        self.headers.contains(object)
    }
}

pub(super) struct PureSink {
    path: PathBuf,
    file: H5File,
    groups: HashMap<String, H5Group>,
    datasets: HashMap<String, H5Dataset>,
}

impl PureSink {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = H5File::create(path).map_err(|e| wrap(path, "/", e))?;
        let groups = HashMap::from([("/".to_owned(), file.root_group())]);
        Ok(Self { path: path.to_owned(), file, groups, datasets: HashMap::new() })
    }

    /// Parent group and last name of a path.
    fn parent<'a>(&self, path: &'a str) -> Result<(&H5Group, &'a str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = if parent.is_empty() { "/" } else { parent };
        let group = self.groups.get(parent).ok_or_else(|| self.bad(path, "its parent group does not exist"))?;
        Ok((group, name))
    }

    fn get(&self, dataset: &str) -> Result<&H5Dataset> {
        self.datasets.get(dataset).ok_or_else(|| self.bad(dataset, "no such dataset"))
    }

    fn bad(&self, object: &str, what: &str) -> Error {
        Error::format(&self.path, format!("{object}: {what}"))
    }

    fn create_typed<T: H5Type>(&self, path: &str, create: &Create) -> Result<H5Dataset> {
        let (group, name) = self.parent(path)?;
        let mut builder = group.new_dataset::<T>().shape(create.shape);
        if let Some(chunk) = create.chunk {
            builder = builder.chunk(chunk).early_allocation();
            if let Some(level) = create.deflate {
                builder = builder.shuffle_deflate(u32::from(level));
            }
        }
        builder.create(name).map_err(|e| wrap(&self.path, path, e))
    }

    fn write_typed<T: H5Type>(&self, dataset: &str, start: &[usize], count: &[usize], values: &[T]) -> Result<()> {
        let ds = self.get(dataset)?;
        let whole = ds.shape() == count;
        if whole { ds.write_raw(values) } else { ds.write_slice(start, count, values) }
            .map_err(|e| wrap(&self.path, dataset, e))
    }
}

fn write_group_attribute(group: &H5Group, name: &str, value: &Attr) -> rust_hdf5::Result<()> {
    match value {
        Attr::Float(x) => group.set_attr_numeric(name, x),
        Attr::Int(x) => group.set_attr_numeric(name, x),
        Attr::Unsigned(x) => group.set_attr_numeric(name, x),
        Attr::Bool(b) => group.set_attr_numeric(name, &HBool::from(*b)),
        Attr::Text(s) => group.set_attr_string(name, s),
        Attr::Floats(v) => group.set_attr_array_numeric(name, v),
        Attr::Ints(v) => group.set_attr_array_numeric(name, v),
        Attr::Bools(v) => group.set_attr_array_numeric(name, &bools(v)),
        Attr::Texts(v) => group.set_attr_string_array(name, &strs(v)),
    }
}

fn write_dataset_attribute(ds: &H5Dataset, name: &str, value: &Attr) -> rust_hdf5::Result<()> {
    let new = || ds.new_attr::<f64>();
    match value {
        Attr::Float(x) => new().shape(()).create(name)?.write_numeric(x),
        Attr::Int(x) => new().shape(()).create(name)?.write_numeric(x),
        Attr::Unsigned(x) => new().shape(()).create(name)?.write_numeric(x),
        Attr::Bool(b) => new().shape(()).create(name)?.write_numeric(&HBool::from(*b)),
        Attr::Text(s) => ds.new_attr::<VarLenUnicode>().shape(()).create(name)?.write_string(s),
        Attr::Floats(v) => new().shape([v.len()]).create(name)?.write_array(v),
        Attr::Ints(v) => new().shape([v.len()]).create(name)?.write_array(v),
        Attr::Bools(v) => new().shape([v.len()]).create(name)?.write_array(&bools(v)),
        Attr::Texts(v) => ds.new_attr::<VarLenUnicode>().shape([v.len()]).create(name)?.write_string_array(&strs(v)),
    }
}

fn bools(values: &[bool]) -> Vec<HBool> {
    values.iter().map(|&b| b.into()).collect()
}

fn strs(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

impl Sink for PureSink {
    fn group(&mut self, path: &str) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        let group = parent.create_group(name).map_err(|e| wrap(&self.path, path, e))?;
        self.groups.insert(path.to_owned(), group);
        Ok(())
    }

    fn dataset(&mut self, path: &str, create: &Create) -> Result<()> {
        let ds = match &create.dtype {
            Dtype::F32 => self.create_typed::<f32>(path, create)?,
            Dtype::F64 => self.create_typed::<f64>(path, create)?,
            Dtype::I64 => self.create_typed::<i64>(path, create)?,
            Dtype::U64 => self.create_typed::<u64>(path, create)?,
            Dtype::U8 => self.create_typed::<u8>(path, create)?,
            Dtype::Bool => self.create_typed::<HBool>(path, create)?,
            Dtype::Other(name) => return Err(self.bad(path, &format!("cannot create elements of type {name}"))),
        };
        self.datasets.insert(path.to_owned(), ds);
        Ok(())
    }

    fn write(&mut self, dataset: &str, start: &[usize], count: &[usize], values: Slice) -> Result<()> {
        check_slab(&self.path, dataset, &self.get(dataset)?.shape(), start, count, u64::MAX)?;
        if values.len() != count.iter().product::<usize>() {
            return Err(Error::shape(format!("values of {dataset}"), count, &[values.len()]));
        }
        match values {
            Slice::F32(v) => self.write_typed(dataset, start, count, v),
            Slice::F64(v) => self.write_typed(dataset, start, count, v),
            Slice::I64(v) => self.write_typed(dataset, start, count, v),
            Slice::U64(v) => self.write_typed(dataset, start, count, v),
            Slice::U8(v) => self.write_typed(dataset, start, count, v),
            Slice::Bool(v) => self.write_typed(dataset, start, count, &bools(v)),
        }
    }

    fn attribute(&mut self, object: &str, name: &str, value: &Attr) -> Result<()> {
        match (self.groups.get(object), self.datasets.get(object)) {
            (Some(group), _) => write_group_attribute(group, name, value),
            (_, Some(dataset)) => write_dataset_attribute(dataset, name, value),
            _ => return Err(self.bad(object, "no such object")),
        }
        .map_err(|e| wrap(&self.path, object, e))
    }

    fn link(&mut self, target: &str, link: &str) -> Result<()> {
        let (group, name) = self.parent(link)?;
        group.link(name, target).map_err(|e| wrap(&self.path, link, e))
    }

    fn scale(&mut self, dataset: &str, name: &str) -> Result<()> {
        self.get(dataset)?.set_scale(Some(name)).map_err(|e| wrap(&self.path, dataset, e))
    }

    fn attach(&mut self, dataset: &str, axis: usize, scale: &str) -> Result<()> {
        self.get(dataset)?.attach_scale(axis, self.get(scale)?).map_err(|e| wrap(&self.path, dataset, e))
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Self { path, file, groups, datasets } = *self;
        drop((groups, datasets));
        file.close().map_err(|e| wrap(&path, "/", e))
    }
}
