//! Samples in parallel, into a file that survives anything.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use super::accuracy::{self, Accuracy};
use super::simulation::{Simulation, Trajectory};
use crate::data::Dataset;
use crate::data::well::Writer;
use crate::error::{Error, Result};
use crate::run::{Environment, Interrupt, Progress};

/// How a file is made.
pub struct Options<'a> {
    /// Threads in all; the result does not depend on it.
    pub threads: usize,
    /// Whether to go on with a file that is there.
    pub resume: bool,
    /// Whether to be silent on standard error.
    pub quiet: bool,
    /// Asks to stop after the samples that are being computed.
    pub interrupt: &'a Interrupt,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Samples computed now; the others were there.
    pub computed: usize,
    /// Samples in the file.
    pub samples: usize,
    /// Time of the run.
    pub wall_seconds: f64,
    /// Solver steps a second, all threads together, measurements of accuracy left out.
    pub steps_per_second: f64,
    /// Measured accuracy of the samples that were measured now.
    pub accuracy: Vec<(usize, Accuracy)>,
}

/// A computed sample on its way to the file.
struct Finished {
    index: usize,
    trajectory: Trajectory,
    accuracy: Option<Accuracy>,
    seconds: f64,
}

/// Fills a file with all samples of a simulation.
///
/// Each sample is computed by one thread, or by several if there are fewer samples than threads, and written when it is
/// done, in any order; its values depend on recipe and seed alone.
///
/// # Errors
///
/// [`Error::BlowUp`] naming the sample, [`Error::Interrupted`] if asked to stop: in both cases everything finished is in
/// the file, and a later call with `resume` goes on. [`Error::Parameter`] if the file exists and `resume` is not set, or was
/// made by another recipe; what the writer may give.
pub fn generate(simulation: &Simulation, out: &Path, options: &Options) -> Result<Report> {
    let start = Instant::now();
    let (mut writer, pending) = open(simulation, out, options)?;
    let workers = options.threads.min(pending.len()).max(1);
    let threads_each = (options.threads / workers).max(1);
    let job = Job {
        simulation,
        pending: &pending,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        solving: Mutex::new(0.0),
        threads: threads_each,
        options,
        progress: Progress::new(total_steps(simulation, &pending), "steps", options.quiet),
    };
    let samples = simulation.samples();
    let mut done = samples - pending.len();
    let mut report = Report { computed: 0, samples, wall_seconds: 0.0, steps_per_second: 0.0, accuracy: Vec::new() };
    let mut failure = None;
    std::thread::scope(|scope| {
        // No queue: a worker waits until its sample is taken, so that at most one finished sample a worker is held.
        let (sender, receiver) = mpsc::sync_channel(0);
        for _ in 0..workers {
            let (sender, job) = (sender.clone(), &job);
            scope.spawn(move || job.work(&sender));
        }
        drop(sender);
        job.progress.message(format!("{done}/{samples} samples"));
        for result in receiver {
            let written = result.and_then(|finished: Finished| write(simulation, &mut writer, finished, &mut report));
            match written {
                Ok(()) => done += 1,
                Err(error) => {
                    // What is being computed is still finished and written.
                    job.stop.store(true, Ordering::SeqCst);
                    failure.get_or_insert(error);
                }
            }
            job.progress.message(format!("{done}/{samples} samples"));
        }
    });
    job.progress.finish();
    if let Some(error) = failure {
        return Err(error);
    }
    if done < samples {
        return Err(Error::Interrupted { done, total: samples, unit: "samples" });
    }
    writer.finish()?;
    report.wall_seconds = start.elapsed().as_secs_f64();
    let solving = job.solving.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let steps = (report.computed * simulation.steps_per_sample()) as f64;
    report.steps_per_second = if solving > 0.0 { steps / solving * workers as f64 } else { 0.0 };
    Ok(report)
}

/// The file, and the samples that it lacks.
fn open(simulation: &Simulation, out: &Path, options: &Options) -> Result<(Writer, Vec<usize>)> {
    if !out.exists() {
        let header = simulation.header(&Environment::capture(), options.threads)?;
        return Ok((Writer::create(out, &header)?, (0..simulation.samples()).collect()));
    }
    let refuse = |rule: &str| Error::parameter("--out", out.display(), rule);
    if !options.resume {
        return Err(refuse("exists already: add --resume to go on with it, or remove it"));
    }
    let recipe = Dataset::open(out, None)?.provenance().map(|p| p.config_toml);
    if recipe.as_deref() != Some(simulation.resolved()) {
        return Err(refuse("was made with another recipe or seed: give that one, or another --out"));
    }
    let (writer, complete) = Writer::resume(out)?;
    Ok((writer, (0..simulation.samples()).filter(|&i| !complete[i]).collect()))
}

/// Steps of all pending samples, and what the measurements of accuracy cost in such steps.
fn total_steps(simulation: &Simulation, pending: &[usize]) -> u64 {
    let measured = pending.iter().filter(|&&i| i < simulation.recipe().accuracy.samples).count();
    (pending.len() * simulation.steps_per_sample()) as u64 + measured as u64 * accuracy::cost(simulation)
}

fn write(simulation: &Simulation, writer: &mut Writer, finished: Finished, report: &mut Report) -> Result<()> {
    let Finished { index, trajectory, accuracy, seconds } = finished;
    // Before the sample: if the sample is complete, so is what was measured about it.
    if let Some(accuracy) = accuracy {
        writer.set_error_curves(index, &accuracy.time, &accuracy.space)?;
        report.accuracy.push((index, accuracy));
        report.accuracy.sort_by_key(|(index, _)| *index);
    }
    let fields: Vec<_> = trajectory.fields.iter().map(|field| field.as_slice().into()).collect();
    writer.write_sample(index, &fields, simulation.seed(index), seconds)?;
    report.computed += 1;
    Ok(())
}

/// What the workers share.
struct Job<'a> {
    simulation: &'a Simulation,
    pending: &'a [usize],
    next: AtomicUsize,
    stop: AtomicBool,
    /// Seconds that all workers together spent on solving.
    solving: Mutex<f64>,
    threads: usize,
    options: &'a Options<'a>,
    progress: Progress,
}

impl Job<'_> {
    /// Computes samples until there are none left or it is asked to stop.
    fn work(&self, sender: &mpsc::SyncSender<Result<Finished>>) {
        let mut stepper = None;
        while !self.stop.load(Ordering::SeqCst) && !self.options.interrupt.is_set() {
            let Some(&index) = self.pending.get(self.next.fetch_add(1, Ordering::SeqCst)) else { return };
            let result = self.sample(index, &mut stepper);
            let failed = result.is_err();
            if sender.send(result).is_err() || failed {
                return;
            }
        }
    }

    fn sample(&self, index: usize, stepper: &mut Option<crate::stepper::Stepper<f64>>) -> Result<Finished> {
        let simulation = self.simulation;
        let stepper = match stepper {
            Some(stepper) => stepper,
            None => stepper.insert(simulation.plan(simulation.grid(), simulation.recipe().time.dt, self.threads)?),
        };
        let start = Instant::now();
        let trajectory = simulation.run(index, stepper, |steps| self.progress.advance(steps as u64))?;
        let seconds = start.elapsed().as_secs_f64();
        *self.solving.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += seconds;
        let accuracy = match index < simulation.recipe().accuracy.samples {
            false => None,
            true => {
                let whole = accuracy::cost(simulation) as f64;
                let mut done = 0.0;
                Some(accuracy::measure(simulation, &trajectory, self.threads, |share| {
                    let before = (done * whole) as u64;
                    done += share;
                    self.progress.advance((done * whole) as u64 - before);
                })?)
            }
        };
        Ok(Finished { index, trajectory, accuracy, seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Recipe;
    use crate::spectral::{Derivatives, Resample};
    use ndarray::Axis;

    const RECIPE: &str = r#"
        [dataset]
        name = "flow"
        samples = 3
        [equation]
        id = "navier_stokes_2d"
        nu = 0.01
        forcing = { kind = "kolmogorov", amplitude = 1, mode = 2 }
        [grid]
        n = [24, 20]
        length = "2 pi"
        [initial]
        kind = "filtered_velocity"
        peak = 2
        max_speed = 1
        [time]
        dt = 0.05
        t_warmup = 0.5
        t_end = 1
        save_every = 0.5
        [output]
        precision = "f64"
        stride = 2
    "#;

    fn simulation(overrides: &[String]) -> Simulation {
        Simulation::new(Recipe::parse(RECIPE, overrides).unwrap(), Path::new(".")).unwrap()
    }

    fn all(path: &Path) -> Vec<f64> {
        let data = Dataset::open(path, None).unwrap();
        (0..3).flat_map(|i| data.read::<f64>("vorticity", i, 0..3, 1).unwrap().into_iter()).collect()
    }

    #[test]
    fn content_depends_neither_on_threads_nor_on_interruptions() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let interrupt = Interrupt::default();
        let simulation = simulation(&[]);
        let options = |threads, resume| Options { threads, resume, quiet: true, interrupt: &interrupt };
        let report = generate(&simulation, &path("one"), &options(1, false)).unwrap();
        assert_eq!((report.computed, report.samples, report.accuracy.len()), (3, 3, 1));
        generate(&simulation, &path("four"), &options(4, false)).unwrap();
        assert_eq!(all(&path("one")), all(&path("four")));

        // Asked to stop before the first sample, then resumed twice.
        interrupt.set();
        let stopped = generate(&simulation, &path("stopped"), &options(1, false));
        assert!(matches!(stopped, Err(Error::Interrupted { done: 0, total: 3, .. })));
        let interrupt = Interrupt::default();
        let options = Options { threads: 2, resume: true, quiet: true, interrupt: &interrupt };
        assert_eq!(generate(&simulation, &path("stopped"), &options).unwrap().computed, 3);
        assert_eq!(generate(&simulation, &path("stopped"), &options).unwrap().computed, 0);
        assert_eq!(all(&path("one")), all(&path("stopped")));
    }

    #[test]
    fn a_stored_point_is_the_point_of_the_solver() {
        let folder = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        let options = Options { threads: 1, resume: false, quiet: true, interrupt: &interrupt };
        let [some, every] = ["2", "1"].map(|stride| {
            let path = folder.path().join(stride);
            generate(&simulation(&[format!("output.stride={stride}")]), &path, &options).unwrap();
            Dataset::open(&path, None).unwrap().read::<f64>("vorticity", 2, 0..3, 1).unwrap()
        });
        assert_eq!((some.shape(), every.shape()), (&[3, 1, 12, 10][..], &[3, 1, 24, 20][..]));
        assert!(some.indexed_iter().all(|(i, u)| *u == every[[i[0], i[1], 2 * i[2], 2 * i[3]]]));
    }

    #[test]
    fn truncated_points_have_the_modes_of_the_solver_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        let options = Options { threads: 1, resume: false, quiet: true, interrupt: &interrupt };
        let [some, every] = [&["output.stride=2", "output.truncate=true"][..], &["output.stride=1"]].map(|set| {
            let path = folder.path().join(set.len().to_string());
            let set: Vec<String> = set.iter().chain(&["output.precision='f64'"]).map(|s| s.to_string()).collect();
            let simulation = simulation(&set);
            generate(&simulation, &path, &options).unwrap();
            let dataset = Dataset::open(&path, None).unwrap();
            let u = dataset.read::<f64>("vorticity", 2, 2..3, 1).unwrap().index_axis_move(Axis(0), 0);
            (u, simulation.stored_grid().unwrap())
        });
        let exact = Resample::plan(&every.1, &some.1).unwrap().apply(every.0.view());
        // The same interpolation of the same numbers, one of them computed next to the other frames.
        let size = exact.iter().fold(0.0f64, |m, e| m.max(e.abs()));
        assert!(some.0.iter().zip(&exact).all(|(u, e)| (u - e).abs() < 1e-13 * size));
    }

    #[test]
    fn a_stored_velocity_has_the_vorticity_of_the_solver_and_the_mean_flow() {
        let folder = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        let options = Options { threads: 1, resume: false, quiet: true, interrupt: &interrupt };
        let [u, omega] = [("true", "velocity"), ("false", "vorticity")].map(|(is_velocity, field)| {
            let path = folder.path().join(field);
            let velocity = format!("output.velocity={is_velocity}");
            let set = [velocity, "output.stride=1".into(), "equation.mean_flow=[0.5, -0.25]".into()];
            generate(&simulation(&set), &path, &options).unwrap();
            Dataset::open(&path, None).unwrap().read::<f64>(field, 1, 2..3, 1).unwrap().index_axis_move(Axis(0), 0)
        });
        let grid = simulation(&[]).grid().clone();
        let derivatives = Derivatives::plan(&grid);
        let size = omega.iter().fold(0.0f64, |m, w| m.max(w.abs()));
        let close = |a: &ndarray::ArrayD<f64>, b: &ndarray::ArrayD<f64>| {
            // A few transforms of fields of that size.
            a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12 * size)
        };
        let curl = derivatives.curl(u.view());
        assert!(close(&curl, &omega.index_axis_move(Axis(0), 0)));
        let divergence = derivatives.divergence(u.view());
        assert!(close(&divergence, &ndarray::ArrayD::zeros(divergence.raw_dim())));
        for (component, mean) in u.outer_iter().zip([0.5, -0.25]) {
            assert!((component.mean().unwrap() - mean).abs() < 1e-13);
        }
    }

    #[test]
    fn only_a_vorticity_has_a_velocity() {
        let burgers = RECIPE
            .replace("navier_stokes_2d", "burgers")
            .replace("forcing = { kind = \"kolmogorov\", amplitude = 1, mode = 2 }", "");
        let burgers = burgers
            .replace("n = [24, 20]", "n = 24")
            .replace("kind = \"filtered_velocity\"", "kind = \"random_fourier\"");
        let burgers = burgers.replace("peak = 2\n", "cut = 4\n").replace("max_speed = 1\n", "\n");
        let recipe = Recipe::parse(&burgers, &["output.velocity=true".into()]).unwrap();
        let error = Simulation::new(recipe, Path::new(".")).err().unwrap().to_string();
        assert!(error.contains("output.velocity") && error.contains("burgers"), "{error}");
    }

    #[test]
    fn a_file_of_another_recipe_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flow");
        let interrupt = Interrupt::default();
        let mut options = Options { threads: 1, resume: false, quiet: true, interrupt: &interrupt };
        generate(&simulation(&[]), &path, &options).unwrap();
        let before = std::fs::read(&path).unwrap();
        options.resume = true;
        let other = generate(&simulation(&["dataset.seed=1".into()]), &path, &options);
        assert!(matches!(other, Err(Error::Parameter { .. })));
        assert_eq!(before, std::fs::read(&path).unwrap());
    }
}
