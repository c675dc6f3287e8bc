"""Whatever a config.json holds under any key of any family: a model that can be described, or lines that speak of the
file's keys and not of our fields; at once, and in little memory."""

import json
import random
import re
import time

import pytest

from jaxgpt.interop.families.table import FAMILIES, by_config
from jaxgpt.interop.hugging_face.config import cycle
from jaxgpt.interop.json_object import parse_object
from jaxgpt.models import Encoder
from jaxgpt.ops.patterns import Banded, Causal
from jaxgpt.spec import ConfigError, JaxgptError

SIZE = {"num_layers": 2, "d_model": 64, "num_heads": 2, "context": 16, "vocab_size": 40}
FIELDS = {
    "gpt_neo": {"pattern": "causal"},
    "gptj": {"position": {"kind": "rotary", "width": 4}},
    "mistral": {"pattern": "causal", "num_kv_heads": 2},
    "gemma2": {"pattern": "causal", "embed_scale": 8.0, "score_scale": 32**-0.5},
}
MORE = {"layer_types", "rope_parameters", "attention_types", "pad_token_id", "original_max_position_embeddings"}
MORE |= {"partial_rotary_factor", "max_window_layers", "use_sliding_window", "n_embed", "architectures"}
"""Keys that are read and not always written."""
UNREAD = {"pad_token_id", "max_window_layers"}
"""Numbers that count in some cases only."""
STRETCH = {"factor": 2, "original_max_position_embeddings": 8}
TASK_KEYS = {"id2label", "label2id", "num_labels", "problem_type", "classifier_dropout", "architectures"}
HOSTILE = [
    *(None, True, False, 0, -1, 1, 3, 7, 2.5, -0.5, 1e308, 1e999, 10**9, 10**12, 10**30, 10**4000),
    *("", "text", "0.1", "None", "a\nb\x1b[31m", "\ud800", "x" * 10_000),
    *([], [1], [None], [[]], {}, {"a": 1}, [[["global", "local"], 10**9]], [[["x"]]], ["full_attention"] * 10_000),
    *({"rope_type": kind, **STRETCH} for kind in ("linear", "llama3", "yarn", "dynamic", [], None, 3)),
    *({"rope_type": "linear", "factor": factor} for factor in (None, 0, -1, 1e300, "2", [2])),
    {"rope_type": "llama3", "low_freq_factor": 4, "high_freq_factor": 1, **STRETCH},
    {"rope_type": "yarn", "beta_fast": 1, "beta_slow": 32, **STRETCH},
    {"type": "yarn", "factor": 2, "original_max_position_embeddings": 0},
    *({"0": name} for name in ("a", None, 3, "", "x" * 10_000, "a\nb", ["a"])),
    *({"0": "a", "1": "a"}, {"0": "a", "7": "b"}, {"-1": "a", "0": "b"}, {str(i): str(i) for i in range(70_000)}),
    *([name] for name in ("BertForMultipleChoice", "GPT2DoubleHeadsModel", "GPT2ForTokenClassification")),
]
OURS = "d_model num_layers context num_heads num_kv_heads d_head d_ff tied feed_forward position norm embed_norm model"
OURS += " bias"
OURS += " qkv_bias o_bias init_std score_scale soft_cap logit_cap token_types residual pattern head_bias eps"


def config_of(family):
    return family.config(family.kind(**SIZE | FIELDS.get(family.model_type, {})))


def task_configs(family):
    """Of each class that judges texts, and of each form of its answers."""
    encoder = issubclass(family.kind, Encoder)
    for labels in (("no", "yes"), None):
        head = {"kind": "task", "labels": labels, "scale": None if labels else (0.0, 1.0), "bias": encoder}
        fields = SIZE | FIELDS.get(family.model_type, {}) | {"masked_head" if encoder else "lm_head": False}
        yield family.config(family.kind(**fields, text_head=head))


def check(config, keys):
    """A model that can be written and described, or one line for each problem, in the file's words."""
    start = time.process_time()
    try:
        family = by_config(config)
        model = family.spec(config)
        family.config(model)
    except JaxgptError as error:
        for line in str(error).splitlines():
            assert len(line) < 400 and line.isprintable(), line
            foreign = set(re.findall(r"[a-z_]+(?=[ :.])", line)) & (set(OURS.split()) - keys)
            assert not (foreign - {"model", "context"}) and "model." not in line and "d_model" not in line, line
    assert time.process_time() - start < 5


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_one_key_at_a_time(family):
    base = config_of(family)
    keys = set(base) | MORE
    for key in sorted(keys):
        for value in random.Random(key).sample(HOSTILE, 16):
            check(base | {key: value}, keys)


@pytest.mark.parametrize("model_type", ["gpt2", "bert", "roberta"])
def test_one_key_of_a_class_that_judges_texts(model_type):
    for base in task_configs(by_config({"model_type": model_type})):
        keys = set(base) | MORE | TASK_KEYS
        for key in sorted(TASK_KEYS):
            for value in HOSTILE:
                check(base | {key: value}, keys)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_several_keys_at_once(family, seed):
    rng, base = random.Random(seed), config_of(family)
    keys = set(base) | MORE
    for _ in range(200):
        changed = {key: rng.choice(HOSTILE) for key in rng.sample(sorted(keys), rng.randint(1, 4))}
        check(base | changed, keys)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_numbers_that_cannot_be_are_refused_by_their_key(family):
    """Of every size that the family writes."""
    base = config_of(family)
    sizes = [key for key, value in base.items() if type(value) is int and key not in UNREAD]
    assert len(sizes) >= 5
    for key in sizes:
        for value in (0, -1, 10**12, 2.5, "12", True, [12]):
            with pytest.raises(ConfigError, match=rf"^{key}: ") as caught:
                family.spec(base | {key: value})
            assert len(caught.value.problems) == 1


def test_json_as_it_is_written():
    """Numbers beyond a float's range and with more digits than Python reads."""
    for text in (b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"):
        try:
            config = parse_object(text, "config.json", "a configuration")
        except ConfigError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
        else:
            with pytest.raises(ConfigError, match="layer_norm_epsilon: inf, expected"):
                by_config({"model_type": "gpt2"}).spec(json.loads('{"layer_norm_epsilon": 1e999}') | config)


def test_a_cycle_is_found_in_linear_time():
    window = Banded(window=4)
    for layers in ([Causal()] * 9999 + [window], [window, Causal()] * 5000, [Causal()] * 10_000):
        found = cycle(layers)
        assert [found[i % len(found)] for i in range(len(layers))] == layers
    assert len(cycle([window, Causal(), Causal(), window, Causal()])) == 3
