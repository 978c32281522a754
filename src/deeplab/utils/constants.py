"""Constants that several packages share."""

TARGET = "_target_"
"""Key of a config's node that names a class of the user's own."""

CONFIG_FILE = "config.yaml"
"""File of a run with its resolved config; a folder that holds it is a run."""

WEIGHTS_FILE = "weights.safetensors"
"""File of a run with its final weights."""

PAGE_FILE = "index.html"
"""File of a page in its folder: of a run, a report or a gallery."""

CONSTANTS = "_extra_state"
"""Entry of a network's state dict that holds the constants of its weights; PyTorch's name."""

IGNORE = 255
"""Label of ignored pixels (object borders, padding)."""

NO_LABEL = -1
"""Label of an image that has none, and padding of the labels of images that have several."""

BACKGROUND = "background"
"""Name of the class of everything that is no object; not every data set has it."""

BN_MOMENTUM = 3e-4
"""PyTorch's momentum of batch norms: 1 minus the decay 0.9997 of the authors' code."""

LOGITS_STD = 0.01
"""Standard deviation of the initial weights of the logits in the authors' code."""

SUGGESTED_WINDOW = 1025
"""Side in pixels of the windows that messages suggest."""

MAX_RUN_NAME = 100
"""Largest number of bytes of a run's name; its folder adds a hash, and file systems allow 255."""

MAX_SEEDS = 1000
"""Largest number of seeds of a sweep that are given as ``num_seeds``."""
