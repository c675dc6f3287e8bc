"""The torch side of lstm.py, in a process of its own: neither library's threads and allocator meet the other's.

Is given settings by name. Answers `sizes` with the parameter counts, `train PATH NAME` with the validation loss and the
seconds of a run on what the .npz at PATH holds, `steps NAME N` with the seconds of each of N steps on random ids.
"""

import json
import sys
import time
from typing import Any

import numpy as np
import torch
from harness import seconds
from peer import serve
from torch import nn
from torch_steps import adamw

State = tuple[torch.Tensor, torch.Tensor]


class Model(nn.Module):
    """A table, LSTM layers of one size, and an output with a bias."""

    def __init__(self, setting: dict[str, Any]):
        super().__init__()
        width, (units, *more) = setting["d_model"], setting["units"]
        self.embed = nn.Embedding(setting["vocab_size"], width)
        self.lstm = nn.LSTM(width, units, num_layers=1 + len(more), batch_first=True)
        self.head = nn.Linear(units, setting["vocab_size"])

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The loss of each token, and the state after them."""
        y, state = self.lstm(self.embed(tokens), state)
        loss = nn.functional.cross_entropy(self.head(y).flatten(0, 1), targets.flatten(), reduction="none")
        return loss, (state[0].detach(), state[1].detach())

    def zero(self, rows: int) -> State:
        """The state that rows begin with."""
        shape = self.lstm.num_layers, rows, self.lstm.hidden_size
        return torch.zeros(shape), torch.zeros(shape)

    def start_from(self, arrays: Any) -> None:
        """Takes over our parameters."""
        with torch.no_grad():
            self.embed.weight.copy_(torch.from_numpy(arrays["embed/token"]))
            self.head.weight.copy_(torch.from_numpy(arrays["lm_head/weight"].T))
            self.head.bias.copy_(torch.from_numpy(arrays["lm_head/bias"]))
            for layer in range(self.lstm.num_layers):
                for name, own in (("weight", "weight_ih"), ("state_weight", "weight_hh")):
                    getattr(self.lstm, f"{own}_l{layer}").copy_(torch.from_numpy(arrays[f"layers_{layer}/{name}"].T))
                for name, own in (("bias", "bias_ih"), ("state_bias", "bias_hh")):
                    getattr(self.lstm, f"{own}_l{layer}").copy_(torch.from_numpy(arrays[f"layers_{layer}/{name}"]))


class Steps:
    """Updates of a model, with its state carried on."""

    def __init__(self, setting: dict[str, Any], model: Model):
        optim = self._optim = setting["optim"]
        self._model, self.state = model, model.zero(setting["batch_size"])
        sgd = optim["kind"] == "sgd"
        self.optimizer = torch.optim.SGD(model.parameters(), lr=optim["lr"]) if sgd else adamw(model, optim)

    def __call__(self, tokens: torch.Tensor, targets: torch.Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss, self.state = self._model(tokens, targets, self.state)
        loss.mean().backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), self._optim["clip"])
        self.optimizer.step()


def begun(state: State, continues: np.ndarray) -> State:
    """The state, zero in rows that begin."""
    keep = torch.from_numpy(continues).float()[None, :, None]
    return state[0] * keep, state[1] * keep


def train(setting: dict[str, Any], path: str) -> tuple[float, float]:
    """The validation loss after the run that the file describes, and its seconds."""
    with np.load(path) as file:
        arrays = dict(file)
    model = Model(setting)
    model.start_from(arrays)
    steps = Steps(setting, model)
    began = time.perf_counter()
    batches = zip(*(arrays[f"train/{name}"] for name in ("tokens", "targets", "continues")), strict=True)
    for lr, (tokens, targets, continues) in zip(arrays["lr"], batches, strict=True):
        for group in steps.optimizer.param_groups:
            group["lr"] = float(lr)
        steps.state = begun(steps.state, continues)
        steps(torch.from_numpy(tokens).long(), torch.from_numpy(targets).long())
    took, state, total, weight = time.perf_counter() - began, model.zero(setting["batch_size"]), 0.0, 0.0
    names = ("tokens", "targets", "continues", "weights")
    with torch.no_grad():
        for tokens, targets, continues, w in zip(*(arrays[f"val/{name}"] for name in names), strict=True):
            state = begun(state, continues)
            loss, state = model(torch.from_numpy(tokens).long(), torch.from_numpy(targets).long(), state)
            total, weight = total + float((loss.reshape(w.shape) * torch.from_numpy(w)).sum()), weight + float(w.sum())
    return total / weight, took


def main() -> None:
    settings = json.loads(sys.argv[1])
    models = {name: Model(setting) for name, setting in settings.items()}
    ids = {name: torch.randint(0, s["vocab_size"], (s["batch_size"], s["context"] + 1)) for name, s in settings.items()}
    steps = {name: Steps(settings[name], model) for name, model in models.items()}

    def answer(word: str, *given: Any) -> Any:
        if word == "sizes":
            return {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
        if word == "train":
            path, name = given
            return train(settings[name], path)
        name, count = given
        return [seconds(lambda: steps[name](ids[name][:, :-1], ids[name][:, 1:])) for _ in range(count)]

    serve(answer)


if __name__ == "__main__":
    main()
