"""Classes that judge texts: names, shapes and labels both ways, and heads of ours that no class has as they are."""

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.interop.families import bert, gpt1, gpt2, llama, roberta
from jaxgpt.interop.families.table import FAMILIES, by_config, by_model
from jaxgpt.models import BERT, GPT1, GPT2, Encoder, Llama, RoBERTa
from jaxgpt.spec import ConfigError, JaxgptError

SIZE = {"num_layers": 2, "d_model": 8, "num_heads": 2, "vocab_size": 11, "context": 6}
FIELDS = {
    "gptj": {"position": {"kind": "rotary", "width": 2}},
    "gpt_neox": {"position": {"kind": "rotary", "pairing": "half", "width": 2}},
    "gpt_neo": {"pattern": "causal"},
    "mistral": {"pattern": "causal", "num_kv_heads": 2},
    "gemma2": {"pattern": "causal", "embed_scale": 8**0.5, "score_scale": 4**-0.5},
}
LABELS = ("bad", "so so", "good")
ONE_OF, NUMBER = {"kind": "task", "labels": LABELS}, {"kind": "task", "scale": (0.0, 1.0)}
CHOICE = {"kind": "task"}
TOKENS = np.random.default_rng(0).integers(0, 11, (3, 5), dtype=np.int32)


def of(family, head, **fields):
    """A model of the family with that head, as a class of transformers has it."""
    encoder = issubclass(family.kind, Encoder)
    if encoder:
        own = {"masked_head": False}
    else:
        own = {"lm_head": head is CHOICE}
        head = head | {"bias": head is CHOICE}
    return family.kind(**SIZE | FIELDS.get(family.model_type, {}) | own | fields, text_head=head)


CASES = [(family, head) for family in FAMILIES for head in (ONE_OF, NUMBER)]
CASES += [(family, CHOICE) for family in (bert.FAMILY, roberta.FAMILY, gpt1.FAMILY, gpt2.FAMILY)]


@pytest.mark.often("gpt2", "bert", "llama", "mistral", "bloom")
@pytest.mark.parametrize(("family", "head"), CASES, ids=lambda case: getattr(case, "model_type", ""))
def test_tensors_and_keys_go_both_ways(family, head, weights):
    model = of(family, head)
    config = family.config(model)
    assert by_config({"architectures": config["architectures"]}) is family
    assert by_model(model) is family
    back = family.spec(config)
    assert back.text_head.evolve(dropout=0.1) == model.text_head  # a rate may be lost
    back = back.evolve(text_head=model.text_head)
    assert family.config(back) == config
    params = weights(model)
    tensors = family.write(params, model)
    assert sum(tensor.size for tensor in tensors.values()) == model.count()
    assert family.fit(back, tensors) == back
    jax.tree.map(np.testing.assert_array_equal, family.read(tensors, model), params)


def test_names_and_shapes(weights):
    def tensors(family, head, **fields):
        model = of(family, head, **fields)
        return {name: tensor.shape for name, tensor in family.write(weights(model), model).items()}

    assert tensors(gpt2.FAMILY, ONE_OF)["score.weight"] == (3, 8)
    double = tensors(gpt1.FAMILY, CHOICE)
    assert double["multiple_choice_head.summary.weight"] == (1, 8)
    assert double["multiple_choice_head.summary.bias"] == (1,)
    scored = tensors(llama.FAMILY, NUMBER)
    assert scored["score.weight"] == (1, 8) and "model.embed_tokens.weight" in scored
    assert not any(name.startswith(("lm_head", "score.bias")) for name in scored)
    summed = tensors(bert.FAMILY, ONE_OF)
    assert summed["classifier.weight"] == (3, 8) and "bert.pooler.dense.weight" in summed
    robust = tensors(roberta.FAMILY, ONE_OF)
    assert robust["classifier.out_proj.bias"] == (3,) and robust["classifier.dense.weight"] == (8, 8)
    assert not any("pooler" in name for name in robust)
    assert "roberta.pooler.dense.bias" in tensors(roberta.FAMILY, CHOICE)


def test_a_pooler_that_the_class_never_reads_is_left_out(weights):
    """FacebookAI/roberta-large-mnli holds one."""
    model = of(roberta.FAMILY, ONE_OF)
    params = weights(model)
    tensors = roberta.FAMILY.write(params, model)
    tensors |= {"roberta.pooler.dense.weight": np.ones((8, 8)), "roberta.pooler.dense.bias": np.ones(8)}
    jax.tree.map(np.testing.assert_array_equal, roberta.FAMILY.read(tensors, model), params)


def test_an_output_over_the_vocabulary_stands_for_the_table(weights):
    """OpenAIGPTDoubleHeadsModel saves the one tensor under the output's name."""
    model = of(gpt1.FAMILY, CHOICE)
    params = weights(model)
    tensors = gpt1.FAMILY.write(params, model)
    tensors["lm_head.weight"] = tensors.pop("transformer.tokens_embed.weight")
    jax.tree.map(np.testing.assert_array_equal, gpt1.FAMILY.read(tensors, model), params)


@pytest.mark.parametrize(
    ("keys", "labels"),
    [
        ({}, ("LABEL_0", "LABEL_1")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": {"1": "b", "0": "a"}}, ("a", "b")),
        ({"id2label": {0: "a", 1: "b"}, "num_labels": 2, "label2id": {"of": "old"}}, ("a", "b")),
        ({"num_labels": 1}, None),
        ({"id2label": {"0": "score"}, "problem_type": "regression"}, None),
    ],
)
def test_labels_as_transformers_reads_them(keys, labels):
    head = gpt2.FAMILY.spec({"architectures": ["GPT2ForSequenceClassification"], **keys}).text_head
    assert head.labels == labels and head.scale == (None if labels else (0.0, 1.0))


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, r"id2label: its ids are '0', '2'; expected 0 to 1 without a gap"),
        ({"id2label": {"a": "0", "b": "1"}}, r"id2label: its ids are 'a', 'b'; expected 0 to 1"),
        ({"id2label": {"0": "a", "1": "a"}}, r"id2label: 'a' stands there twice"),
        ({"id2label": {"0": "a", "1": None}}, r"id2label: None is no name"),
        ({"id2label": ["a", "b"]}, r"id2label: \['a', 'b'\], expected names by their ids"),
        ({"id2label": {}}, r"id2label: \{\}, expected names by their ids"),
        ({"num_labels": 3, "id2label": {"0": "a", "1": "b"}}, r"num_labels: 3, but id2label names 2; one of them"),
        ({"num_labels": 0}, r"num_labels: 0, expected greater than 0"),
        ({"num_labels": 10**9}, r"num_labels: 1000000000, expected less than or equal"),
        (
            {"problem_type": "multi_label_classification"},
            r"problem_type: 'multi_label_class.*' is not supported",
        ),
        ({"problem_type": "regression"}, r"problem_type: 'regression' with 2 labels in id2label; one of them is wrong"),
        (
            {"problem_type": "single_label_classification", "num_labels": 1},
            r"problem_type: .* with 1 label in id2",
        ),
    ],
)
def test_labels_that_cannot_be_are_one_line(keys, line):
    with pytest.raises(ConfigError, match=line) as caught:
        bert.FAMILY.spec({"architectures": ["BertForSequenceClassification"], **keys})
    assert len(caught.value.problems) == 1


def test_labels_and_output_layer_must_agree(weights):
    model = of(bert.FAMILY, ONE_OF)
    tensors = bert.FAMILY.write(weights(model), model)
    two = model.evolve(text_head={"kind": "task", "labels": ("no", "yes")})
    with pytest.raises(JaxgptError, match=r"classifier\.weight: shape \(3, 8\), expected \(2, 8\) by the model's conf"):
        bert.FAMILY.read(tensors, two)


def test_a_summary_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match=r"summary_type: 'mean' is not supported, only 'cls_index'"):
        gpt1.FAMILY.spec({"architectures": ["OpenAIGPTDoubleHeadsModel"], "summary_type": "mean"})


def answers(model, params):
    return jax.jit(model.build().apply, static_argnames="method")({"params": params}, TOKENS, method="represent")


@pytest.mark.often("labels", "post-norm", "rms, a number", "pooler")
@pytest.mark.parametrize(
    "model",
    [
        GPT2(**SIZE, text_head=ONE_OF),
        GPT2(**SIZE, text_head={"kind": "task", "scale": (2.5, 1.5)}, norm={"kind": "layer", "bias": False}),
        GPT1(**SIZE, text_head={"kind": "task", "scale": (2.5, 1.5), "bias": False}),
        Llama(**SIZE, text_head=ONE_OF | {"bias": False}),
        Llama(**SIZE, text_head={"kind": "task", "scale": (0.0, 1.5), "bias": False}),
        BERT(**SIZE, text_head={"kind": "task", "scale": (2.5, 1.5)}, next_sentence=True),
        RoBERTa(**SIZE, text_head=ONE_OF | {"bias": False}),
    ],
    ids=["labels", "a number", "post-norm", "rms", "rms, a number", "pooler", "no bias"],
)
def test_a_run_of_ours_answers_the_same_as_their_class(model, weights):
    """Its bias lies in the last norm where the class has none, mean and deviation in the output layer."""
    params = weights(model)
    family = by_model(model)
    fuller, moved = family.fill(model, params)
    assert fuller.text_head.scale in (None, (0.0, 1.0))
    assert_close(answers(fuller, moved), answers(model, params), 2e-6)
    back = family.spec(family.config(fuller))
    assert back.text_head == fuller.text_head.evolve(dropout=back.text_head.dropout)
    jax.tree.map(np.testing.assert_array_equal, family.read(family.write(moved, fuller), fuller), moved)


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (Llama(**SIZE, text_head=ONE_OF), r"model\.text_head\.bias: True; .*LlamaForSequenceClassification has False"),
        (
            Llama(**SIZE, text_head={"kind": "task", "scale": (2.5, 1.5), "bias": False}),
            r"model\.text_head\.scale: \(2\.5, 1\.5\); .*LlamaForSequenceClassification has \(0\.0, 1\.0\) only",
        ),
        (
            GPT2(**SIZE, text_head=ONE_OF | {"pooling": "mean"}),
            r"model\.text_head\.pooling: 'mean'; .*'last' only",
        ),
        (BERT(**SIZE, text_head=ONE_OF, pooler=False), r"model\.text_head\.pooling: 'cls'; .* has 'pooler' only"),
        (Llama(**SIZE, text_head=CHOICE), r"model\.text_head: chooses between candidates, which no .*'llama'"),
    ],
    ids=["bias", "scale", "pooling", "no pooler", "choice"],
)
def test_what_no_class_has_is_one_line(model, line):
    with pytest.raises(ConfigError, match=line) as caught:
        by_model(model)
    assert len(caught.value.problems) == 1


def test_columns_that_depend_on_each_other_have_no_room_for_a_bias(weights):
    model = GPT2(**SIZE, text_head=ONE_OF)
    params = weights(model)
    params["text_head"]["out"]["weight"][:, 1] = params["text_head"]["out"]["weight"][:, 0]
    with pytest.raises(ConfigError, match=r"model\.text_head\.bias: the class has none, and the output layer"):
        gpt2.FAMILY.fill(model, params)
