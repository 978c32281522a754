from deeplab.evaluation.strategy_cost import strategy_cost
from deeplab.inference.strategy import Strategy
from support.configs import train_config


class Twice(Strategy):
    """A strategy that runs every forward pass twice."""

    @property
    def passes(self):
        return super().passes * 2


def test_the_cost_is_that_of_all_forward_passes():
    config = train_config()
    once, twice = (
        strategy_cost(config, strategy(16), classes=7, size=(65, 65))
        for strategy in (Strategy, Twice)
    )
    assert (twice.conv, twice.trainable) == (2 * once.conv, once.trainable)
