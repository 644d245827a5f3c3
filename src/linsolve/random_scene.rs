//! Random scenes, to train on and to hold out.

use std::f64::consts::TAU;

use ndarray::{ArrayD, IxDyn};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::cells::{Cell, Walls};
use super::poisson::Poisson;
use super::scene::centre;
use crate::error::Result;

/// What random scenes have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Fluid everywhere, open above.
    Box,
    /// One to six obstacles in a box that is open above or, as often, closed.
    Obstacles,
    /// An irregular free surface with waves and perhaps a step, and up to nine obstacles, open above.
    Surface,
    /// Any of these: obstacles or a surface four times as often as a plain box.
    #[default]
    Mixed,
}

/// A solid.
enum Obstacle {
    /// Radius that varies with the direction by the second part of it.
    Blob { centre: [f64; 3], radius: f64, bumps: f64, phases: [f64; 2] },
    /// Vertical.
    Pillar { centre: [f64; 2], radius: f64 },
    /// Axis, position along it, half its thickness, and the range of one other axis that is left open.
    Slab { axis: usize, position: f64, half: f64, open: [f64; 2] },
    /// Low and high corner.
    Block { low: [f64; 3], high: [f64; 3] },
}

impl Obstacle {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut point = || std::array::from_fn(|_| rng.random_range(0.1..0.9));
        let centre: [f64; 3] = point();
        match rng.random_range(0..10) {
            0..4 => Self::Pillar { centre: [centre[0], centre[1]], radius: rng.random_range(0.03..0.1) },
            4..6 => {
                let start = rng.random_range(0.0..0.7);
                Self::Slab {
                    axis: rng.random_range(0..3),
                    position: centre[2],
                    half: rng.random_range(0.02..0.05),
                    open: [start, start + rng.random_range(0.15..0.4)],
                }
            }
            6..9 => Self::Blob {
                centre,
                radius: rng.random_range(0.06..0.2),
                bumps: rng.random_range(0.0..0.5),
                phases: [rng.random_range(0.0..TAU), rng.random_range(0.0..TAU)],
            },
            _ => {
                let half: [f64; 3] = std::array::from_fn(|_| rng.random_range(0.04..0.18));
                Self::Block {
                    low: std::array::from_fn(|a| centre[a] - half[a]),
                    high: std::array::from_fn(|a| centre[a] + half[a]),
                }
            }
        }
    }

    fn holds(&self, x: [f64; 3]) -> bool {
        match self {
            Self::Blob { centre, radius, bumps, phases } => {
                let d: [f64; 3] = std::array::from_fn(|a| x[a] - centre[a]);
                let r = d.iter().map(|d| d * d).sum::<f64>().sqrt();
                let around = (3.0 * d[1].atan2(d[0]) + phases[0]).sin() * (8.0 * d[2] + phases[1]).cos();
                r < radius * (1.0 + bumps * around)
            }
            Self::Pillar { centre, radius } => {
                (x[0] - centre[0]).powi(2) + (x[1] - centre[1]).powi(2) < radius * radius
            }
            Self::Slab { axis, position, half, open } => {
                let across = x[(axis + 1) % 3];
                (x[*axis] - position).abs() < *half && !(open[0]..open[1]).contains(&across)
            }
            Self::Block { low, high } => (0..3).all(|a| (low[a]..high[a]).contains(&x[a])),
        }
    }
}

/// `h(x, y)` of a free surface: waves, and a step at `x = step`.
struct Surface {
    level: f64,
    step: [f64; 2],
    waves: [[f64; 4]; 3],
}

impl Surface {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let height = if rng.random_range(0..2) == 0 { rng.random_range(0.0..0.3) } else { 0.0 };
        Self {
            level: rng.random_range(0.3..0.65),
            step: [rng.random_range(0.2..0.7), height],
            waves: std::array::from_fn(|_| {
                let amplitude = rng.random_range(0.0..0.08);
                [amplitude, rng.random_range(-14.0..14.0), rng.random_range(-14.0..14.0), rng.random_range(0.0..TAU)]
            }),
        }
    }

    fn height(&self, x: f64, y: f64) -> f64 {
        let waves: f64 = self.waves.iter().map(|[a, kx, ky, phase]| a * (kx * x + ky * y + phase).sin()).sum();
        self.level + if x < self.step[0] { self.step[1] } else { 0.0 } + waves
    }
}

/// A scene: cells on any grid, and walls.
pub struct RandomScene {
    obstacles: Vec<Obstacle>,
    surface: Option<Surface>,
    is_closed: bool,
}

impl RandomScene {
    /// Draws a scene; the same random numbers give the same scene.
    pub fn draw(family: Family, rng: &mut ChaCha8Rng) -> Self {
        let family = match family {
            Family::Mixed => match rng.random_range(0..9) {
                0 => Family::Box,
                1..5 => Family::Obstacles,
                _ => Family::Surface,
            },
            other => other,
        };
        let is_closed = family == Family::Obstacles && rng.random_range(0..2) == 0;
        let surface = (family == Family::Surface).then(|| Surface::draw(rng));
        let count = match family {
            Family::Obstacles => rng.random_range(1..7),
            Family::Surface => rng.random_range(0..10),
            Family::Box | Family::Mixed => 0,
        };
        let obstacles = (0..count).map(|_| Obstacle::draw(rng)).collect();
        Self { obstacles, surface, is_closed }
    }

    /// The cells, by what is at their centres.
    pub fn cells(&self, shape: &[usize]) -> ArrayD<Cell> {
        ArrayD::from_shape_fn(IxDyn(shape), |index| {
            let x = centre(shape, |a| index[a]);
            if self.obstacles.iter().any(|o| o.holds(x)) {
                Cell::Solid
            } else if self.surface.as_ref().is_some_and(|s| x[2] > s.height(x[0], x[1])) {
                Cell::Air
            } else {
                Cell::Fluid
            }
        })
    }

    /// What is beyond the sides.
    pub fn walls(&self, dim: usize) -> Walls {
        if self.is_closed { Walls::closed() } else { Walls::open_top(dim) }
    }

    /// The problem on `shape` cells of unit size.
    ///
    /// # Errors
    ///
    /// As [`Poisson::new`].
    pub fn problem(&self, shape: &[usize]) -> Result<Poisson> {
        Poisson::new(self.cells(shape).view(), &vec![1.0; shape.len()], self.walls(shape.len()))
    }
}

/// Noise, `kind` 0; what the operator makes of noise, 1; a sum of a few products of sines, 2. Of unit norm in the range of the operator.
pub(super) fn random_rhs(problem: &Poisson, kind: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    use super::operator::Operator;
    let shape = problem.shape();
    let mut b = vec![0.0; problem.cells()];
    if kind < 2 {
        b.iter_mut().for_each(|b| *b = rng.random_range(-1.0..1.0));
        if kind == 1 {
            problem.project(&mut b);
            let u = b.clone();
            problem.apply(&u, &mut b);
        }
    } else {
        for _ in 0..6 {
            let amplitude = rng.random_range(-1.0..1.0);
            let lines: Vec<Vec<f64>> = shape
                .iter()
                .map(|&n| {
                    let (k, phase) = (rng.random_range(0.5..12.0), rng.random_range(0.0..TAU));
                    (0..n).map(|i| (k * (i as f64 + 0.5) / n as f64 + phase).sin()).collect()
                })
                .collect();
            for (b, index) in b.iter_mut().zip(ndarray::indices(shape)) {
                *b += amplitude * lines.iter().enumerate().map(|(a, line)| line[index[a]]).product::<f64>();
            }
        }
    }
    problem.project(&mut b);
    let norm = b.iter().map(|b| b * b).sum::<f64>().sqrt();
    if norm > 0.0 {
        b.iter_mut().for_each(|b| *b /= norm);
    }
    b
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn equal_seeds_give_equal_scenes_and_others_differ() {
        let cells = |seed| RandomScene::draw(Family::Surface, &mut ChaCha8Rng::seed_from_u64(seed)).cells(&[12, 10, 8]);
        assert_eq!(cells(1), cells(1));
        assert_ne!(cells(1), cells(2));
    }

    #[test]
    fn every_family_has_fluid_and_right_hand_sides_of_unit_norm() {
        for family in [Family::Box, Family::Obstacles, Family::Surface, Family::Mixed] {
            for seed in 0..10 {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let problem = RandomScene::draw(family, &mut rng).problem(&[16, 16, 16]).unwrap();
                // Six obstacles of at most 0.2 in radius leave most of the box; surfaces begin at 0.3 - 0.24.
                assert!(problem.unknowns() > 100, "{family:?} {seed}");
                for kind in 0..3 {
                    let b = random_rhs(&problem, kind, &mut rng);
                    assert!((b.iter().map(|b| b * b).sum::<f64>() - 1.0).abs() < 1e-12);
                }
            }
        }
    }
}
