"""Files as people have them: each is read as it is meant, and says what was inferred, or is refused in one line."""

import re

import h5py
import numpy as np
import pytest
import scipy.io
import torch
import xarray as xr

from data_gen import convert, read_info
from data_gen.storage import open_hdf5
from data_gen.verification import verify

N, X, Y = 6, 9, 7
rng = np.random.default_rng(0)
A = rng.standard_normal((N, X, Y))
TWO = rng.standard_normal((N, 2, X, Y))
U = np.zeros((N, X, Y))
U[:, 1:-1, 1:-1] = rng.standard_normal((N, X - 2, Y - 2))
W = rng.standard_normal((N, 4, X, Y))
"""A state at t = 0, and three later ones."""
TIMES = np.array([0.0, 0.5, 1.0, 1.5])


def npz(**arrays):
    def make(folder):
        np.savez(folder / "f.npz", **arrays)
        return folder / "f.npz"

    return make


def mesh(x, y, indexing="xy"):
    """Coordinates of all points, as NumPy makes them."""
    return dict(zip("xy", np.meshgrid(x, y, indexing=indexing), strict=True))


def compressed(folder):
    np.savez_compressed(folder / "f.npz", a=A, u=U)
    return folder / "f.npz"


def npy(folder):
    for name, values in {"a": A, "u": U, "rows": np.array([5, 0])}.items():
        np.save(folder / f"{name}.npy", values)
    return folder / "a.npy"


def other_npy(folder):
    np.save(folder / "k.npy", A)
    np.save(folder / "T.npy", U)
    return folder / "k.npy"


def folder_of_npy(folder):
    return npy(folder).parent


def hdf5(arrays, name="f.h5", groups=(), attributes=None, **options):
    def make(folder):
        with h5py.File(folder / name, "w") as file:
            for key, values in arrays.items():
                file.create_dataset(key, data=values, **options)
            for key in groups:
                file.create_group(key)
            file.attrs.update(attributes or {})
        return folder / name

    return make


def chunked(folder):
    return hdf5({"a": A, "u": U}, compression="gzip", shuffle=True, chunks=(1, 4, 4))(folder)


def mat(**arrays):
    def make(folder):
        scipy.io.savemat(folder / "f.mat", arrays)
        return folder / "f.mat"

    return make


def mat73(**arrays):
    def make(folder):
        with h5py.File(folder / "f.mat", "w", userblock_size=512) as file:
            for name, values in arrays.items():
                file[name] = values.T
                file[name].attrs["MATLAB_class"] = np.bytes_("double")
        return folder / "f.mat"

    return make


def pt(content):
    def make(folder):
        torch.save(content, folder / "f.pt")
        return folder / "f.pt"

    return make


def nc(dims, engine="h5netcdf", **changes):
    def make(folder):
        order = ["sxy".index(d[0]) for d in dims]
        fields = {"a": A, "u": U} | changes
        content = {name: (dims, values.transpose(order), {"units": "K"}) for name, values in fields.items()}
        xr.Dataset(content).to_netcdf(folder / "f.nc", engine=engine)
        return folder / "f.nc"

    return make


def other_mesh(folder):
    content = {"a": (["sample", "x", "y"], A), "u": (["sample", "lon", "lat"], U[:, ::2, ::2])}
    xr.Dataset(content).to_netcdf(folder / "f.nc", engine="h5netcdf")
    return folder / "f.nc"


def truncated(folder):
    path = npz(a=A, u=U)(folder)
    path.write_bytes(path.read_bytes()[:1000])
    return path


def archive_named_npy(folder):
    path = npy(folder)
    npz(a=A, u=U)(folder).rename(path)
    return path


def by_sample(folder, times=TIMES, last=TIMES):
    with h5py.File(folder / "f.h5", "w") as file:
        for i in range(N):
            file[f"{i:04}/data"] = np.moveaxis(np.stack([W[i], -W[i]]), 0, -1)
            file[f"{i:04}/grid/t"] = last if i == N - 1 else times
            file[f"{i:04}/grid/x"] = -1 + (np.arange(X) + 0.5) * 2 / X
            file[f"{i:04}/grid/y"] = -1 + (np.arange(Y) + 0.5) * 2 / Y
    return folder / "f.h5"


def eleven(folder):
    """Groups 0 … 10, which HDF5 lists as 0, 1, 10, 2, …"""
    with h5py.File(folder / "f.h5", "w") as file:
        for i in range(11):
            file[f"{i}/data"] = np.full((2, X, Y, 1), i + 1.0) * A[0, :, :, None]
            file[f"{i}/grid/t"] = [0.0, 1.0]
    return folder / "f.h5"


def uneven(folder):
    return by_sample(folder, last=TIMES + 0.1)


CENTRES = {"x-coordinate": (np.arange(X) + 0.5) / X, "y-coordinate": (np.arange(Y) + 0.5) / Y}
MOVING = {"density": W, "Vx": -W} | CENTRES
FAULTY = A.copy()
FAULTY[4, 2, 2] = np.nan
LATER = W[:, 1:, None]
LEFT = {"grid": "left"}

READ = {
    "float64 pairs": (npz(a=A, u=U), {}, A, U, "values: float64, kept as float32"),
    "big-endian": (npz(a=A.astype(">f8"), u=U.astype(">f4")), {}, A, U, "values: .*>f4|values: float64"),
    "float16": (npz(a=A.astype("f2"), u=U.astype("f2")), {}, A.astype("f2"), U.astype("f2"), "values: float16"),
    "integers": (
        npz(a=np.arange(N * X * Y).reshape(A.shape), u=U),
        {},
        np.arange(N * X * Y),
        U,
        r"inputs: a 0 … 377 \(of any sign\)",
    ),
    "positive": (npz(a=np.exp(A), u=U), {}, np.exp(A), U, r"inputs: a .* \(positive: a\)"),
    "truth values": (npz(a=A > 0, u=U), {}, A > 0, U, r"inputs: a 0 … 1 \(phases\)"),
    "-9999 for what is missing": (
        npz(a=np.where(A > 2, -9999, A), u=U),
        {},
        np.where(A > 2, -9999, A),
        U,
        "a -1e.04 … ",
    ),
    "compressed": (compressed, {}, A, U, "9×7 vertices"),
    "Fortran order": (npz(a=np.asfortranarray(A), u=np.asfortranarray(U)), {}, A, U, "9×7 vertices"),
    "channels first": (npz(a=TWO, u=U), {}, TWO, U, r"a \(sample, channel, x, y\)"),
    "channels last": (npz(a=np.moveaxis(TWO, 1, -1), u=U), {}, TWO, U, r"a \(sample, x, y, channel\)"),
    "samples last, told": (
        npz(a=np.moveaxis(A, 0, -1), u=np.moveaxis(U, 0, -1)),
        {"axes": "xys"},
        A,
        U,
        "x, y, sample",
    ),
    "y before x, told": (npz(a=A.swapaxes(1, 2), u=U.swapaxes(1, 2)), {"axes": "syx"}, A, U, "9×7 vertices"),
    "a mesh": (
        npz(a=A, u=U, **mesh(np.linspace(0, 1, X), np.linspace(0, 2, Y), indexing="ij")),
        {},
        A,
        U,
        r"\(0, 1\) × \(0, 2\), as solutions vanish|\(0, 2\), by its coordinates",
    ),
    "a mesh, y before x, told": (
        npz(
            a=A.swapaxes(1, 2),
            u=U.swapaxes(1, 2),
            **mesh(np.linspace(0, 1, X), np.linspace(0, 2, Y)),
        ),
        {"axes": "syx"},
        A,
        U,
        r"\(0, 1\) × \(0, 2\)",
    ),
    "one sample": (npz(a=A[:1], u=U[:1]), {}, A[:1], U[:1], "split: none"),
    "other names, told": (npz(k=A, T=U), {"inputs": ["k"], "outputs": ["T"]}, A, U, "outputs: T"),
    "renamed": (npz(k=A, q=TWO, T=U), {"inputs": ["k", "source=q"], "outputs": ["T"]}, None, U, "source1 .*source2"),
    "an array called fields": (npz(a=A, u=U, fields=A), {}, A, U, "inputs: a"),
    "an unread array": (npz(a=A, u=U, note=np.array(["x"]), scale=np.array(2.0)), {}, A, U, "inputs: a"),
    ".npy beside others": (npy, {"split": "test=rows"}, A, U, r"test 2 \(among 0 … 5\)"),
    ".npy, and its output told": (other_npy, {"outputs": ["T"]}, A, U, "outputs: T"),
    "folder of .npy": (folder_of_npy, {}, A, U, "inputs: a"),
    "HDF5 in chunks": (chunked, {}, A, U, "inputs: a"),
    "HDF5 in groups, told": (
        hdf5({"in/a": A, "out/u": U}),
        {"inputs": ["a=in/a"], "outputs": ["u=out/u"]},
        A,
        U,
        "outputs: u",
    ),
    "extra attributes": (hdf5({"a": A, "u": U}, attributes={"eta": 0.01, "by": "me"}), {}, A, U, "inputs: a"),
    "a box of its own": (
        npz(a=A, u=U, x=np.linspace(-1, 1, X), y=np.linspace(0, 3, Y)),
        {},
        A,
        U,
        r"on \(-1, 1\) × \(0, 3\)",
    ),
    "MATLAB 5": (mat(coeff=np.exp(A), sol=U), {}, np.exp(A), U, r"positive: coefficient"),
    "MATLAB 7.3": (mat73(coeff=np.exp(A), sol=U), {}, np.exp(A), U, r"positive: coefficient"),
    "MATLAB 7.3, channels, told": (mat73(k=TWO, T=U), {"inputs": ["k"], "outputs": ["T"]}, TWO, U, "k1 .*k2"),
    "MATLAB, uint8 phases": (mat(coeff=(A > 0).astype("u1") + 1, sol=U), {}, (A > 0) + 1, U, "positive"),
    "tensors with a channel": (pt({"x": torch.tensor(TWO), "y": torch.tensor(U)}), {}, TWO, U, "x1 .*x2"),
    "signed tensors": (pt({"x": torch.tensor(A), "y": torch.tensor(U)}), {}, A, U, r"inputs: x .* \(of any sign\)"),
    "tensors of other names, told": (
        pt({"k": torch.tensor(A), "T": torch.tensor(U)}),
        {"inputs": ["k"], "outputs": ["T"]},
        A,
        U,
        "outputs: T",
    ),
    "netCDF 4, y before x": (nc(["sample", "y", "x"]), {}, A, U, "kept: units of a K, units of u K"),
    "netCDF 3, samples last": (nc(["x", "y", "sample"], "scipy"), {}, A, U, "9×7 vertices"),
    "time in arrays": (
        npz(a=W[:, 0], u=W[:, 1:], t=TIMES[1:]),
        {"inputs": ["w=a"], "outputs": ["w=u"], **LEFT},
        W[:, 0],
        LATER,
        "w .* at 3 times, 0.5 … 1.5$",
    ),
    "time last": (
        npz(a=W[:, 0], u=np.moveaxis(W, 1, -1), t=TIMES),
        {"inputs": ["w=a"], "outputs": ["w=u"], **LEFT},
        W[:, 0],
        LATER,
        "state at 0 is an input",
    ),
    "time beside another input": (npz(a=A, u=W, t=TIMES), LEFT, np.stack([W[:, 0], A], 1), LATER, "the state at 0 is"),
    "PDEBench in time": (
        hdf5(MOVING | {"t-coordinate": TIMES}),
        {},
        np.stack([-W[:, 0], W[:, 0]], 1),
        None,
        "Vx .*, density .* at 3 times",
    ),
    "PDEBench, a time too many": (hdf5(MOVING | {"t-coordinate": [*TIMES, 2.0]}), {}, None, None, "2, has no state"),
    "PDEBench, times from 5 on": (
        hdf5(MOVING | {"t-coordinate": 5 + TIMES}),
        {},
        None,
        None,
        "state at 5 is an input, and t = 0",
    ),
    "PDEBench, samples 0 … 10": (eleven, LEFT, np.arange(1.0, 12)[:, None, None] * A[0], None, "data .* at 1 times"),
    "states alone, told": (npz(w=W, t=TIMES), {"outputs": ["w"], **LEFT}, W[:, 0], LATER, "state at 0 is an input"),
    "times of each sample, all the same": (
        npz(w=W, t=np.tile(TIMES, (N, 1))),
        {"outputs": ["w"], **LEFT},
        W[:, 0],
        LATER,
        "w .* at 3 times",
    ),
    "one of two states given": (
        npz(a=W[:, 0], v=W, p=-W, t=TIMES),
        {"inputs": ["v=a"], "outputs": ["v", "p"], **LEFT},
        np.stack([-W[:, 0], W[:, 0]], 1),
        None,
        "inputs: p .*, v",
    ),
    "times in float32": (
        npz(w=W, t=(5 + np.arange(4) / 10).astype("f4")),
        {"outputs": ["w"], **LEFT},
        W[:, 0],
        LATER,
        r"w .* at 3 times, 0.1 … 0.3$",
    ),
    "uneven times": (
        npz(w=W, t=[0, 1, 2, 4]),
        {"outputs": ["w"], **LEFT},
        W[:, 0],
        LATER,
        "not evenly: pairs of steps need times evenly spaced",
    ),
    "the same inputs again": (
        npz(a=A[[0, 1, 2, 3, 0, 1]], u=U),
        {},
        A[[0, 1, 2, 3, 0, 1]],
        U,
        "2 samples have the inputs of another one, sample 4 first",
    ),
    "a sweep": (
        npz(a=A[:1] + np.arange(N)[:, None, None], u=U[:1] * (1 + 0.01 * np.arange(N)[:, None, None])),
        {},
        None,
        None,
        "differ less than neighbouring points do",
    ),
    "PDEBench by sample": (by_sample, LEFT, np.stack([W[:, 0], -W[:, 0]], 1), None, r"left on \(-1, 1\) × \(-1, 1\)"),
}

REFUSED = {
    "NaN": (npz(a=FAULTY, u=U), {}, "sample 4: NaN or infinite values in the inputs"),
    "infinite": (npz(a=A, u=np.where(U.max() == U, np.inf, U)), {}, "NaN or infinite values in the outputs"),
    "complex": (npz(a=A + 1j, u=U), {}, "inputs must be real numbers, got complex128"),
    "words": (npz(a=np.full((N, X, Y), "x"), u=U), {}, "inputs must be real numbers, got <U1"),
    "objects": (npz(a=np.full((N, X, Y), None), u=U), {}, "no .npz file of plain arrays"),
    "no samples": (npz(a=A[:0], u=U[:0]), {}, "holds no samples"),
    "fewer outputs": (npz(a=A, u=U[:-1]), {}, r"a \(6, 9, 7\), u \(5, 9, 7\) fit no order of axes"),
    "x and y exchanged": (npz(a=A, u=U.swapaxes(1, 2)), {}, "fit no order of axes"),
    "samples last": (npz(a=np.ones((9, 9, 20)), u=np.ones((9, 9, 20))), {}, "look as if samples were last: say axes"),
    "channels first or last": (
        npz(a=np.ones((4, 3, 5, 3)), u=np.ones((4, 3, 5, 3))),
        {"grid": "left"},
        "fit no order|more than one",
    ),
    "wrong axes": (npz(a=A, u=U), {"axes": "scxy,sq"}, "axes must be letters of stcxy"),
    "axes of another length": (npz(a=A, u=U), {"axes": "sx"}, "which are not 'sx' of axes"),
    "too large": (npz(a=A, u=U * 1e39), {}, "too large for float32"),
    "too small": (npz(a=A, u=U * 1e-44), {}, "too small for float32"),
    "zero": (npz(a=A, u=U * 0), LEFT, "sample 0: the outputs are zero everywhere"),
    "no input": (npz(u=U), {"outputs": ["u"]}, "which arrays are inputs"),
    "one state": (npz(w=W[:, :1], t=[0.0, 0.5]), {"outputs": ["w"], **LEFT}, "fit no order of axes"),
    "no names": (npz(p=A, q=U), {}, "name them .inputs, outputs., it has p, q"),
    "two pairs": (npz(a=A, u=U, input=A, output=U), {}, "does not say which arrays"),
    "no such array": (npz(a=A, u=U), {"inputs": ["b"], "outputs": ["u"]}, "no array 'b': it has a, u"),
    "kind of grid not known": (npz(a=A, u=A), {}, "does not tell the kind of its grid"),
    "told periodic, and is not": (npz(a=A, u=A + 30 * np.arange(X)[:, None]), {"grid": "periodic"}, "must close"),
    "told periodic, with both ends": (
        npz(a=A, u=np.sin(2 * np.pi * np.linspace(0, 1, X))[:, None] + 0 * U + 1e-3 * np.arange(N)[:, None, None]),
        {"grid": "periodic"},
        "leave the last point out",
    ),
    "told left, at vertices": (
        npz(a=A, u=U, x=np.linspace(0, 1, X), y=np.linspace(0, 1, Y)),
        LEFT,
        "grid is vertices, and grid is left",
    ),
    "coordinates of other points": (
        npz(a=A, u=U, x=np.linspace(0, 1, X + 1)),
        {},
        "and 10 points along x fit no order",
    ),
    "a mesh the other way round": (
        npz(
            a=np.ones((4, 9, 9)),
            u=np.ones((4, 9, 9)),
            **mesh(np.arange(9) / 8, np.arange(9) / 8),
        ),
        {},
        "by its mesh, x varies along the other axis: say axes, as syx",
    ),
    "coordinates that fall": (npz(a=A, u=U, x=np.linspace(1, 0, X)), {}, "x-coordinate must rise evenly"),
    "a box of unknown kind": (
        npz(a=A, u=A, x=np.linspace(-1, 1, X), y=np.linspace(-1, 1, Y)),
        {},
        "say grid vertices, left",
    ),
    "times that do not rise": (npz(a=A, u=W, t=TIMES[::-1]), LEFT, "times must rise"),
    "no times": (npz(a=A, u=W), {"axes": "sxy,stxy", **LEFT}, "need their times"),
    "another beginning": (
        npz(a=A, u=W, t=TIMES),
        {"inputs": ["w=a"], "outputs": ["w=u"], **LEFT},
        "is not the input of",
    ),
    "a source of two inputs": (npz(a=TWO, u=U), {"f": 1.0}, "a source f is of Darcy flow"),
    "a source of signed inputs": (npz(a=A, u=U), {"f": 1.0}, "the coefficient must be positive"),
    "archive named .npy": (archive_named_npy, {}, "no .npy file of a plain array"),
    "truncated": (truncated, {}, "or a truncated one"),
    "groups for datasets": (hdf5({}, groups=("a", "u")), {}, "it has none"),
    "one dimension": (
        hdf5({"tensor": A, "t-coordinate": np.arange(X), "x-coordinate": np.arange(Y)}),
        {},
        "of two dimensions",
    ),
    "times of their own": (uneven, {}, "another t than sample 0000"),
    "netCDF of other dimensions": (nc(["s0", "x0", "y0"]), {}, "must be called sample, x, y"),
    "netCDF on two meshes": (other_mesh, {}, r"on the same points, got a \(6, 9, 7\), u \(6, 5, 4\)"),
    "indices of MATLAB": (npz(a=A, u=U, i=np.arange(1, N + 1)), {"split": "train=i"}, "count from 1"),
    "a sample in two splits": (
        npz(a=A, u=U, i=[0, 1, 2], j=[2, 3]),
        {"split": "train=i,test=j"},
        "sample 2 is in split train and in split test",
    ),
    "the same input in two splits": (
        npz(a=A[[0, 1, 2, 3, 0, 5]], u=U),
        {"split": "0.6,0.2,0.2"},
        "sample 4 has the inputs of sample 0",
    ),
    "too few for the split": (npz(a=A[:2], u=U[:2]), {"split": "0.8,0.1,0.1"}, "2 samples, too few for split"),
    "no tenth": (npz(a=A, u=U), {"split": "pdebench"}, "the first tenth of them is the test"),
}


@pytest.mark.parametrize("name", READ)
def test_is_read_as_it_is_meant(tmp_path, name):
    make, options, a, u, said = READ[name]
    lines = []
    convert(make(tmp_path), tmp_path / "d.hdf5", **options, say=lines.append)
    assert any(re.search(said, line) for line in lines), lines
    info = read_info(tmp_path / "d.hdf5")
    with open_hdf5(tmp_path / "d.hdf5") as file:
        nu, tensor = file["nu"][:], file["tensor"][:]
    if a is not None:
        np.testing.assert_array_equal(nu.ravel(), a.astype("f4").ravel())
    if u is not None:
        np.testing.assert_array_equal(tensor.ravel(), u.astype("f4").ravel())
    assert (nu.shape[0], *info.shape) == (tensor.shape[0], X, Y)
    assert list(verify(tmp_path / "d.hdf5")) == []
    assert [line for line in lines if line.startswith("no solver row: ")], "no equation is invented"


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_line(tmp_path, name):
    make, options, message = REFUSED[name]
    path = make(tmp_path)
    with pytest.raises(ValueError, match=message) as refused:
        convert(path, tmp_path / "d.hdf5", **options)
    assert len(str(refused.value).splitlines()) == 1
    assert not list(tmp_path.glob("*d.hdf5*")), "nothing is left behind"
