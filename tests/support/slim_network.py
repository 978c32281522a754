"""Xception-65 with separable ASPP and decoder as TensorFlow operations.

It is a second implementation, which applies the variables of a checkpoint layer by layer at output
stride 16.
"""

import numpy as np
import tensorflow as tf

BACKBONE_EPS, HEAD_EPS = 1e-3, 1e-5
"""Epsilon of the batch norms in the backbone and after it."""


def logits(variables, image):
    """Return logits (h, w, classes) on the decoder's grid for a uint8 image (H, W, 3)."""
    net = _Net(variables)
    x = tf.constant(image[None].astype(np.float32)) * (2 / 255) - 1
    encoded, low_level = net.encoder(x)
    return net.decoder(encoded, low_level)[0].numpy()


class _Net:
    def __init__(self, variables):
        self.v = variables

    def encoder(self, x):
        top = "xception_65"
        x = tf.nn.relu(self.conv(x, f"{top}/entry_flow/conv1_1", stride=2))
        x = tf.nn.relu(self.conv(x, f"{top}/entry_flow/conv1_2"))
        x, _ = self.module(x, f"{top}/entry_flow/block1/unit_1", stride=2)
        x, low_level = self.module(x, f"{top}/entry_flow/block2/unit_1", stride=2)
        x, _ = self.module(x, f"{top}/entry_flow/block3/unit_1", stride=2)
        for unit in range(1, 17):
            x, _ = self.module(x, f"{top}/middle_flow/block1/unit_{unit}", skip="sum")
        x, _ = self.module(x, f"{top}/exit_flow/block1/unit_1")
        scope = f"{top}/exit_flow/block2/unit_1/xception_module"
        for i in (1, 2, 3):
            x = self.separable_relu(x, f"{scope}/separable_conv{i}", dilation=2, eps=BACKBONE_EPS)
        return self.aspp(x), low_level

    def module(self, x, scope, *, stride=1, skip="conv"):
        scope, y, low_level = f"{scope}/xception_module", x, None
        for i in (1, 2, 3):
            inner = f"{scope}/separable_conv{i}"
            y = self.conv(tf.nn.relu(y), f"{inner}_depthwise", stride=stride if i == 3 else 1)
            y = self.conv(y, f"{inner}_pointwise")
            low_level = y if i == 2 else low_level
        if skip == "sum":
            return y + x, low_level
        return y + self.conv(x, f"{scope}/shortcut", stride=stride), low_level

    def aspp(self, x):
        size = x.shape[1:3]
        pooled = self.relu_head(tf.reduce_mean(x, [1, 2], keepdims=True), "image_pooling")
        branches = [tf.tile(pooled, [1, *size, 1]), self.relu_head(x, "aspp0")]
        for i, dilation in enumerate((6, 12, 18), 1):
            branches.append(self.separable_relu(x, f"aspp{i}", dilation=dilation, eps=HEAD_EPS))
        return self.relu_head(tf.concat(branches, 3), "concat_projection")

    def decoder(self, encoded, low_level):
        size = low_level.shape[1:3]
        encoded = tf.compat.v1.image.resize_bilinear(encoded, size, align_corners=True)
        x = tf.concat([encoded, self.relu_head(low_level, "decoder/feature_projection0")], 3)
        for i in (0, 1):
            x = self.separable_relu(x, f"decoder/decoder_conv{i}", dilation=1, eps=HEAD_EPS)
        weights, biases = self.v["logits/semantic/weights"], self.v["logits/semantic/biases"]
        return tf.nn.conv2d(x, weights, 1, "VALID") + biases

    def separable_relu(self, x, scope, *, dilation, eps):
        x = tf.nn.relu(self.conv(x, f"{scope}_depthwise", dilation=dilation, eps=eps))
        return tf.nn.relu(self.conv(x, f"{scope}_pointwise", eps=eps))

    def relu_head(self, x, scope):
        return tf.nn.relu(self.conv(x, scope, eps=HEAD_EPS))

    def conv(self, x, scope, *, stride=1, dilation=1, eps=BACKBONE_EPS):
        """Apply a convolution and its batch norm.

        The padding is explicit, as in the authors' code for strided convolutions.
        """
        depthwise = f"{scope}/depthwise_weights" in self.v
        weights = self.v[f"{scope}/{'depthwise_weights' if depthwise else 'weights'}"]
        pad = dilation * (weights.shape[0] - 1) // 2
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        if depthwise:
            strides = [1, stride, stride, 1]
            x = tf.nn.depthwise_conv2d(x, weights, strides, "VALID", dilations=[dilation, dilation])
        else:
            x = tf.nn.conv2d(x, weights, stride, "VALID", dilations=dilation)
        gamma, beta, mean, variance = (
            self.v[f"{scope}/BatchNorm/{name}"]
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, eps)
