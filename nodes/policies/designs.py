"""Models as plain data: what each layer is, without torch.

`nodes.learn.models` builds them, `testbed.experiment.footprint` counts their memory: both from these lines. A model is
a run of named layers, and can be cut after any of them; a block with a way around it is one layer, as a cut within
would sever two paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Conv:
    """Convolution padded by half its kernel, batch norm (unless ``norm`` is off), then ``relu`` or ``hswish``.

    Over time or over an image, as its input has it; so are the poolings.
    """

    out: int
    kernel: int = 3
    norm: bool = True
    bias: bool = True
    act: str = "relu"


@dataclass(frozen=True)
class MaxPool:
    """Largest of each 2 x 2 (or 2 in time); an odd last row or column is pooled by itself."""


@dataclass(frozen=True)
class MeanPool:
    """Mean of each channel."""


@dataclass(frozen=True)
class Linear:
    """Fully connected; ``out`` 0 stands for the number of classes."""

    out: int = 0
    act: str = ""


@dataclass(frozen=True)
class Residual:
    """Two 3 x 3 convolutions and a way around them; where shapes change, that way is a 1 x 1 convolution."""

    out: int
    stride: int = 1


@dataclass(frozen=True)
class Neck:
    """Inverted residual: widen (unless it is as wide already), convolve each channel alone, squeeze and excite, narrow.

    Its input goes around it where the shape is the same.
    """

    wide: int
    out: int
    kernel: int
    stride: int = 1
    excite: bool = True
    act: str = "hswish"

    @property
    def squeezed(self) -> int:
        """Channels of squeeze and excite: a quarter, to a multiple of 8, and not below nine tenths of it."""
        quarter = self.wide // 4
        rounded = max(8, (quarter + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * quarter else rounded


@dataclass(frozen=True)
class Embed:
    """Tokens to vectors of ``width``: one learnt for each word, and one for each place, added."""

    width: int
    words: int


@dataclass(frozen=True)
class Encoder:
    """Self-attention of some heads, then two linear layers with ReLU between.

    Both have their norm before them and a way around them. Tokens that fill up a short text take part as others do:
    where they are would have to cross the cut as well.
    """

    heads: int
    wide: int


@dataclass(frozen=True)
class MeanToken:
    """Norm, then the mean over the places of a sequence."""


Layer: TypeAlias = Conv | MaxPool | MeanPool | Linear | Residual | Neck | Embed | Encoder | MeanToken


def after(layer: Layer, shape: Shape, classes: int) -> Shape:
    """Shape of one sample behind a layer, given its shape before it."""
    match layer:
        case Conv():
            return (layer.out, *shape[1:])
        case MaxPool():
            return (shape[0], *(-(-n // 2) for n in shape[1:]))
        case MeanPool():
            return (shape[0], *(1 for _ in shape[1:]))
        case Linear():
            return (layer.out or classes,)
        case Embed():
            return (*shape, layer.width)
        case Encoder():
            return shape
        case MeanToken():
            return shape[1:]
        case _:
            return (layer.out, *(-(-n // layer.stride) for n in shape[1:]))


VGG5: Mapping[str, Layer] = {
    "conv1": Conv(32),
    "pool1": MaxPool(),
    "conv2": Conv(64),
    "pool2": MaxPool(),
    "conv3": Conv(64),
    "fc1": Linear(128),  # no ReLU between the two, as FedFly has it
    "fc2": Linear(),
}

CNN: Mapping[str, Layer] = {
    "conv1": Conv(16, norm=False),
    "pool1": MaxPool(),
    "conv2": Conv(24, norm=False),
    "pool2": MaxPool(),
    "fc": Linear(),
}

VGG11: Mapping[str, Layer] = {
    "conv1": Conv(64),
    "pool1": MaxPool(),
    "conv2": Conv(128),
    "pool2": MaxPool(),
    "conv3": Conv(256),
    "conv4": Conv(256),
    "pool3": MaxPool(),
    "conv5": Conv(512),
    "conv6": Conv(512),
    "pool4": MaxPool(),
    "conv7": Conv(512),
    "conv8": Conv(512),
    "pool5": MaxPool(),
    "fc1": Linear(512, act="relu"),
    "fc2": Linear(512, act="relu"),
    "fc3": Linear(),
}

RESNET18: Mapping[str, Layer] = {
    "conv1": Conv(64, bias=False),
    "block1": Residual(64),
    "block2": Residual(64),
    "block3": Residual(128, stride=2),
    "block4": Residual(128),
    "block5": Residual(256, stride=2),
    "block6": Residual(256),
    "block7": Residual(512, stride=2),
    "block8": Residual(512),
    "pool": MeanPool(),
    "fc": Linear(),
}

MOBILENETV3_SMALL: Mapping[str, Layer] = {
    "conv1": Conv(16, bias=False, act="hswish"),
    "neck1": Neck(16, 16, 3, act="relu"),
    "neck2": Neck(72, 24, 3, stride=2, excite=False, act="relu"),
    "neck3": Neck(88, 24, 3, excite=False, act="relu"),
    "neck4": Neck(96, 40, 5, stride=2),
    "neck5": Neck(240, 40, 5),
    "neck6": Neck(240, 40, 5),
    "neck7": Neck(120, 48, 5),
    "neck8": Neck(144, 48, 5),
    "neck9": Neck(288, 96, 5, stride=2),
    "neck10": Neck(576, 96, 5),
    "neck11": Neck(576, 96, 5),
    "conv2": Conv(576, kernel=1, bias=False, act="hswish"),
    "pool": MeanPool(),
    "fc1": Linear(1024, act="hswish"),
    "fc2": Linear(),
}

MLP: Mapping[str, Layer] = {
    "fc1": Linear(256, act="relu"),
    "fc2": Linear(256, act="relu"),
    "fc3": Linear(128, act="relu"),
    "fc4": Linear(),
}

CNN1D: Mapping[str, Layer] = {
    "conv1": Conv(32, kernel=5),
    "pool1": MaxPool(),
    "conv2": Conv(64, kernel=5),
    "pool2": MaxPool(),
    "conv3": Conv(96),
    "pool": MeanPool(),
    "fc": Linear(),
}

WORDS = 1024
"""Words that a text model knows, the filling and the unknown word among them."""

TRANSFORMER: Mapping[str, Layer] = {
    "embed": Embed(64, WORDS),
    "block1": Encoder(heads=4, wide=128),
    "block2": Encoder(heads=4, wide=128),
    "block3": Encoder(heads=4, wide=128),
    "pool": MeanToken(),
    "fc": Linear(),
}

DESIGNS: Mapping[str, Mapping[str, Layer]] = {
    "vgg5": VGG5,
    "cnn": CNN,
    "vgg11": VGG11,
    "resnet18": RESNET18,
    "mobilenetv3-small": MOBILENETV3_SMALL,
    "mlp": MLP,
    "cnn1d": CNN1D,
    "transformer": TRANSFORMER,
}
"""Model name to its layers, in order.

``vgg5`` is FedFly's (Ullah et al., 2022). ``vgg11`` is configuration A of Simonyan and Zisserman (2015) with batch
norm, and fully connected layers of 512 as usual for 32 x 32. ``resnet18`` is He et al.'s (2016) with a 3 x 3 stem and
no first pooling, as usual for 32 x 32. ``mobilenetv3-small`` is Howard et al.'s (2019), with a stride of 1 in the stem
and the first block, so that 32 x 32 come down to 4 x 4. Dropout is left out everywhere: nothing random happens in a
training step.

``mlp``, ``cnn1d`` and ``transformer`` are our own, of the usual kinds: fully connected layers (images and windows are
flattened), convolutions over time, and an encoder (Vaswani et al., 2017) with its norms before the sublayers (Xiong et
al., 2020), which trains without a warm-up.
"""

IMAGE, WINDOW, FEATURES, TOKENS = "image", "window", "features", "tokens"

USUAL: Mapping[str, Shape] = {IMAGE: (3, 32, 32), WINDOW: (3, 128), FEATURES: (43,), TOKENS: (32,)}
"""Kind of samples to the shape that those of the data sets have."""

TAKES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(DESIGNS, (IMAGE,)),
    "mlp": (FEATURES, WINDOW, IMAGE),
    "cnn1d": (WINDOW,),
    "transformer": (TOKENS,),
}
"""Model name to the kinds of samples that it takes, the usual one first."""
