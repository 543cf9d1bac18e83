"""The documentation builds without a warning, and says of every public function what a caller must know."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "pages" / "reference").glob("*.md"))
DOCUMENTED = [name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text(), flags=re.MULTILINE)]
INTERNAL = re.compile(
    r"pdebench_mano\.(cli|mano\.(kernels|fusion)|report\.(figures|page|terminal)|training\.checkpoint"
    r"|benchmark\.jobs|machine\.(devices|graphs|load|progress|provenance|replays))\b"
    r"|data_gen\.(storage\.files|problems\.darcy\.kernels)\b"
    r"|.*\.__\w+__$"
)


def file_of(module):
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public(body, outer=""):
    """Public classes, functions and methods, with the docstrings that speak of each."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            doc = f"{outer}\n{ast.get_docstring(node) or ''}"
            yield node, doc
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, doc)


def code(node):
    """What a call runs: the function, or how a class is constructed."""
    if isinstance(node, ast.FunctionDef):
        return [node]
    return [each for each in node.body if getattr(each, "name", "") in ("__init__", "__post_init__")]


def raised(node):
    """Names of the exceptions that stand in its code for a caller to meet."""
    raises = (each.exc for part in code(node) for each in ast.walk(part) if isinstance(each, ast.Raise))
    calls = (each.func for each in raises if isinstance(each, ast.Call))
    return {call.id for call in calls if isinstance(call, ast.Name)}


def arrays_of_any_shape(node):
    """Parameters that are arrays, and whose annotation does not say of which shape."""
    arguments = (each for part in code(node) for each in (*part.args.args, *part.args.kwonlyargs) if each.annotation)
    return [each.arg for each in arguments if re.match(r"(Tensor|np\.ndarray)\b", ast.unparse(each.annotation))]


def test_the_documentation_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    result = subprocess.run(
        [*command, "--config-file", ROOT / "docs" / "mkdocs.yml"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout + result.stderr == ""
    page = (tmp_path / "reference" / "data_gen.html").read_text()
    assert 'id="data_gen.problems.darcy.solvers.solve"' in page


def test_every_module_is_in_the_reference_or_internal():
    files = (path for package in ("data_gen", "pdebench_mano", "baselines") for path in (ROOT / package).rglob("*.py"))
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    packages = {module for module in DOCUMENTED if file_of(module).name == "__init__.py"}
    assert {each for each in modules if not INTERNAL.match(each)} == set(DOCUMENTED) - packages


@pytest.mark.parametrize("module", DOCUMENTED)
def test_every_public_function_says_shapes_and_errors(module):
    tree = ast.parse(file_of(module).read_text())
    missing = [] if ast.get_docstring(tree) else ["a docstring of the module"]
    for node, doc in public(tree.body):
        missing += [f"{node.name}: {name} is raised" for name in raised(node) if name not in doc]
        unshaped = arrays_of_any_shape(node)
        if unshaped and not re.search(r"\(\w+,[^)]*\)|any shape", doc):
            missing.append(f"{node.name}: the shape of {', '.join(unshaped)}")
    missing += [
        f"{node.name}: a docstring"
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not missing
