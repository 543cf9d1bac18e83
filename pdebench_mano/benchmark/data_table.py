"""What a suite says of its data: the tables ``[data]``, ``[data.generate]`` and ``[data.samples]``."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_gen.grid import Kind
from data_gen.splits import parsed
from pdebench_mano.benchmark.tables import Table, merge
from pdebench_mano.machine.typed import wrong
from pdebench_mano.training.options import Count


class Generate(BaseModel):
    """Arguments of `data_gen.generate`; ``device = "auto"`` is a GPU where there is one.

    Where nothing is said of `workers`, there is one on a CPU, and as many as keep GPUs busy.

    Parameters of the problem stand beside them, as `law` and `source` of Darcy flow do, or in `problem_args`. With
    `test_samples` and `test_seed`, a second file of the same problem and settings holds the samples to test on, and
    nothing else: the first one is trained on and validated with, and its own test part, if `split` has one, left alone.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    samples: int
    resolution: int | tuple[int, int]
    seed: int = 0
    problem: str = "darcy"
    problem_args: dict[str, Any] = {}
    rtol: float | None = None
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    device: str = "cpu"
    workers: int | None = Field(None, ge=1)
    label_refinement: int = 1
    test_samples: Count | None = None
    test_seed: int | None = Field(None, ge=0)

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of the problem."""
        return (self.model_extra or {}) | self.problem_args

    @property
    def files(self) -> list["Generate"]:
        """What makes each file: the one to train on, and that to test on where it is another."""
        if self.test_samples is None:
            return [self]
        own = {"samples": self.test_samples, "seed": self.test_seed, "split": (0.0, 0.0, 1.0)}
        return [self, self.model_copy(update=own | {"test_samples": None, "test_seed": None})]

    @model_validator(mode="after")
    def _other_samples_to_test_on(self) -> "Generate":
        if (self.test_samples is None) != (self.test_seed is None):
            raise ValueError("test_samples and test_seed go together: a file of test samples needs both")
        if self.test_seed == self.seed:
            raise ValueError(f"test_seed must be another than seed, which draws the same samples, got {self.seed}")
        return self


class Counts(Table):
    """How many samples are trained on, validated with and tested on, from the first of their files on.

    Those of `val` follow those of `train`, and those of `test` both where it is one file.
    """

    train: Count
    val: Count
    test: Count


class Data(Table):
    """What to train and test on: a recipe, or files of the schema or of a kind that `convert` reads.

    Paths are relative to the suite and may hold environment variables; `test` is `train` by default. What files that
    `convert` reads do not say themselves is said as to `convert`: `grid`, `source`, `boundary`, `law`, `inputs`,
    `outputs`, `axes`; and `split`, or `samples`, how many each split has. With a `test` file, `split` is that of the
    file to train on, and all samples of the other are tested on, unless `split` names an array of it. With `each`,
    there are several datasets: its tables are, by name, what a dataset says that is not, or is otherwise, in the table
    around it.
    """

    generate: Generate | None = None
    train: str | None = None
    test: str | None = None
    grid: Kind | None = None
    samples: Counts | None = None
    source: float | None = None
    boundary: str | None = None
    law: str | None = None
    split: str | tuple[float, float, float] | dict[str, str] | None = None
    inputs: list[str] | None = None
    outputs: list[str] | None = None
    axes: str | None = None
    each: dict[str, dict[str, Any]] = {}

    @property
    def named(self) -> dict[str, "Data"]:
        """The datasets by name; that of a suite which has but one is called ""."""
        if not self.each:
            return {"": self}
        shared = self.model_dump(exclude={"each"}, exclude_unset=True)
        return {name: Data(**merge(shared, own)) for name, own in self.each.items()}

    @model_validator(mode="before")
    @classmethod
    def _named_datasets(cls, table: Any) -> Any:
        each = table.get("each") if isinstance(table, dict) else None
        for name, own in each.items() if isinstance(each, dict) else ():
            if not name or not isinstance(own, dict) or "each" in own:
                raise ValueError(f"each needs names, and tables without each, got {name!r} = {own!r}")
            try:
                cls(**merge({key: value for key, value in table.items() if key != "each"}, own))
            except ValidationError as error:
                within = "." if error.errors()[0]["loc"] else ": "
                raise ValueError(f"each.{name}{within}{wrong(error, cls)}") from None
        return table

    @property
    def told(self) -> dict[str, Any]:
        """What is said of a file, as `convert` takes it, beside its splits; only what is said."""
        names = {"grid", "source", "boundary", "law", "inputs", "outputs", "axes"}
        said = self.model_dump(include=names, exclude_none=True)
        return {"f" if name == "source" else name: value for name, value in said.items()}

    @model_validator(mode="after")
    def _one_origin(self) -> "Data":
        if self.each:
            return self
        if (self.generate is None) == (self.train is None):
            raise ValueError("give either generate or train")
        if self.generate is not None and self.test is not None:
            raise ValueError("test goes with train, not with generate")
        said = self.model_fields_set - {"generate", "train", "test"}
        if self.generate is not None and said:
            raise ValueError(f"{' and '.join(sorted(said))} go with train, not with generate")
        if self.samples is not None and self.split is not None:
            raise ValueError("give samples or split, not both")
        if self.split is not None:
            parsed(self.split)
        return self
