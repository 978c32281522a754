import torch
from torch.nn import functional as F

from deeplab.inference import predict_labels
from networks import tiny_model


def test_argmax_of_upsampled_logits():
    model = tiny_model().eval()
    images = torch.randint(0, 256, (3, 3, 65, 50), dtype=torch.uint8)
    labels = predict_labels(model, images)
    upsampled = F.interpolate(model(images), size=(65, 50), mode="bilinear", align_corners=True)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), upsampled.argmax(dim=1))
