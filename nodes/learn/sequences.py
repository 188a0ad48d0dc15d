"""Layers for sequences of tokens: embedding, encoder block and mean, of plain operations that cut to the bit."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nodes.policies.designs import Embed, Encoder


class Embedding(nn.Module):
    """Tokens to vectors; one of each word and one of each place, added."""

    def __init__(self, length: int, design: Embed) -> None:
        super().__init__()
        # Not `nn.Embedding(...)`: to initialise that on the meta device, in vain, torch imports its compiler (0.7 s).
        words = torch.empty(design.words, design.width)
        self.words = nn.Embedding.from_pretrained(words, freeze=False)  # type: ignore[no-untyped-call]
        self.places = nn.Parameter(torch.empty(length, design.width))

    def forward(self, x: Tensor) -> Tensor:
        """N x T of int64 to N x T x width; there is no gradient of ``x``."""
        result: Tensor = self.words(x) + self.places
        return result

    def initialise(self, generator: torch.Generator) -> None:
        """Words far apart and places near each other: which words there are counts from the first step on."""
        self.words.weight.normal_(0.0, 0.7, generator=generator)
        self.places.normal_(0.0, 0.1, generator=generator)


class EncoderBlock(nn.Module):
    """A block of the encoder of Vaswani et al. (2017), with the norms before the sublayers (Xiong et al., 2020)."""

    def __init__(self, width: int, design: Encoder) -> None:
        super().__init__()
        self.heads = design.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.widen = nn.Linear(width, design.wide)
        self.act = nn.ReLU()
        self.narrow = nn.Linear(design.wide, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, N x T x width."""
        x = x + self._attention(self.norm1(x))
        result: Tensor = x + self.narrow(self.act(self.widen(self.norm2(x))))
        return result

    def _attention(self, x: Tensor) -> Tensor:
        # Written out: the fused kernel of torch chooses its blocks by the machine.
        samples, length, width = x.shape
        parts = self.attend(x).view(samples, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        scores = (queries * math.sqrt(self.heads / width)) @ keys.transpose(-2, -1)
        joined: Tensor = self.join((scores.softmax(-1) @ values).transpose(1, 2).flatten(2))
        return joined

    def initialise(self, generator: torch.Generator) -> None:
        """Normal of variance 1 / inputs, so that a sublayer neither swells nor damps; no bias."""
        for linear in (self.attend, self.join, self.widen, self.narrow):
            linear.weight.normal_(0.0, 1 / math.sqrt(linear.in_features), generator=generator)
            linear.bias.zero_()
        for norm in (self.norm1, self.norm2):
            norm.reset_parameters()


class TokenMean(nn.Module):
    """Norm, then the mean over all places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """N x T x width to N x width."""
        result: Tensor = self.norm(x).mean(1)
        return result

    def initialise(self, generator: torch.Generator) -> None:
        """As torch has it: nothing is drawn."""
        self.norm.reset_parameters()
