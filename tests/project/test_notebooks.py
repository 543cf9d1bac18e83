"""The notebooks run as they stand; every figure in them has labelled axes and a caption."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

DESCRIBE_FIGURES = """
from matplotlib.figure import Figure

def unlabelled(figure):
    for axes in figure.axes:
        x = {each.get_xlabel() for each in axes.get_shared_x_axes().get_siblings(axes)}
        y = {each.get_ylabel() for each in axes.get_shared_y_axes().get_siblings(axes)}
        if axes.get_label() != "<colorbar>" and not (any(x) and any(y)):
            yield axes

Figure.__repr__ = lambda figure: f"{len(figure.axes)} axes, {len(list(unlabelled(figure)))} without labels"
"""


@pytest.fixture
def folder(tmp_path):
    """A folder beside `benchmarks`, as that of the notebooks is."""
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    (tmp_path / "notebooks").mkdir()
    return tmp_path / "notebooks"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:(jupyter_client|zmq|tornado|traitlets)")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_the_notebook_runs(path, folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(DESCRIBE_FIGURES))
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(folder)}}).execute()
    figures = 0
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.text
            if "image/png" in output.get("data", {}):
                figures += 1
                assert output.data["text/plain"].endswith("axes, 0 without labels"), cell.source
                assert following is not None
                assert following.source.startswith(f"**Figure {figures}.**"), "its caption follows each figure"
    assert figures > 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_the_notebook_is_committed_with_small_outputs(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "executed once, from the top"
    assert path.stat().st_size < 250_000
