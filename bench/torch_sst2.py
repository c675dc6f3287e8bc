"""The torch side of sst2.py: transformers' BertForSequenceClassification fine-tuned, in a process of its own.

Is given a folder of weights, the files of training and development rows, and the fields of the recipe. Answers
`train SEED` with the accuracy on the development rows, and the seconds of training and of judging.
"""

import json
import random
import sys
from itertools import islice
from pathlib import Path

import torch
from harness import seconds
from peer import serve
from torch_steps import adamw
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

Rows = list[tuple[str, int]]


def rows_of(path: str) -> Rows:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [(text, int(label)) for text, label in (line.split("\t") for line in lines)]


class FineTuning:
    """The recipe, from weights to accuracy; batches are filled up to their longest sentence."""

    def __init__(self, folder: str, train: str, dev: str, recipe: dict[str, float]):
        self.folder, self.recipe = folder, recipe
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.train_rows, self.dev_rows = rows_of(train), rows_of(dev)

    def inputs(self, rows: Rows) -> dict[str, torch.Tensor]:
        texts, labels = zip(*rows, strict=True)
        length = int(self.recipe["seq_len"])
        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        return {**batch, "labels": torch.tensor(labels)}

    def batches(self, seed: int) -> list[Rows]:
        """Epochs one after another, each in an order of its own; a batch may reach into the next."""
        drawn, size, steps = random.Random(seed), int(self.recipe["batch_size"]), int(self.recipe["steps"])
        rows: Rows = []
        while len(rows) < size * steps:
            rows += drawn.sample(self.train_rows, len(self.train_rows))
        return [rows[at * size : (at + 1) * size] for at in range(steps)]

    def train(self, seed: int) -> dict[str, float]:
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(self.folder, num_labels=2)
        took = seconds(lambda: self._fit(model, self.batches(seed)))
        accuracies: list[float] = []
        judging = seconds(lambda: accuracies.append(self._accuracy(model)))
        return {"accuracy": accuracies[0], "seconds": took, "judging_seconds": judging}

    def _fit(self, model: torch.nn.Module, batches: list[Rows]) -> None:
        model.train()
        optimizer = adamw(model, self.recipe)
        rate = get_linear_schedule_with_warmup(optimizer, int(self.recipe["warmup"]), len(batches))
        for rows in batches:
            optimizer.zero_grad(set_to_none=True)
            model(**self.inputs(rows)).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.recipe["clip"])
            optimizer.step()
            rate.step()

    @torch.inference_mode()
    def _accuracy(self, model: torch.nn.Module) -> float:
        model.eval()
        rows, right = iter(self.dev_rows), 0
        while part := list(islice(rows, 64)):
            batch = self.inputs(part)
            right += int((model(**batch).logits.argmax(-1) == batch["labels"]).sum())
        return right / len(self.dev_rows)


def main() -> None:
    tuning = FineTuning(*map(json.loads, sys.argv[1:]))
    serve(lambda word, seed: {"train": tuning.train}[word](seed))


if __name__ == "__main__":
    main()
