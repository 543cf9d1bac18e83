"""A trained operator as a folder that others can use, on a disk or on the Hugging Face Hub.

model.safetensors   the weights, and the statistics of the normalisers
config.json         what is needed to build the operator again, what it was trained on, and the digests of the files
README.md           the model card
my_operator.py      the file of an operator of a user's own

    SharedOperator.from_pretrained("folder or repository").predict(a)

`push_to_hub` sends one that was read, or made of a run, to the Hub. Nothing but `from_pretrained` of a repository and
`push_to_hub` needs a network.
"""

import hashlib
import inspect
import json
from os.path import lexists
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from data_gen.grid import Kind
from data_gen.lookup import find, source_sha256
from data_gen.recipe import installed
from data_gen.storage import COEFFICIENT, SOLUTION, UNKNOWN, fields_of, problem_of, write_text
from pdebench_mano.fields.normalized import NormalizedOperator, Normalizer
from pdebench_mano.operators.presets import preset
from pdebench_mano.operators.registry import OPERATORS, build_operator
from pdebench_mano.training import checkpoint
from pdebench_mano.training.folder import read_config, read_summary

SCHEMA, VERSION = "pdebench-mano/operator", 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"

PROGRAM = "\n## As a program\n"
"""Where the part of a card begins that speaks of ``model.pt2``, which stays behind when the operator is saved again."""


class SharedOperator(NormalizedOperator, PyTorchModelHubMixin):
    """A `NormalizedOperator` with what others must know of it; ``save_pretrained`` writes its folder.

    Parameters
    ----------
    operator, encoder, decoder, grid
        See `NormalizedOperator`.
    about : dict
        Content of ``config.json``, see `about_run`.
    card : str
        Content of ``README.md``.
    source : bytes, optional
        The file that defines the operator, where it is a user's own.
    """

    def __init__(
        self,
        operator: nn.Module,
        encoder: Normalizer,
        decoder: Normalizer,
        grid: Kind = "vertices",
        *,
        about: dict[str, Any],
        card: str,
        source: bytes | None = None,
    ) -> None:
        super().__init__(operator, encoder, decoder, grid)
        self.about, self.card, self.source = about, card, source

    @classmethod
    def of_run(cls, run: str | Path, trained: NormalizedOperator, about: dict[str, Any], card: str) -> "SharedOperator":
        """The operator that `load` gives of a run folder, with what is known of it."""
        place = Path(read_config(run).operator.partition(":")[0])
        source = place.read_bytes() if place.suffix == ".py" else None
        parts = trained.operator, trained.encoder, trained.decoder, trained.grid
        return cls(*parts, about=about, card=card, source=source).eval()

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """The card, as the Hub takes it."""
        return ModelCard(self.card)

    def _save_pretrained(self, save_directory: Path) -> None:
        state = {name: value.detach().cpu().clone().contiguous() for name, value in checkpoint.tensors(self).items()}
        model = self.about["model"]
        # one entry: several would stand in any order, and the same weights would have several digests
        (save_directory / WEIGHTS).write_bytes(save(state, {"model": json.dumps(model, sort_keys=True)}))
        if self.source is not None and (own := own_file(model["operator"])):
            (save_directory / own).write_bytes(self.source)
        digests = {"weights": checkpoint.digest(state), "files": {WEIGHTS: sha256(save_directory / WEIGHTS)}}
        write_text(save_directory / CONFIG, json.dumps(self.about | digests, indent=2) + "\n")
        write_text(save_directory / CARD, self.card)

    @classmethod
    def _from_pretrained(  # type: ignore[override]
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        config: dict[str, Any] | None = None,
        trust: bool = False,
    ) -> "SharedOperator":
        """What `from_pretrained` does: on the CPU, in evaluation mode.

        Raises
        ------
        FileNotFoundError, ValueError
            If a file is missing, is not what it was, or names code of a user's own that is not trusted (`trust`).
        """

        def file(name: str) -> Path:
            if not Path(model_id).is_dir():
                return Path(
                    hf_hub_download(
                        model_id,
                        name,
                        revision=revision,
                        cache_dir=cache_dir,
                        force_download=force_download,
                        local_files_only=local_files_only,
                        token=token,
                    )
                )
            if not (Path(model_id) / name).is_file():
                raise FileNotFoundError(f"{model_id} has no {name}: it is no exported operator, or not all of one")
            return Path(model_id) / name

        about = json.loads(file(CONFIG).read_text()) if config is None else config
        check_config(about, model_id)
        model = about["model"]
        name = model["operator"]
        if name not in OPERATORS and not trust:
            raise ValueError(f"{model_id} names code of its own, operator {name!r}: trust=True runs it")
        weights, own = file(WEIGHTS), own_file(name)
        if sha256(weights) != about["files"][WEIGHTS]:
            raise ValueError(f"{weights} is not what {CONFIG} says: its SHA-256 is another")
        with safe_open(weights, "pt") as opened:
            refuse_another(model, json.loads(opened.metadata()["model"]), model_id)
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        if own is not None:
            name = f"{file(own)}:{name.partition(':')[2]}"
        if source_sha256(name, OPERATORS) != model.get("source"):
            raise ValueError(f"operator {name!r} is not the one that {model_id} was made with: its file has changed")
        inputs, outputs = model["channels"]
        with torch.random.fork_rng(devices=[]):
            inner = build_operator(name, inputs, outputs, **model["arguments"])
        shared = cls(
            inner,
            Normalizer.identity(inputs),
            Normalizer.identity(outputs),
            model["grid"],
            about=about,
            card=file(CARD).read_text().partition(PROGRAM)[0],
            source=None if own is None else file(own).read_bytes(),
        )
        try:
            shared.load_state_dict(state)
        except RuntimeError as error:
            words = " ".join(str(error).split())
            raise ValueError(f"{model_id}: its weights do not fit operator {name!r} of this version: {words}") from None
        return shared.eval()


def about_run(run: str | Path, trained: NormalizedOperator, attributes: dict[str, Any]) -> dict[str, Any]:
    """What ``config.json`` says of the operator of a run, but for the digests of its files.

    Parameters
    ----------
    run : path
        Run folder.
    trained : NormalizedOperator
        What `load` gives of it.
    attributes : dict
        What is known of the dataset it was trained on, as its file says it; may be empty.

    Returns
    -------
    dict
        ``model``, all that determines the operator beside its weights; ``normalisation``, whose numbers are among the
        weights, too; ``data``; ``training``, the configuration; what it ``took``; ``environment``, of the training;
        and ``exported_by``.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no run.
    """
    run, config = Path(run), read_config(run)
    description = json.loads((run / "config.json").read_text())
    summary = read_summary(run) if lexists(run / "summary.json") else {}
    data, own = description["data"], own_file(config.operator)
    name = config.operator if own is None else f"{own}:{config.operator.partition(':')[2]}"
    source = description.get("sources", {}).get("operator")
    normalisers = {"inputs": trained.encoder, "outputs": trained.decoder}
    problem, parameters = problem_of(attributes)
    known: dict[str, Any] = {
        "problem": problem,
        "parameters": parameters,
        "inputs": [each._asdict() for each in fields_of(attributes, "inputs", COEFFICIENT)],
        "outputs": [each._asdict() for each in fields_of(attributes, "outputs", SOLUTION)],
        **{key: attributes[key] for key in ("equation", "lengths", "label_uncertainty") if key in attributes},
    }
    about = {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "model": {
            "operator": name,
            "arguments": spelled_out(config.operator, config.operator_args),
            "channels": data["channels"],
            "grid": data["grid"],
            **({} if source is None else {"source": source}),
        },
        "normalisation": {
            what: {"mean": each.mean.tolist(), "std": each.std.tolist()} for what, each in normalisers.items()
        },
        "data": (known if attributes else {"problem": UNKNOWN, "parameters": {}}) | data,
        "training": config.model_dump(exclude={"data", "operator", "operator_args", "checkpoint_seconds"}),
        "took": summary,
        "environment": description["environment"],
        "exported_by": f"pdebench-mano {installed('pdebench-mano')}",
    }
    return json.loads(json.dumps(about))


def spelled_out(operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an operator, with the preset and the defaults of a registered one, which a later version may change.

    Raises
    ------
    ValueError
        If there is no such operator or preset.
    """
    if operator not in OPERATORS:
        return arguments
    named = preset(operator, arguments["preset"]) if "preset" in arguments else {}
    own = {key: value for key, value in arguments.items() if key != "preset"}
    parameters = inspect.signature(find(operator, OPERATORS, "operator")).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    return {key: value for key, value in (defaults | named | own).items() if key not in ("in_channels", "out_channels")}


def own_file(operator: str) -> str | None:
    """The name that the file of a user's own operator has in a folder; None for one that is no file."""
    place = Path(operator.partition(":")[0])
    return place.name if place.suffix == ".py" else None


def check_config(about: dict[str, Any], folder: str) -> None:
    """Refuse a ``config.json`` that no export has written.

    Raises
    ------
    ValueError
        If it is of something else, or of another version.
    """
    if about.get("schema") != SCHEMA:
        raise ValueError(f"{folder} is no exported operator: its {CONFIG} does not say schema {SCHEMA!r}")
    if about["schema_version"] != VERSION:
        raise ValueError(f"{folder} is of version {about['schema_version']}, and this program reads version {VERSION}")


def refuse_another(said: dict[str, Any], made: dict[str, Any], folder: str) -> None:
    """Refuse weights that were written for another operator than ``config.json`` says.

    Raises
    ------
    ValueError
        If they were; names the first difference.
    """
    for key in said | made:
        if said.get(key) != made.get(key):
            told = f"{key} is {said.get(key)!r} there, {made.get(key)!r} in {WEIGHTS}"
            raise ValueError(f"{folder}: {CONFIG} is of another operator than the weights: {told}")


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
