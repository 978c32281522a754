"""The network of the paper's Figure 2: backbone, ASPP and decoder, and their composition."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "aspp": ["ASPP", "ImagePooling"],
        "classifier": ["Classifier"],
        "decoder": ["Decoder", "DecoderStage"],
        "deeplabv3plus": ["DeepLabV3Plus"],
        "flops": ["Cost", "measure_cost"],
        "normalization": ["Normalization"],
    },
)
