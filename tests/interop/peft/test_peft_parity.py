"""Adapters on random models equal PEFT's on torch in float32, read from its folders and written for it."""

import numpy as np
import pytest
from close import assert_close, difference
from flax.traverse_util import flatten_dict, unflatten_dict

import jaxgpt
from jaxgpt.interop.peft.write import write_adapter

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # theirs
torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install 'jaxgpt[peer]'")

V, CONTEXT = 37, 32
IDS = np.random.default_rng(0).integers(0, V, (3, 11))
ENDS = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
GPT = {"n_layer": 3, "n_head": 4, "n_embd": 24, "n_positions": CONTEXT, "vocab_size": V, **ENDS}
GPT |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
SIZE = {"num_hidden_layers": 3, "hidden_size": 24, "num_attention_heads": 4, "intermediate_size": 52, "vocab_size": V}
SIZE |= {"max_position_embeddings": CONTEXT}
BERT = SIZE | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LLAMA = SIZE | {"num_key_value_heads": 2, **ENDS}
BASES = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT),
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA),
    "llama-tied": ("LlamaForCausalLM", "LlamaConfig", LLAMA | {"tie_word_embeddings": True}),
    "bert": ("BertForMaskedLM", "BertConfig", BERT),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", LLAMA | {"head_dim": 6, "sliding_window": CONTEXT}),
    "neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", SIZE | {"rotary_pct": 0.67, **ENDS}),
}
LM = {"task_type": "CAUSAL_LM"}
LORA = {"r": 4, **LM}
CASES = {
    "gpt2-default": ("gpt2", "LoraConfig", LORA),
    "gpt2-all-linear": ("gpt2", "LoraConfig", LORA | {"target_modules": "all-linear"}),
    "gpt2-patterns": (
        "gpt2",
        "LoraConfig",
        LORA
        | {"target_modules": ["c_attn", "c_fc", "c_proj"], "rank_pattern": {r"h\.1\.attn\.c_attn": 2, "mlp.c_proj": 6}}
        | {"alpha_pattern": {".*c_fc": 3, r"h\.2\.attn\.c_attn": 5}},
    ),
    "gpt2-layers": (
        "gpt2",
        "LoraConfig",
        LORA | {"target_modules": ["c_attn", "c_fc"], "layers_to_transform": [1], "layers_pattern": "h"},
    ),
    "gpt2-rslora-regex": (
        "gpt2",
        "LoraConfig",
        LORA | {"use_rslora": True, "lora_alpha": 3, "target_modules": r".*\.(c_attn|mlp\.c_proj)"},
    ),
    "gpt2-dora-layers": (
        "gpt2",
        "LoraConfig",
        LORA | {"use_dora": True, "target_modules": ["c_attn", "c_proj"], "layers_to_transform": [0, 2]},
    ),
    "gpt2-lora-bias": ("gpt2", "LoraConfig", LORA | {"lora_bias": True, "rank_pattern": {r"h\.1\.attn\.c_attn": 2}}),
    "gpt2-biases": ("gpt2", "LoraConfig", LORA | {"bias": "all"}),
    "gpt2-its-biases": ("gpt2", "LoraConfig", LORA | {"bias": "lora_only", "layers_to_transform": [1]}),
    "gpt2-output": ("gpt2", "LoraConfig", LORA | {"modules_to_save": ["lm_head"]}),
    "gpt2-table": ("gpt2", "LoraConfig", LORA | {"modules_to_save": ["wte"]}),
    "gpt2-rows": ("gpt2", "LoraConfig", LORA | {"trainable_token_indices": [1, 5]}),
    "gpt2-norms": ("gpt2", "LoraConfig", LORA | {"modules_to_save": ["ln_1", "h.2.ln_2"]}),
    "gpt2-ia3": ("gpt2", "IA3Config", LM),
    "gpt2-prefix": ("gpt2", "PrefixTuningConfig", LM | {"num_virtual_tokens": 5}),
    "gpt2-prefix-mlp": (
        "gpt2",
        "PrefixTuningConfig",
        LM | {"num_virtual_tokens": 5, "prefix_projection": True, "encoder_hidden_size": 16},
    ),
    "gpt2-prompt": ("gpt2", "PromptTuningConfig", LM | {"num_virtual_tokens": 5}),
    "gpt2-p-tuning": ("gpt2", "PromptEncoderConfig", LM | {"num_virtual_tokens": 5, "encoder_hidden_size": 16}),
    "llama-exclude": (
        "llama",
        "LoraConfig",
        LORA
        | {"target_modules": ["q_proj", "v_proj", "down_proj"], "exclude_modules": r".*layers\.1\.self_attn\.v_proj"},
    ),
    "llama-head": (
        "llama",
        "LoraConfig",
        LORA | {"target_modules": ["q_proj", "lm_head"], "modules_to_save": ["embed_tokens"]},
    ),
    "llama-rows": (
        "llama",
        "LoraConfig",
        LORA | {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [3]}},
    ),
    "llama-table": ("llama", "LoraConfig", LORA | {"target_modules": ["embed_tokens", "q_proj"], "use_rslora": True}),
    "gpt2-table-lora": ("gpt2", "LoraConfig", LORA | {"target_modules": ["wte", "c_attn"], "rank_pattern": {"wte": 2}}),
    "llama-tied-output-lora": ("llama-tied", "LoraConfig", LORA | {"target_modules": ["lm_head", "v_proj"]}),
    "llama-dora": ("llama", "LoraConfig", LORA | {"target_modules": "all-linear", "use_dora": True}),
    "llama-ia3": ("llama", "IA3Config", LM),
    "llama-prefix": ("llama", "PrefixTuningConfig", LM | {"num_virtual_tokens": 5}),
    "llama-prompt": ("llama", "PromptTuningConfig", LM | {"num_virtual_tokens": 5}),
    "llama-tied-together": (
        "llama-tied",
        "LoraConfig",
        LORA | {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
    "gemma2-prefix": ("gemma2", "PrefixTuningConfig", LM | {"num_virtual_tokens": 5}),
    "gemma2-prompt": ("gemma2", "PromptTuningConfig", LM | {"num_virtual_tokens": 5}),
    "bert-lora": ("bert", "LoraConfig", {"r": 4, "target_modules": ["query", "value", "dense"]}),
    "bert-ia3": (
        "bert",
        "IA3Config",
        {"target_modules": ["key", "value", "output.dense"], "feedforward_modules": ["output.dense"]},
    ),
    "bert-prompt": ("bert", "PromptTuningConfig", {"num_virtual_tokens": 5, "task_type": "FEATURE_EXTRACTION"}),
    "neox-dora": ("neox", "LoraConfig", LORA | {"target_modules": ["query_key_value", "embed_out"], "use_dora": True}),
}


def randomised(model, std=0.2):
    """No bias at 0, no gain or scale at 1."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            gain = ("ln" in name or "norm" in name.lower()) and name.endswith("weight")
            tensor.normal_(1.0 if gain or "ia3" in name else 0.0, 0.3 if "ia3" in name else std)
    return model.eval()


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """`bases(name)`: the folder of a random model of theirs, and its class."""
    folder, done = tmp_path_factory.mktemp("bases"), {}

    def get(name):
        cls, config, fields = BASES[name]
        if name not in done:
            torch.manual_seed(0)
            randomised(getattr(transformers, cls)(getattr(transformers, config)(**fields))).save_pretrained(
                folder / name
            )
        return folder / name, getattr(transformers, cls)

    return get


def theirs(cls, base, adapter):
    """Logits of real tokens; a prompt's come with those of virtual ones in front."""
    model = peft.PeftModel.from_pretrained(cls.from_pretrained(base), adapter).eval()
    ids = torch.tensor(IDS)
    with torch.no_grad():
        if cls is transformers.BertForMaskedLM and model.active_peft_config.is_prompt_learning:  # a task PEFT has not
            n = model.active_peft_config.num_virtual_tokens
            prompts = model.get_prompt(batch_size=len(ids))
            embeds = torch.cat([prompts, model.word_embeddings(ids)], 1)
            logits = model.base_model(inputs_embeds=embeds).logits
            assert logits.shape[1] == n + ids.shape[1]
        else:
            logits = model(input_ids=ids).logits
    return logits.numpy()[:, -IDS.shape[1] :]


@pytest.mark.parametrize("name", CASES)
def test_adapters_are_read_and_written_as_peft_has_them(name, bases, tmp_path):
    kind, method, fields = CASES[name]
    base, cls = bases(kind)
    torch.manual_seed(1)
    made = peft.get_peft_model(cls.from_pretrained(base), getattr(peft, method)(**fields))
    own = [tensor for path, tensor in made.named_parameters() if tensor.requires_grad]
    with torch.no_grad():
        for tensor in own:
            tensor.normal_(1.0 if method == "IA3Config" else 0.0, 0.3)
    made.save_pretrained(tmp_path / "theirs")
    want = theirs(cls, base, tmp_path / "theirs")
    m = jaxgpt.load(base, adapter=tmp_path / "theirs")
    got = m.logits(IDS)
    assert_close(got, want)
    plain = m.with_adapter(None)
    assert difference(np.asarray(plain.logits(IDS)), want) > 1e-2, "the adapter does something"
    below = {path: np.asarray(leaf) for path, leaf in flatten_dict(plain.params, sep="/").items()}
    write_adapter(tmp_path / "ours", m.model, m.params, below, str(base))
    assert_close(theirs(cls, base, tmp_path / "ours"), want)


JUDGES = {
    "gpt2": ("GPT2ForSequenceClassification", "LoraConfig", {"r": 4}),
    "llama": ("LlamaForSequenceClassification", "LoraConfig", {"r": 4, "target_modules": ["q_proj"]}),
    "bert": ("BertForSequenceClassification", "IA3Config", {}),
}


@pytest.mark.parametrize("kind", JUDGES)
def test_what_judges_texts_comes_with_its_output_layer(kind, bases, tmp_path):
    """A base without such a head gets the file's."""
    base, _ = bases(kind)
    name, method, fields = JUDGES[kind]
    torch.manual_seed(2)
    config = transformers.AutoConfig.from_pretrained(base, num_labels=3)
    cls = getattr(transformers, name)
    whole = cls.from_pretrained(base, config=config)
    if kind == "bert":  # a masked model's file has no pooler, and PEFT saves none
        whole.save_pretrained(tmp_path / "base")
        base = tmp_path / "base"
    made = peft.get_peft_model(whole, getattr(peft, method)(**fields, task_type="SEQ_CLS"))
    with torch.no_grad():
        for tensor in (tensor for tensor in made.parameters() if tensor.requires_grad):
            tensor.normal_(0.5, 0.3)
    made.save_pretrained(tmp_path / "theirs")
    ids = torch.tensor(IDS[:1])
    with torch.no_grad():
        want = made.eval()(input_ids=ids).logits.numpy()
    m = jaxgpt.load(base, adapter=tmp_path / "theirs")
    got = m.model.build().apply({"params": m.params}, IDS[:1].astype(np.int32), method="represent")
    assert m.model.text_head.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert_close(got, want)
    below = {path: np.asarray(leaf) for path, leaf in flatten_dict(m.with_adapter(None).params, sep="/").items()}
    write_adapter(tmp_path / "ours", m.model, m.params, below, str(base))
    again = peft.PeftModel.from_pretrained(cls.from_pretrained(base, config=config), tmp_path / "ours").eval()
    with torch.no_grad():
        assert_close(again(input_ids=ids).logits.numpy(), want)


def test_separate_a_for_query_and_value_give_peft_the_same(bases, weights, tmp_path):
    base, cls = bases("gpt2")
    plain = jaxgpt.load(base)
    lora = {"kind": "lora", "rank": 3, "rank_pattern": {"v$": 2}, "alpha_pattern": {"v$": 5.0}}
    for more in ({}, {"dora": True}):
        model = plain.model.evolve(adapter=lora | more)
        below = {path: np.asarray(leaf) for path, leaf in flatten_dict(plain.params, sep="/").items()}
        drawn = flatten_dict(weights(model), sep="/")
        params = unflatten_dict(drawn | below, sep="/")
        folder = tmp_path / f"ours{len(more)}"
        write_adapter(folder, model, params, below, None)
        assert_close(theirs(cls, base, folder), model.build().apply({"params": params}, IDS.astype(np.int32)))
