//! The learned workloads by candle. It has no transform, so that of the Fourier operator is a product with a matrix; no 3-D
//! convolution and no periodic padding, so that the tower pads by concatenation.

#[path = "../../engine_server.rs"]
mod engine_server;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use engine_server::fno::{BATCH, LAYERS, M, N, WIDTH, spectral, transform};
use engine_server::{Runner, pattern, serve, start};
use serde_json::json;

fn main() {
    let args = start();
    let dtype = if args.double { DType::F64 } else { DType::F32 };
    serve(&args, json!({ "candle-core": "0.11.1" }), |case, steps, forward| {
        let runner = match case {
            "conv_tower" => conv_tower(dtype, steps, forward),
            "fno2d" => fno2d(dtype, steps, forward),
            _ => return None,
        };
        Some(runner.expect("the shapes of the workload are right"))
    });
}

fn tensor(values: Vec<f64>, shape: &[usize], dtype: DType) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)
}

/// Adam by the engine: its AdamW without decay.
fn runner(
    start: Vec<Tensor>,
    rate: f64,
    steps: usize,
    forward: bool,
    loss: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
) -> Result<Runner> {
    let run = move || -> Result<Vec<f64>> {
        if forward {
            return (0..steps).map(|_| loss(&start)?.to_dtype(DType::F64)?.to_scalar()).collect();
        }
        let vars = start.iter().map(|t| Var::from_tensor(&t.copy()?)).collect::<Result<Vec<_>>>()?;
        let weights: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let params = ParamsAdamW { lr: rate, weight_decay: 0.0, ..Default::default() };
        let mut adam = AdamW::new(vars, params)?;
        (0..steps)
            .map(|_| {
                let value = loss(&weights)?;
                adam.backward_step(&value)?;
                value.to_dtype(DType::F64)?.to_scalar()
            })
            .collect()
    };
    Ok(Runner { run: Box::new(move || run().expect("the shapes of the workload are right")) })
}

fn conv_tower(dtype: DType, steps: usize, forward: bool) -> Result<Runner> {
    let x = tensor(pattern(8 * 64 * 64 * 64, 1.0, 0), &[8, 64, 64, 64], dtype)?;
    let weight = tensor(pattern(64 * 64 * 9, 0.07, 0), &[64, 64, 3, 3], dtype)?;
    runner(vec![weight; 6], 1e-4, steps, forward, move |weights| {
        let mut h = x.clone();
        for (layer, w) in weights.iter().enumerate() {
            h = wrap(&wrap(&h, 2)?, 3)?.conv2d(w, 0, 1, 1, 1)?;
            if layer + 1 < weights.len() {
                h = h.relu()?;
            }
        }
        h.sqr()?.mean_all()
    })
}

/// One periodic point on each side of the axis.
fn wrap(x: &Tensor, axis: usize) -> Result<Tensor> {
    Tensor::cat(&[&x.narrow(axis, x.dim(axis)? - 1, 1)?, x, &x.narrow(axis, 0, 1)?], axis)
}

/// The matrices of [`transform`]; weights in the layout of [`spectral`].
struct Transform {
    y: Tensor,
    x: Tensor,
    x_back: Tensor,
    y_back: Tensor,
}

impl Transform {
    fn plan(dtype: DType) -> Result<Self> {
        let (y, x, back) = transform();
        let x = tensor(x, &[N, 4 * M], dtype)?;
        Ok(Self {
            y: tensor(y, &[N, 2 * M], dtype)?,
            x_back: x.t()?.contiguous()?,
            x,
            y_back: tensor(back, &[2 * M, N], dtype)?,
        })
    }

    /// Spectral convolution.
    fn mix(&self, h: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let (r, c, b) = (2 * M, WIDTH, BATCH);
        let along_y = h.reshape((b * c * N, N))?.matmul(&self.y)?;
        let columns = along_y.reshape((b * c, N, 2 * M))?.transpose(1, 2)?.contiguous()?;
        let both = columns.reshape((b * c * 2 * M, N))?.matmul(&self.x)?.reshape((b, c, 2, M, 2 * r))?;
        let part = |reim: usize, trig: usize| both.narrow(2, reim, 1)?.narrow(4, trig * r, r)?.squeeze(2);
        let re = (part(0, 0)? + part(1, 1)?)?;
        let im = (part(1, 0)? - part(0, 1)?)?;
        let kept = Tensor::cat(&[re, im], 0)?.permute((2, 3, 0, 1))?.contiguous()?.reshape((M * r, 2 * b, c))?;
        let mixed = kept.matmul(weight)?.reshape((M * r, 2, b, 2 * c))?;
        let part = |reim: usize, of_weight: usize| {
            mixed
                .narrow(1, reim, 1)?
                .narrow(3, of_weight * c, c)?
                .squeeze(1)?
                .reshape((M, r, b, c))?
                .permute((2, 3, 0, 1))
        };
        let re = (part(0, 0)? - part(1, 1)?)?.contiguous()?;
        let im = (part(0, 1)? + part(1, 0)?)?.contiguous()?;
        let of_re = Tensor::cat(&[&re, &im.neg()?], 3)?;
        let of_im = Tensor::cat(&[&im, &re], 3)?;
        let rows = Tensor::stack(&[of_re, of_im], 2)?.reshape((b * c * 2 * M, 2 * r))?.matmul(&self.x_back)?;
        let columns = rows.reshape((b * c, 2 * M, N))?.transpose(1, 2)?.contiguous()?.reshape((b * c * N, 2 * M))?;
        columns.matmul(&self.y_back)?.reshape((b, c, N, N))
    }
}

/// Pointwise linear map, one product.
fn linear(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (c_out, c_in) = w.dims2()?;
    let y = w.unsqueeze(0)?.broadcast_as((BATCH, c_out, c_in))?.contiguous()?.matmul(&x.reshape((
        BATCH,
        c_in,
        N * N,
    ))?)?;
    y.broadcast_add(&b.reshape((1, c_out, 1))?)?.reshape((BATCH, c_out, N, N))
}

fn fno2d(dtype: DType, steps: usize, forward: bool) -> Result<Runner> {
    let x = tensor(pattern(BATCH * 3 * N * N, 1.0, 0), &[BATCH, 3, N, N], dtype)?;
    let target = tensor(pattern(BATCH * N * N, 1.0, 1), &[BATCH, 1, N, N], dtype)?;
    let transform = Transform::plan(dtype)?;
    let mut start = Vec::new();
    let mut add = |values: Vec<f64>, shape: &[usize]| tensor(values, shape, dtype).map(|t| start.push(t));
    add(pattern(WIDTH * 3, 1.0, 2), &[WIDTH, 3])?;
    add(pattern(WIDTH, 0.1, 3), &[WIDTH])?;
    for layer in 0..LAYERS {
        add(spectral(4 + 3 * layer), &[2 * M * M, WIDTH, 2 * WIDTH])?;
        add(pattern(WIDTH * WIDTH, 0.2, 5 + 3 * layer), &[WIDTH, WIDTH])?;
        add(pattern(WIDTH, 0.1, 6 + 3 * layer), &[WIDTH])?;
    }
    add(pattern(128 * WIDTH, 0.2, 16), &[128, WIDTH])?;
    add(pattern(128, 0.1, 17), &[128])?;
    add(pattern(128, 0.2, 18), &[1, 128])?;
    add(pattern(1, 0.1, 19), &[1])?;
    runner(start, 1e-3, steps, forward, move |p| {
        let mut h = linear(&x, &p[0], &p[1])?;
        for layer in 0..LAYERS {
            let p = &p[2 + 3 * layer..];
            h = (transform.mix(&h, &p[0])? + linear(&h, &p[1], &p[2])?)?;
            if layer + 1 < LAYERS {
                h = h.gelu_erf()?;
            }
        }
        let p = &p[2 + 3 * LAYERS..];
        let h = linear(&linear(&h, &p[0], &p[1])?.gelu_erf()?, &p[2], &p[3])?;
        (h - &target)?.sqr()?.mean_all()
    })
}
