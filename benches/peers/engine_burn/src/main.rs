//! The learned workloads by burn on its processor backend (flex). Its tensors have no complex type; a transform as a product with a
//! matrix is faster than its own, which transforms rows of a power of two. The tower pads by concatenation.

#[path = "../../engine_server.rs"]
mod engine_server;

use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::{gelu, relu};
use burn::tensor::module::{conv2d, conv3d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use engine_server::fno::{BATCH, LAYERS, M, N, WIDTH, spectral, transform};
use engine_server::{Runner, pattern, serve, start};
use serde_json::json;

fn main() {
    let args = start();
    let mut device = Device::flex();
    let float = if args.double { FloatDType::F64 } else { FloatDType::F32 };
    device.configure(float).expect("nothing was computed yet");
    let device = device.autodiff();
    serve(&args, json!({ "burn": "0.22.1" }), |case, steps, forward| {
        Some(match case {
            "conv_tower" => conv_tower(&device, steps, forward),
            "conv3d" => convolution_3d(&device, steps),
            "fno2d" => fno2d(&device, steps, forward),
            _ => return None,
        })
    });
}

fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn param<const D: usize>(values: Vec<f64>, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(tensor(values, shape, device))
}

fn number<const D: usize>(loss: Tensor<D>) -> f64 {
    loss.into_data().convert_dtype(DType::F64).try_to_vec::<f64>().expect("just converted")[0]
}

fn runner<M: Module + 'static>(
    start: M,
    rate: f64,
    steps: usize,
    forward: bool,
    loss: impl Fn(&M) -> Tensor<1> + 'static,
) -> Runner {
    let run = move || {
        let mut model = start.clone();
        let mut adam = AdamConfig::new().with_epsilon(1e-8).init();
        let step = |_| {
            let value = loss(&model);
            if !forward {
                let gradients = GradientsParams::from_grads(value.backward(), &model);
                model = adam.step(rate, model.clone(), gradients);
            }
            number(value)
        };
        (0..steps).map(step).collect()
    };
    Runner { run: Box::new(run) }
}

#[derive(Module, Debug)]
struct Tower {
    weights: Vec<Param<Tensor<4>>>,
}

fn conv_tower(device: &Device, steps: usize, forward: bool) -> Runner {
    let x = tensor(pattern(8 * 64 * 64 * 64, 1.0, 0), [8, 64, 64, 64], device);
    let weight = |_| param(pattern(64 * 64 * 9, 0.07, 0), [64, 64, 3, 3], device);
    let tower = Tower { weights: (0..6).map(weight).collect() };
    runner(tower, 1e-4, steps, forward, move |tower| {
        let mut h = x.clone();
        for (layer, w) in tower.weights.iter().enumerate() {
            let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
            h = conv2d(wrap(wrap(h, 2), 3), w.val(), None, options);
            if layer + 1 < tower.weights.len() {
                h = relu(h);
            }
        }
        (h.clone() * h).mean()
    })
}

/// One periodic point on each side of the axis.
fn wrap(x: Tensor<4>, axis: usize) -> Tensor<4> {
    let n = x.dims()[axis];
    Tensor::cat(vec![x.clone().narrow(axis, n - 1, 1), x.clone(), x.narrow(axis, 0, 1)], axis)
}

fn convolution_3d(device: &Device, steps: usize) -> Runner {
    let x = tensor(pattern(2 * 16 * 32 * 32 * 32, 1.0, 0), [2, 16, 32, 32, 32], device);
    let w = tensor(pattern(16 * 16 * 27, 0.07, 0), [16, 16, 3, 3, 3], device);
    let step = move |_| {
        let (x, w) = (x.clone().require_grad(), w.clone().require_grad());
        let y = conv3d(x.clone(), w.clone(), None, ConvOptions::new([1; 3], [1; 3], [1; 3], 1));
        let loss = (y.clone() * y).mean();
        let gradients = loss.backward();
        assert!(x.grad(&gradients).is_some() && w.grad(&gradients).is_some());
        number(loss)
    };
    Runner { run: Box::new(move || (0..steps).map(&step).collect()) }
}

/// The matrices of [`transform`]; weights in the layout of [`spectral`].
struct Transform {
    y: Tensor<2>,
    x: Tensor<2>,
    x_back: Tensor<2>,
    y_back: Tensor<2>,
}

impl Transform {
    fn plan(device: &Device) -> Self {
        let (y, x, back) = transform();
        let x = tensor(x, [N, 4 * M], device);
        Self {
            y: tensor(y, [N, 2 * M], device),
            x_back: x.clone().transpose(),
            x,
            y_back: tensor(back, [2 * M, N], device),
        }
    }

    /// Spectral convolution.
    fn mix(&self, h: Tensor<4>, weight: Tensor<3>) -> Tensor<4> {
        let (r, c, b) = (2 * M, WIDTH, BATCH);
        let along_y = h.reshape([b * c * N, N]).matmul(self.y.clone());
        let columns: Tensor<3> = along_y.reshape([b * c, N, 2 * M]).swap_dims(1, 2);
        let both = columns.reshape([b * c * 2 * M, N]).matmul(self.x.clone()).reshape([b, c, 2, M, 2 * r]);
        let part = |reim: usize, trig: usize| -> Tensor<4> {
            both.clone().narrow(2, reim, 1).narrow(4, trig * r, r).reshape([b, c, M, r])
        };
        let re = part(0, 0) + part(1, 1);
        let im = part(1, 0) - part(0, 1);
        let kept: Tensor<4> = Tensor::cat(vec![re, im], 0).permute([2, 3, 0, 1]);
        let mixed: Tensor<4> = kept.reshape([M * r, 2 * b, c]).matmul(weight).reshape([M * r, 2, b, 2 * c]);
        let part = |reim: usize, of_weight: usize| -> Tensor<4> {
            mixed.clone().narrow(1, reim, 1).narrow(3, of_weight * c, c).reshape([M, r, b, c])
        };
        let re = (part(0, 0) - part(1, 1)).permute([2, 3, 0, 1]);
        let im = (part(0, 1) + part(1, 0)).permute([2, 3, 0, 1]);
        let of_re = Tensor::cat(vec![re.clone(), -im.clone()], 3);
        let of_im = Tensor::cat(vec![im, re], 3);
        let both: Tensor<5> = Tensor::stack(vec![of_re, of_im], 2);
        let rows = both.reshape([b * c * 2 * M, 2 * r]).matmul(self.x_back.clone());
        let columns: Tensor<3> = rows.reshape([b * c, 2 * M, N]).swap_dims(1, 2);
        columns.reshape([b * c * N, 2 * M]).matmul(self.y_back.clone()).reshape([b, c, N, N])
    }
}

/// Pointwise linear map, one product.
fn linear(x: Tensor<4>, w: Tensor<2>, b: Tensor<1>) -> Tensor<4> {
    let [c_out, c_in] = w.dims();
    let y = w.unsqueeze::<3>().matmul(x.reshape([BATCH, c_in, N * N])) + b.reshape([1, c_out, 1]);
    y.reshape([BATCH, c_out, N, N])
}

/// Maps and biases: lift, one a layer, hidden, out.
#[derive(Module, Debug)]
struct Fno {
    spectral: Vec<Param<Tensor<3>>>,
    maps: Vec<Param<Tensor<2>>>,
    biases: Vec<Param<Tensor<1>>>,
}

fn fno2d(device: &Device, steps: usize, forward: bool) -> Runner {
    let x = tensor(pattern(BATCH * 3 * N * N, 1.0, 0), [BATCH, 3, N, N], device);
    let target = tensor(pattern(BATCH * N * N, 1.0, 1), [BATCH, 1, N, N], device);
    let transform = Transform::plan(device);
    let map = |c_out: usize, c_in: usize, scale, seed| param(pattern(c_out * c_in, scale, seed), [c_out, c_in], device);
    let bias = |c: usize, seed| param(pattern(c, 0.1, seed), [c], device);
    let weight = |layer| param(spectral(4 + 3 * layer), [2 * M * M, WIDTH, 2 * WIDTH], device);
    let mut start = Fno {
        spectral: (0..LAYERS).map(weight).collect(),
        maps: vec![map(WIDTH, 3, 1.0, 2)],
        biases: vec![bias(WIDTH, 3)],
    };
    start.maps.extend((0..LAYERS).map(|layer| map(WIDTH, WIDTH, 0.2, 5 + 3 * layer)));
    start.biases.extend((0..LAYERS).map(|layer| bias(WIDTH, 6 + 3 * layer)));
    start.maps.extend([map(128, WIDTH, 0.2, 16), map(1, 128, 0.2, 18)]);
    start.biases.extend([bias(128, 17), bias(1, 19)]);
    runner(start, 1e-3, steps, forward, move |p| {
        let linear = |h, i: usize| linear(h, p.maps[i].val(), p.biases[i].val());
        let mut h = linear(x.clone(), 0);
        for layer in 0..LAYERS {
            h = transform.mix(h.clone(), p.spectral[layer].val()) + linear(h, layer + 1);
            if layer + 1 < LAYERS {
                h = gelu(h);
            }
        }
        let h = linear(gelu(linear(h, LAYERS + 1)), LAYERS + 2);
        let error = h - target.clone();
        (error.clone() * error).mean()
    })
}
