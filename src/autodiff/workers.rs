//! Threads and scratch memory of a tape.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aligned_vec::AVec;

use crate::error::{Error, Result};
use crate::field::Real;
use crate::spectral::simd::Isa;
use crate::stepper::team::Shared;

/// Number of partial sums of a reduction, whatever the number of threads.
const GROUPS: usize = 16;

/// The threads that work on an operation, with a piece of scratch memory for each.
///
/// Work is cut into tiles whose number does not depend on the number of threads, and partial sums are added in the order
/// of tiles: results are the same bits on any number of threads.
pub struct Workers<T> {
    pool: Option<rayon::ThreadPool>,
    threads: usize,
    isa: Isa,
    scratch: Vec<Mutex<AVec<T>>>,
    buffers: Mutex<Vec<AVec<T>>>,
}

impl<T: Real> Workers<T> {
    /// `threads` workers; one is the calling thread itself.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `threads` is zero or the system refuses them.
    pub fn new(threads: usize) -> Result<Self> {
        if threads == 0 {
            return Err(Error::parameter("threads", threads, "must be >= 1"));
        }
        let refuse = |e| Error::parameter("threads", threads, format!("must be available: {e}"));
        let pool = match threads {
            1 => None,
            _ => Some(rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(refuse)?),
        };
        let scratch = (0..threads).map(|_| Mutex::new(AVec::new(64))).collect();
        Ok(Self { pool, threads, isa: Isa::detect(), scratch, buffers: Mutex::new(Vec::new()) })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Instruction set of the kernels.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `work(tile, scratch)` for each tile in `0..count`, in any order, with `scratch_len` values of scratch whose
    /// content means nothing.
    pub fn tiles(&self, count: usize, scratch_len: usize, work: impl Fn(usize, &mut [T]) + Sync) {
        let next = AtomicUsize::new(0);
        let worker = |index: usize| {
            let mut scratch = self.scratch[index].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if scratch.len() < scratch_len {
                scratch.resize(scratch_len, T::zero());
            }
            loop {
                let tile = next.fetch_add(1, Ordering::Relaxed);
                if tile >= count {
                    break;
                }
                work(tile, &mut scratch[..scratch_len]);
            }
        };
        match &self.pool {
            Some(pool) if count > 1 => {
                pool.broadcast(|context| worker(context.index()));
            }
            _ => worker(0),
        }
    }

    /// Memory for the time of one operation, recycled afterwards; its content means nothing.
    pub fn buffer(&self, len: usize) -> Buffer<'_, T> {
        let mut buffers = self.buffers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // The smallest that is large enough, or else the largest, which then grows.
        let fits = |b: &AVec<T>| (b.len() < len, if b.len() < len { usize::MAX - b.len() } else { b.len() });
        let best = (0..buffers.len()).min_by_key(|&i| fits(&buffers[i]));
        let mut memory = best.map_or_else(|| AVec::new(64), |i| buffers.swap_remove(i));
        if memory.len() < len {
            memory.resize(len, T::zero());
        }
        Buffer { memory, len, home: &self.buffers }
    }

    /// Cuts `values` into pieces of `len` and runs `work(index, piece, scratch)` for each.
    pub fn pieces(
        &self,
        values: &mut [T],
        len: usize,
        scratch_len: usize,
        work: impl Fn(usize, &mut [T], &mut [T]) + Sync,
    ) {
        let total = values.len();
        let shared = Shared::new(values);
        self.tiles(total.div_ceil(len.max(1)), scratch_len, |index, scratch| {
            let start = index * len;
            // SAFETY: the pieces are disjoint.
            let piece = unsafe { shared.part(start, len.min(total - start)).as_mut_slice() };
            work(index, piece, scratch);
        });
    }

    /// `sum_tile work(tile)`, added to `sum`: `work(tiles, partial, scratch)` adds the contributions of a range of tiles
    /// to a partial sum, and the partial sums are added in order.
    pub fn reduce(
        &self,
        count: usize,
        sum: &mut [T],
        scratch_len: usize,
        work: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
    ) {
        let groups = count.min(GROUPS);
        let len = sum.len();
        let mut partial = self.buffer(groups * len);
        partial.fill(T::zero());
        self.pieces(&mut partial, len, scratch_len, |group, partial, scratch| {
            work(group * count / groups..(group + 1) * count / groups, partial, scratch);
        });
        for partial in partial.chunks_exact(len.max(1)) {
            for (s, &p) in sum.iter_mut().zip(partial) {
                *s += p;
            }
        }
    }
}

/// Memory lent by [`Workers::buffer`].
pub struct Buffer<'a, T: Real> {
    memory: AVec<T>,
    len: usize,
    home: &'a Mutex<Vec<AVec<T>>>,
}

impl<T: Real> Deref for Buffer<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory[..self.len]
    }
}

impl<T: Real> DerefMut for Buffer<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[..self.len]
    }
}

impl<T: Real> Drop for Buffer<'_, T> {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, AVec::new(64));
        self.home.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(memory);
    }
}

/// Evaluates an expression in which `$v<T>` is the vector of `T` of an instruction set.
macro_rules! dispatch {
    ($isa:expr, $v:ident => $body:expr) => {
        match $isa {
            $crate::spectral::simd::Isa::Avx512 => {
                type $v<T> = <T as $crate::field::Real>::Avx512;
                $body
            }
            $crate::spectral::simd::Isa::Avx2 => {
                type $v<T> = <T as $crate::field::Real>::Avx2;
                $body
            }
            $crate::spectral::simd::Isa::Neon => {
                type $v<T> = <T as $crate::field::Real>::Neon;
                $body
            }
            $crate::spectral::simd::Isa::Scalar => {
                type $v<T> = T;
                $body
            }
        }
    };
}

pub(crate) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_the_same_bits_on_any_number_of_threads() {
        let sum = |threads| {
            let mut sum = [0.1f32; 3];
            Workers::new(threads).unwrap().reduce(1000, &mut sum, 0, |tiles, partial, _| {
                for tile in tiles {
                    for (i, p) in partial.iter_mut().enumerate() {
                        *p += (tile as f32 + i as f32).sin();
                    }
                }
            });
            sum.map(f32::to_bits)
        };
        assert_eq!(sum(1), sum(2));
        assert_eq!(sum(1), sum(5));
    }

    #[test]
    fn every_piece_is_visited_once_with_its_own_scratch() {
        for threads in [1, 3] {
            let mut values = vec![0.0f64; 103];
            Workers::new(threads).unwrap().pieces(&mut values, 10, 4, |index, piece, scratch| {
                scratch.fill(index as f64);
                for p in piece {
                    *p += 1.0 + scratch[3];
                }
            });
            assert!(values.iter().enumerate().all(|(i, &v)| v == 1.0 + (i / 10) as f64));
        }
    }

    #[test]
    fn no_threads_are_refused() {
        assert_eq!(Workers::<f64>::new(0).err().unwrap().to_string(), "threads = 0 is not allowed: must be >= 1");
    }
}
