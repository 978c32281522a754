"""Errors, files, locks, downloads, processes and hardware, independent of the network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "constants": ["IGNORE"],
        "errors": ["UserError"],
        "file_lock": ["LockedError", "locked"],
        "files": ["atomic_write", "file_hash", "remove_leftovers", "write_json", "write_text"],
        "hardware": ["Execution"],
        "parallel": ["parallel_map", "prefetch"],
    },
)
