"""The pictures of samples: the same for all models, in colours that mean the same, within a number of bytes."""

import base64
import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from pdebench_mano.evaluation.records import FIRST_SAMPLES, write_examples
from pdebench_mano.report import side_by_side as module
from pdebench_mano.report.side_by_side import MISSING, Scale, picture, side_by_side


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_picture_has_x_to_the_right_y_upwards_and_the_colours_of_its_scale():
    values = np.array([[0.0, 1.0], [np.nan, 5.0]])  # x, y
    seen = pixels(picture(values, Scale("viridis", 0.0, 1.0)))
    first, last = (np.round(255 * np.array(colormaps["viridis"](end)[:3])) for end in (0.0, 1.0))
    assert np.array_equal(seen[1, 0], first), "x = 0, y = 0 lies at the bottom left"
    assert np.array_equal(seen[0, 0], last)
    assert np.array_equal(seen[1, 1], MISSING)
    assert np.array_equal(seen[0, 1], last), "what is beyond the scale has the colour of its end"


@pytest.fixture
def trained(made, tmp_path):
    """A function that makes records with fields of their first samples."""
    rng = np.random.default_rng(0)
    a, truth = rng.random((2, 4, 17, 17))

    def keep(name, factor, position=(0, 1, 2, 3), seed=0):
        path = tmp_path / f"{name}-{seed}.jsonl"
        fields = {"a": a, "truth": truth, "prediction": factor * truth, "position": np.array(position)}
        write_examples(fields, path, FIRST_SAMPLES)
        return path, made(name, seed=seed)

    return keep


def test_models_stand_beside_one_another_on_the_same_samples_alone(trained, made, tmp_path):
    told = side_by_side(
        [
            trained("fno", 1.1),
            trained("fno", 1.2, seed=1),
            trained("vit", 1.3),
            trained("elsewhere", 1.1, position=(4, 5, 6, 7)),
            (tmp_path / "none.jsonl", made("none")),
        ]
    )
    assert told["models"] == ["fno", "vit"]
    assert [sample["position"] for sample in told["samples"]] == [0, 1, 2, 3]
    errors = {row.resolution: row.errors["relative_l2"] for row in made("vit").evaluations if row.kind == "operator"}
    assert told["samples"][2]["errors"][1] == f"{errors[17][2]:.3g}", "at the resolution of the fields"
    assert side_by_side([(tmp_path / "none.jsonl", made("none"))]) is None


def test_errors_of_all_models_share_a_scale_that_one_bad_model_does_not_stretch(trained):
    alone = side_by_side([trained("fno", 1.1), trained("vit", 1.1)])
    beside = side_by_side([trained("fno", 1.1), trained("vit", 1.1), trained("bad", 100.0)])
    assert alone["samples"][0]["bars"][2] == beside["samples"][0]["bars"][2]
    assert alone["samples"][0]["tiles"][3] == beside["samples"][0]["tiles"][3]


def test_samples_that_would_make_the_page_too_heavy_are_left_out(trained, monkeypatch):
    records = [trained("fno", 1.1), trained("vit", 1.3)]
    whole = side_by_side(records)["samples"]
    size = sum(len(frame) for frames in whole[0]["tiles"] for frame in frames)
    monkeypatch.setattr(module, "MOST", 2.5 * size)
    assert side_by_side(records)["samples"] == whole[:2]
