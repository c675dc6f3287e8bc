"""BERT's and RoBERTa's configurations and tensors, both ways, without another library at hand."""

import jax
import numpy as np
import pytest

from jaxgpt.interop.families import bert, roberta
from jaxgpt.interop.families.table import by_config, by_model
from jaxgpt.models import BERT, GPT2, Encoder, RoBERTa
from jaxgpt.spec import ConfigError, JaxgptError

SIZE = {"num_layers": 3, "d_model": 8, "num_heads": 2, "vocab_size": 11, "context": 6}
SIZE["feed_forward"] = {"kind": "mlp", "d_ff": 12, "activation": "gelu"}
HEADS = [{"pooler": pooler, "masked_head": masked} for pooler in (False, True) for masked in (False, True)]
JUDGES = [{"pooler": True, "next_sentence": True, "masked_head": masked} for masked in (False, True)]
CASES = [
    pytest.param(family, kind(**SIZE, **heads), id=" ".join([kind.kind, *(name for name in heads if heads[name])]))
    for family, kind, held in ((bert.FAMILY, BERT, HEADS + JUDGES), (roberta.FAMILY, RoBERTa, HEADS))
    for heads in held
]


@pytest.mark.parametrize(("family", "model"), CASES)
def test_round_trip_is_bit_identical(family, model, weights):
    params = weights(model)
    tensors = family.write(params, model)
    assert sum(tensor.size for tensor in tensors.values()) == model.count()
    back = family.read(tensors, model)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize(("family", "model"), CASES)
def test_configurations_go_both_ways(family, model, weights):
    model = model.evolve(dropout=0.1, init_std=0.05)
    config = family.config(model)
    back = family.spec(config)
    assert family.fit(back, family.write(weights(model), model)) == model
    assert by_model(model) is family and by_config({"model_type": family.model_type}) is family


@pytest.mark.parametrize("kind", [BERT, RoBERTa])
def test_files_hold_other_heads_than_their_class(kind, weights):
    """google-bert/bert-base-uncased says BertForMaskedLM and holds the pooler and the next-sentence head too."""
    family = {BERT: bert.FAMILY, RoBERTa: roberta.FAMILY}[kind]
    model = kind(**SIZE, next_sentence=kind is BERT)
    tensors = family.write(weights(model), model)
    config = family.config(model.evolve(pooler=False, next_sentence=False))
    assert config["architectures"] == [family.architecture]
    assert not family.spec(config).pooler
    assert family.fit(family.spec(config), tensors) == model


def test_names_of_old(weights):
    """gamma and beta, position ids, the output's copies."""
    model = BERT(**SIZE)
    params = weights(model)
    tensors = bert.FAMILY.write(params, model)
    assert "bert.pooler.dense.weight" in tensors and "cls.predictions.transform.LayerNorm.weight" in tensors
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    assert sum("gamma" in name for name in old) == 2 * 3 + 2
    old["bert.embeddings.position_ids"] = np.arange(6)[None]
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    old["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    assert bert.FAMILY.fit(model.evolve(pooler=False, masked_head=False), old) == model
    jax.tree.map(np.testing.assert_array_equal, bert.FAMILY.read(old, model), params)
    old["cls.predictions.decoder.bias"] = old["cls.predictions.decoder.bias"] + 1
    with pytest.raises(JaxgptError, match=r"^cls\.predictions\.decoder\.bias: differs from cls\.predictions\.bias"):
        bert.FAMILY.read(old, model)


def test_the_class_without_a_head_has_names_without_a_prefix(weights):
    model = RoBERTa(**SIZE, masked_head=False)
    tensors = roberta.FAMILY.write(weights(model), model)
    assert "embeddings.word_embeddings.weight" in tensors and "pooler.dense.bias" in tensors
    prefixed = {f"roberta.{name}": tensor for name, tensor in tensors.items()}
    jax.tree.map(np.testing.assert_array_equal, roberta.FAMILY.read(prefixed, model), weights(model))


def test_positions_start_behind_the_padding_id():
    """FacebookAI/roberta-base: 514 positions, padding id 1."""
    model = roberta.FAMILY.spec({"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5})
    assert model == RoBERTa(**RoBERTa.sizes["base"], pooler=True, masked_head=False, dropout=0.1).evolve(
        feed_forward={"kind": "mlp", "activation": "gelu", "d_ff": 3072}
    )
    config = roberta.FAMILY.config(model)
    assert config["max_position_embeddings"] == 514 and config["pad_token_id"] == 1


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"position_embedding_type": "relative_key"}, r"position_embedding_type: 'relative_key' is not supported"),
        ({"is_decoder": True}, r"is_decoder: True is not supported, only False"),
        ({"hidden_act": "mish"}, r"hidden_act: 'mish' is not supported; known: gelu"),
        ({"attention_probs_dropout_prob": 0.0}, r"hidden_dropout_prob 0\.1, attention_probs_dropout_prob 0\.0"),
        ({"architectures": ["BertForQuestionAnswering"]}, r"architectures: \['BertForQuestionAnswering'\], expected"),
        ({"max_position_embeddings": 0}, r"max_position_embeddings: 0, expected greater than 0"),
        ({"model_type": "albert"}, r"model_type: 'albert', expected 'bert'"),
    ],
)
def test_what_is_not_followed_is_one_line(config, line):
    with pytest.raises(ConfigError, match=line) as caught:
        bert.FAMILY.spec(config)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"norm_place": "pre"}, r"model\.norm_place: PreNorm\(\); Hugging Face's 'bert' has post only"),
        ({"pattern": "causal"}, r"model\.pattern: .*bidirectional only"),
        ({"embed_norm": None}, r"model\.embed_norm: None; .* that of the blocks only"),
        ({"position": "rotary"}, r"model\.position: .* learned, without an offset, only"),
        ({"head_activation": "relu"}, r"model\.head_activation: .* that of feed_forward only"),
        ({"token_types": 0}, r"model\.token_types: 0; .* at least 1 only"),
        ({"qkv_bias": False}, r"model\.qkv_bias: False"),
        ({"feed_forward": {"kind": "gated"}}, r"model\.feed_forward: "),
    ],
)
def test_what_cannot_be_said_is_one_line(fields, line):
    with pytest.raises(ConfigError, match=line) as caught:
        bert.FAMILY.config(BERT.model_validate(SIZE | fields))
    assert len(caught.value.problems) == 1


def test_an_encoder_finds_the_family_that_can_say_it():
    assert by_model(Encoder(**SIZE)).model_type == "bert"
    assert by_model(RoBERTa(**SIZE)).model_type == "roberta"
    with pytest.raises(
        ConfigError, match=r"model\.norm_place: PreNorm\(\); Hugging Face's '(bert|roberta)' has post only"
    ):
        by_model(Encoder(**SIZE, norm_place="pre"))
    assert by_model(GPT2(**SIZE)).model_type == "gpt2"
