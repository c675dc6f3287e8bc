"""One file per family: citation, size table, assembly."""

from jaxgpt.models.bert import BERT
from jaxgpt.models.bloom import BLOOM
from jaxgpt.models.decoder import Decoder
from jaxgpt.models.encoder import Encoder
from jaxgpt.models.gemma2 import Gemma2
from jaxgpt.models.gpt1 import GPT1
from jaxgpt.models.gpt2 import GPT2
from jaxgpt.models.gpt3 import GPT3
from jaxgpt.models.gpt_neo import GPTNeo
from jaxgpt.models.gpt_neox import GPTNeoX
from jaxgpt.models.gptj import GPTJ
from jaxgpt.models.llama import Llama
from jaxgpt.models.mistral import Mistral
from jaxgpt.models.model import Model
from jaxgpt.models.qwen2 import Qwen2
from jaxgpt.models.qwen3 import Qwen3
from jaxgpt.models.recurrent import Recurrent
from jaxgpt.models.roberta import RoBERTa
from jaxgpt.models.transformer import Transformer

__all__ = [
    "BERT",
    "BLOOM",
    "GPT1",
    "GPT2",
    "GPT3",
    "GPTJ",
    "Decoder",
    "Encoder",
    "GPTNeo",
    "GPTNeoX",
    "Gemma2",
    "Llama",
    "Mistral",
    "Model",
    "Qwen2",
    "Qwen3",
    "Recurrent",
    "RoBERTa",
    "Transformer",
]
