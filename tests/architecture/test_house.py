"""Laws of the house that no linter holds: what the source must never contain, and how it is laid out.

Every law is a function from a source text, a path or a list of them to what is wrong with it; each has a meta-test
that feeds it an offender, so that a law that can no longer fail is noticed.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "barograph"

BOUNDARIES = {
    "cli/demo.py:_Watch._follow": "its thread: the dashboard must not hang on it",
    "collect/batches.py:_text": "a user's tokenizer may raise anything, and the hash still names the example",
    "collect/config.py:mapping_of": "a user's object may raise anything",
    "collect/environment.py:_plain": "a user's object may raise anything",
    "collect/hardware.py:Source._answer": "its thread: it outlives anything that a driver does",
    "collect/hugging_face.py:TrainerCallback._guarded": "training goes on whatever happens in the callback",
    "collect/integration.py:register": "an import of transformers goes on",
    "collect/live_folds.py:LiveFolds._guarded": "the line that was observed is written whatever is made of it",
    "collect/live_watch.py:LiveWatch._offer": "the status document is for others; the log must not wait for it",
    "collect/logged_values.py:copied": "a user's value may raise anything, and must not take its row with it",
    "collect/logged_values.py:copied_value": "a user's value may raise anything, and must not take its row with it",
    "collect/logged_values.py:step_of": "a user's value may raise anything, and must not take its row with it",
    "collect/run.py:Run.log": "training goes on, whatever the user's values do",
    "collect/run.py:_never_raises.guarded": "training goes on, whatever the user's values do",
    "collect/secrets.py:text_of": "a user's object may raise anything",
    "collect/stand_in.py:StandIn.__call__": "whoever called the method must not hear of what listens to it",
    "collect/token_statistics.py:TokenSampler._look": "inside the model's forward pass nothing of ours may raise",
    "collect/trainer_monitor.py:TrainerMonitor._clipping_begins": "a hook in the training: nothing of ours may end it",
    "collect/trainer_monitor.py:TrainerMonitor._step_is_over": "a hook in the training: nothing of ours may end it",
    "collect/trainer_monitor.py:TrainerMonitor.optimizer_begins": "a hook in the training: nothing of ours may end it",
    "collect/trainer_monitor.py:TrainerMonitor.optimizer_ends": "a hook in the training: nothing of ours may end it",
    "collect/trainer_monitor.py:TrainerMonitor.step_ends": "a hook in the training: nothing of ours may end it",
    "collect/trainer_monitor.py:TrainerMonitor.window_is_lost": "a hook in the training: nothing of ours may end it",
    "collect/watched_model.py:WatchedModel._step_begins": "inside the optimizer's step nothing of ours may raise",
    "collect/watched_model.py:WatchedModel._step_ends": "inside the optimizer's step nothing of ours may raise",
    "collect/status_writer.py:TrainingStatusWriter._take": "a user's value may raise anything",
    "evaluate/follow.py:_evaluate": "one broken checkpoint does not keep the later ones from being judged",
    "index/file_events.py:FileEvents._live": "its thread: whatever it is, polling goes on",
    "index/follower.py:Follower._run": "its thread: it outlives a bad disk",
    "index/sealer.py:Sealer._seal_all": "its thread: one bad file must not keep the others as they are",
    "journal/webhook.py:Webhook._live": "its thread: it outlives anything",
    "journal/webhook.py:Webhook._tell": "a listener's own affair; it is called from a training as well",
    "journal/webhook.py:_posted": "the end of a thread: a traceback would print the address",
    "journal/writer.py:JournalWriter._live": "its thread: it outlives anything",
    "policy/training_watch.py:TrainingWatch._guarded": "one fold must not break the others, nor the training",
    "watch/watcher.py:Watcher.run": "its loop: what one run holds must not keep the others from being read",
}
"""The functions that may catch everything, as `room/file.py:function`, each with its reason."""

FORBIDDEN_WORDS = frozenset(
    {"util", "utils", "helper", "helpers", "common", "core", "misc", "manager", "managers", "service", "services"}
    | {"handler", "handlers", "engine", "engines", "smart", "advanced", "data", "info"}
)
SEED_NAMES = frozenset({"data_file_impact"})
"""File stems that users of the seed documents know; they stay as they are."""

UNPICKLERS = frozenset({"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"})
FORBIDDEN_BUILTINS = frozenset({"eval", "exec", "compile", "__import__"})
FORBIDDEN_CALLS = frozenset({"torch.load", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"})
FORBIDDEN_ARGUMENTS = frozenset({"shell", "allow_pickle", "trust_remote_code"})
"""Keyword arguments that may only ever be written as `False`."""

EVERYTHING = frozenset({"Exception", "BaseException"})

UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b")
REGISTRIES = re.compile(
    r"(?:pypi\.org/simple|files\.pythonhosted\.org|registry\.(?:npmjs\.org|yarnpkg\.com)"
    r"|download\.pytorch\.org|--(?:extra-)?index-url|index-url\s*=)"
)
MACHINE_PATHS = re.compile(r"(?<![A-Za-z0-9_.])/(?:work|farm|home/\w+|Users/\w+|tmp/bg)/")
RAW_HTML = re.compile(r"\{@html|\.(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|new Function\(|\beval\(")
LONG = 400
SAYS_WHY = re.compile(r"\b(?:one file|one place|one piece|one page|long|together)\b", re.IGNORECASE)


def modules() -> list[Path]:
    """Every Python file of the package, sorted."""
    return sorted(SOURCE.rglob("*.py"))


def inside(path: Path) -> str:
    """The path as the laws name it: relative to the package, with forward slashes."""
    return path.relative_to(SOURCE).as_posix()


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def imported(node: ast.AST) -> list[str]:
    """Full names that an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def called(node: ast.Call) -> Iterator[str]:
    """What is dangerous about one call."""
    name = dotted(node.func)
    if isinstance(node.func, ast.Name) and name in FORBIDDEN_BUILTINS:
        yield f"{name}()"
    if name in FORBIDDEN_CALLS:
        yield f"{name}()"
    for argument in node.keywords:
        said = argument.arg
        if said in FORBIDDEN_ARGUMENTS and not (
            isinstance(argument.value, ast.Constant) and argument.value.value is False
        ):
            yield f"{said}= that is not the literal False"


def dangers(source: str) -> list[str]:
    """Everything in a source text that can run code from a file or a string, with its line."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        for name in imported(node):
            if name.split(".")[0] in UNPICKLERS or name in FORBIDDEN_CALLS:
                found.append(f"line {node.lineno}: imports {name}" if isinstance(node, ast.stmt) else name)
        if isinstance(node, ast.Call):
            found.extend(f"line {node.lineno}: {danger}" for danger in called(node))
    return found


def catches_all(node: ast.AST) -> bool:
    """Whether a handler or a `suppress` swallows `Exception` or more; one that ends by raising it again does not."""
    if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "suppress":
        return bool({dotted(kind) for kind in node.args} & EVERYTHING)
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    last = node.body[-1]
    raised_again = isinstance(last, ast.Raise) and last.exc is None
    return not raised_again and any(kind is None or dotted(kind) in EVERYTHING for kind in kinds)


def broad_excepts(source: str, *, where: str) -> list[str]:
    """`where:function` of every handler that swallows everything; a method is `Class.method`."""
    found: list[str] = []

    def visit(node: ast.AST, scope: tuple[str, ...]) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope = (*scope, node.name)
        if catches_all(node):
            found.append(f"{where}:{'.'.join(scope)}")
        for child in ast.iter_child_nodes(node):
            visit(child, scope)

    visit(ast.parse(source), ())
    return found


def forbidden_name(stem: str) -> bool:
    """Whether a file name says nothing about what the file holds."""
    return stem not in SEED_NAMES and bool(FORBIDDEN_WORDS & set(stem.lower().split("_")))


def explains_length(source: str) -> bool:
    """Whether a module is short, or its first paragraph says why it is long."""
    if source.count("\n") <= LONG:
        return True
    first = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0]
    return SAYS_WHY.search(first) is not None


def tracked() -> list[Path]:
    """Every file that a commit of this tree would hold; skips the test outside a git checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there is no list of tracked files")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def texts(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """Path from the root, and text, of every file that is text."""
    for path in paths:
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def lines_that_match(pattern: re.Pattern[str], found: Iterator[tuple[str, str]]) -> list[str]:
    """`path:line: text` of every line that matches."""
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in found
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_nothing_in_the_package_can_run_code_from_a_file_or_a_string() -> None:
    assert [f"{inside(path)} {danger}" for path in modules() for danger in dangers(path.read_text())] == []


@pytest.mark.parametrize(
    "offender",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.memory",
        "import torch\ntorch.load('x.pt', weights_only=True)",
        "from torch import load",
        "import numpy as np\nnp.load('x.npy', allow_pickle=True)",
        "def f(flag: bool) -> None:\n    np.load('x.npy', allow_pickle=flag)",
        "eval('1')",
        "exec('x = 1')",
        "compile('1', 'x', 'eval')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import os\nos.system('ls')",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "import yaml\nyaml.load(text)",
    ],
)
def test_the_danger_law_can_fail(offender: str) -> None:
    assert dangers(offender) != []


@pytest.mark.parametrize(
    "innocent",
    [
        "model.eval()",
        "import re\nre.compile('x')",
        "np.load('x.npy', allow_pickle=False)",
        "AutoModel.from_pretrained('x', trust_remote_code=False)",
        "import yaml\nyaml.safe_load(text)",
        "subprocess.run(['git', 'log'])",
    ],
)
def test_the_danger_law_lets_the_harmless_pass(innocent: str) -> None:
    assert dangers(innocent) == []


def test_everything_is_caught_only_at_the_listed_boundaries() -> None:
    found = {one for path in modules() for one in broad_excepts(path.read_text(), where=inside(path))}
    assert sorted(found - BOUNDARIES.keys()) == [], (
        "catch what can happen, or add the boundary to BOUNDARIES and say why"
    )
    assert sorted(BOUNDARIES.keys() - found) == [], "these boundaries are gone: take them off the list"


@pytest.mark.parametrize(
    "offender",
    [
        "def f() -> None:\n    try:\n        g()\n    except Exception:\n        pass",
        "def f() -> None:\n    try:\n        g()\n    except (OSError, BaseException) as error:\n        print(error)",
        "def f() -> None:\n    try:\n        g()\n    except:\n        h()",
        "def f() -> None:\n    with contextlib.suppress(Exception):\n        g()",
    ],
)
def test_the_boundary_law_can_fail(offender: str) -> None:
    assert broad_excepts(offender, where="room/file.py") == ["room/file.py:f"]


def test_the_boundary_law_lets_clean_up_and_raise_again_pass() -> None:
    cleans = "def f() -> None:\n    try:\n        g()\n    except BaseException:\n        h()\n        raise"
    assert broad_excepts(cleans, where="room/file.py") == []


def test_nothing_in_the_package_is_unfinished() -> None:
    assert lines_that_match(UNFINISHED, texts(modules())) == []


def test_no_tracked_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    assert lines_that_match(REGISTRIES, texts(tracked())) == []
    assert lines_that_match(MACHINE_PATHS, texts(tracked())) == []


def test_no_page_puts_text_into_the_document_as_markup() -> None:
    pages = [path for path in tracked() if path.is_relative_to(ROOT / "ui" / "src")]
    assert lines_that_match(RAW_HTML, texts(pages)) == []


@pytest.mark.parametrize(
    ("pattern", "offender"),
    [
        (UNFINISHED, "    # TODO: later"),
        (UNFINISHED, "    raise NotImplementedError"),
        (REGISTRIES, f'"resolved": "https://registry.{"npmjs"}.org/svelte"'),
        (REGISTRIES, f"--extra-{'index'}-url https://mirror.example"),
        (MACHINE_PATHS, f'open("/{"home"}/ann/runs/x")'),
        (MACHINE_PATHS, f"cd /{'Users'}/Ann/runs"),
        (RAW_HTML, "<p>{@html answer}</p>"),
        (RAW_HTML, "node.innerHTML = answer"),
    ],
)
def test_the_text_laws_can_fail(pattern: re.Pattern[str], offender: str) -> None:
    assert lines_that_match(pattern, iter([("file", offender)])) != []


def test_a_long_module_says_why_in_its_first_paragraph() -> None:
    assert [inside(path) for path in modules() if not explains_length(path.read_text())] == []


def test_the_length_law_can_fail() -> None:
    body = "x = 1\n" * (LONG + 1)
    assert not explains_length(f'"""Everything about x."""\n{body}')
    assert not explains_length(body)
    assert explains_length(f'"""Everything about x, in one file because it is one table."""\n{body}')


def test_the_package_has_two_levels_of_folders_and_no_third() -> None:
    deep = [inside(path) for path in modules() if len(path.relative_to(SOURCE).parts) > 2]
    assert deep == []


def test_file_names_say_what_is_inside() -> None:
    named = [*modules(), *sorted((ROOT / "tests").rglob("*.py"))]
    assert [path.relative_to(ROOT).as_posix() for path in named if forbidden_name(path.stem)] == []
    assert sorted({path.parent.name for path in modules()} & FORBIDDEN_WORDS) == []


@pytest.mark.parametrize("stem", ["utils", "alerts_manager", "helpers", "http_service", "smart_alerts", "core"])
def test_the_name_law_can_fail(stem: str) -> None:
    assert forbidden_name(stem)


def test_the_name_law_keeps_the_names_that_the_seeds_give() -> None:
    assert not forbidden_name("data_file_impact")


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sorted(n for n in sys.modules if '.' not in n))"],
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
    )
    return set(ran.stdout.split())


HEAVY = frozenset({"torch", "transformers", "accelerate", "peft", "litestar", "uvicorn", "sqlite3", "typer", "rich"})


def test_importing_the_package_loads_no_framework_and_no_server() -> None:
    assert loaded_by("import barograph") & HEAVY == set()


def test_the_import_law_can_fail() -> None:
    assert "sqlite3" in loaded_by("import sqlite3") & HEAVY
