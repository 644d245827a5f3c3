//! Threads over planes: a plan owns its pool, every worker gets its own planes of every output.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// Workers of a plan, and the instruction set that they use.
pub(crate) struct Pool {
    pool: Option<rayon::ThreadPool>,
    threads: usize,
    isa: Isa,
}

/// Something that can be cut into the part of the workers before `part` (planes before `plane`) and the rest.
pub(crate) trait Split: Send + Sized {
    fn split(self, part: usize, plane: usize) -> (Self, Self);
}

/// Consecutive planes of an array, from plane `first` on, `stride` elements each; `ratio` planes of the work go with one of
/// the array.
pub(crate) struct Planes<'a, T> {
    pub data: &'a mut [T],
    pub first: usize,
    pub stride: usize,
    pub ratio: usize,
}

impl<'a, T> Planes<'a, T> {
    /// All planes of an array.
    pub fn new(data: &'a mut [T], stride: usize) -> Self {
        Self { data, first: 0, stride, ratio: 1 }
    }
}

/// Scratch memory of consecutive workers.
pub(crate) struct Each<'a, T> {
    pub data: &'a mut [T],
    pub first: usize,
}

impl<T: Send> Split for Planes<'_, T> {
    fn split(self, _: usize, plane: usize) -> (Self, Self) {
        let Self { data, first, stride, ratio } = self;
        let middle = plane / ratio;
        let (left, right) = data.split_at_mut((middle - first) * stride);
        (Self { data: left, first, stride, ratio }, Self { data: right, first: middle, stride, ratio })
    }
}

impl<T: Send> Split for Each<'_, T> {
    fn split(self, part: usize, _: usize) -> (Self, Self) {
        let (left, right) = self.data.split_at_mut(part - self.first);
        (Self { data: left, first: self.first }, Self { data: right, first: part })
    }
}

macro_rules! split_tuple {
    ($($t:ident $i:tt),+) => {
        impl<$($t: Split),+> Split for ($($t,)+) {
            fn split(self, part: usize, plane: usize) -> (Self, Self) {
                let pairs = ($(self.$i.split(part, plane),)+);
                (($(pairs.$i.0,)+), ($(pairs.$i.1,)+))
            }
        }
    };
}

split_tuple!(A 0);
split_tuple!(A 0, B 1);
split_tuple!(A 0, B 1, C 2);
split_tuple!(A 0, B 1, C 2, D 3);
split_tuple!(A 0, B 1, C 2, D 3, E 4);

impl Pool {
    /// `threads` workers; 1 is the calling thread alone.
    pub fn new(threads: usize, isa: Isa) -> Result<Self> {
        if threads == 0 || threads > 1024 {
            return Err(Error::parameter("threads", threads, "must be 1 to 1024"));
        }
        if !isa.is_available() {
            return Err(Error::parameter("isa", format!("{isa:?}"), "must be available on this processor"));
        }
        let build = || rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = if threads == 1 { None } else { Some(build()) };
        let pool = pool.transpose().map_err(|e| Error::parameter("threads", threads, format!("no pool: {e}")))?;
        Ok(Self { pool, threads, isa })
    }

    /// Runs `f` on a thread of the pool, from where [`Pool::run`] starts faster.
    pub fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }

    /// Runs `f` once for each range between consecutive `cuts` with its part of `whole`, in vector code.
    pub fn run<S: Split>(&self, cuts: &[usize], whole: S, f: impl Fn(Range<usize>, S) + Sync) {
        fn divide<S: Split>(isa: Isa, cuts: &[usize], part: usize, whole: S, f: &(impl Fn(Range<usize>, S) + Sync)) {
            match cuts {
                [] | [_] => {}
                [start, end] => vectorize(isa, || f(*start..*end, whole)),
                _ => {
                    let middle = cuts.len() / 2;
                    let (left, right) = whole.split(part + middle, cuts[middle]);
                    rayon::join(
                        || divide(isa, &cuts[..=middle], part, left, f),
                        || divide(isa, &cuts[middle..], part + middle, right, f),
                    );
                }
            }
        }
        match &self.pool {
            Some(pool) if cuts.len() > 2 => pool.install(|| divide(self.isa, cuts, 0, whole, &f)),
            _ => divide(self.isa, cuts, 0, whole, &f),
        }
    }

    /// Cuts planes of the given work into one range a worker, at multiples of `align`; into one range where threads
    /// would cost more than they save.
    pub fn cuts(&self, work: impl Iterator<Item = usize> + Clone, align: usize) -> Vec<usize> {
        /// Elements below which a second thread does not pay: it takes microseconds to wake.
        const GRAIN: usize = 1 << 15;
        let (planes, total) = work.clone().fold((0, 0), |(n, sum), w| (n + 1, sum + w));
        let parts = self.threads.min(total / GRAIN).min(planes / align).max(1);
        let (mut cuts, mut sum) = (vec![0], 0);
        for (plane, w) in work.enumerate() {
            let full = sum * parts >= total * cuts.len();
            if full && cuts.len() < parts && plane.is_multiple_of(align) && plane > cuts[cuts.len() - 1] {
                cuts.push(plane);
            }
            sum += w;
        }
        cuts.push(planes);
        cuts
    }
}

/// Runs `f` compiled for the instruction set.
#[inline(always)]
pub(crate) fn vectorize<R>(isa: Isa, f: impl FnOnce() -> R) -> R {
    match isa {
        Isa::Scalar => f(),
        Isa::Neon => <f32 as Real>::Neon::vectorize(f),
        Isa::Avx2 => <f32 as Real>::Avx2::vectorize(f),
        Isa::Avx512 => <f32 as Real>::Avx512::vectorize(f),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plane_is_visited_once_by_its_worker() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads, Isa::detect()).unwrap();
            let (n, stride) = (12, 7);
            let mut data = vec![0u32; n * stride];
            let cuts = pool.cuts((0..n).map(|_| 1 << 14), 2);
            assert_eq!(cuts.len() - 1, threads, "{cuts:?}");
            assert!(cuts[..threads].iter().all(|c| c.is_multiple_of(2)));
            pool.run(&cuts, Planes::new(&mut data, stride), |range, planes| {
                assert_eq!((planes.first, planes.data.len()), (range.start, range.len() * stride));
                for (i, x) in planes.data.iter_mut().enumerate() {
                    *x += (range.start + i / stride) as u32 + 1;
                }
            });
            assert!(data.iter().enumerate().all(|(i, &x)| x == (i / stride) as u32 + 1));
        }
    }

    #[test]
    fn zero_threads_are_refused() {
        assert!(Pool::new(0, Isa::detect()).is_err());
    }
}
