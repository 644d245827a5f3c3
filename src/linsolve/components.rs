//! Connected components of the unknowns, as runs of cells along the last axis.
//!
//! Runs are joined by union-find with path halving (Tarjan 1975). There are about as many runs as rows, so this costs a
//! small part of one sweep over the cells.

/// Consecutive unknowns of one row that open faces connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// First cell along the last axis.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// Number of the component.
    pub component: u32,
}

/// A connected set of unknowns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// Number of cells.
    pub cells: usize,
    /// Whether a Dirichlet face touches it; if not, its constant is in the null space.
    pub has_dirichlet: bool,
}

/// Runs of all rows.
#[derive(Default)]
pub(crate) struct Runs {
    pub runs: Vec<Run>,
    /// `rows[r] .. rows[r + 1]` are the runs of row `r`.
    pub rows: Vec<usize>,
}

impl Runs {
    /// Runs of row `row`.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &[Run] {
        &self.runs[self.rows[row]..self.rows[row + 1]]
    }

    /// Smallest range of cells of row `row` that holds all its unknowns.
    #[inline(always)]
    pub fn span(&self, row: usize) -> std::ops::Range<usize> {
        match self.row(row) {
            [] => 0..0,
            [first, .., last] => first.start as usize..last.end as usize,
            [run] => run.start as usize..run.end as usize,
        }
    }

    /// Component of an unknown.
    pub fn component(&self, row: usize, k: usize) -> Option<usize> {
        let run = self.row(row).iter().find(|run| (run.start as usize..run.end as usize).contains(&k))?;
        Some(run.component as usize)
    }

    /// Joins the runs of rows `[n0, n1]` whose `open(row, axis, start, end)` faces towards the row before along axis 0 or 1
    /// connect them, and numbers the components in the order of their first cells. Returns their sizes.
    pub fn join(&mut self, [n0, n1]: [usize; 2], open: impl Fn(usize, usize, u32, u32) -> bool) -> Vec<usize> {
        let mut parent: Vec<u32> = (0..self.runs.len() as u32).collect();
        for row in 0..n0 * n1 {
            for (axis, back, exists) in [(1, 1, row % n1 > 0), (0, n1, row >= n1)] {
                if exists {
                    self.join_rows(&mut parent, row - back, row, |start, end| open(row, axis, start, end));
                }
            }
        }
        let mut sizes = Vec::new();
        for r in 0..self.runs.len() {
            // A root is the first run of its component, so that it has its number before the others ask for it.
            let root = root(&mut parent, r as u32) as usize;
            if root == r {
                self.runs[r].component = sizes.len() as u32;
                sizes.push(0);
            }
            let component = self.runs[root].component;
            self.runs[r].component = component;
            sizes[component as usize] += (self.runs[r].end - self.runs[r].start) as usize;
        }
        sizes
    }

    fn join_rows(&self, parent: &mut [u32], a: usize, b: usize, open: impl Fn(u32, u32) -> bool) {
        let (mut p, mut q) = (self.rows[a], self.rows[b]);
        while p < self.rows[a + 1] && q < self.rows[b + 1] {
            let (x, y) = (self.runs[p], self.runs[q]);
            let (start, end) = (x.start.max(y.start), x.end.min(y.end));
            if start < end && open(start, end) {
                let (x, y) = (root(parent, p as u32), root(parent, q as u32));
                parent[x.max(y) as usize] = x.min(y);
            }
            if x.end < y.end { p += 1 } else { q += 1 }
        }
    }
}

fn root(parent: &mut [u32], mut run: u32) -> u32 {
    while parent[run as usize] != run {
        parent[run as usize] = parent[parent[run as usize] as usize];
        run = parent[run as usize];
    }
    run
}
