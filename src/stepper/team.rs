//! Workers that run the same program on their own share of the data.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Reusable barrier: spins briefly (the phases between barriers take microseconds), then yields.
pub(crate) struct Barrier {
    count: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
}

impl Barrier {
    fn new(count: usize) -> Self {
        Self { count, arrived: AtomicUsize::new(0), generation: AtomicUsize::new(0) }
    }

    fn wait(&self) {
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.count {
            self.arrived.store(0, Ordering::Relaxed);
            self.generation.store(generation + 1, Ordering::Release);
            return;
        }
        let mut spins = 0u32;
        while self.generation.load(Ordering::Acquire) == generation {
            spins += 1;
            if spins < 2_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

/// One worker's place in its team.
pub(crate) struct Worker<'a> {
    /// Number of this worker.
    pub index: usize,
    /// Size of the team.
    pub count: usize,
    barrier: &'a Barrier,
}

impl Worker<'_> {
    /// Waits until every worker of the team has come here; what they wrote before is visible after.
    #[inline]
    pub fn barrier(&self) {
        if self.count > 1 {
            self.barrier.wait();
        }
    }
}

/// Runs `program` once on each of `count` workers and waits for all. The calling thread is worker 0.
pub(crate) fn run(count: usize, program: impl Fn(&Worker) + Sync) {
    let barrier = Barrier::new(count);
    let worker = |index| Worker { index, count, barrier: &barrier };
    std::thread::scope(|scope| {
        for index in 1..count {
            let (program, worker) = (&program, worker(index));
            scope.spawn(move || program(&worker));
        }
        program(&worker(0));
    });
}

/// Memory shared by the workers of a team, who by construction write to disjoint parts of it between two barriers.
pub(crate) struct Shared<T> {
    pointer: *mut T,
    len: usize,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: the methods that touch the memory are unsafe; their callers keep accesses disjoint.
unsafe impl<T: Send> Send for Shared<T> {}
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Shares a slice that outlives all uses.
    pub fn new(slice: &mut [T]) -> Self {
        Self { pointer: slice.as_mut_ptr(), len: slice.len() }
    }

    /// Shares a slice that will only be read.
    pub fn read_only(slice: &[T]) -> Self {
        Self { pointer: slice.as_ptr().cast_mut(), len: slice.len() }
    }

    /// Part of the memory.
    #[inline(always)]
    pub fn part(self, start: usize, len: usize) -> Self {
        assert!(start <= self.len && len <= self.len - start, "part {start}+{len} of {}", self.len);
        // SAFETY: the part lies inside, as just checked.
        Self { pointer: unsafe { self.pointer.add(start) }, len }
    }

    /// Elements.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.len
    }

    /// Start of the memory.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut T {
        self.pointer
    }

    /// The memory as a slice.
    ///
    /// # Safety
    ///
    /// Nobody writes to it while the slice lives.
    #[inline(always)]
    pub unsafe fn as_slice<'a>(self) -> &'a [T] {
        // SAFETY: in bounds by construction; the caller's promise.
        unsafe { std::slice::from_raw_parts(self.pointer, self.len) }
    }

    /// The memory as a mutable slice.
    ///
    /// # Safety
    ///
    /// Nobody else touches it while the slice lives.
    #[inline(always)]
    pub unsafe fn as_mut_slice<'a>(self) -> &'a mut [T] {
        // SAFETY: in bounds by construction; the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_ordered_by_barriers() {
        let mut cells = vec![0usize; 4];
        let shared = Shared::new(&mut cells);
        run(4, |worker| {
            for phase in 0..200 {
                let next = (worker.index + phase) % 4;
                // SAFETY: in each phase the workers touch different cells.
                unsafe { *shared.as_ptr().add(next) += phase };
                worker.barrier();
            }
        });
        assert_eq!(cells, [199 * 100; 4]);
    }
}
