"""Beam search: equal to trying everything where it is wide enough, to greedy writing at width 1."""

from itertools import product

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.decode import BeamSearch, beam_search, generate
from jaxgpt.decode.beams import SEARCH
from jaxgpt.models import Decoder
from jaxgpt.spec import ConfigError, JaxgptError, parse

V, END, MOST = 5, 0, 4
PROMPTS = ([3, 1, 4, 1, 2], [2], [4, 2, 3])
FORWARD = jax.jit(lambda module, variables, tokens: module.apply(variables, tokens), static_argnums=0)


def decoder(**fields):
    fixed = {"num_layers": 2, "d_model": 16, "num_heads": 2, "context": 24, "vocab_size": V, "position": "rotary"}
    return Decoder.model_validate(fixed | fields)


@pytest.fixture(scope="module")
def params(weights):
    return weights(decoder())


def log_probs(model, params, rows):
    """float64 (B, T, V) of rows of one length."""
    tokens = np.zeros((len(rows), model.context), np.int32)  # of one width, so that one program reads all
    tokens[:, : len(rows[0])] = rows
    logits = np.asarray(FORWARD(model.build(), {"params": params}, tokens), np.float64)[:, : len(rows[0])]
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def everything(model, params, prompt):
    """Each text of up to MOST tokens, ended or cut: its ids with the end, and their log-probability."""
    rows = [[*prompt, *more] for more in product(range(V), repeat=MOST)]
    along = log_probs(model, params, rows)[:, len(prompt) - 1 : -1]
    texts = {}
    for row, log_p in zip(rows, along, strict=True):
        ids = row[len(prompt) :]
        ids = ids[: ids.index(END) + 1] if END in ids else ids
        texts[tuple(ids)] = sum(log_p[t, token] for t, token in enumerate(ids))
    return texts


def penalty(name, alpha, n):
    return (n if name == "length" else (5 + n) / 6) ** alpha


@pytest.mark.often("gnmt")
@pytest.mark.parametrize("name", ["length", "gnmt"])
def test_a_search_as_wide_as_everything_finds_the_best_of_everything(params, name):
    model = decoder()
    for alpha in (0.0, 0.6, 1.0):
        beams = BeamSearch(width=V**MOST, penalty=name, alpha=alpha, early_stopping="never")
        found = beam_search(model, params, PROMPTS, MOST, beams, 40, [END])
        for prompt, texts in zip(PROMPTS, found, strict=True):
            scores = {ids: p / penalty(name, alpha, len(ids)) for ids, p in everything(model, params, prompt).items()}
            want = sorted(scores, key=scores.get, reverse=True)[:40]
            assert [(*text.ids, *[END] * text.ended) for text in texts] == want
            assert_close([text.score for text in texts], [scores[ids] for ids in want])


@pytest.mark.often("full")
@pytest.mark.parametrize("early_stopping", ["heuristic", "never", "full", "best"])
def test_a_text_is_worth_what_a_forward_pass_gives_it(params, early_stopping):
    """Whatever ends the search; and a row's texts are those that it has alone."""
    model = decoder()
    beams = BeamSearch(width=3, penalty="gnmt", alpha=0.6, early_stopping=early_stopping)
    found = beam_search(model, params, PROMPTS, 9, beams, 3, [END])
    assert early_stopping == "best" or len({len(text.ids) for texts in found for text in texts}) > 1
    for prompt, texts in zip(PROMPTS, found, strict=True):
        assert [text.score for text in texts] == sorted((text.score for text in texts), reverse=True)
        for text in texts:
            ids = [*text.ids, *[END] * text.ended]
            along = log_probs(model, params, [[*prompt, *ids]])[0, len(prompt) - 1 :]
            want = sum(along[t, token] for t, token in enumerate(ids))
            assert_close([text.log_prob, text.score], [want, want / penalty("gnmt", 0.6, len(ids))])
            assert text.ended or len(ids) == 9
        (alone,) = beam_search(model, params, [prompt], 9, beams, 3, [END])
        assert [text.ids for text in alone] == [text.ids for text in texts]
        assert_close([text.score for text in alone], [text.score for text in texts])


def repeats(row, n):
    runs = [*zip(*(row[i:] for i in range(n)), strict=False)]
    return len({*runs}) < len(runs)


def test_texts_too_short_or_with_a_run_twice_are_not_among_everything(params):
    """The rules forbid texts, and change the likelihood of none; the second prompt's own runs count."""
    model, prompts = decoder(), ([3, 1, 4], [4, 2, 4])
    rules = BeamSearch(width=V**MOST, alpha=0.0, early_stopping="never", min_new=2, no_repeat_ngram_size=2)
    found = beam_search(model, params, prompts, MOST, rules, 20, [END])
    for prompt, texts in zip(prompts, found, strict=True):
        scores = everything(model, params, prompt)
        allowed = [ids for ids in scores if (len(ids) > 2 or END not in ids) and not repeats([*prompt, *ids], 2)]
        want = sorted(allowed, key=scores.get, reverse=True)[:20]
        assert len(allowed) < len(scores)
        assert [(*text.ids, *[END] * text.ended) for text in texts] == want
        assert_close([text.log_prob for text in texts], [scores[ids] for ids in want])


@pytest.mark.slow
def test_what_stops_a_search_early_costs_no_more_than_it_says(params):
    """Without penalty nothing gets likelier by being longer, so all but `full` find the same best text."""
    found = {}
    for rule in ("heuristic", "never", "full", "best"):
        beams = BeamSearch(width=4, alpha=0.0, early_stopping=rule)
        found[rule] = beam_search(decoder(), params, PROMPTS, 12, beams, 4, [END])
    first = {rule: [texts[0].ids for texts in rows] for rule, rows in found.items()}
    assert first["never"] == first["heuristic"] == first["best"]
    assert [[text.ids for text in texts] for texts in found["never"]] == [
        [text.ids for text in texts] for texts in found["heuristic"]
    ]
    for least, most in zip(found["full"], found["never"], strict=True):
        assert least[0].score <= most[0].score


@pytest.mark.often("ring")
@pytest.mark.parametrize(
    "fields", [{}, {"pattern": {"kind": "banded", "window": 3}}, {"num_kv_heads": 1}], ids=["causal", "ring", "shared"]
)
def test_a_search_of_width_one_is_greedy(weights, fields):
    model = decoder(**fields)
    params = weights(model)
    found = beam_search(model, params, PROMPTS, 9, BeamSearch(width=1, alpha=0.0), 1, [END])
    assert [texts[0].ids for texts in found] == generate(model, params, PROMPTS, 9, ends=[END])


def test_a_ring_follows_its_text(weights):
    """A cache as short as the window, taken over by other texts, still scores as a forward pass does."""
    model = decoder(pattern={"kind": "banded", "window": 3})
    params = weights(model, std=0.5)
    for prompt, texts in zip(PROMPTS, beam_search(model, params, PROMPTS, 12, BeamSearch(width=4), 4), strict=True):
        for text in texts:
            along = log_probs(model, params, [[*prompt, *text.ids]])[0, len(prompt) - 1 :]
            assert_close(text.log_prob, sum(along[t, token] for t, token in enumerate(text.ids)))
            assert not text.ended and len(text.ids) == 12


def test_several_ids_may_end_a_text_and_some_are_never_written(params):
    has_text = np.array([True, True, False, True, True])
    found = beam_search(decoder(), params, PROMPTS, 9, BeamSearch(width=4), 4, [END, 3], has_text=has_text)
    for texts in found:
        assert all(not {2, END, 3} & {*text.ids} for text in texts)
        assert len({(*text.ids, text.log_prob) for text in texts}) == len(texts) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"max_new": 20}, "max_new: 20 after a prompt of 5 tokens exceeds the model's 24; lower it"),
        ({"max_new": 0}, "max_new: 0"),
        ({"n_best": 5}, "n_best: 5"),
        ({"prompts": [[]]}, "prompt 0: empty"),
        ({"prompts": [[7]]}, "prompt 0: holds ids outside the vocabulary of 5"),
    ],
)
def test_what_cannot_be_searched_is_one_line(params, call, message):
    given = {"prompts": PROMPTS, "max_new": 4, "n_best": 1, "beams": BeamSearch(width=4)} | call
    with pytest.raises(ConfigError, match=message):
        beam_search(decoder(), params, **given)


@pytest.mark.parametrize(
    "fields", [{"width": 0}, {"penalty": "none"}, {"alpha": float("nan")}, {"early_stopping": True}]
)
def test_a_field_out_of_range_is_named(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        parse(BeamSearch, fields)


def test_another_penalty_or_limit_compiles_nothing(params):
    sizes = []
    for alpha, most in ((0.5, 4), (2.0, 9)):
        beam_search(decoder(), params, PROMPTS, most, BeamSearch(width=2, alpha=alpha), 1, [END])
        sizes.append(SEARCH._cache_size())
    assert sizes[0] == sizes[1]


def test_numbers_that_overflow_end_the_search(params):
    broken = jax.tree.map(lambda leaf: leaf * np.float32(1e30), params)
    with pytest.raises(JaxgptError, match="NaN or infinity in float32"):
        beam_search(decoder(), broken, PROMPTS, 4)
