import itertools

import pytest
import torch
from torch.nn import functional as F

from deeplab.inference.predictor import Predictor, fold_batch_norms, predict_labels
from deeplab.inference.strategy import MULTI_SCALE, Strategy, Window
from deeplab.inference.windows import blended, starts
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.models.layers import batch_norms
from support.networks import SMALL_BACKBONES, build, randomize_norms, tiny_model


def lively(model: DeepLabV3Plus) -> DeepLabV3Plus:
    """With batch norms as after training, and logits that differ."""
    torch.manual_seed(0)
    randomize_norms(model)
    model.logits.weight.data.normal_(0, 0.3)
    return model.eval()


def picture(height, width, count=1):
    """Something smooth."""
    torch.manual_seed(1)
    small = torch.rand(count, 3, 6, 7) * 255
    return F.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 255).to(torch.uint8)


def literal(model, image, scales, flip, stride):
    """The authors' evaluation, a view at a time, everything at full size: facts 3.10."""
    height, width = image.shape[2:]
    total = torch.zeros(1, model.num_classes, height, width, dtype=torch.float64)
    for scale in scales:
        for mirrored in (False, True)[: 1 + flip]:
            sides = [int((n - 1) * scale + 1) for n in (height, width)]
            seen = F.interpolate(image.float(), size=sides, mode="bilinear", align_corners=True)
            logits = model(seen.flip(3) if mirrored else seen)
            logits = logits.flip(3) if mirrored else logits
            for size in (
                [int((n - 1) * max(1.0, scale) / stride + 1) for n in (height, width)],
                (height, width),
            ):
                logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
            total += logits.double().softmax(1)
    return total / len(scales) / (1 + flip)


def assembled(predictor, image, size):
    return torch.cat([band for _, band in predictor.probabilities(image, size)], dim=2)


def test_argmax_of_upsampled_logits():
    model = tiny_model().eval()
    images = torch.randint(0, 256, (3, 3, 65, 50), dtype=torch.uint8)
    labels = predict_labels(model, images)
    upsampled = F.interpolate(model(images), size=(65, 50), mode="bilinear", align_corners=True)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), upsampled.argmax(dim=1))


@pytest.mark.parametrize("backbone", SMALL_BACKBONES)
def test_folded_batch_norms_change_nothing(backbone):
    model = lively(build(SMALL_BACKBONES[backbone](), channels=16))
    folded = fold_batch_norms(model)
    assert not list(batch_norms(folded))
    assert list(batch_norms(model))
    image = picture(97, 65)
    with torch.no_grad():
        torch.testing.assert_close(folded(image), model(image), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(65, 97), (70, 81)])
def test_multi_scale_and_flip_are_the_authors(naive, output_stride, size):
    model = lively(tiny_model(naive=naive))
    model.set_output_stride(output_stride)
    image = picture(*size)
    predictor = Predictor(model, [Strategy(output_stride, MULTI_SCALE, flip=True)])
    with torch.no_grad():
        stride = output_stride if naive else 4
        expected = literal(model, image, MULTI_SCALE, True, stride)[0]
    found = assembled(predictor, image, size)[0]
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)
    (labels,) = predictor.label_maps(image, [size])[0]
    assert (labels == expected.argmax(0)).float().mean() > 0.999


def test_strategies_together_are_those_alone():
    model = lively(tiny_model())
    names = [Strategy(16), Strategy(16, MULTI_SCALE), Strategy(16, MULTI_SCALE, flip=True)]
    names += [Strategy(8), Strategy(8, (1.5, 0.75)), Strategy(16, flip=True)]
    images, sizes = picture(65, 81, count=2), [(65, 70), (50, 81)]
    together = Predictor(model, names).label_maps(images, sizes)
    for i, strategy in enumerate(names):
        alone = Predictor(model, [strategy]).label_maps(images, sizes)
        for labels, (label,), (height, width) in zip(together, alone, sizes, strict=True):
            assert label.shape == (height, width)
            assert torch.equal(labels[i], label)


def test_trained_at_16_and_evaluated_at_8_is_built_at_8():
    model, other = lively(tiny_model()), tiny_model()
    other.set_output_stride(8)
    other.load_state_dict(model.state_dict())
    image = picture(65, 65)
    found = assembled(Predictor(model, [Strategy(8)]), image, (65, 65))[0]
    with torch.no_grad():
        logits = F.interpolate(
            other.eval()(image), size=(65, 65), mode="bilinear", align_corners=True
        )
    torch.testing.assert_close(found, logits[0].softmax(0), atol=1e-5, rtol=0)


def test_the_model_itself_stays_as_it_was():
    model = lively(tiny_model())
    before = {name: t.clone() for name, t in model.state_dict().items()}
    Predictor(model, [Strategy(8)]).label_maps(picture(65, 65), [(65, 65)])
    assert model.output_stride == 16
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("length", [1, 64, 65, 66, 100, 128, 129, 700])
@pytest.mark.parametrize("overlap", [0.0, 0.33, 0.9])
def test_windows_cover_a_side(length, overlap):
    window = Window(65, overlap)
    found = starts(length, window)
    side = min(65, length)
    covered = {p for start in found for p in range(start, start + side)}
    assert covered == set(range(length))
    for one, following in itertools.pairwise(found):
        assert one < following
        assert one + side - following >= int(side * overlap) - 1


@pytest.mark.parametrize("size", [(50, 65), (65, 200), (150, 65), (131, 207)])
def test_what_all_windows_agree_on_stays(size):
    """Blending weights add up to one everywhere: a smooth picture comes back without a seam."""
    image = picture(*size).float()
    bands = dict(blended(image, Window(65, 0.33), lambda cut: cut[0]))
    assert next(iter(bands)) == 0
    torch.testing.assert_close(torch.cat(list(bands.values()), dim=-2), image[0])


def test_windows_fade_into_each_other():
    """Windows that contradict each other meet without a step."""
    seen = iter([0.0, 1.0])
    image = torch.zeros(1, 3, 65, 97)
    window = Window(65, 0.5)
    assert starts(97, window) == [0, 32]
    (band,) = [
        band for _, band in blended(image, window, lambda cut: torch.full((1, 65, 65), next(seen)))
    ]
    steps = band[0, 32].diff()
    assert steps.max() < 0.05
    assert (band[0, 32, 0], band[0, 32, -1]) == (0, 1)


def test_an_image_within_a_window_is_looked_at_whole():
    model, image = lively(tiny_model()), picture(65, 60)
    whole = assembled(Predictor(model, [Strategy(16)]), image, (65, 60))
    windowed = assembled(Predictor(model, [Strategy(16, window=Window(65, 0.3))]), image, (65, 60))
    assert torch.equal(whole, windowed)


def test_windows_over_a_large_image():
    model, image = lively(tiny_model()), picture(130, 180)
    strategies = [Strategy(16, s, window=Window(97, 0.5)) for s in ((1.0,), (0.75, 1.0))]
    predictor = Predictor(model, strategies)
    found = assembled(predictor, image, (130, 170))
    assert found.shape == (2, model.num_classes, 130, 170)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 130, 170))
    labels = predictor.label_maps(image, [(130, 170)])[0]
    assert all(torch.equal(a.long(), b.argmax(0)) for a, b in zip(labels, found, strict=True))
