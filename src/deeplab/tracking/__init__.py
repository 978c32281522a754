"""Records of runs: folders, provenance, protocols, Weights & Biases, console output."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "evaluation_protocol": ["differences"],
        "run_folder": ["RunFolder", "read_config", "read_run", "run_hash"],
        "schema_version": ["SCHEMA_VERSION"],
    },
)
