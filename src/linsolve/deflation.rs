//! Deflation of piecewise constants.
//!
//! With `W` the indicators of blocks of unknowns and `E = W^T A W`, the component of the error in the span of `W`, where conjugate
//! gradients are slow, is solved for directly, and every direction is kept conjugate to it:
//! `p = z - W E^{-1} W^T A z + beta p` (Saad, Yeung, Erhel & Guyomarc'h, *SIAM J. Sci. Comput.* 21 (2000), algorithm 3.4).

use super::dense::{Cholesky, lift_null_space};
use super::operator::Operator;
use super::poisson::Poisson;
use crate::error::{Error, Result};

/// Largest number of blocks: their dense matrix has to be factored.
const MOST: usize = 4096;

/// Blocks and the factor of `E`.
pub(crate) struct Deflation {
    /// Block of each unknown; `u32::MAX` outside.
    blocks: Vec<u32>,
    factor: Cholesky,
    sums: Vec<f64>,
}

impl Deflation {
    /// Finds `E` by applying the operator to each block.
    pub fn probe(operator: &impl Operator, blocks: &[u32], count: usize) -> Result<Self> {
        if blocks.len() != operator.len() {
            return Err(Error::shape("blocks", &[operator.len()], &[blocks.len()]));
        }
        if count == 0 || count > MOST {
            return Err(Error::parameter("count", count, format!("must be 1 to {MOST}")));
        }
        if let Some(block) = blocks.iter().find(|&&b| b as usize >= count) {
            return Err(Error::parameter("blocks", block, format!("must be < count = {count}")));
        }
        let n = blocks.len();
        let (mut w, mut aw, mut e) = (vec![0.0; n], vec![0.0; n], vec![0.0; count * count]);
        for column in 0..count {
            w.iter_mut().zip(blocks).for_each(|(w, &b)| *w = if b as usize == column { 1.0 } else { 0.0 });
            operator.apply(&w, &mut aw);
            aw.iter().zip(blocks).for_each(|(v, &b)| e[b as usize * count + column] += v);
        }
        Self::factor(blocks.to_vec(), count, e)
    }

    /// Boxes of about `size^dim` cells of a grid, no more than 512 in all.
    pub fn boxes(problem: &Poisson, size: usize) -> Result<Self> {
        let n = problem.layout.n;
        let mut size = size.max(1);
        let boxes = |size: usize| n.map(|n| n.div_ceil(size));
        while boxes(size).iter().product::<usize>() > 512 {
            size += 1;
        }
        let per_axis = boxes(size);
        let count = per_axis.iter().product();
        let block =
            |i: usize, j: usize, k: usize| ((i / size * per_axis[1] + j / size) * per_axis[2] + k / size) as u32;
        let mut blocks = vec![u32::MAX; problem.cells()];
        let mut e = vec![0.0; count * count];
        for (row, (i, j)) in (0..n[0]).flat_map(|i| (0..n[1]).map(move |j| (i, j))).enumerate() {
            for k in problem.runs.row(row).iter().flat_map(|run| run.start as usize..run.end as usize) {
                let here = block(i, j, k);
                blocks[row * n[2] + k] = here;
                // Faces inside a block cancel in the sum; those between two blocks are the off-diagonal entries.
                let before =
                    [(i > 0).then(|| (i - 1, j, k)), (j > 0).then(|| (i, j - 1, k)), (k > 0).then(|| (i, j, k - 1))];
                for (axis, (p, q, r)) in before.into_iter().enumerate().filter_map(|(a, cell)| Some((a, cell?))) {
                    let there = block(p, q, r);
                    if there != here && problem.runs.component(p * n[1] + q, r).is_some() {
                        let weight = problem.scale * problem.face_weight(axis, problem.layout.at(i, j) + k);
                        let (a, b) = (here as usize, there as usize);
                        e[a * count + b] -= weight;
                        e[b * count + a] -= weight;
                        e[a * count + a] += weight;
                        e[b * count + b] += weight;
                    }
                }
            }
        }
        for face in &problem.dirichlet {
            let [i, j, k] = face.cell.map(|c| c as usize);
            let a = block(i, j, k) as usize;
            e[a * count + a] += problem.scale * face.weight;
        }
        Self::factor(blocks, count, e)
    }

    fn factor(blocks: Vec<u32>, count: usize, mut e: Vec<f64>) -> Result<Self> {
        lift_null_space(count, &mut e);
        let Some(factor) = Cholesky::new(count, e) else {
            return Err(Error::parameter("blocks", count, "must give a positive definite W^T A W"));
        };
        Ok(Self { blocks, factor, sums: vec![0.0; count] })
    }

    /// `x += sign W E^{-1} W^T v`.
    pub fn correct(&mut self, sign: f64, v: &[f64], x: &mut [f64]) {
        self.sums.fill(0.0);
        for (v, &b) in v.iter().zip(&self.blocks) {
            if let Some(sum) = self.sums.get_mut(b as usize) {
                *sum += v;
            }
        }
        self.factor.solve(&mut self.sums);
        for (x, &b) in x.iter_mut().zip(&self.blocks) {
            if let Some(sum) = self.sums.get(b as usize) {
                *x += sign * sum;
            }
        }
    }

    pub fn bytes(&self) -> usize {
        4 * self.blocks.len() + self.factor.bytes()
    }
}
