"""A problem of one's own, in a file of one's own: generated, resumed, verified, and never run without being asked."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from data_gen import Grid, build_problem, convert, generate, open_dataset, read_info, storage
from data_gen.contract import contract
from data_gen.convergence import richardson
from data_gen.problem import NotConverged, Problem, plain
from data_gen.problems import called, defaults
from data_gen.samples import draw
from data_gen.shards import complete_shards
from data_gen.verification import verify

REACTION = """
from dataclasses import dataclass
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from data_gen import Field, Problem, Solution, Symmetry

@dataclass(frozen=True)
class Reaction(Problem):
    name, equation, order = "reaction", "-Δu + c u = f", 2.0
    inputs = (Field("reaction", "c", positive=True), Field("source", "f"))
    strength: float = 10.0

    def draw(self, grid, rng, index):
        (x, y), (p, q) = grid.mesh(), rng.uniform(1, 6, 2)
        return np.stack([self.strength * (1.5 + np.sin(p * x + q * y)), rng.normal() + np.cos(q * x) * y])

    def solve(self, a, grid, *, rtol=None):
        c, f = a[:, 1:-1, 1:-1]
        second = [sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n)) / h**2
                  for n, h in zip(c.shape, grid.spacing)]
        laplacian = sp.kron(second[0], sp.eye_array(c.shape[1])) + sp.kron(sp.eye_array(c.shape[0]), second[1])
        A = (laplacian + sp.diags_array(c.ravel())).tocsc()
        u = splu(A).solve(f.ravel())
        evidence = np.linalg.norm(f.ravel() - A @ u) / np.linalg.norm(f)
        return Solution(np.pad(u.reshape(f.shape), 1)[None, None], evidence, "rtol", "lu")

    def symmetries(self, grid):
        flips = [Symmetry((0, 1), (x, y)) for x in (False, True) for y in (False, True)]
        return [*flips, Symmetry((0, 1), (False, False), inputs=(1, -1), outputs=(-1,))]
"""

HEAT = """
from dataclasses import dataclass
import numpy as np
from data_gen import Field, Problem, Solution, Symmetry

@dataclass(frozen=True)
class Heat(Problem):
    name, equation, kind, times = "heat", "u_t = k Δu", "periodic", (0.5, 1.0, 1.5)
    inputs = (Field("temperature", "u"),)
    outputs = (Field("temperature", "u"), Field("flux", "q"))
    k: float = 0.02
    amplitudes: np.ndarray | None = None

    def draw(self, grid, rng, index):
        x, y = 2 * np.pi * grid.mesh()
        one, two = (1.0, 0.5) if self.amplitudes is None else self.amplitudes
        return (one * np.cos(x + rng.integers(1, 3) * y) + two * np.sin(2 * x + rng.uniform(0, 6)) + 1)[None]

    def solve(self, a, grid, *, rtol=None):
        kx, ky = (2 * np.pi * np.fft.fftfreq(n, 1 / n) for n in grid.shape)
        modes = [np.fft.fft2(a[0]) * np.exp(-self.k * t * (kx[:, None] ** 2 + ky**2)) for t in self.times]
        u = np.array([[np.fft.ifft2(s).real, np.fft.ifft2(-1j * self.k * kx[:, None] * s).real] for s in modes])
        return Solution(u, np.abs(u[:, 0].mean((1, 2)) - a.mean()).max(), "rtol", "fourier")

    def symmetries(self, grid):
        return [Symmetry((0, 1), (False, False), (1 / grid.shape[0], 0)), Symmetry((0, 1), (False, True))]
"""

SHAPES = {"Reaction": (17, 9), "Heat": (16, 8)}


@pytest.fixture(params=["Reaction", "Heat"])
def own(request, tmp_path):
    """The name of a problem in a file."""
    path = tmp_path / "mine.py"
    path.write_text({"Reaction": REACTION, "Heat": HEAT}[request.param])
    return f"{path}:{request.param}"


def shape_of(own):
    """A grid that it lives on, of different sides."""
    return SHAPES[own.rpartition(":")[2]]


@pytest.fixture
def dataset(own, tmp_path):
    """Six samples of it."""
    generate(tmp_path / "d.hdf5", 6, shape_of(own), problem=own)
    return tmp_path / "d.hdf5"


def test_it_keeps_the_contract(own):
    assert [clause.holds for clause in contract(build_problem(own))] == [True] * 4 + [True if "React" in own else None]
    assert not [str(clause) for clause in contract(build_problem(own), shape_of(own)) if clause.holds is False]


def test_killed_shards_become_the_same_file(own, dataset, tmp_path):
    def kill(done, total):
        if done >= 4:
            raise KeyboardInterrupt

    arguments = {"samples": 6, "resolution": shape_of(own), "problem": own, "shard_size": 1}
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "k.hdf5", **arguments, progress=kill)
    shards = complete_shards(tmp_path / "k.hdf5.shards")
    assert len(shards) == 4
    shards[1].unlink()
    generate(tmp_path / "k.hdf5", **arguments)
    assert (tmp_path / "k.hdf5").read_bytes() == dataset.read_bytes()


def test_workers_find_it_too(own, dataset, tmp_path):
    generate(tmp_path / "w.hdf5", 6, shape_of(own), problem=own, workers=2, shard_size=3)
    assert (tmp_path / "w.hdf5").read_bytes() == dataset.read_bytes()


def test_the_file_says_all_of_it(own, dataset):
    info, (n, m) = read_info(dataset), shape_of(own)
    heat = "Heat" in own
    with h5py.File(dataset) as file:
        assert file["nu"].shape == ((6, n, m) if heat else (6, 2, n, m))
        assert file["tensor"].shape == ((6, 3, 2, n, m) if heat else (6, 1, n, m))
        assert file["quality/evidence"][:].max() <= 1e-10
        assert set(file["quality/accepted_by"][:]) == {b"rtol"}
        assert file["quality/accepted_by"].dtype == "S16"
        assert "relative_residual" not in file["quality"]
        assert ("t-coordinate" in file) == heat
        attributes = dict(file.attrs)
        names = [[each["name"] for each in json.loads(attributes[what])] for what in ("inputs", "outputs")]
    assert (attributes["schema"], attributes["schema_version"]) == ("pdebench-mano/field", 2)
    assert (attributes["problem"], attributes["restriction"]) == (own, "stride")
    assert names == ([["temperature"], ["temperature", "flux"]] if heat else [["reaction", "source"], ["u"]])
    assert info.parameters == json.loads(attributes["parameters"]) == build_problem(own).parameters()
    assert info.times == ((0.5, 1.0, 1.5) if heat else ())
    assert (info.grid, info.equation) == (Grid((n, m), info.grid.kind), build_problem(own).equation)
    assert [field.positive for field in info.inputs] == ([False] if heat else [True, False])


def test_xarray_opens_it(own, dataset):
    data = open_dataset(dataset)
    heat = "Heat" in own
    assert data.nu.dims == (("sample", "x", "y") if heat else ("sample", "input", "x", "y"))
    assert data.tensor.dims == (("sample", "t", "channel", "x", "y") if heat else ("sample", "channel", "x", "y"))
    if heat:
        np.testing.assert_array_equal(data.t, [0.5, 1.0, 1.5])


def rewrite(path, sample, change):
    """Change a solution and make checksum, digest and seal true again."""
    with h5py.File(path, "r+") as file:
        u = change(file["tensor"][sample])
        file["tensor"][sample] = u
        file["quality/sha256"][sample] = storage.checksum(file["nu"][sample], u)
        info = storage.describe(path, file)
        file.attrs["digest"] = storage.digest(info.grid.kind, info.splits, file["quality/sha256"][:])
        file.attrs["seal"] = storage.seal(file)


def moved(u):
    """One value moved by 5 % of the largest."""
    u[(*(0,) * (u.ndim - 2), 3, 4)] += 0.05 * np.abs(u).max()
    return u


CHANGES = {
    "a value": moved,
    "the sign": np.negative,
    "a shift along x": lambda u: np.roll(u, 1, -2),
    "a shift along y": lambda u: np.roll(u, 1, -1),
    "two frames": lambda u: u[[1, 0, 2]],
}


@pytest.mark.parametrize(
    ("own", "change"),
    [(own, change) for own in SHAPES for change in CHANGES if (own, change) != ("Reaction", "two frames")],
    indirect=["own"],
)
def test_every_wrong_value_is_found_with_the_checksums_rewritten(dataset, change):
    assert list(verify(dataset, trust=True)) == []
    rewrite(dataset, 2, CHANGES[change])
    findings = list(verify(dataset, trust=True))
    assert {finding.sample for finding in findings} == {2}
    assert "differs by" in findings[0].message


def test_nothing_of_it_is_run_without_trust(own, dataset, tmp_path):
    path, log = tmp_path / "mine.py", tmp_path / "log"
    for look in (lambda: list(verify(dataset)), lambda: list(richardson(dataset))):
        with pytest.raises(ValueError, match=r"code of its own, problem .*mine\.py:.*--trust"):
            look()
    path.write_text(f"__import__('pathlib').Path({str(log)!r}).touch()\n" + path.read_text())
    for look in (lambda: list(verify(dataset, trust=True)), lambda: list(richardson(dataset, trust=True))):
        with pytest.raises(ValueError, match="its file has changed"):
            look()
    assert not log.exists()
    with pytest.raises(FileExistsError, match="sources is"):
        generate(dataset, 6, shape_of(own), problem=own)


def test_an_edited_file_does_not_go_on_with_shards_of_the_other(own, tmp_path):
    def kill(done, total):
        if done >= 2:
            raise KeyboardInterrupt

    arguments = {"samples": 4, "resolution": shape_of(own), "problem": own, "shard_size": 1}
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "k.hdf5", **arguments, progress=kill)
    with (tmp_path / "mine.py").open("a") as file:
        file.write("# edited\n")
    with pytest.raises(FileExistsError, match="another recipe: sources is"):
        generate(tmp_path / "k.hdf5", **arguments)


def test_richardson_draws_it_again_on_other_grids(own, dataset):
    estimates = list(richardson(dataset, trust=True))
    assert len(estimates) == 3
    if "Reaction" in own:
        assert [each.order for each in estimates] == pytest.approx([2] * 3, abs=0.5)
    else:
        assert max(each.relative_l2 for each in estimates) < 1e-6


@pytest.mark.parametrize("own", ["Heat"], indirect=True)
def test_an_array_is_a_parameter_by_its_sha256(own, tmp_path):
    path, values = tmp_path / "a.hdf5", np.array([2.0, 1.0])
    np.save(tmp_path / "values.npy", values)
    generate(path, 2, 8, problem=own, amplitudes=str(tmp_path / "values.npy"))
    assert read_info(path).parameters["amplitudes"] == plain(values)
    assert plain(values).startswith("sha256:")
    with storage.open_hdf5(path) as file:
        np.testing.assert_array_equal(storage.arrays_of(file)["amplitudes"], values)
    assert list(verify(path, trust=True)) == []
    generate(path, 2, 8, problem=own, problem_args={"amplitudes": values})
    with pytest.raises(FileExistsError, match="parameters is"):
        generate(path, 2, 8, problem=own, amplitudes=values + 1)


def test_it_keeps_its_name_when_a_parameter_is_replaced(own):
    problem = build_problem(own)
    other = replace(problem, **{"strength": 5.0} if "Reaction" in own else {"k": 0.5})
    assert called(other) == called(problem) == own
    assert other.parameters() != problem.parameters()
    assert defaults(own) == problem.parameters()


def test_a_format_that_knows_no_time_says_so(own, dataset, tmp_path):
    target = tmp_path / "d.pt"
    if "Heat" in own:
        with pytest.raises(ValueError, match="2 outputs and 3 times: neuraloperator"):
            convert(dataset, target)
    convert(dataset, target.with_suffix(".npz"))
    assert not target.exists()


PLAIN = """
import numpy as np
from data_gen import Field, Problem, Solution

class Plain(Problem):
    inputs, outputs = (Field("source", "f"),), (Field("potential", "φ"),)
    def draw(self, grid, rng, index):
        return rng.normal() * grid.mesh()[:1] - 0.5
    def solve(self, a, grid, *, rtol=None):
        return Solution(2 * a[None], 0.0, "rtol", "double")

class Coarse(Plain):
    def solve(self, a, grid, *, rtol=None):
        return Solution(2 * a[None], 0.5, "step", "double")

class Lost(Plain):
    def solve(self, a, grid, *, rtol=None):
        raise {}["nothing"]

class Line(Plain):
    dimensions = 1

class Backwards(Plain):
    times = (1.0, 0.5)

class Wide(Plain):
    def draw(self, grid, rng, index):
        return np.ones((2, *grid.shape))

class NoDraw(Problem):
    pass

def three():
    return 3
"""


@pytest.fixture
def plainly(tmp_path):
    """A file of small problems; gives their names."""
    (tmp_path / "plain.py").write_text(PLAIN)
    return lambda name: f"{tmp_path}/plain.py:{name}"


def test_one_field_in_and_one_out_are_of_version_1_with_their_names(plainly, tmp_path):
    for name in ("Plain", "Coarse"):
        info = generate(tmp_path / name, 4, 5, problem=plainly(name))
        assert (info.version, info.problem) == (1, plainly(name))
        assert [field.name for field in (*info.inputs, *info.outputs)] == ["source", "potential"]
        assert list(verify(tmp_path / name, trust=True)) == []


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("Lost", ValueError, "sample 0: KeyError: 'nothing'"),
        ("Line", ValueError, "has 1 dimensions; this version carries two"),
        ("Backwards", ValueError, r"times must be positive and rise, got \(1.0, 0.5\)"),
        ("Wide", ValueError, r"sample 0: problem 'unknown' must draw an array of shape \(1, 5, 5\)"),
        ("NoDraw", ValueError, "sample 0: .*has no method draw"),
        ("three", ValueError, "must be a data_gen.Problem, got int"),
        ("four", ValueError, "has no four"),
    ],
)
def test_what_is_wrong_with_a_problem_is_said_in_one_line(plainly, tmp_path, name, error, message):
    with pytest.raises(error, match=message) as caught:
        generate(tmp_path / "d.hdf5", 2, 5, problem=plainly(name))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "d.hdf5").exists()


def test_parameters_that_there_are_not_are_named(plainly, own):
    with pytest.raises(ValueError, match="its arguments are none"):
        build_problem(plainly("Plain"), k=1)
    with pytest.raises(ValueError, match=r"got an unexpected keyword argument 'law'; its arguments are (strength|k)"):
        build_problem(own, law="piecewise")
    with pytest.raises(ValueError, match="problem 'stokes' is unknown: use darcy"):
        build_problem("stokes")


class Half(Problem):
    """Solves for every other sample."""

    def solve(self, a, grid, *, rtol=None):
        if a.min() < 0:
            raise NotConverged("no")
        return build_problem("darcy").solve(a + 1, grid, rtol=rtol)


def test_defaults_of_what_a_problem_does_not_say():
    grid, problem = Grid((5, 5)), Half()
    a = np.stack([np.ones((1, 5, 5)), -np.ones((1, 5, 5))])
    one, other = problem.solve_batch(a, grid)
    assert one is not None
    assert other is None
    with pytest.raises(ValueError, match="device must be cpu for problem 'unknown', got 'cuda'"):
        problem.solve_batch(a, grid, device="cuda")
    assert problem.rivals() == (problem,)
    assert problem.residual(a[0], one.u, grid) is None
    np.testing.assert_array_equal(problem.initial(a[0], grid), np.zeros((1, 5, 5)))
    assert problem.restrict(one.u, grid, Grid((3, 3)), "output").shape == (1, 1, 3, 3)


def test_what_lies_on_the_cpu_is_solved_there_sample_by_sample_and_a_failure_is_no_number():
    problem, grid = build_problem("darcy"), Grid((9, 9))
    a = np.stack([draw(problem, grid, 0, i) for i in range(3)])
    solve = problem.on_device(grid, rtol=1e-10)
    expected = [problem.solve(sample.astype(np.float32).astype(float), grid).u[-1] for sample in a]
    np.testing.assert_allclose(solve(torch.from_numpy(a.astype(np.float32))).numpy(), expected, rtol=1e-12)

    class Fails(type(problem)):
        def solve(self, a, grid, *, rtol=None):
            if a.mean() > 2:
                raise NotConverged
            return super().solve(a, grid, rtol=rtol)

    found = Fails().on_device(grid)(torch.stack([torch.ones(1, 9, 9), 3 * torch.ones(1, 9, 9)]))
    assert found[0].isfinite().all()
    assert found[1].isnan().all()
    assert problem.scheme == "arithmetic"
    assert Problem.scheme == ""
    assert Problem().on_device(grid, device="cuda") is None


def test_a_problem_that_solves_batches_elsewhere_has_them_solved_there():
    """Labels of flow were not timed on a GPU, without a word: nothing was known to solve for them there."""
    grid = Grid((9, 9))

    class Elsewhere(Half):
        def solve_batch(self, a, grid, *, rtol=None, device="cpu"):
            assert device == "there"
            return super().solve_batch(a, grid, rtol=rtol)

    a = torch.stack([torch.full((1, 9, 9), value) for value in (1.0, -1.0)])
    found = Elsewhere().on_device(grid, device="there")(a)
    np.testing.assert_array_equal(found[0], Half().solve(a[0].numpy(), grid).u[-1])
    assert found[1].isnan().all()
    assert Half().on_device(grid, device="there") is None
