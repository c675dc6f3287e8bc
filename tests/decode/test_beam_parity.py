"""Beam search writes what transformers does on random weights: the same texts in the same order, with their scores."""

import numpy as np
import pytest
from close import assert_close

from jaxgpt.decode import BeamSearch, beam_search
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT2
from jaxgpt.text.tokenizers.byte import ByteCodec

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")

MODEL = GPT2(num_layers=2, d_model=32, num_heads=4, vocab_size=257, context=64)
PROMPTS = ([3, 1, 4, 1, 5, 9, 2], [65], [27, 18, 28, 18])
ENDS = [0, 7, 50, 99, 120, 200]
"""So many that texts end: random weights find each likely now and then."""
MOST = 12
RULES = {"heuristic": False, "full": True, "never": "never"}


@pytest.fixture(scope="module")
def both(weights, tmp_path_factory):
    """Weights, and transformers' model of the same."""
    out, params = tmp_path_factory.mktemp("beams") / "hf", weights(MODEL, std=0.4)
    write_folder(out, MODEL, params, ByteCodec())
    return params, transformers.AutoModelForCausalLM.from_pretrained(out).eval()


def theirs(model, width, alpha, rule, ends, **rules):
    longest = max(map(len, PROMPTS))
    ids = torch.tensor([[256] * (longest - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS])
    config = transformers.GenerationConfig(
        max_new_tokens=MOST,
        num_beams=width,
        num_return_sequences=width,
        length_penalty=alpha,
        early_stopping=RULES[rule],
        eos_token_id=ends,
        pad_token_id=256,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **rules,
    )
    with torch.no_grad():
        out = model.generate(ids, attention_mask=mask, generation_config=config)
    texts = [[token for token in row if token not in (*ends, 256)] for row in out.sequences[:, longest:].tolist()]
    scores = out.sequences_scores.tolist() if width > 1 else None
    return texts, scores


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("width", "alpha"), [(1, 0.0), (4, 0.0), (4, 1.0), (8, 0.6), (8, 2.0)])
def test_texts_and_scores_are_those_of_transformers(both, width, alpha, rule):
    params, model = both
    beams = BeamSearch(width=width, alpha=alpha, early_stopping=rule)
    found = beam_search(MODEL, params, PROMPTS, MOST, beams, width, ENDS)
    texts, scores = theirs(model, width, alpha, rule, ENDS)
    assert [text.ids for row in found for text in row] == texts
    assert scores is None or len({len(text) for text in texts}) > 1, "a search in which texts of several lengths end"
    if scores is not None:
        assert_close([text.score for row in found for text in row], np.array(scores))


@pytest.mark.parametrize("width", [1, 4])
def test_short_and_repeating_texts_are_forbidden_as_by_transformers(both, width):
    params, model = both
    beams = BeamSearch(width=width, min_new=6, no_repeat_ngram_size=2)
    found = beam_search(MODEL, params, PROMPTS, MOST, beams, width, ENDS)
    texts, scores = theirs(model, width, 1.0, "heuristic", ENDS, min_new_tokens=6, no_repeat_ngram_size=2)
    assert [text.ids for row in found for text in row] == texts and min(map(len, texts)) >= 6
    if scores is not None:
        assert_close([text.score for row in found for text in row], np.array(scores))
