"""Names and shapes of the variables in the released TensorFlow checkpoints."""

from collections.abc import Iterator

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def conv(scope: str, kernel: int, in_channels: int, out_channels: int) -> Shapes:
    yield f"{scope}/weights", (kernel, kernel, in_channels, out_channels)
    yield from norm(scope, out_channels)


def depthwise(scope: str, channels: int) -> Shapes:
    yield f"{scope}/depthwise_weights", (3, 3, channels, 1)
    yield from norm(scope, channels)


def norm(scope: str, channels: int) -> Shapes:
    for name in ("beta", "gamma", "moving_mean", "moving_variance"):
        yield f"{scope}/BatchNorm/{name}", (channels,)


def separable_conv(scope: str, in_channels: int, out_channels: int) -> Shapes:
    yield from depthwise(f"{scope}_depthwise", in_channels)
    yield from conv(f"{scope}_pointwise", 1, in_channels, out_channels)


def xception(depth: int) -> Shapes:
    top = f"xception_{depth}"
    yield from conv(f"{top}/entry_flow/conv1_1", 3, 3, 32)
    yield from conv(f"{top}/entry_flow/conv1_2", 3, 32, 64)
    entry = [128, 256, 256, 728, 728] if depth == 71 else [128, 256, 728]
    blocks = [(f"entry_flow/block{i}/unit_1", (c, c, c), True) for i, c in enumerate(entry, 1)]
    for unit in range(1, (8 if depth == 41 else 16) + 1):
        blocks.append((f"middle_flow/block1/unit_{unit}", (728, 728, 728), False))
    blocks.append(("exit_flow/block1/unit_1", (728, 1024, 1024), True))
    blocks.append(("exit_flow/block2/unit_1", (1536, 1536, 2048), False))
    in_channels = 64
    for block, channels, shortcut in blocks:
        scope = f"{top}/{block}/xception_module"
        previous = in_channels
        for i, out_channels in enumerate(channels, 1):
            yield from separable_conv(f"{scope}/separable_conv{i}", previous, out_channels)
            previous = out_channels
        if shortcut:
            yield from conv(f"{scope}/shortcut", 1, in_channels, channels[-1])
        in_channels = channels[-1]


def resnet(depth: int, *, beta: bool) -> Shapes:
    top = f"resnet_v1_{depth}"
    if beta:
        yield from conv(f"{top}/conv1_1", 3, 3, 64)
        yield from conv(f"{top}/conv1_2", 3, 64, 64)
        yield from conv(f"{top}/conv1_3", 3, 64, 128)
    else:
        yield from conv(f"{top}/conv1", 7, 3, 64)
    in_channels = 128 if beta else 64
    for block, units in enumerate((3, 4, {50: 6, 101: 23}[depth], 3), 1):
        width = 32 * 2**block
        for unit in range(1, units + 1):
            scope = f"{top}/block{block}/unit_{unit}/bottleneck_v1"
            if unit == 1:
                yield from conv(f"{scope}/shortcut", 1, in_channels, 4 * width)
            yield from conv(f"{scope}/conv1", 1, in_channels, width)
            yield from conv(f"{scope}/conv2", 3, width, width)
            yield from conv(f"{scope}/conv3", 1, width, 4 * width)
            in_channels = 4 * width


def mobilenetv2(half: bool = False) -> Shapes:
    top, divisor = "MobilenetV2", 2 if half else 1
    yield from conv(f"{top}/Conv", 3, 3, 32 // divisor)
    in_channels = 32 // divisor
    rows = [(1, 16), (6, 24), (6, 24), *[(6, 32)] * 3, *[(6, 64)] * 4, *[(6, 96)] * 3]
    for i, (expansion, out_channels) in enumerate([*rows, *[(6, 160)] * 3, (6, 320)]):
        scope = f"{top}/expanded_conv" + (f"_{i}" if i else "")
        hidden = expansion * in_channels
        if expansion > 1:
            yield from conv(f"{scope}/expand", 1, in_channels, hidden)
        yield from depthwise(f"{scope}/depthwise", hidden)
        yield from conv(f"{scope}/project", 1, hidden, out_channels // divisor)
        in_channels = out_channels // divisor


def head(
    in_channels: int,
    *,
    low_level: int = 0,
    separable: bool = False,
    atrous: bool = True,
    pooling: bool = True,
    classes: int = 21,
) -> Shapes:
    def conv3x3(scope: str, channels: int) -> Shapes:
        if separable:
            return separable_conv(scope, channels, 256)
        return conv(scope, 3, channels, 256)

    if pooling:
        yield from conv("image_pooling", 1, in_channels, 256)
    yield from conv("aspp0", 1, in_channels, 256)
    for i in (1, 2, 3) if atrous else ():
        yield from conv3x3(f"aspp{i}", in_channels)
    yield from conv("concat_projection", 1, 256 * (1 + 3 * atrous + pooling), 256)
    if low_level:
        yield from conv("decoder/feature_projection0", 1, low_level, 48)
        yield from conv3x3("decoder/decoder_conv0", 304)
        yield from conv3x3("decoder/decoder_conv1", 256)
    yield "logits/semantic/weights", (1, 1, 256, classes)
    yield "logits/semantic/biases", (classes,)
