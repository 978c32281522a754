"""Callbacks of a run: progress bar, stops and the figure of validation images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "example_figure": ["ExampleFigure"],
        "graceful_stop": ["GracefulStop"],
        "log_steps": ["LogSteps"],
        "non_finite_loss": ["TerminateOnNonFinite"],
        "progress_bar": ["RunProgress"],
        "save_checkpoints": ["SaveCheckpoints"],
    },
)
