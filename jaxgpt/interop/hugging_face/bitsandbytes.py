"""4-bit weights of bitsandbytes in a Hugging Face folder: read as the arrays they stand for, and written.

Beside a quantised `X.weight` (uint8, two codes a byte) lie `X.weight.absmax`, `.quant_map`, with double quantisation
`.nested_absmax` and `.nested_quant_map`, and `.quant_state.bitsandbytes__nf4`, the bytes of a JSON object.
I inputs, O outputs, n = O·I numbers, counted along the rows of (O, I).
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from math import isfinite, prod
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from jaxgpt.interop.json_object import parse_object
from jaxgpt.interop.name_map import NameMap
from jaxgpt.interop.tensors import Tensor, Tensors
from jaxgpt.nn.linear import PROJECTIONS
from jaxgpt.ops.nf4 import BLOCK, DYNAMIC_VALUES, NESTED_BLOCK, VALUES
from jaxgpt.ops.nf4_weight import NF4Weight
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

CONFIG_KEY = "quantization_config"
STATE = ".quant_state.bitsandbytes__"
PARTS = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", f"{STATE}nf4")
CONV1D = ("gpt2", "openai-gpt")
"""Families whose class has its projections (I, O); transformers transposes them before it quantises."""
MOST_STATE = 4096
"""Bytes of a state."""
DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
UNQUANTIZED = "give the unquantised weights"


def dequantized(config: Mapping[str, Any], tensors: Tensors, where: str) -> Tensors:
    """The tensors of a folder, with the arrays for which its 4-bit weights stand, in the dtype that those had.

    Raises ConfigError with one line for each that is unsound, or quantised in a way that is not read.
    """
    how = config.get(CONFIG_KEY)
    if how is None:
        return tensors
    if not isinstance(how, dict) or how.get("quant_method") != "bitsandbytes" or how.get("load_in_4bit") is not True:
        named = how.get("quant_method") if isinstance(how, dict) else how
        kind = "bitsandbytes without load_in_4bit" if named == "bitsandbytes" else quote(named)
        raise ConfigError(f"{where}: {CONFIG_KEY}: {kind} is not read, only bitsandbytes in 4 bits; {UNQUANTIZED}")
    stems = [name.partition(STATE)[0] for name in tensors if STATE in name]
    beside = {stem + part for stem in stems for part in PARTS}
    read = {name: tensor for name, tensor in tensors.items() if name not in beside}
    problems = []
    for stem in stems:
        try:
            read[stem] = _array(stem, tensors, config.get("model_type") in CONV1D)
        except ValueError as error:
            problems.append(f"{where}: {stem}: {error}")
    if problems:
        raise ConfigError(problems)
    return read


def _array(stem: str, tensors: Tensors, transposed: bool) -> Tensor:
    """What one 4-bit weight stands for. Raises ValueError, also as ConfigError."""
    state_name = stem + PARTS[-1]
    if state_name not in tensors:
        kind = next(name for name in tensors if name.startswith(stem + STATE)).rpartition("__")[2]
        raise ValueError(f"quantised as {quote(kind)}, which is not read, only nf4; {UNQUANTIZED}")
    raw = tensors[state_name]
    if raw.dtype != np.uint8 or len(raw.shape) != 1 or raw.shape[0] > MOST_STATE:
        raise ValueError(f"its state is {raw.dtype} of shape {raw.shape}, expected up to {MOST_STATE} bytes")
    state = parse_object(raw.read().tobytes(), "its state", "what quantised it")
    shape, dtype = state.get("shape"), DTYPES.get(str(state.get("dtype")))
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and 0 < n < 2**31 for n in shape):
        raise ValueError(f"its state has shape {quote(shape)}, expected two sizes")
    if dtype is None:
        raise ValueError(f"its state has dtype {quote(state.get('dtype'))}, expected one of {', '.join(DTYPES)}")
    nested = "nested_blocksize" in state
    expected = {"quant_type": "nf4", "blocksize": BLOCK}
    expected |= {"nested_blocksize": NESTED_BLOCK, "nested_dtype": "float32"} if nested else {}
    for key, value in expected.items():
        if state.get(key) != value:
            raise ValueError(f"its state has {key} {quote(state.get(key))}, which is not read, only {value!r}")
    offset = state.get("nested_offset", 0.0)
    if type(offset) not in (int, float) or not isfinite(offset):
        raise ValueError(f"its state has nested_offset {quote(offset)}, expected a number")
    n = prod(shape)
    blocks = -(-n // BLOCK)
    sizes: dict[str, tuple[Any, int]] = {
        "": (np.uint8, -(-n // 2)),
        ".absmax": (np.uint8 if nested else np.float32, blocks),
    }
    sizes[".quant_map"] = (np.float32, len(VALUES))
    if nested:
        sizes[".nested_absmax"] = (np.float32, -(-blocks // NESTED_BLOCK))
        sizes[".nested_quant_map"] = (np.float32, len(DYNAMIC_VALUES))
    for part, (number, size) in sizes.items():
        tensor = tensors.get(stem + part)
        if tensor is None:
            raise ValueError(f"lacks {stem}{part}; get the file again")
        if tensor.dtype != number or prod(tensor.shape) != size:
            wanted = f"{np.dtype(number)} of {size} numbers by its shape {tuple(shape)}"
            raise ValueError(f"{part or 'codes'}: {tensor.dtype} of shape {tensor.shape}, expected {wanted}")
    for part, table in ((".quant_map", VALUES), (".nested_quant_map", DYNAMIC_VALUES)):
        if part in sizes and not np.array_equal(tensors[stem + part].read().reshape(-1), table):
            raise ValueError(f"{part} is another table than bitsandbytes has for nf4; {UNQUANTIZED}")
    own = {part: tensors[stem + part] for part in sizes}
    whole = (shape[1], shape[0]) if transposed else (shape[0], shape[1])
    return Tensor(whole, dtype, partial(_read, own, (shape[0], shape[1]), dtype, np.float32(offset), transposed))


def _read(
    own: Mapping[str, Tensor], shape: tuple[int, int], dtype: np.dtype, offset: np.float32, transposed: bool
) -> np.ndarray:
    codes, scales = own[""].read().reshape(-1), own[".absmax"].read().reshape(-1)
    if ".nested_absmax" in own:
        nested = np.repeat(own[".nested_absmax"].read().reshape(-1), NESTED_BLOCK)[: scales.size]
        scales = DYNAMIC_VALUES[scales] * nested + offset
    n = prod(shape)
    numbers = np.empty(scales.size * BLOCK, np.float32)
    numbers[n:] = 0
    numbers[: 2 * codes.size : 2], numbers[1 : 2 * codes.size : 2] = VALUES[codes >> 4], VALUES[codes & 15]
    numbers.reshape(-1, BLOCK)[...] *= scales[:, None]
    w_OI: np.ndarray = numbers[:n].reshape(shape).astype(dtype, copy=False)
    return w_OI.T if transposed else w_OI


def quantized(names: NameMap, arrays: Mapping[str, np.ndarray], double: bool) -> dict[str, np.ndarray]:
    """float32 tensors with the projections of blocks in 4 bits."""
    kinds = {names.prefix * (not row.bare) + row.theirs: row for row in names.rows if _is_projection(row.ours)}
    patterns = {re.escape(name).replace(r"\{i\}", r"\d+"): row for name, row in kinds.items()}
    out: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        row = next((row for pattern, row in patterns.items() if re.fullmatch(pattern, name)), None)
        out |= {name: array} if row is None else _written(name, array.T if row.transposed else array, double)
    return out


def _is_projection(ours: tuple[str, ...]) -> bool:
    return all(re.search(PROJECTIONS, path) for path in ours)


_quantize = jax.jit(NF4Weight.of, static_argnums=1)


def _written(name: str, w_IO: np.ndarray, double: bool) -> dict[str, np.ndarray]:
    """The tensors of one weight."""
    stored = _quantize(jnp.asarray(w_IO), double)
    codes, scales = (np.asarray(leaf).T.reshape(-1) for leaf in (stored.codes, stored.scales))
    packed = np.ascontiguousarray(codes[: -(-w_IO.size // 2)]).reshape(-1, 1)
    out: dict[str, np.ndarray] = {
        name: packed,
        f"{name}.absmax": np.ascontiguousarray(scales),
        f"{name}.quant_map": VALUES,
    }
    state: dict[str, Any] = {
        "quant_type": "nf4",
        "blocksize": BLOCK,
        "dtype": "float32",
        "shape": [w_IO.shape[1], w_IO.shape[0]],
    }
    if stored.nested is not None and stored.offset is not None:
        out |= {f"{name}.nested_absmax": np.asarray(stored.nested), f"{name}.nested_quant_map": DYNAMIC_VALUES}
        state |= {"nested_blocksize": NESTED_BLOCK, "nested_dtype": "float32", "nested_offset": float(stored.offset)}
    return out | {f"{name}{STATE}nf4": np.frombuffer(json.dumps(state).encode(), np.uint8)}


def settings(tensors: Mapping[str, np.ndarray], double: bool) -> dict[str, Any]:
    """`quantization_config`: all matrices that are not among the quantised are named as ones to leave alone."""
    whole = [name.removesuffix(".weight") for name, array in tensors.items() if _is_matrix(name, array)]
    return {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "load_in_8bit": False,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": double,
        "bnb_4bit_compute_dtype": "float32",
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": sorted({*whole, "lm_head"}),
    }


def _is_matrix(name: str, array: np.ndarray) -> bool:
    return name.endswith(".weight") and array.ndim == 2 and array.dtype != np.uint8
