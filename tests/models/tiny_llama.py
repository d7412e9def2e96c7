"""Fixture F3: a tiny random Llama with a BPE tokenizer and a chat template, made on the spot."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|end|>", "<|bos|>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "The tea is warm and the garden is quiet; what do you think about tea, Sage?",
    "I think that a machine can learn patience. Tinker says: no, it cannot, and I agree with Sage.",
    "system user assistant Moderator: please answer the question in one sentence. Zen Sage: yes. TinkerBot: 42!",
]


def make_tokenizer(template: str | None = TEMPLATE, *, size: int = 512) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `size` pieces that never fails to write a character."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|end|>",
        bos_token="<|bos|>",
        pad_token="<|end|>",
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.chat_template = template
    return tokenizer


def make_model(*, context: int = 2048, vocabulary: int = 512, seed: int = 7) -> LlamaForCausalLM:
    """Two layers with grouped heads; weights spread wide enough that likely tokens are told apart."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
        eos_token_id=0,
        bos_token_id=1,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def save_tiny_llama(folder: Path, *, template: str | None = TEMPLATE, context: int = 2048, seed: int = 7) -> Path:
    """Write model and tokenizer as a folder that anything can load."""
    make_model(context=context, seed=seed).save_pretrained(folder)
    make_tokenizer(template).save_pretrained(folder)
    return folder


def greedy(model: LlamaForCausalLM, tokens: Sequence[int], count: int, ends: Sequence[int] = ()) -> list[int]:
    """What transformers itself says, one token at a time, everything computed anew each time."""
    said: list[int] = []
    with torch.inference_mode():
        while len(said) < count and (not said or said[-1] not in ends):
            logits = model(torch.tensor([[*tokens, *said]]), use_cache=False).logits[0, -1]
            said.append(int(logits.argmax()))
    return said


def save_adapter(folder: Path, seed: int) -> str:
    """A random LoRA adapter strong enough to change what is said."""
    import peft

    base = make_model()
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False
    )
    peft.get_peft_model(base, config).save_pretrained(folder)
    return str(folder)
