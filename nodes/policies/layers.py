"""Names of each model's layers, in order: all that a cut needs to know, without torch."""

from __future__ import annotations

LAYERS: dict[str, tuple[str, ...]] = {
    "vgg5": ("conv1", "pool1", "conv2", "pool2", "conv3", "fc1", "fc2"),
    "cnn": ("conv1", "pool1", "conv2", "pool2", "fc"),
}
"""Model name to layer names. A cut of ``k`` leaves the first ``k`` layers on the device."""
