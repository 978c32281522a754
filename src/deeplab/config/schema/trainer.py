"""Keys of ``conf/trainer``: execution, on which results depend by rounding and dropout only."""

from typing import Annotated, Literal

from pydantic import Field

from deeplab.utils.settings import Bool, Int, Natural, Positive, Settings


class TrainerSettings(Settings):
    """Execution keys; ``deeplab.utils.hardware`` resolves ``auto`` to what is fastest and safe."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """Kind of device."""
    devices: Positive | Literal["auto"] = 1
    """Number of devices; auto: every GPU."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Lightning's name of the precision."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Memory format of weights and images."""
    compile: Bool | Literal["auto"] = "auto"
    """Train the network compiled by ``torch.compile``."""
    num_workers: Annotated[Int, Field(ge=0, le=256)] | Literal["auto"] = "auto"
    """Loading processes per device."""
    num_validations: Natural = 10
    """Number of validations, evenly spaced, the last one at the end; 0: the last one only."""
    num_checkpoints: Positive = 20
    """How often ``last.ckpt`` is written, evenly spaced."""
    log_every_n_steps: Positive = 10
    """Steps between two rows of the log."""
    enable_progress_bar: Bool = True
    """Show progress bars."""
