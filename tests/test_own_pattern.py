"""A pattern of one's own: one method in one's own file, and it trains by name."""

import json
import sys

import pytest

from jaxgpt.cli import main
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.spec import dump_yaml

OWN = '''
from jaxgpt.lab import Experiment
from jaxgpt.ops.patterns import Pattern


class OddOnesOut(Pattern):
    """Causal, but keys at odd positions are seen by nobody else."""

    period: int = 2

    def allows(self, q, k):
        return (k <= q) & ((k % self.period == 0) | (k == q))


ODD = {"model.pattern": {"kind": "odd_ones_out", "period": 3}}
experiment = Experiment(
    question="Are odd positions worth seeing?",
    base="little.yaml",
    arms={"odd_ones_out": ODD, "slower": ODD | {"optim.lr": 1e-3}},
    baseline="odd_ones_out",
    seeds=1,
)
'''


@pytest.mark.slow
def test_a_pattern_in_a_users_file_trains_by_name(tiny, tmp_path, monkeypatch, one_device):
    corpus = tmp_path / "text.txt"
    corpus.write_text("to be or not to be, that is the question. " * 40)
    fixed = {
        "model.num_layers": 1,
        "model.vocab_size": None,
        "data.corpus": str(corpus),
        "data.val_tokens": 64,
        "steps": 3,
        "model.context": 300,
    }
    run = tiny(**fixed, **{"batch_size": 8, "data.seq_len": 280})
    (tmp_path / "little.yaml").write_text(dump_yaml(run))
    (tmp_path / "odd.py").write_text(OWN)
    monkeypatch.setattr(
        sys,
        "argv",
        ["jaxgpt", "ablate", str(tmp_path / "odd.py"), "--out", str(tmp_path / "runs" / "odd"), "lab.fuse=off"],
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    (folder,) = (tmp_path / "runs" / "odd" / "odd_ones_out").iterdir()
    assert json.loads((folder / "result.json").read_text())["status"] == "finished"
    # Longer rows go to the fast kernels as any built-in pattern does: nothing is registered or derived by hand.
    said = json.loads((folder / "provenance.json").read_text())["kernels"]
    assert said == {"pattern.0": "spans"}
    own = {"model.pattern": {"kind": "odd_ones_out"}, "exec.kernel": "block_sparse"}
    assert kernels(tiny(**own)) == {"pattern.0": "block_sparse"}
