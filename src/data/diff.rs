//! How far two data sets differ, field by field and time by time.

use super::Dataset;
use crate::error::{Error, Result};

/// Difference of one field, an entry a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldDiff {
    /// Name of the field.
    pub name: String,
    /// `|a - b|_2 / |a|_2` over all samples, channels and points (absolute where `a` is zero).
    pub relative_l2: Vec<f64>,
    /// `max |a - b|`.
    pub max: Vec<f64>,
}

/// Comparison of two files.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// Times of the frames.
    pub times: Vec<f64>,
    /// Fields of both.
    pub fields: Vec<FieldDiff>,
    /// Names of fields that only one of them has.
    pub only_in_one: Vec<String>,
}

/// Compares `b` with the reference `a`, one frame of each in memory at a time.
///
/// The files may differ in layout and precision, not in samples, grid or number of frames. A NaN in either gives NaN.
///
/// # Errors
///
/// [`Error::Shape`] if samples, frames or grids differ; as [`Dataset::read`].
pub fn diff(a: &Dataset, b: &Dataset) -> Result<Diff> {
    let size = |d: &Dataset| [&[d.samples(), d.times().len()], d.grid().shape()].concat();
    if size(a) != size(b) {
        return Err(Error::shape("[samples, frames, x..] of the two files", &size(a), &size(b)));
    }
    let has = |d: &Dataset, name: &str| d.fields().iter().any(|f| f.name == name);
    let mut fields = Vec::new();
    for field in a.fields().iter().filter(|f| has(b, &f.name)) {
        let other = b.field(&field.name)?;
        if field.channels != other.channels {
            return Err(Error::shape(format!("channels of {}", field.name), &[field.channels], &[other.channels]));
        }
        let frames = a.times().len();
        let (mut square, mut norm, mut max) = (vec![0.0; frames], vec![0.0; frames], vec![0.0f64; frames]);
        for sample in 0..a.samples() {
            for t in 0..frames {
                let u = a.read::<f64>(&field.name, sample, t..t + 1, 1)?;
                let v = b.read::<f64>(&field.name, sample, t..t + 1, 1)?;
                for (u, v) in u.iter().zip(&v) {
                    let d = (u - v).abs();
                    square[t] += d * d;
                    norm[t] += u * u;
                    // `f64::max` would drop a NaN.
                    max[t] = if d > max[t] || d.is_nan() { d } else { max[t] };
                }
            }
        }
        let relative_l2 =
            square.iter().zip(&norm).map(|(&s, &n)| if n == 0.0 { s.sqrt() } else { (s / n).sqrt() }).collect();
        fields.push(FieldDiff { name: field.name.clone(), relative_l2, max });
    }
    let only = |x: &Dataset, y: &Dataset| -> Vec<String> {
        x.fields().iter().filter(|f| !has(y, &f.name)).map(|f| f.name.clone()).collect()
    };
    Ok(Diff { times: a.times().to_vec(), fields, only_in_one: [only(a, b), only(b, a)].concat() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::well::tests::{header, sample, write};
    use crate::data::well::{FieldData, Precision, Writer};

    #[test]
    fn a_known_perturbation_is_measured_at_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let header = header(1, Precision::F64);
        let open = |name: &str, shift: f64| {
            let path = dir.path().join(name);
            let mut writer = Writer::create(&path, &header).unwrap();
            let mut data = sample(&header, 0);
            // Frame 1 of omega (field 1) is scaled.
            data[1][24..48].iter_mut().for_each(|x| *x *= 1.0 + shift);
            let fields: Vec<FieldData> = data.iter().map(|v| v.as_slice().into()).collect();
            writer.write_sample(0, &fields, 0, 0.0).unwrap();
            Dataset::open(&path, None).unwrap()
        };
        let (a, b) = (open("a.hdf5", 0.0), open("b.hdf5", 0.125));
        let diff = diff(&a, &b).unwrap();
        assert!(diff.only_in_one.is_empty());
        let omega = &diff.fields[1];
        assert_eq!((omega.relative_l2[0], omega.relative_l2[2], omega.max[2]), (0.0, 0.0, 0.0));
        // Scaling every value by 1.125 is a relative error of 1/8, up to round-off.
        assert!((omega.relative_l2[1] - 0.125).abs() < 1e-14, "{omega:?}");
        assert!((omega.max[1] - 0.125 * (1100.0 + 47.0 / 512.0)).abs() < 1e-10);
        assert!(diff.fields[0].max.iter().all(|&m| m == 0.0));
    }

    #[test]
    fn files_of_different_size_are_not_compared() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str, samples: usize| {
            let path = dir.path().join(name);
            let header = header(samples, Precision::F32);
            let mut writer = Writer::create(&path, &header).unwrap();
            (0..samples).for_each(|i| write(&mut writer, &header, i));
            Dataset::open(&path, None).unwrap()
        };
        assert!(matches!(diff(&open("a.hdf5", 1), &open("b.hdf5", 2)), Err(Error::Shape { .. })));
    }
}
