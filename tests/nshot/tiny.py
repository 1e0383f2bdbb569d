"""Tiny randomly initialised dual encoders with tokenizers of their own, saved in the hub's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WORDS = "a an the photo image of glass paper metal can bottle red green blue square circle close up bad . large small"
SENTENCES = [f"a photo of a {w}." for w in WORDS.split() if len(w) > 2] + ["a bad image of the red can", WORDS]
KOREAN = ["유리 병 사진", "종이 상자 사진", "금속 캔 사진"]
SIDE, DIM = 32, 16
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def seeded(build: Callable[[], Any], seed: int = 0) -> Any:
    """A network whose random weights are the same in every call, with spread enough that inputs tell apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1:
                    torch.nn.init.normal_(parameter, std=0.6 / parameter[0].numel() ** 0.5)
                elif parameter.ndim == 1 and name.endswith("bias"):
                    torch.nn.init.normal_(parameter, std=0.1)
                elif parameter.ndim == 1 and parameter.numel() > 1:
                    torch.nn.init.ones_(parameter)
    return model


def byte_pieces(folder: Path, end: str = "<|endoftext|>", length: int = 24) -> Any:
    """CLIP's kind of tokenizer, learned from English sentences: byte-level pairs, letters beyond ASCII as bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    learned = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<|startoftext|>", end], initial_alphabet=alphabet, end_of_word_suffix="</w>",
        show_progress=False,
    )  # fmt: skip
    learned.train_from_iterator(SENTENCES, trainer)
    import json

    made = json.loads(learned.to_str())["model"]
    vocabulary = dict(made["vocab"])
    for letter in sorted(alphabet):
        vocabulary.setdefault(f"{letter}</w>", len(vocabulary))
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in made["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length)
    tokenizer.save_pretrained(folder)
    return tokenizer


def word_pieces(folder: Path, length: int = 24) -> Any:
    """BERT's kind of tokenizer, for ALIGN and FLAVA: known words, letters, the rest unknown."""
    from transformers import BertTokenizer

    letters = [chr(c) for c in range(97, 123)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split(), *letters, *(f"##{c}" for c in letters)]
    tokenizer = BertTokenizer(vocab={w: i for i, w in enumerate(dict.fromkeys(words))}, model_max_length=length)
    tokenizer.save_pretrained(folder)
    return tokenizer


def many_languages(folder: Path, length: int = 24) -> Any:
    """A unigram tokenizer learned from English and Korean sentences, as multilingual SigLIP 2 models have one."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.Unigram())
    learned.normalizer = normalizers.Lowercase()
    learned.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "<eos>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    learned.train_from_iterator([*SENTENCES, *KOREAN] * 4, trainer)
    learned.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=learned, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=length,
        model_input_names=["input_ids"],
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return tokenizer


def clip(folder: Path, seed: int = 0) -> Path:
    """A CLIP of 32-pixel images: resized by its short side, cropped."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    tokenizer = byte_pieces(folder)
    text = VISION | {
        "vocab_size": len(tokenizer), "max_position_embeddings": 24, "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    config = CLIPConfig(
        text_config=text, vision_config=VISION | {"image_size": SIDE, "patch_size": 8}, projection_dim=DIM
    )
    seeded(lambda: CLIPModel(config), seed).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)
    return folder


def siglip(folder: Path) -> Path:
    """A SigLIP 2 as most of them are published (model_type siglip): squashed to a square."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    tokenizer = many_languages(folder)
    text = VISION | {"vocab_size": len(tokenizer), "max_position_embeddings": 24, "projection_size": 32}
    config = SiglipConfig(text_config=text, vision_config=VISION | {"image_size": SIDE, "patch_size": 8})
    seeded(lambda: _biased(SiglipModel(config))).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def siglip2(folder: Path) -> Path:
    """A SigLIP 2 of the flexible form: images keep their aspect, as up to 16 patches of 8 pixels."""
    from transformers import Siglip2Config, Siglip2Model
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

    tokenizer = many_languages(folder)
    text = VISION | {"vocab_size": len(tokenizer), "max_position_embeddings": 24, "projection_size": 32}
    config = Siglip2Config(text_config=text, vision_config=VISION | {"num_patches": 16, "patch_size": 8})
    seeded(lambda: _biased(Siglip2Model(config))).save_pretrained(folder)
    Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return folder


def _biased(model: Any) -> Any:
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(-3.0)
    return model


def align(folder: Path) -> Path:
    """An ALIGN: an EfficientNet beside a BERT."""
    from transformers import AlignConfig, AlignModel, EfficientNetImageProcessorPil

    tokenizer = word_pieces(folder)
    text = VISION | {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    vision = {
        "image_size": SIDE, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 64,
        "in_channels": [16, 16], "out_channels": [16, 24], "kernel_sizes": [3, 3],
        "strides": [1, 2], "num_block_repeats": [1, 1], "expand_ratios": [1, 2], "depthwise_padding": [],
    }  # fmt: skip
    config = AlignConfig(text_config=text, vision_config=vision, projection_dim=8, temperature_init_value=0.1)
    seeded(lambda: AlignModel(config)).save_pretrained(folder)
    EfficientNetImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, rescale_factor=1 / 127.5, rescale_offset=True, do_normalize=False,
        include_top=False, resample=2,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def flava(folder: Path) -> Path:
    """A FLAVA; its part for both kinds at once is there and is not used."""
    from transformers import FlavaConfig, FlavaImageProcessorPil, FlavaModel

    tokenizer = word_pieces(folder)
    config = FlavaConfig(
        image_config=VISION | {"image_size": SIDE, "patch_size": 8},
        text_config=VISION | {"vocab_size": len(tokenizer), "max_position_embeddings": 64},
        multimodal_config=VISION, image_codebook_config={"hidden_size": 8, "num_groups": 1}, projection_dim=DIM,
    )  # fmt: skip
    seeded(lambda: FlavaModel(config)).save_pretrained(folder)
    FlavaImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)
    return folder


BUILDERS = {"clip": clip, "siglip": siglip, "siglip2": siglip2, "align": align, "flava": flava}
