//! Gauss-Newton, window after window.

use std::sync::Arc;

use super::super::fit::{Advance, Fit};
use super::super::march::{CANDIDATES, HELD_OUT, Marching, Progress, Train, mix, systematic};
use super::super::sobol::Sobol;
use super::super::solution::Tensor;
use super::flow::{Flow, Vorticity};
use super::network::Network;
use super::residual::Residual;
use super::solution::{Piece, Solution, of_vorticity, vorticity};
use super::window::Window;
use crate::error::{Error, Result};

/// A solution in the making. One call of [`March::step`] is one Gauss-Newton step.
///
/// Of the options, `state_points` is the number of points in each direction; windows have one front.
pub struct March {
    flow: Flow,
    options: Marching,
    /// Ends of the windows.
    windows: Vec<f64>,
    solution: Solution,
    seed: u64,
    threads: usize,
    current: Option<Current>,
}

/// The window at work.
struct Current {
    window: Arc<Window>,
    network: Arc<Network>,
    fit: Fit,
    residual: Option<Residual>,
}

impl March {
    /// The solution of a flow with the random numbers of a seed.
    ///
    /// # Errors
    ///
    /// Those of the flow and of [`Marching::validate`]; [`Error::Parameter`] for more than one front.
    pub fn new(flow: &Flow, options: &Marching, seed: u64, threads: usize) -> Result<Self> {
        flow.validate()?;
        options.validate()?;
        if options.fronts != 1 {
            return Err(Error::parameter("march.fronts", options.fronts, "must be 1 for a flow in the plane"));
        }
        if options.train != Train::All {
            let rule = "must be all for a flow in the plane";
            return Err(Error::parameter("march.train", format!("{:?}", options.train), rule));
        }
        let mut march = Self {
            flow: flow.clone(),
            options: options.clone(),
            windows: options.windows(),
            solution: Solution::default(),
            seed,
            threads,
            current: None,
        };
        march.open(flow.state(options.state_points)?)?;
        Ok(march)
    }

    /// The flow that is solved.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The windows that are done.
    pub fn solution(&self) -> &Solution {
        &self.solution
    }

    /// Opens the next window from a state.
    fn open(&mut self, state: Vorticity) -> Result<()> {
        let k = self.solution.pieces.len();
        let Some(&end) = self.windows.get(k) else {
            self.current = None;
            return Ok(());
        };
        let times = [if k == 0 { 0.0 } else { self.windows[k - 1] }, end];
        let window = Arc::new(Window::new(self.flow.nu, self.flow.lifting, times, state)?);
        let network = Arc::new(self.flow.plan(times, self.threads)?);
        let theta = match self.solution.pieces.last() {
            Some(piece) if self.options.warm_start => piece.theta.clone(),
            _ => network.random(self.seed),
        };
        let fit = Fit::new(theta, self.options.points, &self.options, self.threads)?;
        self.current = Some(Current { window, network, fit, residual: None });
        Ok(())
    }

    /// One Gauss-Newton step; when a window is done the next one is opened. `None` if all are done.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] naming window and step.
    pub fn step(&mut self) -> Result<Option<Progress>> {
        let index = self.solution.pieces.len();
        let Some(mut current) = self.current.take() else { return Ok(None) };
        let options = &self.options;
        let mut held_out = f64::NAN;
        if current.residual.is_none() || current.fit.is_due(options) {
            if current.fit.step > 0 {
                held_out = self.held_out(&current);
            }
            current.residual = Some(self.draw(&current));
        }
        let residual = current.residual.as_mut().expect("drawn above");
        let window = (index, current.window.times);
        let Advance { rms, lambda, settled: done, .. } = current.fit.advance(residual, options, window)?;
        let step = current.fit.step;
        if done {
            held_out = self.held_out(&current);
            let Current { window, network, fit, .. } = current;
            let piece = Piece { window, network, theta: fit.theta };
            let end = piece.end(self.options.state_points)?;
            self.solution.pieces.push(piece);
            self.open(end)?;
        } else {
            self.current = Some(current);
        }
        Ok(Some(Progress { window: index, step, residual: rms, held_out, lambda, front: 1.0, done }))
    }

    /// Everything that the next steps depend on.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = self.solution.tensors();
        let Some(current) = &self.current else { return state };
        let vector = |values: &[f64]| (vec![values.len()], values.to_vec());
        state.push(("current.state".into(), of_vorticity(&current.window.state)));
        state.push(("current.counts".into(), vector(&[current.fit.step as f64])));
        let points = current.residual.iter().flat_map(|r| r.points().iter().flatten().copied());
        state.push(("current.points".into(), vector(&points.collect::<Vec<_>>())));
        state.extend(current.fit.tensors());
        state
    }

    /// Goes back to a state that [`March::state`] gave for the same flow and options.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] or [`Error::Shape`] for a tensor that is absent or does not fit.
    pub fn restore(&mut self, tensor: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        self.solution = Solution::from_tensors(&self.flow, &tensor, self.threads)?;
        let get = |name: &str| tensor(name).ok_or_else(|| Error::parameter("tensor", name, "must be in the file"));
        if tensor("current.counts").is_none() {
            self.current = None;
            return Ok(());
        }
        self.open(vorticity(&self.flow, get("current.state")?)?)?;
        let Some(mut current) = self.current.take() else {
            return Err(Error::parameter("march.ends", self.windows.len(), "must be more windows than are done"));
        };
        let step = get("current.counts")?.1.first().map_or(0, |&step| step as usize);
        current.fit.restore(step, get)?;
        let points: Vec<[f64; 3]> = get("current.points")?.1.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect();
        current.residual = (!points.is_empty()).then(|| self.residual_at(&current, points));
        self.current = Some(current);
        Ok(())
    }

    /// `count` points of a window.
    fn points(&self, current: &Current, count: usize, seed: u64) -> Vec<[f64; 3]> {
        let ([start, end], length) = (current.window.times, self.flow.length);
        let (mut sobol, mut point) = (Sobol::new(3, seed), [0.0; 3]);
        let points = (0..count).map(|_| {
            sobol.point(&mut point);
            [length * point[0], length * point[1], start + (end - start) * point[2]]
        });
        points.collect()
    }

    fn residual_at(&self, current: &Current, points: Vec<[f64; 3]>) -> Residual {
        Residual::new(self.flow.nu, current.network.clone(), &current.window, points)
    }

    /// Root mean square of the residual at held-out points.
    fn held_out(&self, current: &Current) -> f64 {
        let seed = mix(self.seed, u64::MAX, self.solution.pieces.len() as u64);
        let r = self.residual_at(current, self.points(current, HELD_OUT, seed)).unweighted(&current.fit.theta);
        (r.iter().map(|r| r * r).sum::<f64>() / HELD_OUT as f64).sqrt()
    }

    /// The residual at fresh points: an even share, and one drawn with a density proportional to `|r|` of candidates.
    fn draw(&self, current: &Current) -> Residual {
        let options = &self.options;
        let seed = mix(self.seed, self.solution.pieces.len() as u64, current.fit.step as u64);
        let chosen = if current.fit.step == 0 { 0 } else { (options.adaptive * options.points as f64) as usize };
        let mut points = self.points(current, options.points - chosen, seed);
        if chosen > 0 {
            let candidates = self.points(current, CANDIDATES * chosen, seed ^ 0x5555_5555);
            let r = self.residual_at(current, candidates.clone()).unweighted(&current.fit.theta);
            let size: Vec<f64> = r.iter().map(|r| r.abs()).collect();
            points.extend(systematic(&size, chosen).into_iter().map(|i| candidates[i]));
        }
        self.residual_at(current, points)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::f64::consts::TAU;

    use super::*;
    use crate::pinn::plane::{Initial, reference};
    use crate::pinn::{Architecture, Lifting, Places};

    fn flow(lifting: Lifting) -> Flow {
        let initial = Initial::Random { seed: 1, modes: 2, peak: 1.0, speed: 1.0 };
        let network = Architecture { width: 8, depth: 2, scale: 1.0, ..Architecture::default() };
        Flow { length: TAU, nu: 0.05, initial, lifting, network }
    }

    fn options(steps: usize) -> Marching {
        Marching {
            ends: vec![0.1, 0.2],
            points: 300,
            steps,
            redraw: 5,
            adaptive: 0.3,
            state_points: 16,
            ..Marching::default()
        }
    }

    fn run(flow: &Flow, options: &Marching) -> March {
        let mut march = March::new(flow, options, 1, 1).unwrap();
        while march.step().unwrap().is_some() {}
        march
    }

    #[test]
    fn a_network_improves_on_its_lifting() {
        let flow = flow(Lifting::Semigroup);
        let places = Places { end: 0.2, steps: 2, points: 16 };
        let reference = reference(&flow, places, 32, 1e-2).unwrap();
        let error = |steps| {
            let march = run(&flow, &Marching { redraw: 0, ..options(steps) });
            reference.error(&march.solution().at(&reference).unwrap()).0
        };
        let (first, last) = (error(1), error(25));
        // Measured 6e-2 after one step and 4e-4 after 25.
        assert!(last < 5e-3 && last < 0.2 * first, "{first} {last}");
    }

    #[test]
    fn a_stored_march_goes_on_and_a_stored_solution_evaluates_to_the_same_bits() {
        let (flow, options) = (flow(Lifting::Taylor), options(6));
        let whole = run(&flow, &options);
        for stop in [1, 5, 6, 9] {
            let mut first = March::new(&flow, &options, 1, 1).unwrap();
            (0..stop).for_each(|_| assert!(first.step().unwrap().is_some()));
            let stored: HashMap<_, _> = first.state().into_iter().collect();
            let mut second = March::new(&flow, &options, 1, 1).unwrap();
            second.restore(|name| stored.get(name).cloned()).unwrap();
            while second.step().unwrap().is_some() {}
            assert_eq!(second.solution().tensors(), whole.solution().tensors(), "stopped after {stop}");
        }
        let stored: HashMap<_, _> = whole.solution().tensors().into_iter().collect();
        let solution = Solution::from_tensors(&flow, |name| stored.get(name).cloned(), 1).unwrap();
        let points: Vec<[f64; 3]> = (0..50).map(|i| [0.1 * i as f64, 0.3 * i as f64, 0.004 * i as f64]).collect();
        assert_eq!(solution.evaluate(&points).unwrap(), whole.solution().evaluate(&points).unwrap());
        let message = solution.evaluate(&[[0.0, 0.0, 0.3]]).unwrap_err().to_string();
        assert_eq!(message, "t = 0.3 is not allowed: must be in [0, 0.2]");
    }
}
