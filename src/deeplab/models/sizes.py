"""Sides of feature maps and of scaled images, whose corners are those of the image."""


def map_size(side: int, stride: int) -> int:
    """Return the side of the feature map at a stride of an image's side."""
    return (side - 1) // stride + 1


def scaled_size(side: int, scale: float) -> int:
    """Return the side of an image that is scaled as in the authors' evaluation."""
    return int((side - 1) * scale + 1)
