//! Training windows in batches, shuffled by seed and epoch, read ahead in the background.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use ndarray::{ArrayD, Axis, concatenate, stack};

use super::split::permutation;
use super::{Dataset, OpenOptions};
use crate::error::{Error, Result};
use crate::field::Real;

/// What a window is and how windows come together.
#[derive(Clone, Debug)]
pub struct WindowSpec {
    /// Fields, their channels concatenated in this order.
    pub fields: Vec<String>,
    /// Frames shown to the model.
    pub input_frames: usize,
    /// Frames it is to predict.
    pub output_frames: usize,
    /// Stored frames from one frame of a window to the next.
    pub stride: usize,
    /// Stored frames from the start of one window to the start of the next.
    pub step: usize,
    /// Windows in a batch; the last batch of an epoch may be smaller.
    pub batch: usize,
    /// Whether windows come in random order.
    pub shuffle: bool,
    /// Seed of that order.
    pub seed: u64,
    /// Batches read ahead.
    pub ahead: usize,
}

impl WindowSpec {
    /// One frame in, one frame out, every window, shuffled by seed 0, batches of one.
    pub fn new(fields: &[&str]) -> Self {
        Self {
            fields: fields.iter().map(|&f| f.to_owned()).collect(),
            input_frames: 1,
            output_frames: 1,
            stride: 1,
            step: 1,
            batch: 1,
            shuffle: true,
            seed: 0,
            ahead: 2,
        }
    }

    /// Stored frames from the first to the last of a window.
    fn span(&self) -> usize {
        (self.input_frames + self.output_frames - 1) * self.stride + 1
    }
}

/// Windows read together.
#[derive(Clone, Debug)]
pub struct Batch<T> {
    /// Sample and first frame of each window.
    pub windows: Vec<(usize, usize)>,
    /// `[batch, input_frames, channel, x..]`.
    pub input: ArrayD<T>,
    /// `[batch, output_frames, channel, x..]`.
    pub output: ArrayD<T>,
}

/// All windows of some samples of one file.
///
/// # Example
///
/// ```no_run
/// use parseval::data::loader::{Loader, WindowSpec};
/// use parseval::data::split::Split;
///
/// let split = Split::new(100, 0.1, 0.1, 0)?;
/// let spec = WindowSpec { batch: 8, ..WindowSpec::new(&["u"]) };
/// let loader = Loader::new("ks.hdf5".as_ref(), &Default::default(), &split.train, spec)?;
/// for epoch in 0..10 {
///     for batch in loader.epoch::<f32>(epoch) {
///         let batch = batch?; // batch.input, batch.output
///     }
/// }
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Loader {
    path: PathBuf,
    options: OpenOptions,
    spec: WindowSpec,
    windows: Vec<(usize, usize)>,
}

impl Loader {
    /// Plans the windows of the given samples.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a field, sample or size that does not fit the file, or a sample that is incomplete;
    /// as [`Dataset::open_with`].
    pub fn new(path: &Path, options: &OpenOptions, samples: &[usize], spec: WindowSpec) -> Result<Self> {
        for (name, value) in [
            ("input_frames", spec.input_frames),
            ("output_frames", spec.output_frames),
            ("stride", spec.stride),
            ("step", spec.step),
            ("batch", spec.batch),
            ("fields", spec.fields.len()),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        let data = Dataset::open_with(path, options)?;
        for name in &spec.fields {
            data.field(name)?;
        }
        if let Some(sample) = samples.iter().find(|&&s| !data.complete().get(s).copied().unwrap_or(false)) {
            return Err(Error::parameter("sample", sample, "must be a complete sample of the file"));
        }
        let frames = data.times().len();
        if spec.span() > frames {
            return Err(Error::parameter("window", spec.span(), format!("must be at most the {frames} frames stored")));
        }
        let starts = || (0..=frames - spec.span()).step_by(spec.step);
        let windows = samples.iter().flat_map(|&sample| starts().map(move |first| (sample, first))).collect();
        Ok(Self { path: path.to_owned(), options: options.clone(), spec, windows })
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether there are no windows.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Number of batches of an epoch.
    pub fn batches(&self) -> usize {
        self.len().div_ceil(self.spec.batch)
    }

    /// All windows once, in the order of this seed and epoch.
    pub fn epoch<T: Real>(&self, epoch: u64) -> Batches<T> {
        self.spawn(epoch..=epoch, 0)
    }

    /// Batch after batch and epoch after epoch without end, from batch number `first` on, counted from the start of epoch
    /// 0: what a training goes on with after `first` steps.
    ///
    /// Nothing is read of the batches before; without windows there are no batches.
    pub fn stream<T: Real>(&self, first: u64) -> Batches<T> {
        match self.batches() as u64 {
            0 => self.spawn(0..=0, 0),
            n => self.spawn(first / n..=u64::MAX, (first % n) as usize),
        }
    }

    /// Reads the batches of some epochs in the background, but for the first `skip`.
    fn spawn<T: Real>(&self, epochs: RangeInclusive<u64>, skip: usize) -> Batches<T> {
        let (sender, receiver) = sync_channel(self.spec.ahead);
        let loader = self.clone();
        let thread = std::thread::spawn(move || {
            // The file is opened here: a back end's handles stay on their thread.
            let data = match Dataset::open_with(&loader.path, &loader.options) {
                Ok(data) => data,
                Err(error) => return drop(sender.send(Err(error))),
            };
            let mut skip = skip;
            for epoch in epochs {
                for windows in loader.order(epoch).chunks(loader.spec.batch).skip(std::mem::take(&mut skip)) {
                    let batch = loader.read(&data, windows);
                    let failed = batch.is_err();
                    // A closed channel means that nobody wants the rest.
                    if sender.send(batch).is_err() || failed {
                        return;
                    }
                }
            }
        });
        Batches { receiver: Some(receiver), thread: Some(thread) }
    }

    /// The windows in the order of an epoch.
    fn order(&self, epoch: u64) -> Vec<(usize, usize)> {
        match self.spec.shuffle {
            true => permutation(self.len(), self.spec.seed, epoch).into_iter().map(|i| self.windows[i]).collect(),
            false => self.windows.clone(),
        }
    }

    fn read<T: Real>(&self, data: &Dataset, windows: &[(usize, usize)]) -> Result<Batch<T>> {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        let middle = self.spec.input_frames;
        for &(sample, first) in windows {
            let window = self.window::<T>(data, sample, first..first + self.spec.span())?;
            let (input, output) = window.view().split_at(Axis(0), middle);
            inputs.push(input.to_owned());
            outputs.push(output.to_owned());
        }
        let stack = |parts: &[ArrayD<T>]| {
            let views: Vec<_> = parts.iter().map(|a| a.view()).collect();
            stack(Axis(0), &views).expect("windows of one file have one shape")
        };
        Ok(Batch { windows: windows.to_vec(), input: stack(&inputs), output: stack(&outputs) })
    }

    /// `[input_frames + output_frames, channel, x..]` of all fields.
    fn window<T: Real>(&self, data: &Dataset, sample: usize, frames: Range<usize>) -> Result<ArrayD<T>> {
        let fields = self.spec.fields.iter().map(|name| data.read::<T>(name, sample, frames.clone(), self.spec.stride));
        let fields = fields.collect::<Result<Vec<_>>>()?;
        let views: Vec<_> = fields.iter().map(|a| a.view()).collect();
        Ok(concatenate(Axis(1), &views).expect("fields of one file differ only in channels"))
    }
}

/// Batches that a thread reads ahead; dropping them ends it.
pub struct Batches<T> {
    receiver: Option<Receiver<Result<Batch<T>>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T> Iterator for Batches<T> {
    type Item = Result<Batch<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.as_ref()?.recv().ok()
    }
}

impl<T> Drop for Batches<T> {
    fn drop(&mut self) {
        // The receiver goes first, so that a thread that waits to send wakes up and ends.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::well::tests::{header, write};
    use crate::data::well::{Precision, Writer};
    use ndarray::IxDyn;

    fn file(dir: &Path) -> PathBuf {
        let path = dir.join("a.hdf5");
        let header = header(3, Precision::F64);
        let mut writer = Writer::create(&path, &header).unwrap();
        (0..3).for_each(|i| write(&mut writer, &header, i));
        path
    }

    #[test]
    fn an_epoch_holds_every_window_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let spec = WindowSpec { batch: 4, ..WindowSpec::new(&["omega", "velocity"]) };
        let loader = Loader::new(&path, &OpenOptions::default(), &[0, 2, 1], spec).unwrap();
        assert_eq!((loader.len(), loader.batches()), (6, 2));
        let batches: Vec<Batch<f64>> = loader.epoch(0).map(|b| b.unwrap()).collect();
        assert_eq!(batches[0].input.shape(), [4, 1, 3, 4, 6]);
        assert_eq!(batches[1].output.shape(), [2, 1, 3, 4, 6]);
        let mut seen = Vec::new();
        for batch in &batches {
            for (i, &(sample, first)) in batch.windows.iter().enumerate() {
                seen.push((sample, first));
                // omega starts at 1000 (sample + 1) + 100, a frame has 24 points.
                let at = |frame: usize| 1000.0 * (sample + 1) as f64 + 100.0 + 24.0 * frame as f64 / 512.0;
                assert_eq!(batch.input[IxDyn(&[i, 0, 0, 0, 0])], at(first));
                assert_eq!(batch.output[IxDyn(&[i, 0, 0, 0, 0])], at(first + 1));
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    }

    #[test]
    fn the_order_depends_on_seed_and_epoch_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let order = |seed, epoch| -> Vec<(usize, usize)> {
            let spec = WindowSpec { seed, ..WindowSpec::new(&["omega"]) };
            let loader = Loader::new(&path, &OpenOptions::default(), &[0, 1, 2], spec).unwrap();
            loader.epoch::<f32>(epoch).flat_map(|b| b.unwrap().windows).collect()
        };
        assert_eq!(order(5, 3), order(5, 3));
        assert_ne!(order(5, 3), order(5, 4));
        assert_ne!(order(5, 3), order(6, 3));
    }

    #[test]
    fn a_stream_goes_on_anywhere_with_the_batches_of_the_epochs() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let spec = WindowSpec { batch: 4, seed: 2, ..WindowSpec::new(&["omega"]) };
        let loader = Loader::new(&path, &OpenOptions::default(), &[0, 1, 2], spec.clone()).unwrap();
        let batches = |epoch: u64| loader.epoch::<f32>(epoch).map(|b| b.unwrap().windows).collect::<Vec<_>>();
        let expected = [batches(0), batches(1), batches(2)].concat();
        assert_eq!(expected.len(), 6);
        for first in 0..6 {
            let stream = loader.stream::<f32>(first as u64).map(|b| b.unwrap().windows);
            assert_eq!(stream.take(6 - first).collect::<Vec<_>>(), expected[first..]);
        }
        let none = Loader::new(&path, &OpenOptions::default(), &[], spec).unwrap();
        assert!(none.stream::<f32>(3).next().is_none());
    }

    #[test]
    fn an_epoch_dropped_early_ends_its_thread() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let loader = Loader::new(&path, &OpenOptions::default(), &[0, 1, 2], WindowSpec::new(&["omega"])).unwrap();
        // Dropping joins the thread: this test would hang if it waited for ever.
        let mut epoch = loader.epoch::<f64>(0);
        assert!(epoch.next().unwrap().is_ok());
        drop(epoch);
    }

    #[test]
    fn failures_arrive_as_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let new = |samples: &[usize], spec| Loader::new(&path, &OpenOptions::default(), samples, spec);
        assert!(new(&[3], WindowSpec::new(&["omega"])).is_err());
        assert!(new(&[0], WindowSpec::new(&["psi"])).is_err());
        assert!(new(&[0], WindowSpec { input_frames: 3, ..WindowSpec::new(&["omega"]) }).is_err());
        assert!(new(&[0], WindowSpec { stride: 0, ..WindowSpec::new(&["omega"]) }).is_err());
        let loader = new(&[0], WindowSpec::new(&["omega"])).unwrap();
        std::fs::remove_file(&path).unwrap();
        let results: Vec<_> = loader.epoch::<f64>(0).collect();
        assert!(matches!(results[..], [Err(Error::Io { .. })]));
    }
}
