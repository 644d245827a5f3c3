//! Values and gradients of the operations equal those of PyTorch in double precision, stored in `tests/golden/`.

use std::collections::BTreeMap;

use parseval::autodiff::{Operation, Parameters, Tape, Var};
use parseval::field::Grid;
use parseval::nn::modes::{Axis, Half, Samples};
use parseval::nn::{self, Branch, Convolve, Normalise, Padding, Pointwise, RelativeSobolev, SpectralConvolution};
use parseval::run::tensor_file::TensorFile;
use parseval::spectral::simd::Activation;
use serde_json::Value;

/// Sums of at most some thousand products of numbers of size one, in another order.
const TOLERANCE: f64 = 1e-12;

/// One case: options and tensors by name.
struct Case {
    name: String,
    options: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

fn cases(file: &str, operation: &str) -> Vec<Case> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{file}.safetensors"));
    let file = TensorFile::read(&path).unwrap();
    let mut cases = Vec::new();
    for (name, options) in file.metadata.iter().filter(|(name, _)| name.starts_with(&format!("{operation}."))) {
        let prefix = format!("{name}.");
        let tensor = |full: &String| full.strip_prefix(&prefix).map(str::to_owned);
        let tensors = file.tensors.iter().filter_map(|(full, t)| {
            let values = file.get::<f64>(full, t.shape()).unwrap().to_vec();
            Some((tensor(full)?, (t.shape().to_vec(), values)))
        });
        cases.push(Case {
            name: name.clone(),
            options: serde_json::from_str(options).unwrap(),
            tensors: tensors.collect(),
        });
    }
    assert!(!cases.is_empty(), "no case of {operation}");
    cases
}

impl Case {
    fn has(&self, input: &str) -> bool {
        self.tensors.contains_key(&format!("input.{input}"))
    }

    fn shape(&self, name: &str) -> &[usize] {
        &self.tensors[name].0
    }

    fn number(&self, option: &str) -> f64 {
        self.options[option].as_f64().unwrap()
    }

    fn list(&self, option: &str) -> Vec<usize> {
        self.options[option].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
    }

    /// Records the case with its inputs in this order and compares the output and all gradients.
    fn check(&self, inputs: &[&str], record: impl FnOnce(&mut Tape<f64>, &[Var]) -> Var) {
        let mut tape = Tape::new(Parameters::new(), 2).unwrap();
        let variable = |tape: &mut Tape<f64>, name: &str| {
            let (shape, values) = &self.tensors[&format!("input.{name}")];
            tape.variable(shape, values).unwrap()
        };
        let vars: Vec<Var> = inputs.iter().map(|name| variable(&mut tape, name)).collect();
        let output = record(&mut tape, &vars);
        self.compare("output", tape.values(output));
        let gradients = tape.gradients(output, &self.tensors["cotangent"].1, &vars).unwrap();
        for (name, gradient) in inputs.iter().zip(&gradients) {
            self.compare(&format!("grad.{name}"), gradient);
        }
    }

    fn compare(&self, name: &str, values: &[f64]) {
        let golden = &self.tensors[name].1;
        assert_eq!(values.len(), golden.len(), "{}: {name}", self.name);
        let size = golden.iter().fold(1.0f64, |m, g| m.max(g.abs()));
        for (v, g) in values.iter().zip(golden) {
            assert!((v - g).abs() <= TOLERANCE * size, "{}: {name}: {v} {g}", self.name);
        }
    }
}

fn activation(name: &Value) -> Activation {
    name.as_str().map_or(Activation::Identity, |name| match name {
        "gelu" => Activation::Gelu,
        "gelu_tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        "silu" => Activation::Silu,
        "tanh" => Activation::Tanh,
        "sin" => Activation::Sin,
        other => panic!("activation {other}"),
    })
}

fn apply(operation: impl Operation<f64> + 'static) -> impl FnOnce(&mut Tape<f64>, &[Var]) -> Var {
    move |tape, vars| tape.apply(operation, vars).unwrap()
}

#[test]
fn pointwise_networks() {
    for case in cases("pointwise", "linear") {
        let plain = Pointwise { hidden: None, branch: Branch::None, activation: Activation::Identity };
        if case.has("b") {
            case.check(&["x", "w", "b"], apply(plain));
        } else {
            // A bias of zeros.
            let c_out = case.shape("input.w")[0];
            case.check(&["x", "w"], |tape, vars| {
                let bias = tape.constant(&[c_out], &vec![0.0; c_out]).unwrap();
                tape.apply(plain, &[vars[0], vars[1], bias]).unwrap()
            });
        }
    }
    for case in cases("pointwise", "mlp") {
        let branch = if case.has("ws") { Branch::Linear } else { Branch::None };
        let hidden = Some(activation(&case.options["act"]));
        let network = Pointwise { hidden, branch, activation: activation(&case.options["outer"]) };
        let mut inputs = vec!["x", "w1", "b1", "w2", "b2"];
        if branch == Branch::Linear {
            inputs.extend(["v", "ws"]);
        }
        case.check(&inputs, apply(network));
    }
}

#[test]
fn activations() {
    for case in cases("pointwise", "activation") {
        let name = Value::from(case.name.strip_prefix("activation.").unwrap());
        let n = case.shape("input.x")[0];
        // A single channel with weight one.
        let network = Pointwise { hidden: None, branch: Branch::None, activation: activation(&name) };
        case.check(&["x"], |tape, vars| {
            let x = nn::reshape(tape, vars[0], &[1, 1, n]).unwrap();
            let weight = tape.constant(&[1, 1], &[1.0]).unwrap();
            let bias = tape.constant(&[1], &[0.0]).unwrap();
            tape.apply(network, &[x, weight, bias]).unwrap()
        });
    }
}

#[test]
fn convolutions() {
    for case in cases("conv", "conv") {
        let padding = if case.options["padding"] == "zero" { Padding::Zero } else { Padding::Periodic };
        let (x, kernel) = (case.shape("input.x"), case.shape("input.w"));
        if padding == Padding::Periodic && x[2..].iter().zip(&kernel[2..]).any(|(n, k)| k > n) {
            // A kernel that goes round the grid more than once: PyTorch allows one turn, we refuse.
            let refused = Operation::<f64>::shape(&Convolve { padding }, &[x, kernel, &kernel[..1]]);
            assert!(refused.is_err(), "{}", case.name);
            continue;
        }
        case.check(&["x", "w", "b"], apply(Convolve { padding }));
    }
}

#[test]
fn normalisations() {
    for operation in ["layer_norm", "group_norm", "instance_norm"] {
        for case in cases("norm", operation) {
            let groups = case.number("groups") as usize;
            case.check(&["x", "gain", "shift"], apply(Normalise { groups, eps: case.number("eps") }));
        }
    }
}

/// Where the entry of a weight by modes stands in PyTorch's blocks: block, and index in its modes.
///
/// Blocks are numbered by the signs of the axes that carry both, the first axis fastest.
fn place(index: &[usize], modes: &[usize], half: usize) -> (usize, Vec<usize>) {
    let mut block = 0;
    let mut bit = 1;
    let mut place = Vec::new();
    for (a, (&k, &m)) in index.iter().zip(modes).enumerate() {
        if a == half {
            place.push(k);
        } else {
            block += if k >= m { bit } else { 0 };
            bit *= 2;
            place.push(k % m);
        }
    }
    (block, place)
}

/// PyTorch's blocks `prefix0, prefix1, ..` (of inputs or gradients), `[channels.., modes.., 2]`, in our layout
/// `[2, channels.., modes..]`; `order` is the order of our axes in the blocks.
fn join(
    case: &Case,
    prefix: &str,
    channels: usize,
    modes: &[usize],
    half: usize,
    order: &[usize],
) -> (Vec<usize>, Vec<f64>) {
    let kept: Vec<usize> = modes.iter().enumerate().map(|(a, &m)| if a == half { m } else { 2 * m }).collect();
    let outer = case.shape(&format!("{prefix}0"))[..channels].to_vec();
    let (pairs, total) = (outer.iter().product::<usize>(), kept.iter().product::<usize>());
    let mut values = vec![0.0; 2 * pairs * total];
    for flat in 0..total {
        let index: Vec<usize> =
            (0..kept.len()).map(|a| flat / kept[a + 1..].iter().product::<usize>() % kept[a]).collect();
        let (block, place) = place(&index, modes, half);
        let (shape, block) = &case.tensors[&format!("{prefix}{block}")];
        let at = order.iter().zip(&shape[channels..]).fold(0, |at, (&a, &n)| at * n + place[a]);
        let size: usize = shape[channels..shape.len() - 1].iter().product();
        for pair in 0..pairs {
            for part in 0..2 {
                values[(part * pairs + pair) * total + flat] = block[(pair * size + at) * 2 + part];
            }
        }
    }
    ([vec![2], outer, kept].concat(), values)
}

fn check_spectral(case: &Case, axes: &[Axis], half: Half, order: &[usize], bias_scale: Option<f64>) {
    let modes: Vec<usize> = axes.iter().map(|a| a.modes).collect();
    let h = if half == Half::First { 0 } else { axes.len() - 1 };
    let (shape, weight) = join(case, "input.w", 2, &modes, h, order);
    let mut tape = Tape::new(Parameters::new(), 2).unwrap();
    let (x_shape, x) = &case.tensors["input.x"];
    let mut vars = vec![tape.variable(x_shape, x).unwrap(), tape.variable(&shape, &weight).unwrap()];
    if bias_scale.is_some() {
        let (shape, bias) = join(case, "input.b", 1, &modes, h, order);
        vars.push(tape.variable(&shape, &bias).unwrap());
    }
    let y = tape.apply(SpectralConvolution::new(axes, half, bias_scale).unwrap(), &vars).unwrap();
    case.compare("output", tape.values(y));
    let gradients = tape.gradients(y, &case.tensors["cotangent"].1, &vars).unwrap();
    case.compare("grad.x", &gradients[0]);
    let mut golden = vec![join(case, "grad.w", 2, &modes, h, order).1];
    if bias_scale.is_some() {
        golden.push(join(case, "grad.b", 1, &modes, h, order).1);
    }
    for (gradient, golden) in gradients[1..].iter().zip(&golden) {
        let size = golden.iter().fold(1.0f64, |m, g| m.max(g.abs()));
        assert!(gradient.iter().zip(golden).all(|(a, b)| (a - b).abs() <= TOLERANCE * size), "{}", case.name);
    }
}

#[test]
fn spectral_convolutions() {
    for case in cases("spectral", "spectral_conv") {
        let (modes, points) = (case.list("modes"), case.shape("input.x")[2..].to_vec());
        let axes: Vec<Axis> = points.iter().zip(&modes).map(|(&n, &m)| Axis::periodic(n, m)).collect();
        let order: Vec<usize> = (0..axes.len()).collect();
        check_spectral(&case, &axes, Half::Last, &order, None);
    }
}

#[test]
fn space_time_convolutions() {
    for case in cases("spectral", "space_time_conv") {
        let (modes, points, out) =
            (case.list("modes"), case.shape("input.x")[2..].to_vec(), case.number("t_out") as usize);
        let time = Axis { input: Samples::periodic(points[0]), output: Samples::periodic(out), modes: modes[2] };
        let axes = [time, Axis::periodic(points[1], modes[0]), Axis::periodic(points[2], modes[1])];
        if 2 * modes[2] > out + 1 {
            // Modes above what the output can carry: PyTorch drops them in silence, we refuse.
            assert!(SpectralConvolution::<f64>::new(&axes, Half::First, None).is_err());
            continue;
        }
        let bias = case.has("b0").then(|| case.number("delta"));
        check_spectral(&case, &axes, Half::First, &[1, 2, 0], bias);
    }
}

#[test]
fn shapes_and_sums() {
    for case in cases("structure", "concat") {
        let axis = case.number("axis") as usize;
        case.check(&["a", "b"], |tape, vars| nn::concatenate(tape, vars, axis).unwrap());
    }
    let whole = |case: &Case| case.shape("input.x").iter().map(|&n| 0..n).collect::<Vec<_>>();
    for case in cases("structure", "slice") {
        let mut ranges = whole(&case);
        ranges[case.number("axis") as usize] = case.number("start") as usize..case.number("end") as usize;
        case.check(&["x"], |tape, vars| nn::slice(tape, vars[0], &ranges).unwrap());
    }
    for case in cases("structure", "pad") {
        let mut widths = vec![[0, 0]; case.shape("input.x").len()];
        widths[case.number("axis") as usize] = [case.number("before") as usize, case.number("after") as usize];
        case.check(&["x"], |tape, vars| nn::pad(tape, vars[0], &widths).unwrap());
    }
    for case in cases("structure", "roll") {
        let mut shifts = vec![0; case.shape("input.x").len()];
        shifts[case.number("axis") as usize] = case.number("shift") as isize;
        case.check(&["x"], |tape, vars| nn::roll(tape, vars[0], &shifts).unwrap());
    }
    for case in cases("structure", "sum") {
        case.check(&["x"], |tape, vars| nn::sum_over(tape, vars[0], &case.list("axes")).unwrap());
    }
    for case in cases("structure", "mean") {
        case.check(&["x"], |tape, vars| nn::mean_over(tape, vars[0], &case.list("axes")).unwrap());
    }
}

#[test]
fn losses() {
    for case in cases("loss", "relative_l2") {
        case.check(&["x", "target"], |tape, vars| nn::relative_l2(tape, vars[0], vars[1]).unwrap());
    }
    for case in cases("loss", "relative_hs") {
        let lengths: Vec<f64> =
            case.options["lengths"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let shape = case.shape("input.x");
        if shape[shape.len() - lengths.len()..].iter().any(|&n| n < 4) {
            // Grids have at least 4 points an axis.
            continue;
        }
        let grid = Grid::new(&shape[shape.len() - lengths.len()..], &lengths).unwrap();
        let loss = RelativeSobolev::plan(&grid, case.number("s"), case.number("alpha")).unwrap();
        case.check(&["x", "target"], |tape, vars| loss.record(tape, vars[0], vars[1]).unwrap());
    }
}
