"""The same UNet++ in PyTorch, with the weights of a Keras one: what the benchmarks compare with."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Twice (conv 3x3, batch normalisation, LeakyReLU 0.01), then dropout: (B, any, h, w) -> (B, filters, h, w)."""

    def __init__(self, inputs: int, filters: int, dropout: float, inner: bool):
        super().__init__()
        self.conv_a = nn.Conv2d(inputs, filters, 3, padding=1)
        self.conv_b = nn.Conv2d(filters, filters, 3, padding=1)
        # Keras: momentum 0.99 of the old, epsilon 1e-3.
        self.norm_a, self.norm_b = (nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01) for _ in "ab")
        self.drop_a = nn.Dropout(dropout if inner else 0.0)
        self.drop_b = nn.Dropout(dropout)

    def forward(self, x):
        """See the class."""
        x = self.drop_a(functional.leaky_relu(self.norm_a(self.conv_a(x)), 0.01))
        return self.drop_b(functional.leaky_relu(self.norm_b(self.conv_b(x)), 0.01))


class TorchUNetPP(nn.Module):
    """UNet++ as `unetpp.UNetPP`, images (B, channels, H, W) to the deepest head's logits (B, classes, H, W)."""

    def __init__(self, channels: int, num_classes: int, filters, dropout: float = 0.2):
        super().__init__()
        self.depth = len(filters)
        self.blocks, self.ups = nn.ModuleDict(), nn.ModuleDict()
        widths = {}
        for i, width in enumerate(filters):
            below = channels if i == 0 else filters[i - 1]
            self.blocks[f"{i}_0"] = Block(below, width, dropout, i < self.depth - 1)
            widths[i, 0] = width
        for i, j in self.nodes():
            width = filters[i] if j == self.depth - 1 - i else filters[0]
            skips = sum(widths[i, k] for k in range(j))
            self.ups[f"{i}_{j}"] = nn.ConvTranspose2d(widths[i + 1, j - 1], width, 2, stride=2)
            self.blocks[f"{i}_{j}"] = Block(width + skips, width, dropout, inner=False)
            widths[i, j] = width
        self.head = nn.Conv2d(widths[0, self.depth - 1], num_classes, 1)

    def nodes(self):
        """The grid's nodes (i, j) beyond the encoder, each after all that it needs."""
        return [(i, j) for j in range(1, self.depth) for i in range(self.depth - j)]

    def forward(self, images):
        """See the class."""
        x = {}
        for i in range(self.depth):
            below = images if i == 0 else functional.max_pool2d(x[i - 1, 0], 2)
            x[i, 0] = self.blocks[f"{i}_0"](below)
        for i, j in self.nodes():
            raised = self.ups[f"{i}_{j}"](x[i + 1, j - 1])
            x[i, j] = self.blocks[f"{i}_{j}"](torch.cat([raised, *(x[i, k] for k in range(j))], 1))
        return self.head(x[0, self.depth - 1])


def carry_over(keras_model, model: TorchUNetPP) -> None:
    """Copy the weights of a Keras `UNetPP` with transposed upsampling and batch normalisation."""

    def set_weights(layer, module):
        values = [torch.from_numpy(np.array(value)) for value in keras_model.get_layer(layer).get_weights()]
        if isinstance(module, nn.BatchNorm2d):
            names = ("weight", "bias", "running_mean", "running_var")
        else:
            names = ("weight", "bias")
            # (h, w, in, out) -> (out, in, h, w), and transposed (h, w, out, in) -> (in, out, h, w).
            values[0] = values[0].permute(3, 2, 0, 1)
        for name, value in zip(names, values, strict=True):
            getattr(module, name).data.copy_(value)

    for place, block in model.blocks.items():
        for half in "ab":
            set_weights(f"x_{place}_conv_{half}", getattr(block, f"conv_{half}"))
            set_weights(f"x_{place}_norm_{half}", getattr(block, f"norm_{half}"))
    for place, module in model.ups.items():
        set_weights(f"x_{place}_up", module)
    set_weights(f"head_{model.depth - 1}", model.head)
