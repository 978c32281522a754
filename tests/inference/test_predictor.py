import itertools

import pytest
import torch
from torch.nn import functional as F

from deeplab.inference.predictor import Predictor, fold_batch_norms, predict_labels
from deeplab.inference.strategy import MULTI_SCALE, Strategy, Window
from deeplab.inference.windows import blend_windows, window_positions
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.layers import batch_norms
from support.networks import SMALL_BACKBONES, build, randomize_norms, tiny_model


def randomized(model: DeepLabV3Plus) -> DeepLabV3Plus:
    """Randomize batch norms and logit weights, and set evaluation mode."""
    torch.manual_seed(0)
    randomize_norms(model)
    model.logits.weight.data.normal_(0, 0.3)
    return model.eval()


def smooth_image(height, width, count=1):
    """Draw random images without sharp edges."""
    torch.manual_seed(1)
    small = torch.rand(count, 3, 6, 7) * 255
    return F.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 255).to(torch.uint8)


def reference_probabilities(model, image, scales, flip, stride):
    """Compute the authors' evaluation directly: one pass at a time, at full size."""
    height, width = image.shape[2:]
    total = torch.zeros(1, model.num_classes, height, width, dtype=torch.float64)
    for scale in scales:
        for mirror in (False, True)[: 1 + flip]:
            sides = [int((n - 1) * scale + 1) for n in (height, width)]
            scaled = F.interpolate(image.float(), size=sides, mode="bilinear", align_corners=True)
            logits = model(scaled.flip(3) if mirror else scaled)
            logits = logits.flip(3) if mirror else logits
            for size in (
                [int((n - 1) * max(1.0, scale) / stride + 1) for n in (height, width)],
                (height, width),
            ):
                logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
            total += logits.double().softmax(1)
    return total / len(scales) / (1 + flip)


def full_probabilities(predictor, image, size):
    return torch.cat([chunk for _, chunk in predictor.probabilities(image, size)], dim=2)


def test_predict_labels_is_the_argmax_of_upsampled_logits():
    model = tiny_model().eval()
    images = torch.randint(0, 256, (3, 3, 65, 50), dtype=torch.uint8)
    labels = predict_labels(model, images)
    upsampled = F.interpolate(model(images), size=(65, 50), mode="bilinear", align_corners=True)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), upsampled.argmax(dim=1))


@pytest.mark.parametrize("backbone", SMALL_BACKBONES)
def test_folding_batch_norms_keeps_the_logits(backbone):
    model = randomized(build(SMALL_BACKBONES[backbone](), channels=16))
    folded = fold_batch_norms(model)
    assert not list(batch_norms(folded))
    assert list(batch_norms(model))
    image = smooth_image(97, 65)
    with torch.no_grad():
        torch.testing.assert_close(folded(image), model(image), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(65, 97), (70, 81)])
def test_multi_scale_and_flip_equal_the_authors_evaluation(naive, output_stride, size):
    model = randomized(tiny_model(naive=naive))
    model.set_output_stride(output_stride)
    image = smooth_image(*size)
    predictor = Predictor(model, [Strategy(output_stride, MULTI_SCALE, flip=True)])
    with torch.no_grad():
        stride = output_stride if naive else 4
        expected = reference_probabilities(model, image, MULTI_SCALE, True, stride)[0]
    probabilities = full_probabilities(predictor, image, size)[0]
    torch.testing.assert_close(probabilities.double(), expected, atol=2e-5, rtol=0)
    (labels,) = predictor.label_maps(image, [size])[0]
    assert (labels == expected.argmax(0)).float().mean() > 0.999


def test_several_strategies_equal_single_ones():
    model = randomized(tiny_model())
    strategies = [Strategy(16), Strategy(16, MULTI_SCALE), Strategy(16, MULTI_SCALE, flip=True)]
    strategies += [Strategy(8), Strategy(8, (1.5, 0.75)), Strategy(16, flip=True)]
    images, sizes = smooth_image(65, 81, count=2), [(65, 70), (50, 81)]
    joint = Predictor(model, strategies).label_maps(images, sizes)
    for i, strategy in enumerate(strategies):
        separate = Predictor(model, [strategy]).label_maps(images, sizes)
        for labels, (label,), (height, width) in zip(joint, separate, sizes, strict=True):
            assert label.shape == (height, width)
            assert torch.equal(labels[i], label)


def test_weights_trained_at_16_run_at_8_as_in_a_model_built_at_8():
    model, built_at_8 = randomized(tiny_model()), tiny_model()
    built_at_8.set_output_stride(8)
    built_at_8.load_state_dict(model.state_dict())
    image = smooth_image(65, 65)
    probabilities = full_probabilities(Predictor(model, [Strategy(8)]), image, (65, 65))[0]
    with torch.no_grad():
        logits = F.interpolate(
            built_at_8.eval()(image), size=(65, 65), mode="bilinear", align_corners=True
        )
    torch.testing.assert_close(probabilities, logits[0].softmax(0), atol=1e-5, rtol=0)


def test_predictor_does_not_change_the_model():
    model = randomized(tiny_model())
    before = {name: t.clone() for name, t in model.state_dict().items()}
    Predictor(model, [Strategy(8)]).label_maps(smooth_image(65, 65), [(65, 65)])
    assert model.output_stride == 16
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("length", [1, 64, 65, 66, 100, 128, 129, 700])
@pytest.mark.parametrize("overlap", [0.0, 0.33, 0.9])
def test_windows_cover_a_side(length, overlap):
    window = Window(65, overlap)
    positions = window_positions(length, window)
    side = min(65, length)
    covered = {pixel for position in positions for pixel in range(position, position + side)}
    assert covered == set(range(length))
    for position, next_position in itertools.pairwise(positions):
        assert position < next_position
        assert position + side - next_position >= int(side * overlap) - 1


@pytest.mark.parametrize("size", [(50, 65), (65, 200), (150, 65), (131, 207)])
def test_blending_identical_windows_returns_the_image(size):
    """The blending weights are normalized: a smooth image is returned without seams."""
    image = smooth_image(*size).float()
    chunks = dict(blend_windows(image, Window(65, 0.33), lambda crop: crop[0]))
    assert next(iter(chunks)) == 0
    torch.testing.assert_close(torch.cat(list(chunks.values()), dim=-2), image[0])


def test_blending_has_no_steps():
    """The transition between windows with different scores is smooth."""
    scores = iter([0.0, 1.0])
    image = torch.zeros(1, 3, 65, 97)
    window = Window(65, 0.5)
    assert window_positions(97, window) == [0, 32]
    chunks = blend_windows(image, window, lambda crop: torch.full((1, 65, 65), next(scores)))
    (chunk,) = [chunk for _, chunk in chunks]
    steps = chunk[0, 32].diff()
    assert steps.max() < 0.05
    assert (chunk[0, 32, 0], chunk[0, 32, -1]) == (0, 1)


def test_image_that_fits_a_window_is_predicted_whole():
    model, image = randomized(tiny_model()), smooth_image(65, 60)
    whole = full_probabilities(Predictor(model, [Strategy(16)]), image, (65, 60))
    windowed = full_probabilities(
        Predictor(model, [Strategy(16, window=Window(65, 0.3))]), image, (65, 60)
    )
    assert torch.equal(whole, windowed)


def test_windows_over_a_large_image():
    model, image = randomized(tiny_model()), smooth_image(130, 180)
    strategies = [Strategy(16, s, window=Window(97, 0.5)) for s in ((1.0,), (0.75, 1.0))]
    predictor = Predictor(model, strategies)
    probabilities = full_probabilities(predictor, image, (130, 170))
    assert probabilities.shape == (2, model.num_classes, 130, 170)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 130, 170))
    label_maps = predictor.label_maps(image, [(130, 170)])[0]
    for label_map, class_probabilities in zip(label_maps, probabilities, strict=True):
        assert torch.equal(label_map.long(), class_probabilities.argmax(0))
