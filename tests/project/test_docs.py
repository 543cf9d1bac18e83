"""The documentation builds without a warning or a dead link, its commands and examples are those that there are, and it
says of every public function what a caller must know.
"""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from typer.main import get_command

from data_gen import build_problem, generate
from data_gen.contract import contract as problem_contract
from data_gen.problems import PROBLEMS
from pdebench_mano.benchmark.suite import SUITES
from pdebench_mano.cli import app
from pdebench_mano.fields.metrics import METRICS
from pdebench_mano.operators.contract import contract as operator_contract
from pdebench_mano.operators.registry import OPERATORS, build_operator

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "pages" / "reference").glob("*.md"))
WRITTEN = sorted(page for page in (ROOT / "docs" / "pages").rglob("*.md") if page not in PAGES)
DOCUMENTED = [name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text(), flags=re.MULTILINE)]
INTERNAL = re.compile(
    r"pdebench_mano\.(cli|mano\.(kernels|fusion|in_place)|report\.(contents|figures|keeper|page|papers|terminal)"
    r"|training\.(checkpoint|loop)|benchmark\.jobs|machine\.(devices|graphs|load|progress|provenance|replays|typed))\b"
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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The documentation as `make docs` builds it, and what mkdocs said of it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    result = subprocess.run(
        [*command, "--config-file", ROOT / "docs" / "mkdocs.yml"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout + result.stderr


class Links(HTMLParser):
    """Where a page points to, and what can be pointed to in it."""

    def __init__(self, path):
        super().__init__()
        self.targets, self.anchors = set(), {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src"):
                self.targets.add(value)
            elif name in ("id", "name"):
                self.anchors.add(value)


def commands(text):
    """The commands of this program in the sh blocks of a page, as lists of words."""
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "pdebench-mano" in words[:2]:
                yield words[words.index("pdebench-mano") + 1 :]


def made(what):
    """Names of what pages take from the source."""
    return [name for page in WRITTEN for name in re.findall(rf"^<!-- made: {what} (\S+) -->$", page.read_text(), re.M)]


def examples(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "pages" / page).read_text(), flags=re.DOTALL)


def test_the_documentation_builds_without_a_warning(site):
    folder, said = site
    assert "WARNING" not in said
    assert 'id="data_gen.problems.darcy.solvers.solve"' in (folder / "reference" / "data_gen.html").read_text()
    assert "<!-- made:" not in "".join(page.read_text() for page in folder.glob("*.html"))


def test_no_link_is_dead(site):
    pages = {path.resolve(): Links(path) for path in site[0].rglob("*.html") if path.name != "404.html"}
    dead = []
    for path, page in pages.items():
        for target in page.targets:
            url = urlsplit(target)
            there = path if not url.path else (path.parent / unquote(url.path)).resolve()
            if url.scheme or url.netloc:
                continue
            known = there.exists() and (there not in pages or unquote(url.fragment) in pages[there].anchors)
            dead += [] if known else [f"{path.name}: {target}"]
    assert not dead


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *WRITTEN], ids=lambda page: page.name)
def test_files_that_a_page_links_to_are_there(page):
    targets = re.findall(r"\]\(([^)\s#]+)", page.read_text())
    assert [each for each in targets if "://" not in each and not (page.parent / each).exists()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *WRITTEN], ids=lambda page: page.name)
def test_commands_of_a_page_are_understood(page):
    for name in app.COMMANDS:
        importlib.import_module(f"pdebench_mano.cli.{name}")
    program = get_command(app.app)
    for words in commands(page.read_text()):
        if words and words[0] in program.commands:
            program.commands[words[0]].make_context(words[0], app.repeat_options(words[1:]))
        else:
            assert not words or words[0].startswith("-") or words[0].isupper(), words


def test_pages_have_every_operator_problem_and_notebook_once():
    assert sorted(made("operator")) == sorted(OPERATORS)
    assert sorted(made("problem")) == sorted(PROBLEMS)
    assert sorted(made("notebook")) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_comparing_names_every_metric_and_every_suite():
    rows = re.findall(r"^\| ([^|]*) \|", (ROOT / "docs" / "pages" / "comparing.md").read_text(), flags=re.M)
    names = {name for row in rows for name in re.findall(r"`(\S+?)`", row)}
    assert names == {*METRICS, *(path.stem for path in SUITES.glob("*.toml"))}


def test_the_example_of_the_quickstart_is_that_of_the_readme_which_is_run():
    assert examples("quickstart.md") == re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_examples_of_ones_own_keep_their_contracts(tmp_path, monkeypatch):
    law, problem, operator, metric = examples("your-own.md")
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("my_laws.py", law),
        ("my_problem.py", problem),
        ("my_operator.py", operator),
        ("my_metrics.py", metric),
    ):
        Path(name).write_text(text)
    info = generate("stripes.hdf5", 3, 17, problem_args={"law": "my_laws.py:stripes", "law_args": {"width": 0.1}})
    assert info.samples == 3
    clauses = [*problem_contract(build_problem("my_problem.py:Poisson"))]
    clauses += operator_contract(build_operator("my_operator.py:Pointwise", 1, 1))
    assert [str(clause) for clause in clauses if clause.holds is False] == []


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
