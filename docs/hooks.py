"""What pages take from the source when they are built, so that it is never stale.

A line `<!-- made: WHAT NAME -->` becomes what `MADE[WHAT](NAME)` returns, in Markdown. Notebooks, and the figures that
lie in them, become files of the site.
"""

import importlib
import inspect
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
MARK = re.compile(r"^<!-- made: (\w+)(?: (\S+))? -->$", flags=re.MULTILINE)
RESTRICTIONS = {
    "stride": "every s-th point",
    "fourier": "truncated Fourier series",
    "volume mean": "means over control volumes",
}
FRACTIONS = {1 / n: n for n in range(11, 100) if 100 % n}
"""Numbers that are read more easily as one over a whole number."""
EMPTY = inspect.Parameter.empty
SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", flags=re.MULTILINE | re.DOTALL)
ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in what is made."""
    return MARK.sub(lambda mark: MADE[mark[1]](*(word for word in [mark[2]] if word)), markdown)


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the notebooks, and the figure that stands for each."""
    for path in notebooks():
        files.append(File.generated(config, f"notebooks/{path.name}", content=path.read_bytes()))
        files.append(File.generated(config, f"notebooks/{path.stem}.png", content=figure(path)))
    return files


def table(head: list[str], rows: Iterator[list[str]] | list[list[str]]) -> str:
    """A table; an empty string for no rows."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines]) if lines else ""


def code(value: Any) -> str:
    """A value as one types it."""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


# The command line


@cache
def program() -> Any:
    """The program with all its commands, as Click has it."""
    from typer.main import get_command

    from pdebench_mano.cli import app as room

    for name in room.COMMANDS:
        importlib.import_module(f"pdebench_mano.cli.{name}")
    return get_command(room.app)


def command_line() -> str:
    """Every command: what it does, and its arguments and options."""
    return "\n\n".join(described(name, command) for name, command in program().commands.items())


def described(name: str, command: Any) -> str:
    """A command, as its `--help` has it."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    words = [f"{each.name.upper()}{' …' * (each.nargs != 1)}" for each in arguments]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    needed = [f"{each.opts[0]} …" for each in options if each.required]
    usage = " ".join(["pdebench-mano", name, *words, *needed])
    known = inspect.signature(command.callback).parameters
    spelled = [*words, *(" / ".join([*each.opts, *each.secondary_opts]) for each in options)]
    rows = [
        [f"`{word}`", default(each), meaning(each, known[each.name].annotation)]
        for word, each in zip(spelled, [*arguments, *options], strict=True)
    ]
    help_text = inspect.cleandoc(command.help or "")
    return f"## {name}\n\n```sh\n{usage}\n```\n\n{help_text}\n\n{table(['', 'default', ''], rows)}"


def meaning(option: Any, annotation: Any) -> str:
    """Its help, with the words that it takes where the help does not say them."""
    words, text = choices(annotation), option.help or ""
    if all(word in text for word in words):
        return text
    return f"{text.rstrip('.')}: {', '.join(words[:-1])} or {words[-1]}."


def choices(annotation: Any) -> list[str]:
    """The words of a `Literal`, wherever it stands in an annotation."""
    inner = get_args(annotation)
    return list(inner) if get_origin(annotation) is Literal else [word for each in inner for word in choices(each)]


def default(option: Any) -> str:
    """What an argument or an option is if it is not given; nothing for one that is then unset."""
    if option.required:
        return "required"
    unset = option.default is None or option.default is False or callable(option.default)
    return "" if unset else code(str(option.default))


# Operators, problems and laws


def parameters(doc: str) -> Iterator[tuple[list[str], str]]:
    """Names and meanings in the section Parameters of a docstring."""
    found = SECTION.search(inspect.cleandoc(doc))
    for entry in re.split(r"^(?=\S)", found[1], flags=re.MULTILINE) if found else []:
        if entry.strip():
            head, _, meaning = entry.partition("\n")
            yield head.partition(" : ")[0].split(", "), " ".join(meaning.split())


def arguments_of(factory: Any) -> str:
    """The arguments of a class: defaults from its signature, meanings from its docstring."""
    defaults = {each.name: each.default for each in inspect.signature(factory).parameters.values()}
    rows = []
    for names, meaning in parameters(factory.__doc__ or ""):
        kept = [name for name in names if name not in ("in_channels", "out_channels")]
        known = [shown(defaults[name]) for name in kept if defaults.get(name, EMPTY) is not EMPTY]
        if kept:
            rows.append([", ".join(f"`{name}`" for name in kept), ", ".join(known), meaning])
    return table(["argument", "default", "meaning"], rows)


def shown(value: Any) -> str:
    """A default, as one would type it."""
    if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":
        return "{}"
    if isinstance(value, float) and value in FRACTIONS:
        return f"1/{FRACTIONS[value]}"
    return str(value)


@cache
def catalogued() -> dict[str, Any]:
    """The catalogue of operators, as `pdebench-mano operators` prints it."""
    from pdebench_mano.benchmark.catalogue import catalogue

    return {entry.name: entry for entry in catalogue()}


def operator(name: str) -> str:
    """What was measured of an operator with default arguments, its arguments, and its presets."""
    from data_gen.lookup import find
    from pdebench_mano.benchmark.catalogue import parameter_count
    from pdebench_mano.operators.presets import PRESETS
    from pdebench_mano.operators.registry import OPERATORS, build_operator

    entry = catalogued()[name]
    facts = {
        "paper": ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", entry.paper),
        "receptive field": entry.receptive_field,
        "default size": f"{entry.parameters:,} parameters, {entry.flops_per_point:,.0f} FLOPs a grid point",
        "regimes": ", ".join(entry.regimes),
    }
    sizes = [
        [f"`{each}`", ", ".join(f"{argument} = {shown(value)}" for argument, value in arguments.items()), f"{count:,}"]
        for each, arguments in PRESETS.get(name, {}).items()
        for count in [parameter_count(build_operator(name, 1, 1, preset=each))]
    ]
    parts = [
        "\n".join(f"- {fact}: {value}" for fact, value in facts.items()),
        arguments_of(find(name, OPERATORS, "operator")),
        table(["preset", "arguments", "parameters"], sizes),
    ]
    return "\n\n".join(part for part in parts if part)


def problem(name: str) -> str:
    """What a problem says of itself, and its parameters."""
    from data_gen.lookup import find
    from data_gen.problems import PROBLEMS, build_problem, described

    said, built = described(name), build_problem(name)
    fields = {
        side: ", ".join(f"{each['name']} {each['symbol']}" + ", positive" * each["positive"] for each in said[side])
        for side in ("inputs", "outputs")
    }
    facts = {
        "equation, as files have it": f"`{said['equation']}`",
        "inputs": fields["inputs"],
        "outputs": fields["outputs"],
        "grid": said["kind"],
        "times": ", ".join(f"{t:g}" for t in said["times"]) or "none, it is stationary",
        "tolerance of a label": f"{built.rtol:g}",
        "coarser grids": f"by {RESTRICTIONS[built.restriction]}",
    }
    listed = "\n".join(f"- {fact}: {value}" for fact, value in facts.items())
    return f"{listed}\n\n{arguments_of(find(name, PROBLEMS, 'problem'))}"


def laws() -> str:
    """The laws of the coefficient."""
    from data_gen.laws import LAWS

    rows = []
    for name, law in LAWS.items():
        values = {each.name: each.default for each in inspect.signature(law).parameters.values()}
        arguments = "three of the others" if name == "mixture" else ", ".join(f"{k} = {v}" for k, v in values.items())
        mean = "" if name == "mixture" else f"{law.face_mean}"
        first = inspect.cleandoc(law.__doc__ or "").partition("\n\n")[0]
        rows.append([f"`{name}`", " ".join(first.split()), arguments, mean])
    return table(["law", "what it draws", "defaults", "`--mean auto`"], rows)


def face_means() -> str:
    """Errors of each face mean against the equation, as `benchmarks/face_means.py` has measured them."""
    measured = json.loads((ROOT / "benchmarks" / "face_means.json").read_text())["rows"]
    means = list(dict.fromkeys(row["mean"] for row in measured))
    rows = []
    for law in dict.fromkeys(row["law"] for row in measured):
        for n in (85, 421):
            errors = {row["mean"]: row for row in measured if (row["law"], row["resolution"]) == (law, n)}
            known_to = errors[means[0]]["uncertainty"]
            rows.append([law, f"{n}²", *(f"{errors[mean]['error']:.2g}" for mean in means), f"{known_to:.1g}"])
    return table(["law", "grid", *means, "known to"], rows)


# Notebooks


def notebooks() -> list[Path]:
    """The notebooks, in their order."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def figure(path: Path) -> bytes:
    """The last figure of a notebook."""
    cells = json.loads(path.read_text())["cells"]
    outputs = [each["data"] for cell in cells for each in cell.get("outputs", []) if "data" in each]
    return b64decode([data["image/png"] for data in outputs if "image/png" in data][-1])


def notebook(name: str) -> str:
    """The figure of a notebook, and where it is."""
    file = f"notebooks/{name}.ipynb"
    return f"![The last figure of {name}](notebooks/{name}.png)\n\n[{file}]({file}), to download and to run."


MADE: dict[str, Callable[..., str]] = {
    "commands": command_line,
    "operator": operator,
    "problem": problem,
    "laws": laws,
    "face_means": face_means,
    "notebook": notebook,
}
