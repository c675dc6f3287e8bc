"""What a config promises of its batches is what real batches hold, known before any text is read."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxgpt.runs import Run
from jaxgpt.spec import load_yaml
from jaxgpt.text import WordPiece, prepare
from jaxgpt.text.batches.training_data import ArrayShape
from jaxgpt.text.batches.val_pass import ValPass

FOLDER = Path(__file__).parents[3] / "configs"
NAMES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yaml") if path.parent.name != "eval")
B, T = 4, 8
VARIANTS = {
    "gpt2/demo.yaml": ({}, {"data.documents": "separate"}),
    "bert/small_cpu.yaml": ({}, {"data.documents": "separate", "objective.masking.whole_word": True}),
    "simcse/small_cpu.yaml": ({}, {"objective.masking": {"whole_word": True}, "data.columns": 3, "data.apart": False}),
}


def little(name, folder, changes):
    """The config, with a few lines of text in place of its own and rows of a few tokens."""
    run = load_yaml(Run, FOLDER / name, [f"{field}={value}" for field, value in changes.items()])
    data, candidates = run.data, run.objective.arrangement == "candidates"
    names = data.columns if isinstance(data.columns, tuple) else [str(i + 1) for i in range(data.columns or 1)]
    records = [
        {field: f"line {line} of {field}" for field in names} | ({data.label: line % 2} if data.label else {})
        for line in range(60)
    ]
    if all(field.isdigit() for field in records[0]):  # columns of a table without a header
        width = max(map(int, records[0]))
        rows = [",".join(str(record.get(str(i + 1), "-")) for i in range(width)) for record in records]
        text = folder / "text.csv"
    else:
        spread = {names[-1]: ["this", "that"]} if candidates else {}
        rows = [json.dumps(record | spread) for record in records]
        text = folder / "text.jsonl"
    text.write_text("\n".join(rows) + "\n")
    corpus = {"corpus": str(text), "val_corpus": None, "val_fraction": 0.2, "val_tokens": None, "val_bytes": None}
    data = data.evolve(**corpus, seq_len=T, candidates=2 if candidates else None)
    return run.evolve(data=data, tokenizer=WordPiece(vocab_size=60), batch_size=B, batch_ramp=None, eval={})


@pytest.mark.parametrize(
    ("name", "changes"), [(name, changes) for name in NAMES for changes in VARIANTS.get(name, ({},))]
)
def test_a_config_promises_what_its_batches_hold(name, changes, tmp_path):
    run = little(name, tmp_path, changes)
    promised = run.batch_shapes()
    data = prepare(
        run.data, run.tokenizer, run.seq_len, cache=tmp_path / "cache", quiet=True, plan=run.objective.row_plan, rows=B
    )
    assert data.shapes(B) == promised
    assert shapes_of(data.batch(0, 0, B)) == promised
    (last,) = data.val_batches(100)[-1:]
    full = {name: ArrayShape((100, *shape[1:]), dtype) for name, (shape, dtype) in promised.items()}
    assert len(last) and full.items() <= shapes_of(last).items() and shapes_of(last).keys() - full.keys() <= {"weights"}


def shapes_of(batch):
    return {name: ArrayShape(part.shape, part.dtype.name) for name, part in batch.items()}


def test_a_validation_pass_fills_up_arrays_of_any_length_and_dtype():
    source = np.arange(5 * 3, dtype=np.int32).reshape(5, 3)
    parts = {"source": source, "advantages": source[:, :2].astype(np.float32), "group": source[:, 0]}
    whole = ValPass(lambda start, stop: {name: part[start:stop] for name, part in parts.items()}, 5, 4)
    last = whole[1]
    for name, part in parts.items():
        assert last[name].dtype == part.dtype and last[name].shape == (4, *part.shape[1:])
        np.testing.assert_array_equal(last[name], [part[4], *[np.zeros_like(part[0])] * 3])
