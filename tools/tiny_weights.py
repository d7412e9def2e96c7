"""The tiny model's shape, and first weights that can already copy: unlike chance, they need not find out how.

A small model spends millions of tokens before it finds the induction circuit (a head that looks at the token before,
and a later head that looks where the present token stood before; Olsson et al. 2022). Here two heads of the first
layer and two of each later one start as that circuit, as in mimetic initialisation (Trockman and Kolter 2023), and
training takes it from there.
"""

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

LAYERS, HEADS, HEAD_SIZE = 4, 5, 32
WIDTH = HEADS * HEAD_SIZE
COPY_HEADS = 2
THETA = 100_000.0
FAST, SLOW = 4, 7
"""The first four rotary frequencies tell neighbours apart; from the seventh on they turn so slowly that content can be
compared over hundreds of tokens."""


def make_model(*, pieces: int, context: int, end: int, pad: int) -> LlamaForCausalLM:
    """A `LlamaForCausalLM` of about 1.36 million parameters, its weights from torch's global seed."""
    config = LlamaConfig(
        vocab_size=pieces,
        hidden_size=WIDTH,
        intermediate_size=368,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=context,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        prepare_copying(model)
    return model


def prepare_copying(model: LlamaForCausalLM) -> None:
    """Set the induction circuit into the first heads of every layer."""
    model.model.embed_tokens.weight[:, 0] = 0.1  # the constant that the position heads look at; tied, so no logit cares
    content = torch.randn(COPY_HEADS, HEAD_SIZE, WIDTH) * WIDTH**-0.5
    content[:, :, 0] = 0.0
    carried = torch.randn(COPY_HEADS, WIDTH, HEAD_SIZE) * WIDTH**-0.5
    slow = [*range(SLOW, HEAD_SIZE // 2), *range(HEAD_SIZE // 2 + SLOW, HEAD_SIZE)]
    for head in range(COPY_HEADS):
        rows = slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)
        attention = model.model.layers[0].self_attn
        query, key = previous_token()
        attention.q_proj.weight[rows], attention.k_proj.weight[rows] = 0.0, 0.0
        attention.q_proj.weight[rows, 0], attention.k_proj.weight[rows, 0] = query, key
        attention.v_proj.weight[rows] = content[head]
        attention.o_proj.weight[:, rows] = carried[head] * 0.04
        for layer in model.model.layers[1:3]:
            attention = layer.self_attn
            attention.q_proj.weight[rows] = 0.0
            attention.k_proj.weight[rows] = 0.0
            attention.q_proj.weight[rows][slow] = content[head][slow] * 3.5
            attention.k_proj.weight[rows][slow] = carried[head].T[slow] * 3.5
            value = torch.randn(HEAD_SIZE, WIDTH) * WIDTH**-0.5
            attention.v_proj.weight[rows] = value
            attention.o_proj.weight[:, rows] = value.T * 0.04


def previous_token() -> tuple[Tensor, Tensor]:
    """Query and key weights whose score is highest one position back: the key, turned on by one position."""
    frequencies = THETA ** (-torch.arange(HEAD_SIZE // 2) / (HEAD_SIZE // 2))
    strength = 2.2 * (torch.arange(HEAD_SIZE // 2) < FAST)
    key = torch.cat([strength, torch.zeros_like(strength)])
    query = torch.cat([torch.cos(frequencies) * strength, -torch.sin(frequencies) * strength])
    return query, key
