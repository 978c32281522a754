"""Scores of trained networks, their files, and comparisons of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "accumulator": ["ImageScore", "ScoreAccumulator", "score_image"],
        "comparison": ["run_comparison"],
        "evaluate": ["run_evaluation"],
        "evaluation_folder": ["Evaluation", "EvaluationFolder", "read_evaluation"],
    },
)
