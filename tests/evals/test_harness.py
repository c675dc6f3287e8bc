"""lm-eval on a model of ours gives what its own HFLM gives of the same weights in torch (`make parity`)."""

import json

import numpy as np
import pytest

import jaxgpt
from jaxgpt.spec import ConfigError

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

CONTEXT = 32
WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran", "off", "to", "see", "what", "was", "there"]
rng = np.random.default_rng(0)


def text(words):
    return " ".join(rng.choice(WORDS, words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A GPT-2 of transformers with random weights and a byte-level vocabulary."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    pytest.importorskip("lm_eval", reason="needs lm-eval: pip install 'jaxgpt[eval]'")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("harness")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([text(200)], trainer)
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    template += "{% if add_generation_prompt %}<bot>{% endif %}"
    end = "<|endoftext|>"
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, bos_token=end, chat_template=template
    )
    fast.save_pretrained(out)
    config = transformers.GPT2Config(
        vocab_size=len(fast), n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3,
        bos_token_id=fast.eos_token_id, eos_token_id=fast.eos_token_id,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def both(folder):
    import transformers
    from lm_eval.models.huggingface import HFLM

    from jaxgpt.evals.harness import Adapter

    peer = transformers.GPT2LMHeadModel.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return Adapter(jaxgpt.load(folder), 3), HFLM(pretrained=peer, tokenizer=tokenizer, batch_size=4)


def instances(kind, arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, each, place) for place, each in enumerate(arguments)]


def test_log_likelihoods_and_greedy_flags(both):
    """A space at the border, no context, more than fits, candidates of one context, single tokens, the same twice."""
    pairs = [
        (text(4) + " ", "cat"),
        ("", "the mat"),
        (text(60), " " + text(3)),
        (text(3), " a"),
        (text(3), " " + text(20)),
    ]
    pairs += [("the cat sat", f" {word}") for word in WORDS] + [pairs[0]]
    pairs += [("<|endoftext|>" + text(3), " cat<|endoftext|>")]
    ours, theirs = (lm.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True) for lm in both)
    assert np.abs([a - b for (a, _), (b, _) in zip(ours, theirs, strict=True)]).max() < 1e-4
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


def test_what_greedy_writing_writes_is_flagged(both):
    asked = [(text(3), {"until": [], "max_gen_toks": 1}) for _ in range(12)]
    written = both[1].generate_until(instances("generate_until", asked), disable_tqdm=True)
    pairs = [
        (context, more) for (context, _), more in zip(asked, written, strict=True) if more and "\ufffd" not in more
    ]
    flags = [
        [greedy for _, greedy in lm.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)] for lm in both
    ]
    assert flags[0] == flags[1] and any(flags[0])


def test_rolling(both):
    texts = [(text(4),), (text(100),), ("",), ("a",)]
    ours, theirs = (
        lm.loglikelihood_rolling(instances("loglikelihood_rolling", texts), disable_tqdm=True) for lm in both
    )
    assert np.abs(np.array(ours) - theirs).max() < 1e-4 and ours[2] == 0


def test_greedy_texts(both):
    asked = [
        (text(5), {"until": ["\n\n"], "max_gen_toks": 10}),
        (text(60), {"until": "e", "max_gen_toks": 12, "do_sample": False, "temperature": 0.7}),
        (text(2), {"until": ["a", "th"], "max_gen_toks": 20}),
        (text(9), {"max_gen_toks": 5}),
    ]
    ours, theirs = (lm.generate_until(instances("generate_until", asked), disable_tqdm=True) for lm in both)
    assert ours == theirs


def test_conversations(both):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    ours, theirs = (lm.apply_chat_template(messages) for lm in both)
    assert ours == theirs == "<system>Be brief.\n<user>Hello\n<bot>"


def test_the_harness_runs_a_task_of_local_files(both, tmp_path, monkeypatch):
    import lm_eval
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    rows = [{"q": text(3), "c": [text(1), text(2)], "gold": i % 2} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": "made_up",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "q",
        "doc_to_choice": "c",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "made_up.yaml").write_text(json.dumps(task))  # which is YAML too
    tasks = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    found = [
        lm_eval.simple_evaluate(model=lm, tasks=["made_up"], task_manager=tasks, bootstrap_iters=0)["results"][
            "made_up"
        ]
        for lm in both
    ]
    for name in ("acc,none", "acc_norm,none"):
        assert found[0][name] == found[1][name]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    from jaxgpt.evals.tasks import Choice
    from jaxgpt.inference.asked import Asked

    ours = Choice(path=str(tmp_path / "r.jsonl"), prompt="{q}", choices="c").opened()(
        Asked(both[0]._loaded, quiet=True)
    )
    assert ours.figures["choice/accuracy/sum"] == found[0]["acc,none"]
    assert ours.figures["choice/accuracy/per_character"] == found[0]["acc_norm,none"]


def test_what_a_task_may_not_ask(both):
    for kwargs, message in (({"max_gen_toks": 40}, "leaves no room"), ({"num_beams": 4}, "num_beams: not known")):
        with pytest.raises(ConfigError, match=message):
            both[0].generate_until(instances("generate_until", [("a", kwargs)]))
