"""Xception-65 with ASPP and decoder, all separable, as TensorFlow operations on the variables of a
checkpoint: a second implementation, written down layer by layer at output stride 16."""

import numpy as np
import tensorflow as tf

BODY, HEAD = 1e-3, 1e-5
"""Epsilon of the batch norms."""


def logits(variables, image):
    """uint8 image (H, W, 3) to logits (h, w, classes) on the decoder's grid."""
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
            x = self.separable_after(x, f"{scope}/separable_conv{i}", rate=2, eps=BODY)
        return self.aspp(x), low_level

    def module(self, x, scope, *, stride=1, skip="conv"):
        scope, y, tap = f"{scope}/xception_module", x, None
        for i in (1, 2, 3):
            inner = f"{scope}/separable_conv{i}"
            y = self.conv(tf.nn.relu(y), f"{inner}_depthwise", stride=stride if i == 3 else 1)
            y = self.conv(y, f"{inner}_pointwise")
            tap = y if i == 2 else tap
        if skip == "sum":
            return y + x, tap
        return y + self.conv(x, f"{scope}/shortcut", stride=stride), tap

    def aspp(self, x):
        side = x.shape[1:3]
        pooled = self.relu_head(tf.reduce_mean(x, [1, 2], keepdims=True), "image_pooling")
        branches = [tf.tile(pooled, [1, *side, 1]), self.relu_head(x, "aspp0")]
        for i, rate in enumerate((6, 12, 18), 1):
            branches.append(self.separable_after(x, f"aspp{i}", rate=rate, eps=HEAD))
        return self.relu_head(tf.concat(branches, 3), "concat_projection")

    def decoder(self, encoded, low_level):
        size = low_level.shape[1:3]
        encoded = tf.compat.v1.image.resize_bilinear(encoded, size, align_corners=True)
        x = tf.concat([encoded, self.relu_head(low_level, "decoder/feature_projection0")], 3)
        for i in (0, 1):
            x = self.separable_after(x, f"decoder/decoder_conv{i}", rate=1, eps=HEAD)
        weights, biases = self.v["logits/semantic/weights"], self.v["logits/semantic/biases"]
        return tf.nn.conv2d(x, weights, 1, "VALID") + biases

    def separable_after(self, x, scope, *, rate, eps):
        x = tf.nn.relu(self.conv(x, f"{scope}_depthwise", rate=rate, eps=eps))
        return tf.nn.relu(self.conv(x, f"{scope}_pointwise", eps=eps))

    def relu_head(self, x, scope):
        return tf.nn.relu(self.conv(x, scope, eps=HEAD))

    def conv(self, x, scope, *, stride=1, rate=1, eps=BODY):
        """Padded by hand, as the authors' code does where it strides, and its batch norm."""
        depthwise = f"{scope}/depthwise_weights" in self.v
        weights = self.v[f"{scope}/{'depthwise_weights' if depthwise else 'weights'}"]
        pad = rate * (weights.shape[0] - 1) // 2
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        if depthwise:
            strides = [1, stride, stride, 1]
            x = tf.nn.depthwise_conv2d(x, weights, strides, "VALID", dilations=[rate, rate])
        else:
            x = tf.nn.conv2d(x, weights, stride, "VALID", dilations=rate)
        gamma, beta, mean, variance = (
            self.v[f"{scope}/BatchNorm/{name}"]
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, eps)
