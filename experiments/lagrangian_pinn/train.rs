//! Training of one form.

use parseval::Result;
use parseval::optim::{NamedTensor, TensorData};
use parseval::pinn::lagrangian::{LagrangianMarch, LagrangianProgress};
use parseval::run::checkpoint::{Checkpoint, Snapshot};
use parseval::run::seed;
use parseval::run::tensor_file::{Tensor, Tensors};
use parseval::run::training::{Scalars, Train};

use crate::config::{Config, Form};

/// A training run of one form and seed.
pub struct Training {
    name: String,
    march: LagrangianMarch,
    last: Option<LagrangianProgress>,
}

impl Training {
    pub fn new(config: &Config, form: Form, run_seed: u64, threads: usize) -> Result<Self> {
        let case = &config.problem;
        let seed = seed::derive(run_seed, form.name(), 0);
        let march = LagrangianMarch::new(
            &case.equation(),
            &config.motion(form),
            case.state()?,
            &config.marching(form),
            seed,
            threads,
        )?;
        Ok(Self { name: config.name.clone(), march, last: None })
    }

    pub fn march(&self) -> &LagrangianMarch {
        &self.march
    }
}

impl Train for Training {
    fn name(&self) -> &str {
        &self.name
    }

    fn step(&mut self, _: u64) -> Result<Scalars> {
        // Steps that are left when all windows are done early do nothing.
        self.last = self.march.step()?.or(self.last);
        let Some(LagrangianProgress { window, residual, lambda, .. }) = self.last else { return Ok(Scalars::new()) };
        Ok(vec![("residual".into(), residual), ("lambda".into(), lambda), ("window".into(), window as f64)])
    }

    fn save(&self) -> Snapshot {
        let store = |t: NamedTensor| {
            let TensorData::F64(values) = t.data else { unreachable!("a march is in double precision") };
            (t.name, Tensor::new(&t.shape, values).expect("a tensor has as many values as its shape says"))
        };
        let mut model: Tensors = self.march.state().into_iter().map(store).collect();
        if let Some(LagrangianProgress { window, step, residual, lambda, done }) = self.last {
            let values = vec![window as f64, step as f64, residual, lambda, f64::from(u8::from(done))];
            model.insert("progress".into(), Tensor::vector(values));
        }
        Snapshot { model, ..Snapshot::default() }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let mut state = Vec::new();
        for (name, tensor) in &checkpoint.model.tensors {
            let (name, shape) = (name.clone(), tensor.shape().to_vec());
            let values = checkpoint.model.get::<f64>(&name, &shape)?.to_vec();
            if name == "progress" {
                self.last = Some(LagrangianProgress {
                    window: values[0] as usize,
                    step: values[1] as usize,
                    residual: values[2],
                    lambda: values[3],
                    done: values[4] != 0.0,
                });
            } else {
                state.push(NamedTensor { name, shape, data: TensorData::F64(values) });
            }
        }
        self.march.restore(&state)
    }
}
