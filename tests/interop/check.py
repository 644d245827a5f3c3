"""Reads a Well+ file with h5py and with xarray, and checks it against The Well's rules.

    pip install h5py netCDF4 h5netcdf xarray numpy
    python tests/interop/check.py FILE

The rules are restated here from The Well's format description, independently of the Rust checker. The file is the
one that tests/interop.rs writes; its numbers follow the formula below. Exits with 1 and a list if anything is wrong.
"""

import sys

import h5py
import numpy as np
import xarray

problems = []


def expect(condition, text):
    if not condition:
        problems.append(text)


def attribute(obj, name, kind):
    where = obj.name
    if name not in obj.attrs:
        problems.append(f"{where}: attribute {name} is missing")
        return None
    value = obj.attrs[name]
    fits = {
        "text": isinstance(value, str),
        "int": isinstance(value, (int, np.integer)),
        "float": isinstance(value, (float, np.floating)),
        "bool": isinstance(value, (bool, np.bool_)),
        "texts": isinstance(value, np.ndarray) and all(isinstance(v, str) for v in value),
        "bools": isinstance(value, np.ndarray) and value.dtype == bool,
    }[kind]
    expect(fits, f"{where}: attribute {name} = {value!r} is no {kind}")
    return value


def check_the_well(f):
    attribute(f, "dataset_name", "text")
    expect(attribute(f, "grid_type", "text") in ("cartesian", "spherical"), "grid_type")
    dim = int(attribute(f, "n_spatial_dims", "int"))
    samples = int(attribute(f, "n_trajectories", "int"))
    parameters = list(attribute(f, "simulation_parameters", "texts"))

    dims = f["dimensions"]
    names = list(attribute(dims, "spatial_dims", "texts"))
    expect(len(names) == dim, "as many spatial_dims as n_spatial_dims")
    sizes = {}
    for name in ["time", *names]:
        scale = dims[name]
        expect(scale.ndim == 1, f"{name} is 1-D")
        sizes[name] = scale.shape[0]
        expect(not attribute(scale, "sample_varying", "bool"), f"{name} is the same for all samples")
        expect(attribute(scale, "time_varying", "bool") == (name == "time"), f"{name}: time_varying")
        expect(np.all(np.diff(scale[:]) > 0), f"{name} increases")

    masked = set()
    for name, group in f["boundary_conditions"].items():
        for d in attribute(group, "associated_dims", "texts"):
            expect(d in names, f"{name}: {d} is a dimension")
            masked.add(d)
            mask = group["mask"]
            expect(mask.dtype == bool and mask.shape == (sizes[d],), f"{name}: mask over {d}")
            expect(mask[0] and mask[-1] and not mask[1:-1].any(), f"{name}: true at the two ends")
        attribute(group, "associated_fields", "texts")
        expect(attribute(group, "bc_type", "text") == "PERIODIC", f"{name}: bc_type")
        attribute(group, "sample_varying", "bool")
        attribute(group, "time_varying", "bool")
    expect(masked == set(names), "each dimension has a boundary condition")

    scalars = f["scalars"]
    expect(sorted(attribute(scalars, "field_names", "texts")) == sorted(scalars), "scalars are listed")
    for name in parameters:
        expect(attribute(f, name, "float") == scalars[name][()], f"parameter {name} stands at both places")
        expect(scalars[name].shape == (), f"{name} is one number")

    for rank in range(3):
        group = f[f"t{rank}_fields"]
        expect(sorted(attribute(group, "field_names", "texts")) == sorted(group), f"t{rank}_fields are listed")
        for name, field in group.items():
            varying = attribute(field, "dim_varying", "bools")
            shape = [samples] if attribute(field, "sample_varying", "bool") else []
            shape += [sizes["time"]] if attribute(field, "time_varying", "bool") else []
            shape += [sizes[d] for d, v in zip(names, varying) if v] + [dim] * rank
            expect(field.shape == tuple(shape), f"{name}: shape {field.shape}, expected {shape}")
            if rank == 2:
                attribute(field, "symmetric", "bool")
                attribute(field, "antisymmetric", "bool")


def check_plus(f):
    expect(f.attrs["Conventions"] == "CF-1.10 WellPlus-1", "Conventions")
    for name in f["dimensions"]:
        expect(f[name] == f["dimensions"][name], f"/{name} and /dimensions/{name} are one object")
        expect(f[name].is_scale, f"{name} is a dimension scale")
    for rank in range(3):
        for name, field in f[f"t{rank}_fields"].items():
            for axis in range(field.ndim):
                expect(len(field.dims[axis]) == 1, f"{name}: axis {axis} has one scale")
            attribute(field, "units", "text")
            attribute(field, "long_name", "text")
    expect(f["provenance/complete"][:].all(), "all samples are complete")
    expect(f["provenance"].attrs["seed"] == 2**64 - 1, "seed is unsigned")
    expect(np.isnan(f["provenance/reference_error_time"][0]), "not measured is NaN")


def numbers(shape, sample, field):
    """What tests/interop.rs writes into one sample of the field with that number."""
    return 1000 * (sample + 1) + 100 * field + np.arange(np.prod(shape)).reshape(shape) / 512


def check_numbers(read):
    for number, (path, name) in enumerate((("t1_fields", "velocity"), ("t0_fields", "omega"), ("t2_fields", "stress"))):
        data = read(path, name)
        for sample in range(data.shape[0]):
            expect(np.array_equal(data[sample], numbers(data.shape[1:], sample, number)), f"{name}[{sample}]: numbers")


def check_xarray(path, engine):
    root = xarray.open_dataset(path, engine=engine)
    expect(list(root["x"].values) == list(np.arange(4) / 4), f"{engine}: x")
    tree = xarray.open_datatree(path, engine=engine)
    velocity = tree["t1_fields"]["velocity"]
    expect(velocity.dims == ("sample", "time", "x", "y", "component"), f"{engine}: dims {velocity.dims}")
    expect(list(velocity["time"].values) == [0.0, 0.5, 1.5], f"{engine}: the time coordinate is inherited")
    expect(velocity.attrs["units"] == "1", f"{engine}: units")
    check_numbers(lambda group, name: tree[group][name].values)


def main(path):
    with h5py.File(path) as f:
        check_the_well(f)
        check_plus(f)
        check_numbers(lambda group, name: f[group][name][:])
    for engine in ("netcdf4", "h5netcdf"):
        check_xarray(path, engine)
    for text in problems:
        print(text)
    print(f"{path}: {len(problems)} problems with h5py {h5py.__version__} (HDF5 {h5py.version.hdf5_version}), "
          f"xarray {xarray.__version__}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main(sys.argv[1])
