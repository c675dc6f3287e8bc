"""ObjectiveRun: a model trained on one objective over one kind of data, by one loop. Most runs are."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from flax.traverse_util import flatten_dict
from pydantic import Field, model_validator

from jaxgpt.models import Model
from jaxgpt.models.model import Trained
from jaxgpt.objectives import LanguageModel, Objective
from jaxgpt.ops.patterns import sees_ahead
from jaxgpt.runs.batch_rows import BatchRamp, Rows
from jaxgpt.runs.evaluation import Evaluation
from jaxgpt.runs.exec import Exec
from jaxgpt.runs.optimizers import Optimizer
from jaxgpt.runs.run import Cost, Row, Run
from jaxgpt.runs.schedules import Cosine, Schedule
from jaxgpt.runs.storage import Full, Storage
from jaxgpt.runs.trainable import ADAPTED, Rules, is_trained, split_params
from jaxgpt.spec import ConfigError
from jaxgpt.spec.inputs import stand_in
from jaxgpt.spec.rules import Rule
from jaxgpt.spec.sizes import INT32, Length, SettledSteps
from jaxgpt.text import Codec, Data, Tokenizer, TrainingData, batch_shapes, prepare
from jaxgpt.text.batches.arrangement import row_problems, sequences
from jaxgpt.text.batches.training_data import Shapes

MOST_TOKENS = 2**36
"""The most tokens of a batch, which a host makes in memory."""


class ObjectiveRun(Run, kind="objective"):
    """A training run on one objective, from the seed to the last step."""

    one_program: ClassVar[bool] = True

    model: Model
    objective: Objective = LanguageModel()
    tokenizer: Tokenizer
    data: Data = Data()
    start: str | None = None
    """A run, or a checkpoint that `jaxgpt.load` reads, whose weights this one starts from; a head that they lack starts
    fresh. `{seed}` stands for this run's seed. None: from scratch."""
    trainable: tuple[Rule, ...] | None = None
    """Regular expressions over paths of parameters (`bias$`, `^text_head/`): those in whose path one is found are
    trained, the others stay as `start` has them, without gradient, average or place in a checkpoint. None: all;
    of a model with an adapter, that and text_head."""
    storage: Storage = Full()
    """How what is not trained lies in memory."""
    batch_size: Length
    """Rows of a batch, over all devices and accumulation parts."""
    batch_ramp: BatchRamp | None = None
    steps: SettledSteps = cast(int, None)
    """Updates of the parameters; either these are given or epochs."""
    epochs: float | None = Field(default=None, gt=0, le=1e6)
    """Passes over the training rows, of all sources together; they become steps, rounded up, once the data are read."""
    optim: Optimizer
    schedule: Schedule = Cosine()
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential average of the parameters; where set, validation and sampling use the average."""
    eval: Evaluation = Evaluation()
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Draws the parameters, the order of the data and dropout. Of larger numbers jax would read the last 32 bits."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What is computed in; parameters and optimiser state stay float32."""
    exec: Exec = Exec()

    @property
    def start_name(self) -> str | None:
        """`start` with the seed filled in."""
        return None if self.start is None else self.start.replace("{seed}", str(self.seed))

    @property
    def trained(self) -> Rules | None:
        """Rules over paths of parameters that name what is trained: `trainable`, or what it stands for; None: all."""
        return ADAPTED if self.trainable is None and self.model.adaptation is not None else self.trainable

    @property
    def seq_len(self) -> int:
        """Tokens of a row of a batch."""
        return self.data.seq_len or self.model.room

    @property
    def row_tokens(self) -> int:
        """Tokens that a row puts through the model, padding included: of all its texts, as they are joined or of two to
        contrast, for which a lone one stands twice."""
        if self.objective.arrangement != "apart":
            return self.seq_len * max(1, sequences(self.objective.arrangement, self.data))
        return self.seq_len * (max(2, self.data.texts) if self.objective.texts else 1)

    def batch_shapes(self) -> Shapes:
        """What a full batch holds, by name; no text is read."""
        return batch_shapes(self.data, self.seq_len, self.objective.row_plan, self.batch_size)

    def flops_per_token(self, dense: bool = True) -> float:
        """FLOPs of training, forward and backward, for each of `row_tokens`; the vocabulary's size must be known."""
        return self._flops(dense, lambda path: is_trained(path, self.trained))

    @property
    def judged_by(self) -> str:
        """The figure of a validation pass that decides which checkpoint is best: `val/loss`, or another."""
        return self.eval.judge(self.objective)

    @property
    def _outputs(self) -> int:
        """Of the text head; 2, which most metrics are of, until the data have named its labels."""
        head = self.model.text_head
        return 2 if head is None or not head.complete(self.objective.target) else head.size(self.model.width)

    @property
    def forward_share(self) -> float:
        """The share of a step's FLOPs that the forward pass takes: a third where all parameters are trained."""
        return self._flops(False, lambda path: False) / self.flops_per_token(dense=False)

    def _flops(self, dense: bool, trained: Trained) -> float:
        return self.objective.flops_per_token(self.model, self.data, dense, trained)

    def train(self, out: Path, quiet: bool = False, watch: Callable[[Row], None] | None = None) -> Row:
        """Trains by the loop of jaxgpt.train; all processes of a run call this alike."""
        from jaxgpt.train.loop import train  # a kind knows its loop; to read a run, no loop is needed

        return train(self, out, quiet, watch)

    def signature(self) -> "ObjectiveRun":
        """The run with all that its compiled step does not depend on at one value."""
        exec = self.exec.evolve(sinks=(), log_every=1, save_every=None, accept_data=False)
        return stand_in(self.evolve(seed=0, exec=exec))

    def cost(self) -> Cost:
        """What a step at the full batch size takes."""
        tokens = self.batch_size * self.row_tokens
        own, _ = split_params(self.model.shapes(), self.trained)
        trained = sum(leaf.size for leaf in flatten_dict(own).values())
        return Cost(tokens, tokens * self.flops_per_token(dense=False), trained)

    @property
    def complete(self) -> bool:
        """Whether what the data decide is known: the vocabulary's size, steps, how many candidates a row has, its
        labels."""
        objective, head = self.objective, self.model.text_head
        if self.steps is None:
            return False
        counted = objective.arrangement != "candidates" or sequences(objective.arrangement, self.data) > 0
        return self.model.vocab_size is not None and counted and (head is None or head.complete(objective.target))

    @property
    def even(self) -> bool:
        """Whether the batch keeps its size."""
        return self.batch_ramp is None

    @property
    def computes_in(self) -> str:
        """The run's `dtype`."""
        return self.dtype

    def completed(self, quiet: bool = True) -> "ObjectiveRun":
        """The run with what its data decide; tokenises the corpus when no earlier run did. A given size of a vocabulary
        may grow by marks."""
        return self if self.complete and not self.tokenizer.marks else self.settled(self.prepare(quiet))

    def prepare(self, quiet: bool = False, codec: Codec | None = None) -> TrainingData:
        """Its data, in batches as its objective asks for them; a `codec` takes the place of the tokenizer's."""
        length, plan = self.model.room, self.objective.row_plan
        return prepare(self.data, self.tokenizer, length, quiet=quiet, codec=codec, plan=plan, rows=self.batch_size)

    def sized(self) -> "ObjectiveRun":
        """The run with its number of steps; reads the data where epochs are given."""
        if self.steps is not None:
            return self
        return self.evolve(steps=self.settled(self.prepare(True)).steps, epochs=None)

    def _steps_of(self, epochs: float, epoch_rows: int) -> int:
        steps = Rows(self).steps(math.ceil(round(epochs * epoch_rows, 6)))
        if steps > INT32:
            raise ConfigError(
                f"epochs: {epochs:g} of {epoch_rows:,} rows are {steps:,} steps; expected up to {INT32:,}"
            )
        return steps

    def shared_steps(self, steps: int) -> int:
        """The first steps whose learning rate does not depend on how many there will be."""
        return self.schedule.shared(steps)

    def _stream_problems(self) -> list[str]:
        """Why a state cannot be carried from batch to batch, a line each."""
        problems = []
        if not self.model.sequential:
            problems.append(f"data.streams: model {self.model.kind} carries no state; leave it out, or use recurrent")
        if not self.objective.carries:
            problems.append(f"data.streams: objective {self.objective.kind} carries no state; use language_model")
        if self.exec.accumulate > 1 or self.batch_ramp is not None:
            problems.append(
                "data.streams: a batch is whole and keeps its size; leave exec.accumulate and batch_ramp out"
            )
        return problems

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problems = []
        if (self.steps is None) is (self.epochs is None):
            given = "missing" if self.epochs is None else "both set"
            problems.append(f"steps or epochs: {given}; give one of them and leave the other null")
        if self.trained is not None and self.start is None:
            field = "model.adapter" if self.trainable is None else "trainable"
            problems.append(f"{field}: what is not trained comes from other weights; name them in start")
        if self.trained is None and self.storage != Full():
            problems.append(
                f"storage: {self.storage.kind} is for what is not trained, and all is; name what is trained"
            )
        virtual = self.model.context - self.model.room
        if self.seq_len > self.model.room:
            less = f" less {virtual} virtual tokens" if virtual else ""
            problems.append(
                f"data.seq_len {self.seq_len} exceeds model.context {self.model.context}{less}; shorten one"
            )
        if virtual and self.data.documents == "separate":
            problems.append(
                "data.documents separate: what model.adapter puts in front of a row is no document's; join them"
            )
        if self.batch_size % self.exec.accumulate:
            problems.append(f"batch_size {self.batch_size} is not a multiple of exec.accumulate {self.exec.accumulate}")
        if self.batch_ramp and self.batch_ramp.start >= self.batch_size:
            problems.append(f"batch_ramp.start {self.batch_ramp.start} must lie below batch_size {self.batch_size}")
        if self.batch_ramp and self.batch_size % self.batch_ramp.start:
            problems.append(
                f"batch_size {self.batch_size} is not a multiple of batch_ramp.start {self.batch_ramp.start}"
            )
        problems += [
            f"objective {self.objective.kind} predicts tokens that model.{name} '{pattern.kind}' shows; use "
            "{kind: intersection, of: [causal, ...]}"
            for name, pattern in self.model.named_patterns().items()
            if self.objective.next_token and sees_ahead(pattern, self.seq_len)
        ]
        if self.exec.accumulate > 1 and (why := self.objective.whole_batch) is not None:
            problems.append(f"exec.accumulate {self.exec.accumulate}: objective {self.objective.kind} {why}")
        if self.data.streams:
            problems += self._stream_problems()
        problems += row_problems(self.objective.row_plan, self.data, self.objective.kind)
        problems += self.objective.problems(self.model, self.data, self.batch_size // self.exec.accumulate)
        problems += self.eval.problems(self.objective, self._outputs, self.data.holds_out)
        if self.batch_size * self.row_tokens > MOST_TOKENS:
            problems.append(
                f"batch_size {self.batch_size} x {self.row_tokens} tokens a row exceed {MOST_TOKENS} tokens a batch; "
                "lower one"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def remarks(self) -> list[str]:
        """What can be trained but is hardly meant, a line each."""
        if self.steps is None or self.schedule.warmup <= self.steps:
            return []
        return [
            f"schedule.warmup: {self.schedule.warmup} steps of warm-up in a run of {self.steps}: the learning rate "
            f"ends at {self.steps / self.schedule.warmup:.2g} of optim.lr"
        ]

    def with_vocabulary(self, size: int) -> "ObjectiveRun":
        """The run with `model.vocab_size` settled: as large as it is given, or larger by the tokenizer's marks. Raises
        ConfigError when the tokenizer's ids do not fit the table."""
        if self.model.vocab_size is None or 0 < size - self.model.vocab_size <= self.tokenizer.marks:
            return self.evolve(model=self.model.evolve(vocab_size=size))
        if size > self.model.vocab_size:
            raise ConfigError(
                f"model.vocab_size: {self.model.vocab_size} is below the tokenizer's {size}; raise it or leave it out"
            )
        return self

    def settled(self, data: TrainingData) -> "ObjectiveRun":
        """The run with all that its data decide: sizes, special tokens, labels. Raises ConfigError where they do not
        fit."""
        run = self.with_vocabulary(data.codec.vocab_size)
        changes: dict[str, Any] = {"objective": self.objective.settle(data)}
        if run.model.text_head is not None:
            changes["model"] = run.model.evolve(text_head=run.model.text_head.settle(data.labels, data.scale))
        if data.candidates is not None:
            changes["data"] = self.data.evolve(candidates=data.candidates)
        if any(getattr(run, name) != value for name, value in changes.items()):
            run = run.evolve(**changes)
        return run if run.epochs is None else run.evolve(steps=run._steps_of(run.epochs, data.epoch_rows), epochs=None)
