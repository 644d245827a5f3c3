//! `.npy` arrays with a JSON description, as APEBench writes them.
//!
//! `NAME.npy` (or `NAME_train.npy`, `NAME_test.npy`) holds `[sample, time, channel, x, (y, (z))]`; `NAME.json` holds
//! `{"info": {"dt": .., "domain_extent": .., "num_spatial_dims": .., ..}}`. The grid excludes the right end, times
//! are `dt` times the index. The array is read by seeking, never whole.
//!
//! Source: NumPy's NEP 1 (format), <https://github.com/tum-pbs/apebench> (names).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::dataset::{Dataset, Layout, OpenOptions, Place, Role, all_complete, field, grid, stem, times};
use super::hdf5::{Attr, Dtype, Info, Member, Source, Values};
use crate::error::{Error, Result};

const DATA: &str = "/data";

/// Describes an array and its JSON.
pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Dataset> {
    let source = NpySource::open(path)?;
    let shape = source.shape.clone();
    let info = read_json(path)?;
    let number = |name: &str| info.get(name).and_then(Value::as_f64);
    if shape.len() < 4 || shape.len() > 6 {
        return Err(Error::format(path, format!("shape {shape:?}, expected [sample, time, channel, x, (y, (z))]")));
    }
    let dim = shape.len() - 3;
    if let Some(d) = number("num_spatial_dims").filter(|&d| d != dim as f64) {
        return Err(Error::format(path, format!("shape {shape:?} has {dim} space axes, num_spatial_dims is {d}")));
    }
    let mut options = options.clone();
    options.dt = options.dt.or(number("dt"));
    options.extent = options.extent.or(number("domain_extent").map(|l| vec![l; dim]));
    let roles: Vec<Role> =
        [Role::Sample, Role::Time, Role::Channel].into_iter().chain((0..dim).map(Role::Space)).collect();
    let points: Vec<_> = shape[3..].iter().map(|&n| (n, None)).collect();
    let parameters = info.iter().filter_map(|(name, v)| Some((name.clone(), v.as_f64()?))).collect();
    let attributes = info.iter().filter_map(|(name, v)| Some((name.clone(), Attr::Text(v.as_str()?.into())))).collect();
    Ok(Dataset {
        path: path.to_owned(),
        layout: Layout::Npy,
        name: stem(path),
        samples: shape[0],
        times: times(path, shape[1], None, &options)?,
        grid: grid(path, &points, &options)?,
        fields: vec![field(&source, "u", 0, Place::new(DATA, &roles))?],
        parameters,
        attributes,
        complete: all_complete(path, shape[0])?,
        warnings: Vec::new(),
        source: Box::new(source),
    })
}

/// The `info` of the JSON beside the array, empty if there is none.
fn read_json(path: &Path) -> Result<serde_json::Map<String, Value>> {
    let stem = stem(path);
    let base = stem.strip_suffix("_train").or(stem.strip_suffix("_test")).unwrap_or(&stem);
    for name in [stem.as_str(), base] {
        let json = path.with_file_name(format!("{name}.json"));
        if !json.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&json).map_err(|e| Error::io(&json, e))?;
        let value: Value = serde_json::from_str(&text).map_err(|e| Error::format(&json, e.to_string()))?;
        return match value.get("info").unwrap_or(&value) {
            Value::Object(map) => Ok(map.clone()),
            _ => Err(Error::format(&json, "expected an object")),
        };
    }
    Ok(serde_json::Map::new())
}

/// One array as a [`Source`] with the single dataset `/data`.
struct NpySource {
    path: PathBuf,
    file: RefCell<File>,
    shape: Vec<usize>,
    double: bool,
    big_endian: bool,
    offset: u64,
}

impl NpySource {
    fn open(path: &Path) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let bad = |what: &str| Error::format(path, format!(".npy header: {what}"));
        let mut file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut head = Vec::new();
        file.by_ref().take(1 << 16).read_to_end(&mut head).map_err(io)?;
        if !head.starts_with(b"\x93NUMPY") || head.len() < 12 {
            return Err(bad("no signature"));
        }
        let (start, size): (usize, usize) = match head[6] {
            1 => (10, usize::from(u16::from_le_bytes([head[8], head[9]]))),
            _ => (12, u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize),
        };
        let text = start.checked_add(size).and_then(|end| head.get(start..end)).ok_or_else(|| bad("truncated"))?;
        let text = String::from_utf8_lossy(text);
        let entry = |key: &str| text.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
        let descr = entry("descr").and_then(|r| r.split('\'').nth(1)).ok_or_else(|| bad("no descr"))?;
        let (big_endian, double) = match descr {
            "<f4" => (false, false),
            "<f8" => (false, true),
            ">f4" => (true, false),
            ">f8" => (true, true),
            other => return Err(bad(&format!("elements are {other}, expected f4 or f8"))),
        };
        if !entry("fortran_order").is_some_and(|r| r.starts_with("False")) {
            return Err(bad("column-major arrays are not read"));
        }
        let shape = entry("shape").and_then(|r| r.strip_prefix('(')?.split_once(')')).ok_or_else(|| bad("no shape"))?.0;
        let sizes = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
        let shape: Vec<usize> = sizes.map(|s| s.parse().map_err(|_| bad("bad shape"))).collect::<Result<_>>()?;
        let offset = (start + size) as u64;
        let width = if double { 8u64 } else { 4 };
        let bytes = shape.iter().try_fold(width, |product, &n| product.checked_mul(n as u64));
        if bytes.and_then(|b| b.checked_add(offset)).is_none_or(|end| end > len) {
            return Err(bad(&format!("shape {shape:?} needs more than the {len} bytes of the file")));
        }
        Ok(Self { path: path.to_owned(), file: RefCell::new(file), shape, double, big_endian, offset })
    }

    fn missing(&self, object: &str) -> Error {
        Error::format(&self.path, format!("{object}: no such object"))
    }
}

impl Source for NpySource {
    fn members(&self, group: &str) -> Result<Vec<Member>> {
        if group != "/" {
            return Err(self.missing(group));
        }
        Ok(vec![Member { name: "data".into(), is_group: false }])
    }

    fn info(&self, dataset: &str) -> Result<Info> {
        if dataset != DATA {
            return Err(self.missing(dataset));
        }
        let dtype = if self.double { Dtype::F64 } else { Dtype::F32 };
        Ok(Info { shape: self.shape.clone(), dtype, chunk: None, offset: Some(self.offset) })
    }

    fn attributes(&self, _: &str) -> Result<BTreeMap<String, Attr>> {
        Ok(BTreeMap::new())
    }

    /// Reads run by run: a run is what lies contiguous, the trailing axes that are taken whole and one partial axis.
    fn read(&self, dataset: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let shape = self.info(dataset)?.shape;
        let inside = shape.len() == start.len()
            && shape.len() == count.len()
            && shape.iter().zip(start).zip(count).all(|((&n, &s), &c)| s.checked_add(c).is_some_and(|end| end <= n));
        if !inside {
            return Err(Error::shape(format!("hyperslab of {dataset} from {start:?}"), &shape, count));
        }
        let whole = shape.iter().zip(count).rev().take_while(|(n, c)| n == c).count();
        let outer = shape.len().saturating_sub(whole + 1);
        let run: usize = count[outer..].iter().product();
        let width = if self.double { 8 } else { 4 };
        let mut bytes = vec![0; count.iter().product::<usize>() * width];
        let mut file = self.file.borrow_mut();
        let mut index = vec![0; outer];
        for block in bytes.chunks_mut((run * width).max(1)) {
            let mut at = 0;
            for axis in 0..shape.len() {
                at = at * shape[axis] + start[axis] + index.get(axis).copied().unwrap_or(0);
            }
            file.seek(SeekFrom::Start(self.offset + (at * width) as u64))
                .and_then(|_| file.read_exact(block))
                .map_err(|e| Error::io(&self.path, e))?;
            for axis in (0..outer).rev() {
                index[axis] += 1;
                if index[axis] < count[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        let order = |b: &[u8]| -> [u8; 8] {
            let mut wide = [0; 8];
            wide[..b.len()].copy_from_slice(b);
            if self.big_endian {
                wide[..b.len()].reverse();
            }
            wide
        };
        Ok(if self.double {
            Values::F64(bytes.chunks_exact(8).map(|b| f64::from_le_bytes(order(b))).collect())
        } else {
            let half = |b: &[u8]| u32::from_le_bytes(order(b)[..4].try_into().expect("four bytes"));
            Values::F32(bytes.chunks_exact(4).map(|b| f32::from_bits(half(b))).collect())
        })
    }

    fn scales(&self, _: &str) -> Result<Vec<Option<String>>> {
        Ok(vec![None; self.shape.len()])
    }

    fn contains(&self, object: &str) -> bool {
        object == "/" || object == DATA
    }
}
