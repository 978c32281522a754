"""Arguments of ``lightning.Trainer`` as keys of ``trainer``.

They are read from Lightning's source, because importing it takes seconds. An argument that a later
version adds is a key at once.
"""

import ast
from typing import Any, Literal, Union

from pydantic import Field

from deeplab.config.schema.constructor import ClassSource
from deeplab.utils.settings import Bool, Float, Int, Settings, Text

MANAGED_ARGUMENTS = {
    "logger": "Choose a logger by its group, as in logger=csv",
    "callbacks": "Choose callbacks by their group, callbacks",
    "max_steps": "Set stage.max_steps",
    "min_steps": "A training has stage.max_steps steps",
    "max_epochs": "A training is one stream of steps: set stage.max_steps",
    "min_epochs": "A training is one stream of steps: set stage.max_steps",
    "limit_train_batches": "Set stage.max_steps for fewer steps, or trainer.overfit_batches for "
    "fewer images",
    "limit_test_batches": "An evaluation measures whole splits: leave it out",
    "limit_predict_batches": "A prediction takes the images that it is given: leave it out",
    "val_check_interval": "Set trainer.num_validations",
    "check_val_every_n_epoch": "Set trainer.num_validations",
    "enable_checkpointing": "A run always has checkpoints; trainer.num_checkpoints says how many",
    "gradient_clip_val": "Set stage.gradient_clip_val",
    "use_distributed_sampler": "The data distributes itself over the devices: leave it out",
    "sync_batchnorm": "Batch norms always see the images of all devices: leave it out",
    "reload_dataloaders_every_n_epochs": "A training is one stream of steps: leave it out",
    "default_root_dir": "Set runs_dir",
    "plugins": "Set trainer.precision, trainer.strategy or trainer.num_nodes",
    "barebones": "Set trainer.num_validations=0 and trainer.enable_progress_bar=false",
    "model_registry": "deeplab export push_to_hub=USER/NAME uploads a run",
}
"""Arguments that are no keys, and what to do instead."""

MEANINGS = {
    "num_sanity_val_steps": "batches of validation before the training, whose score does not count",
    "enable_model_summary": "print a table of the parts of the network",
    "gradient_clip_algorithm": "what ``stage.gradient_clip_val`` limits: ``norm`` (the default) or "
    "``value``",
    "deterministic": "use deterministic algorithms only, or an error; ``warn``: a warning",
    "benchmark": "let cuDNN measure which algorithms are fastest; null: PyTorch's setting",
    "inference_mode": "validate in ``torch.inference_mode`` instead of ``torch.no_grad``",
    "detect_anomaly": "let autograd name the operation that made a nan; slow",
    "enable_autolog_hparams": "let Lightning log the hyperparameters of a module that has saved "
    "them",
}
"""Meaning of the other arguments."""

DEFAULTS = {"num_sanity_val_steps": 0, "enable_model_summary": False}
"""Defaults that differ from Lightning's: both would delay or lengthen the output of every run."""

TYPES: dict[str, Any] = {"int": Int, "float": Float, "bool": Bool, "str": Text}

SPECIAL: dict[str, Any] = {
    "gradient_clip_algorithm": Literal["norm", "value"] | None,
    "deterministic": Bool | Literal["warn"] | None,
}
"""Types that Lightning's annotations do not tell."""


def argument_fields(own: type[Settings]) -> dict[str, Any]:
    """Return the fields of the arguments that neither a key of ``own`` nor this project manages."""
    source = ClassSource("lightning.pytorch.trainer.trainer", "Trainer")
    arguments = source.constructor().args
    fields: dict[str, Any] = {}
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        name = argument.arg
        if name in own.model_fields or name in MANAGED_ARGUMENTS or value is None:
            continue
        assert argument.annotation is not None
        kinds = _kinds(argument.annotation)
        kind = SPECIAL.get(name, Union[tuple(kinds)] if kinds else None)  # noqa: UP007
        if kind is None:  # takes objects only
            continue
        meaning = MEANINGS.get(name, "see Lightning's documentation of ``Trainer``")
        default = DEFAULTS.get(name, ast.literal_eval(value))
        fields[name] = (kind, Field(default, description=f"{meaning}."))
    return fields


def _kinds(annotation: ast.expr) -> list[Any]:
    """Return the types of an annotation that a command line can give."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return [*_kinds(inner), None]
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=members)):
            return [kind for member in members for kind in _kinds(member)]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return [*_kinds(left), *_kinds(right)]
        case ast.Constant(value=None):
            return [None]
        case ast.Name(id=name) if name in TYPES:
            return [TYPES[name]]
    return []
