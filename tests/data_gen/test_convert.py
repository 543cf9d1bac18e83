"""Files of other projects go round without loss; what they do not say stays unknown."""

import pickle
import re

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from data_gen import convert, generate, read_info
from data_gen.formats import fno
from data_gen.storage import open_hdf5
from data_gen.verification import verify


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Twelve samples on (33, 17) vertices."""
    path = tmp_path_factory.mktemp("data") / "d.hdf5"
    generate(path, 12, (33, 17), source=2.0)
    return path


def fields(path):
    """Coefficients, solutions and coordinates of a file of ours."""
    with open_hdf5(path) as file:
        return [file[name][:] for name in ("nu", "tensor", "x-coordinate", "y-coordinate")]


@pytest.mark.parametrize(
    ("name", "to", "mat5_limit"),
    [("d.pt", None, 0), ("d.mat", None, 2**30), ("d.mat", None, 0), ("d.h5", "pdebench", 0)],
)
def test_round_trip(dataset, tmp_path, monkeypatch, name, to, mat5_limit):
    monkeypatch.setattr(fno, "MAT5_LIMIT", mat5_limit)
    convert(dataset, tmp_path / name, to=to)
    convert(tmp_path / name, tmp_path / "back.hdf5", f=2.0, boundary="u = 0", law="piecewise")
    for there, back in zip(fields(dataset), fields(tmp_path / "back.hdf5"), strict=True):
        np.testing.assert_allclose(back, there, rtol=1e-7 if there.ndim == 1 else 0)
    info = read_info(tmp_path / "back.hdf5")
    assert (info.grid.kind, info.source, info.equation) == ("vertices", 2.0, read_info(dataset).equation)
    assert list(verify(tmp_path / "back.hdf5")) == []


@pytest.mark.parametrize(
    ("f", "factor", "said"),
    [
        (2.0, 1.0, r"sample 0 differs by \d\.\de-0[678] of its largest value$"),
        (1.0, 1.0, "by 1.0e.00 .*right"),
        (2.0, 3.0, "right"),
    ],
)
def test_what_is_told_is_held_against_the_first_solution(dataset, tmp_path, f, factor, said):
    """A source of another strength, or a solution in another unit, would make a solver's row that is wrong."""
    nu, tensor, *_ = fields(dataset)
    np.savez(tmp_path / "d.npz", a=nu, u=factor * tensor[:, 0])
    lines = []
    convert(tmp_path / "d.npz", tmp_path / "d.hdf5", f=f, boundary="u = 0", say=lines.append)
    assert re.search(said, lines[-1]), lines[-1]


def test_a_boundary_condition_is_held_against_every_solution(dataset, tmp_path):
    nu, tensor, *_ = fields(dataset)
    u = tensor[:, 0].copy()
    u[7, 0, 3] = 0.1 * u[7].max()
    np.savez(tmp_path / "d.npz", a=nu, u=u)
    with pytest.raises(ValueError, match="sample 7: the boundary condition is u = 0, and the solution is not 0 there"):
        convert(tmp_path / "d.npz", tmp_path / "d.hdf5", f=2.0, boundary="u = 0", grid="vertices")


def test_what_a_format_does_not_say_is_unknown(dataset, tmp_path):
    convert(dataset, tmp_path / "d.pt")
    convert(tmp_path / "d.pt", tmp_path / "d.hdf5")
    info = read_info(tmp_path / "d.hdf5")
    assert info.source is None
    unknown = ("equation", "boundary_condition", "law", "source")
    assert [info.attributes[name] for name in unknown] == ["unknown"] * 4
    convert(dataset, tmp_path / "p.h5", to="pdebench")
    convert(tmp_path / "p.h5", tmp_path / "p.hdf5")
    info = read_info(tmp_path / "p.hdf5")
    assert info.source == 2.0
    assert info.equation == "unknown"


@pytest.mark.parametrize("version", [5, 7.3])
def test_fno_files_are_read(tmp_path, version):
    rng = np.random.default_rng(0)
    coeff, sol = rng.choice([3.0, 12.0], (4, 6, 5)), np.zeros((4, 6, 5))
    sol[:, 1:-1, 1:-1] = rng.random((4, 4, 3))
    if version == 5:
        scipy.io.savemat(tmp_path / "f.mat", {"coeff": coeff, "sol": sol, "Kcoeff": coeff})
    else:
        with h5py.File(tmp_path / "f.mat", "w", userblock_size=512) as file:
            file["coeff"], file["sol"] = coeff.T, sol.T
    convert(tmp_path / "f.mat", tmp_path / "f.hdf5")
    nu, tensor, *_ = fields(tmp_path / "f.hdf5")
    np.testing.assert_array_equal(nu, coeff.astype(np.float32))
    np.testing.assert_array_equal(tensor[:, 0], sol.astype(np.float32))
    assert read_info(tmp_path / "f.hdf5").grid.kind == "vertices"


@pytest.mark.parametrize("beta", [0.01, 1.0, 100.0])
def test_pdebench_files_of_any_beta(tmp_path, beta):
    n = 8
    points = ((np.arange(n) + 0.5) / n).astype(np.float32)
    with h5py.File(tmp_path / "p.hdf5", "w") as file:
        file["nu"], file["tensor"] = np.ones((3, n, n), "f4"), np.ones((3, 1, n, n), "f4")
        file["x-coordinate"] = file["y-coordinate"] = points
        file.attrs["beta"] = beta
    convert(tmp_path / "p.hdf5", tmp_path / "d.hdf5")
    info = read_info(tmp_path / "d.hdf5")
    assert (info.grid.kind, info.source) == ("left", beta)
    np.testing.assert_allclose(fields(tmp_path / "d.hdf5")[2], points)


UNIT = np.linspace(0, 1, 9)


def pdebench_file(path, x=UNIT, y=UNIT, **attributes):
    """Three samples of ones on 9² points, in PDEBench's layout."""
    with h5py.File(path, "w") as file:
        file["nu"], file["tensor"] = np.ones((3, 9, 9), "f4"), np.ones((3, 1, 9, 9), "f4")
        for name, axis in (("x-coordinate", x), ("y-coordinate", y)):
            if axis is not None:
                file[name] = axis
        file.attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    ("x", "y", "grid", "message"),
    [
        (2 * UNIT - 1, 2 * UNIT - 1, None, "x-coordinate must rise evenly over"),
        (2 * UNIT - 1, 2 * UNIT - 1, "vertices", "x-coordinate must rise evenly over"),
        (UNIT, 2 * UNIT, None, "y-coordinate must rise evenly over"),
        (UNIT[::-1], UNIT, None, "x-coordinate must rise"),
        (UNIT, UNIT[::-1], "vertices", "y-coordinate must rise"),
        (np.arange(9) / 9 + 5, np.arange(9) / 9 + 5, "left", "x-coordinate must rise evenly over"),
        (UNIT**2, UNIT, "vertices", "x-coordinate must rise evenly"),
        (UNIT, np.arange(9) / 9, None, "of one kind, got vertices along x and left along y"),
        (UNIT, UNIT, "left", "its grid is vertices, and grid is left"),
        (None, np.arange(9) / 9, "vertices", "its grid is left, and grid is vertices"),
        (np.linspace(0, 1, 10), UNIT, None, "in 9 points .* got 0 … 1 in shape"),
        (UNIT, np.full(9, np.nan), None, "y-coordinate must rise"),
        (np.array(["a"] * 9, "S1"), UNIT, None, "x-coordinate must hold numbers"),
    ],
)
def test_coordinates_of_another_domain_are_no_unit_square(tmp_path, x, y, grid, message):
    """A true label on (-1, 1)² has an error of 3/4 on the unit square."""
    with pytest.raises(ValueError, match=message):
        convert(pdebench_file(tmp_path / "p.hdf5", x, y), tmp_path / "d.hdf5", grid=grid)
    assert [path.name for path in tmp_path.iterdir()] == ["p.hdf5"]


@pytest.mark.parametrize("beta", [np.nan, [1.0, 2.0], "one"])
def test_a_source_is_one_finite_number(tmp_path, beta):
    with pytest.raises(ValueError, match=r"beta must be one number|source f must be finite"):
        convert(pdebench_file(tmp_path / "p.hdf5", beta=beta), tmp_path / "d.hdf5")


@pytest.mark.parametrize("limit", [2**30, 0])
def test_phases_stay_phases_in_matlab(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(fno, "MAT5_LIMIT", limit)
    x = torch.rand(3, 4, 4) > 0.5
    torch.save({"x": x, "y": torch.ones(3, 4, 4, dtype=torch.bfloat16).requires_grad_()}, tmp_path / "p.pt")
    convert(tmp_path / "p.pt", tmp_path / "d.hdf5", grid="left")
    convert(tmp_path / "d.hdf5", tmp_path / "d.mat")
    convert(tmp_path / "d.mat", tmp_path / "back.hdf5", grid="left")
    assert read_info(tmp_path / "back.hdf5").attributes["coefficient"] == "indicator"
    np.testing.assert_array_equal(fields(tmp_path / "back.hdf5")[0], x)


def test_the_wall_of_a_left_grid_is_its_near_end(tmp_path):
    left = np.arange(9) / 9
    for name, axis, walls in (("l", left, [0]), ("c", left + 1 / 18, []), ("v", UNIT, [0, 8])):
        path = pdebench_file(tmp_path / f"{name}.hdf5", axis, axis)
        with h5py.File(path, "a") as file:
            for edge in walls:
                file["tensor"][:, :, edge] = file["tensor"][..., edge] = 0
        convert(path, tmp_path / f"{name}.ours", boundary="u = 0")
        convert(tmp_path / f"{name}.ours", tmp_path / f"{name}.well", to="the_well")
        with h5py.File(tmp_path / f"{name}.well") as file:
            for wall in file["boundary_conditions"].values():
                assert np.flatnonzero(wall["mask"]).tolist() == walls


@pytest.mark.thirdparty
@pytest.mark.parametrize("name", ["darcy_train_16", "darcy_test_16", "darcy_test_32"])
def test_neuraloperators_own_set(third_party, tmp_path, name):
    convert(third_party / f"{name}.pt", tmp_path / "d.hdf5")
    info = read_info(tmp_path / "d.hdf5")
    assert (info.grid.kind, info.splits, info.attributes["coefficient"]) == ("left", {}, "indicator")
    assert list(verify(tmp_path / "d.hdf5")) == []
    convert(tmp_path / "d.hdf5", tmp_path / "back.pt")
    there, back = (torch.load(path, weights_only=True) for path in (third_party / f"{name}.pt", tmp_path / "back.pt"))
    for key in "xy":
        assert back[key].dtype == there[key].dtype
        assert torch.equal(back[key], there[key])


def test_exports_of_a_split_at_a_resolution(dataset, tmp_path):
    convert(dataset, tmp_path / "t.pt", split="test", resolution=9)
    data = torch.load(tmp_path / "t.pt", weights_only=True)
    nu, tensor, *_ = fields(dataset)
    test = read_info(dataset).splits["test"]
    np.testing.assert_array_equal(data["x"], nu[test][:, ::4, ::4])
    np.testing.assert_array_equal(data["y"], tensor[test][:, 0, ::4, ::4])
    with pytest.raises(ValueError, match="33×17 vertices: possible are 3, 5, 9, 17, 33"):
        convert(dataset, tmp_path / "u.pt", resolution=10)
    with pytest.raises(ValueError, match="split must be one of"):
        convert(dataset, tmp_path / "u.pt", split="training")


def test_the_well_layout(dataset, tmp_path):
    convert(dataset, tmp_path / "w.hdf5", to="the_well")
    nu, tensor, x, y = fields(dataset)
    with h5py.File(tmp_path / "w.hdf5") as file:
        assert file.attrs["n_trajectories"] == 12
        assert list(file["dimensions"].attrs["spatial_dims"]) == ["x", "y"]
        assert list(file["t0_fields"].attrs["field_names"]) == ["coefficient", "solution"]
        np.testing.assert_array_equal(file["t0_fields/coefficient"], nu)
        np.testing.assert_array_equal(file["t0_fields/solution"], tensor)
        assert file["scalars/f"][()] == file.attrs["f"] == 2.0
        for name, points in (("x", x), ("y", y)):
            np.testing.assert_allclose(file["dimensions"][name], points, atol=1e-7)
            wall = file["boundary_conditions"][f"{name}_wall"]
            assert wall.attrs["bc_type"] == "WALL"
            assert np.flatnonzero(wall["mask"]).tolist() == [0, len(points) - 1]


class Trap:
    """Pickles to something that writes a file when read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_reading_runs_no_code(tmp_path):
    for name in ("plain.pt", "zip.pt"):
        trap = {"x": Trap(tmp_path / "sprung"), "y": torch.ones(2, 3, 3)}
        if name == "zip.pt":
            torch.save(trap, tmp_path / name)
        else:
            (tmp_path / name).write_bytes(pickle.dumps(trap))
        with pytest.raises(ValueError, match=r"is no \.pt file of tensors"):
            convert(tmp_path / name, tmp_path / "d.hdf5")
    assert not (tmp_path / "sprung").exists()


def tensors(x=None, y=None):
    """A pair of ones, or what is given."""
    ones = torch.ones(3, 4, 4)
    return {"x": ones if x is None else x, "y": ones if y is None else y}


def one_value(value):
    """Ones in float64, but for one value of the last sample."""
    values = torch.ones(3, 4, 4, dtype=torch.float64)
    values[2, 1, 1] = value
    return values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tensors(y=torch.full((3, 4, 4), torch.nan)), "sample 0: NaN or infinite values in the solution"),
        (tensors(y=one_value(1e39)), "sample 2: NaN or infinite values in the solution, or too large"),
        (tensors(y=1e-44 * one_value(1.5)), "sample 0: values of the solution are too small"),
        (tensors(y=one_value(0.0) * torch.tensor([1.0, 0.0, 1.0])[:, None, None]), "sample 1: the solution is zero"),
        (tensors(y=one_value(1.0) + 7j), "solution must be real numbers, got complex128"),
        (tensors(x=one_value(1e39)), "sample 2: NaN or infinite values in the coefficient, or too large"),
        (tensors(x=one_value(1e-60)), "sample 2: values of the coefficient are too small"),
        (tensors(x=one_value(1e-42)), "sample 2: values of the coefficient are too small"),
        (tensors(x=one_value(1.0) + 7j), "coefficient must be real numbers, got complex128"),
        (tensors(y=torch.ones(3, 4, 5)), "of one shape"),
        (tensors(x=torch.ones(3, 1, 4), y=torch.ones(3, 1, 4)), "at least 2 are needed along each axis"),
        (tensors(x=torch.ones(3, 4, 4).to_sparse()), "plain arrays"),
        ({"x": torch.ones(3, 4, 4)}, "tensors x and y"),
        ([1, 2], "tensors x and y"),
    ],
)
def test_unfit_content_is_named_and_nothing_written(tmp_path, content, message):
    torch.save(content, tmp_path / "s.pt")
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "s.pt", tmp_path / "d.hdf5", grid="left")
    assert [path.name for path in tmp_path.iterdir()] == ["s.pt"]


def test_unfit_requests_are_named(dataset, tmp_path):
    (tmp_path / "text.mat").write_text("nothing")
    (tmp_path / "there.pt").write_text("mine")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["values"] = np.ones(3)
    torch.save(tensors(), tmp_path / "ones.pt")
    with h5py.File(tmp_path / "groups.h5", "w") as file:
        file.create_group("nu"), file.create_group("tensor")
    for source, target, options, error, message in (
        (tmp_path / "none.pt", "d.hdf5", {}, FileNotFoundError, "no such file"),
        (dataset, "there.pt", {}, FileExistsError, "left as it is"),
        (dataset, "d.hdf5", {}, ValueError, "--to"),
        (dataset, "d.pt", {"f": 1.0}, ValueError, "says them itself"),
        (tmp_path / "text.mat", "d.hdf5", {}, ValueError, "MATLAB"),
        (tmp_path / "other.h5", "d.hdf5", {}, ValueError, "which arrays are inputs and outputs"),
        (tmp_path / "there.pt", "d.hdf5", {}, ValueError, "tensors"),
        (tmp_path / "ones.pt", "d.hdf5", {}, ValueError, "kind of its grid"),
        (tmp_path / "ones.pt", "d.hdf5", {"grid": "left", "resolution": 2}, ValueError, "exports"),
        (tmp_path / "ones.pt", "d.hdf5", {"grid": "left", "f": np.inf}, ValueError, "f must be finite"),
        (tmp_path / "ones.pt", "d.hdf5", {"grid": "left", "f": 0.0, "boundary": "u = 0"}, ValueError, "not 0 where"),
        (tmp_path / "groups.h5", "d.hdf5", {}, ValueError, "it has none"),
    ):
        with pytest.raises(error, match=message):
            convert(source, tmp_path / target, **options)
    assert (tmp_path / "there.pt").read_text() == "mine"
    assert not (tmp_path / "d.hdf5").exists()
