"""Hydra's basic sweeper, but every job of a multirun is checked before the first one starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser


@dataclass
class CheckedSweeperConf:
    """The keys of Hydra's own ``basic`` sweeper."""

    _target_: str = "hydra_plugins.checked_sweeper.CheckedSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="checked", node=CheckedSweeperConf, provider="deeplab"
)


class CheckedSweeper(BasicSweeper):
    """Without it a mistake in the last job of a sweep shows when the others are done."""

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=max_batch_size, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Check all jobs, then launch them as the basic sweeper does."""
        for overrides in self._jobs(arguments):
            self._check(overrides)
        return super().sweep(arguments)

    def _jobs(self, arguments: list[str]) -> list[Sequence[str]]:
        parser = OverridesParser.create(config_loader=self._loader())
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        return [job for batch in self.split_arguments(parsed, None) for job in batch]

    def _loader(self) -> ConfigLoader:
        assert self.hydra_context is not None
        return self.hydra_context.config_loader

    def _check(self, overrides: Sequence[str]) -> None:
        from deeplab.check import check_train

        assert self.config is not None
        config = self._loader().load_sweep_config(self.config, list(overrides))
        config.hydra.job.num = 0
        config.hydra.job.id = "check"
        check_train(_task_config(config))


def _task_config(config: Any) -> Any:
    """What Hydra hands to a job: the config without its own part."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config
