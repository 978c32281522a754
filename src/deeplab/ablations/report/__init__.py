"""Reports on ablation tables and grids, made from run folders without torch or the images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "row_results": ["RowResult", "SeedResult", "TableResult"],
        "write_report": ["write_grid_report", "write_report"],
    },
)
