import itertools

import pytest
import torch
from torch.nn import functional as F

from deeplab.inference import predictor as predictor_module
from deeplab.inference.predictor import Predictor, fold_batch_norms, predict_labels
from deeplab.inference.strategy import MULTI_SCALE, Strategy, Window
from deeplab.inference.windows import window_spans
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


def test_more_classes_than_a_label_map_has_values_are_refused():
    Predictor(tiny_model(num_classes=255), [Strategy(16)])
    with pytest.raises(ValueError, match="256 classes do not fit"):
        Predictor(tiny_model(num_classes=256), [Strategy(16)])


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
def test_windows_cover_a_side_and_blend_without_steps(length, overlap):
    spans = window_spans(length, Window(65, overlap))
    side, total = min(65, length), torch.zeros(length)
    for span in spans:
        assert (span.end - span.start, len(span.weights)) == (side, side)
        total[span.start : span.end] += span.weights
        if overlap == 0.33 and len(spans) > 1:
            inner = span.weights[int(span.start == 0) : side - int(span.end == length)]
            assert inner.diff().abs().max() < 0.1
    torch.testing.assert_close(total, torch.ones(length))
    assert (spans[0].start, spans[-1].end) == (0, length)
    for span, following in itertools.pairwise(spans):
        assert span.start < following.start
        assert span.end - following.start >= int(side * overlap) - 1


def test_image_that_fits_a_window_is_predicted_whole():
    model, image = randomized(tiny_model()), smooth_image(65, 60)
    whole = full_probabilities(Predictor(model, [Strategy(16)]), image, (65, 60))
    windowed = full_probabilities(
        Predictor(model, [Strategy(16, window=Window(65, 0.3))]), image, (65, 60)
    )
    assert torch.equal(whole, windowed)


def blended_reference(model, image, positions, side, scales):
    """Average whole windows at full size in float64, with pyramids as weights."""
    height, width = image.shape[2:]
    total = torch.zeros(model.num_classes, height, width, dtype=torch.float64)
    norm = torch.zeros(height, width, dtype=torch.float64)
    ramp = torch.tensor([min(i + 1, side - i) for i in range(side)], dtype=torch.float64)
    for top, left in itertools.product(*positions):
        place = (..., slice(top, top + side), slice(left, left + side))
        scores = reference_probabilities(model, image[place], scales, False, 4)[0]
        total[place] += scores * ramp[:, None] * ramp
        norm[place] += ramp[:, None] * ramp
    return total / norm


@pytest.mark.parametrize("batch_pixels", [1, 3 * 97 * 97])
@pytest.mark.parametrize(
    ("overlap", "rows", "columns"),
    [(0.33, [0, 53], [0, 44, 89]), (0.7, [0, 26, 53], [0, 22, 44, 67, 89])],
)
def test_windows_equal_the_mean_of_whole_windows(overlap, rows, columns, batch_pixels, monkeypatch):
    monkeypatch.setattr(predictor_module, "CPU_BATCH_PIXELS", batch_pixels)
    model, image = randomized(tiny_model()), smooth_image(150, 186)
    strategies = [Strategy(16, s, window=Window(97, overlap)) for s in ((1.0,), (0.75, 1.0))]
    predictor = Predictor(model, strategies)
    probabilities = full_probabilities(predictor, image, (150, 170))
    label_maps = predictor.label_maps(image, [(150, 170)])[0]
    for strategy, label_map, scores in zip(strategies, label_maps, probabilities, strict=True):
        with torch.no_grad():
            expected = blended_reference(model, image, (rows, columns), 97, strategy.scales)
        torch.testing.assert_close(scores.double(), expected[..., :170], atol=2e-5, rtol=0)
        assert torch.equal(label_map.long(), scores.argmax(0))


def test_windows_keep_no_map_of_all_classes():
    """The peak of the tensors of a strip, a long side, is far below its probabilities."""
    model, image = randomized(tiny_model(num_classes=60)), smooth_image(70, 4000)
    predictor = Predictor(model, [Strategy(16, window=Window(65, 0.33))])
    largest = max(chunk.nbytes for _, chunk in predictor.probabilities(image, (70, 4000)))
    assert largest * 4 < 60 * 70 * 4000 * 4
