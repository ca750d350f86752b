"""`report_to="barograph"` works whichever package is imported first, and costs nothing where transformers is not."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from transformers.integrations import integration_utils

import barograph
from barograph.collect import integration

ROOT = Path(__file__).resolve().parents[2]


def said_by(script: str, *arguments: str) -> str:
    """What a fresh interpreter prints; warnings are errors in it."""
    ran = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:barograph", "-c", script, *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


TRAIN = """
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
model = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32))
data = [{"input_ids": row, "labels": row} for row in torch.randint(0, 32, (4, 8))]
args = TrainingArguments(output_dir=sys.argv[1], max_steps=2, save_strategy="no", report_to="barograph",
    disable_tqdm=True, use_cpu=True, run_name="reported")
Trainer(model=model, args=args, train_dataset=data).train()
"""


@pytest.mark.parametrize(
    "order",
    [
        pytest.param("import sys, barograph, transformers", marks=pytest.mark.slow),
        pytest.param("import sys, transformers, barograph", marks=pytest.mark.slow),
        "import sys, transformers.trainer, barograph",
    ],
)
def test_report_to_records_a_training_in_every_import_order(order: str, tmp_path: Path) -> None:
    script = f"{order}\nimport os\nos.environ['BAROGRAPH_DIR'] = sys.argv[1]\n{TRAIN}"
    said_by(script, str(tmp_path))
    (journal,) = (tmp_path / "reported" / "logs").glob("train-000001-*.jsonl")
    assert len(re.findall('"type":"step","step":[12],"loss"', journal.read_text())) == 2
    assert '"type":"run_complete"' in journal.read_text()


def test_importing_us_loads_neither_transformers_nor_torch() -> None:
    heavy = "('torch', 'transformers', 'numpy', 'msgspec')"
    assert said_by(f"import sys, barograph\nprint([name for name in {heavy} if name in sys.modules])") == "[]"


def test_without_transformers_all_else_works(tmp_path: Path) -> None:
    script = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"transformers", "torch"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import barograph
run = barograph.init(run_id="plain", dir=sys.argv[1])
run.log({"loss": 1.5}, step=1)
run.finish()
try:
    barograph.TrainerCallback
except ImportError as error:
    print(error)
try:
    import transformers
except ModuleNotFoundError as error:
    print(error)
"""
    said = said_by(script, str(tmp_path)).splitlines()
    assert len(said) == 2
    assert "transformers" in said[0]
    assert said[1] == "No module named 'transformers'"
    (journal,) = (tmp_path / "plain" / "logs").glob("train-000001-*.jsonl")
    assert '"loss":1.5' in journal.read_text()


def test_the_module_is_loaded_as_always_and_the_finder_leaves() -> None:
    script = """
import sys, barograph, inspect, importlib
from barograph.collect import integration
before = [type(finder).__name__ for finder in sys.meta_path]
import transformers.integrations.integration_utils as module
print(before.count("_Finder"), [type(finder).__name__ for finder in sys.meta_path].count("_Finder"))
print(type(module.__loader__).__name__, type(module.__spec__.loader).__name__)
print("def rewrite_logs" in inspect.getsource(module))
print(module.INTEGRATION_TO_CALLBACK["barograph"] is barograph.TrainerCallback)
"""
    said = said_by(script).splitlines()
    assert said == ["1 0", "SourceFileLoader SourceFileLoader", "True", "True"]


def test_installing_twice_makes_one_entry() -> None:
    integration.install()
    integration.install()
    assert integration_utils.INTEGRATION_TO_CALLBACK["barograph"] is barograph.TrainerCallback
    assert not any(type(finder).__name__ == "_Finder" for finder in sys.meta_path)


def test_a_table_that_has_moved_is_said_and_breaks_no_import(caplog: pytest.LogCaptureFixture) -> None:
    integration.register(ModuleType("transformers.integrations.integration_utils"))
    assert "Pass callbacks=[barograph.TrainerCallback()] instead" in caplog.text


def test_other_modules_are_left_to_the_other_finders() -> None:
    finder = integration._Finder()
    assert finder.find_spec("transformers.trainer", None) is None
    assert importlib.util.find_spec("transformers.trainer") is not None
